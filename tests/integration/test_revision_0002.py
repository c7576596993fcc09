"""A database as the second revision left it: upgraded, it keeps everything and sells on.

``tests/fixtures/make_revision_0002.py`` says how the files came to be.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.services.access import Origin
from slotmeter.services.account_blocks import AccountBlocks
from slotmeter.services.debt_terms import Books
from slotmeter.services.debts import Debts
from slotmeter.services.receipts import Receipts
from slotmeter.services.tariff_admin import TariffAdmin
from slotmeter.storage.migrate import HEAD, migrate, revision
from slotmeter.testing.old_database import (
    Upgraded,
    copy_old_database,
    open_old_database,
    still_says,
)
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.vending.receipts import explain, render_html, render_text

FIXTURE = Path(__file__).parents[1] / "fixtures" / "revision_0002"
SAID: dict[str, Any] = json.loads(FIXTURE.with_suffix(".json").read_text(encoding="utf-8"))
SOLD_BEFORE = tuple(sale_id for sale_id in SAID["sales"] if sale_id != "pending")


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Upgraded]:
    async with open_old_database(FIXTURE, tmp_path) as opened:
        yield opened


def test_the_file_is_of_the_second_revision_and_is_brought_to_this_one(tmp_path: Path) -> None:
    old_file = copy_old_database(FIXTURE, tmp_path)
    before = revision(old_file)
    migrate(old_file)

    assert (SAID["revision"], before) == ("0002", "0002")
    assert revision(old_file) == HEAD


@pytest.mark.parametrize("sale_id", SOLD_BEFORE)
async def test_an_old_receipt_prints_and_explains_itself_as_it_did(
    old: Upgraded, sale_id: str
) -> None:
    said = SAID["sales"][sale_id]

    sale = await old.selling.sale(old.till, sale_id)
    receipt = await old.selling.receipt(old.till, said["receipt_number"])

    assert (sale.token, sale.quantity) == (said["token"], said["quantity"])
    assert [each.digits for each in sale.tokens] == said["tokens"]
    assert still_says(receipt.document(), said["document"])
    assert render_text(receipt, 58) == said["text_58"]
    assert render_text(receipt, 80) == said["text_80"]
    assert render_html(receipt) == said["html"]
    assert list(explain(receipt)) == said["explained"]


async def test_the_sale_between_its_commits_is_completed_with_the_digits_it_was_to_have(
    old: Upgraded,
) -> None:
    said = SAID["sales"]["pending"]

    recovered = await old.selling.recover()

    sale = await old.selling.sale(old.till, "pending")
    receipt = await old.selling.receipt(old.till, said["receipt_number"])
    assert recovered.completed == 1
    assert (sale.token, sale.quantity) == (said["token"], said["quantity"])
    assert still_says(receipt.document(), said["document"])
    assert render_html(receipt) == said["html"]


async def test_the_ledger_holds_before_and_after_selling_on(old: Upgraded) -> None:
    await old.selling.recover()
    recovered = await old.verify()
    for at, meter in enumerate(("online", "held", "money", "poor", "indebted")):
        await old.sell(meter, "400.00", f"n{at}")
    sold_on = await old.verify()

    assert [each for each in recovered.sentences if not each.holds] == []
    assert recovered.figures.items() >= SAID["figures"].items()
    assert [each for each in sold_on.sentences if not each.holds] == []
    assert sold_on.figures["sales_issued"] == SAID["figures"]["sales_issued"] + 5


async def test_an_account_that_was_blocked_is_blocked_still(old: Upgraded) -> None:
    with pytest.raises(Refused) as caught:
        await old.sell("blocked", "100.00", "n1")

    assert caught.value.code == "account_blocked"


async def test_a_block_that_was_set_is_released_as_ever(old: Upgraded) -> None:
    (account,) = old.column(
        "SELECT number FROM account WHERE id IN"
        " (SELECT account_id FROM account_block WHERE released_us IS NULL)"
    )
    blocks = AccountBlocks(old.database, old.clock)
    books = Books.of(old.till.principal)
    await blocks.release(Origin.of(old.till), books, account, reason="mended")
    sale = await old.sell("blocked", "100.00", "n1")

    assert sale.token is not None


async def test_old_debts_are_owed_and_repaid_on(old: Upgraded) -> None:
    await old.selling.recover()
    books, debts = Books.of(old.till.principal), Debts(old.database, old.clock)
    numbers = old.column("SELECT number FROM debt ORDER BY id")

    before = [(await debts.debt(books, number))["balance_minor"] for number in numbers]
    await old.sell("indebted", "400.00", "n1")
    after = [(await debts.debt(books, number))["balance_minor"] for number in numbers]

    # A quarter of the purchase for the arrears; the instalment of December was paid before.
    assert before[0] - after[0] == 10_000
    assert after[2:] == before[2:]


async def test_a_receipt_that_was_printed_is_a_reprint(old: Upgraded) -> None:
    receipts = Receipts(old.database, old.clock, sample_safe())
    printed, fresh = (SAID["sales"][name]["receipt_number"] for name in ("s2", "s1"))

    again = await receipts.hand_out(old.till, printed, "text58")
    first = await receipts.hand_out(old.till, fresh, "text58")

    assert (again.is_reprint, first.is_reprint) == (True, False)


async def test_drafts_and_versions_of_tariffs_are_there(old: Upgraded) -> None:
    tariffs = TariffAdmin(old.database, old.clock)
    utility_id = old.till.principal.utility_id

    drafts = await tariffs.drafts(utility_id, code="poor", state="draft")
    kenya = await tariffs.versions(utility_id, "ke-kplc-dc-fixed-charge-era")

    assert [draft.note for draft in drafts] == ["for 2027"]
    assert [row["withdrawn_us"] is None for row in kenya] == [False, True, True]


async def test_an_old_request_again_is_the_old_sale(old: Upgraded) -> None:
    sale = await old.sell("online", "500.00", "s1")

    assert sale.token == SAID["sales"]["s1"]["token"]
    assert sale.receipt_number == SAID["sales"]["s1"]["receipt_number"]
