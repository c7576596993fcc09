"""A database as the first revision left it: upgraded, it keeps everything and sells on.

``tests/fixtures/make_revision_0001.py`` says how the files came to be.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from slotmeter.storage.migrate import HEAD, migrate, revision
from slotmeter.testing.old_database import Upgraded, copy_old_database, open_old_database
from slotmeter.vending.receipts import render_html, render_text

FIXTURE = Path(__file__).parents[1] / "fixtures" / "revision_0001"
SAID: dict[str, Any] = json.loads(FIXTURE.with_suffix(".json").read_text(encoding="utf-8"))
SOLD_BEFORE = tuple(sale_id for sale_id in SAID["sales"] if sale_id != "pending")


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Upgraded]:
    async with open_old_database(FIXTURE, tmp_path) as opened:
        yield opened


def test_the_file_is_of_the_first_revision_and_is_brought_to_this_one(tmp_path: Path) -> None:
    old_file = copy_old_database(FIXTURE, tmp_path)
    before = revision(old_file)
    migrate(old_file)

    assert (SAID["revision"], before) == ("0001", "0001")
    assert revision(old_file) == HEAD


async def test_nothing_is_lost_and_what_was_sold_counts_in_the_blocks(old: Upgraded) -> None:
    units = old.column("SELECT units FROM sale ORDER BY id")

    assert old.column("SELECT count(*) FROM sale") == [9]
    assert old.column("SELECT count(*) FROM command") == [3]
    assert old.column("SELECT count(*) FROM meter_charge") == [3]
    assert old.column("SELECT counted_units FROM sale ORDER BY id") == units
    assert set(old.column("SELECT purpose FROM token")) == {"credit"}
    assert set(old.column("SELECT transfer FROM meter")) == {"units"}


@pytest.mark.parametrize("sale_id", SOLD_BEFORE)
async def test_an_old_receipt_prints_as_it_did(old: Upgraded, sale_id: str) -> None:
    said = SAID["sales"][sale_id]

    sale = await old.selling.sale(old.till, sale_id)
    receipt = await old.selling.receipt(old.till, said["receipt_number"])

    assert (sale.token, sale.quantity) == (said["token"], said["quantity"])
    assert receipt.document() == said["document"]
    assert render_text(receipt, 58) == said["text_58"]
    assert render_text(receipt, 80) == said["text_80"]
    assert render_html(receipt) == said["html"]


async def test_the_sale_between_its_commits_is_completed_with_the_digits_it_was_to_have(
    old: Upgraded,
) -> None:
    said = SAID["sales"]["pending"]

    recovered = await old.selling.recover()

    sale = await old.selling.sale(old.till, "pending")
    receipt = await old.selling.receipt(old.till, said["receipt_number"])
    assert recovered.completed == 1
    assert (sale.token, sale.quantity) == (said["token"], said["quantity"])
    assert receipt.document() == said["document"]
    assert render_text(receipt, 58) == said["text_58"]
    assert render_html(receipt) == said["html"]


async def test_the_ledger_holds_before_and_after_selling_on(old: Upgraded) -> None:
    await old.selling.recover()
    recovered = await old.verify()
    await old.sell("online", "200.00", "n1")
    await old.sell("held", "300.00", "n2")
    await old.sell("water", "500.00", "n3")
    sold_on = await old.verify()

    assert [each for each in recovered.sentences if not each.holds] == []
    assert recovered.figures.items() >= SAID["figures"].items()
    assert [each for each in sold_on.sentences if not each.holds] == []
    assert sold_on.figures["sales_issued"] == SAID["figures"]["sales_issued"] + 3


async def test_old_tariffs_sell_as_they_did(old: Upgraded) -> None:
    again = await old.sell("water", "500.00", "n1")
    with_charge = await old.sell("online", "200.00", "n2")

    # 500.00 at 91.3 without tax, as in November; then the December charge of 65.50 without tax
    # and 134.50 with tax = 115.95, which is 4.8 kWh at 23.90.
    assert again.quantity == SAID["sales"]["s3"]["quantity"]
    assert with_charge.units == "4.8"


async def test_an_old_request_again_is_the_old_sale(old: Upgraded) -> None:
    sale = await old.sell("online", "200.00", "s1")

    assert sale.token == SAID["sales"]["s1"]["token"]
    assert sale.receipt_number == SAID["sales"]["s1"]["receipt_number"]
