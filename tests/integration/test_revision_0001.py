"""A database as the first revision left it: upgraded, it keeps everything and sells on.

``tests/fixtures/make_revision_0001.py`` says how the files came to be.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from slotmeter.ports import Caller, Principal
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.services.access import rights_of
from slotmeter.services.ledger_check import LedgerVerdict, verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SaleView, Selling, SellRequest
from slotmeter.storage.database import Database
from slotmeter.storage.migrate import HEAD, migrate, revision
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY
from slotmeter.vending.receipts import render_html, render_text

FIXTURES = Path(__file__).parents[1] / "fixtures"
SAID: dict[str, Any] = json.loads((FIXTURES / "revision_0001.json").read_text(encoding="utf-8"))
SOLD_BEFORE = tuple(sale_id for sale_id in SAID["sales"] if sale_id != "pending")


@dataclass
class Upgraded:
    """The old database under today's program."""

    path: Path
    database: Database
    selling: Selling
    clock: FakeClock
    till: Caller

    async def sell(self, meter: str, tendered: str, sale_id: str) -> SaleView:
        request = SellRequest(sale_id, SAID["meters"][meter], tendered)
        view, _ = await self.selling.sell(self.till, request)
        return view

    async def verify(self) -> LedgerVerdict:
        utility = await Registry(self.database, self.clock).utility(None)
        return await verify_ledger(self.database, self.clock, utility)

    def column(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute(sql)]


def _till(path: Path) -> Caller:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(
            "SELECT id, utility_id, branch_id, name, kind FROM principal WHERE name = 'Till 1'"
        ).fetchone()
    keys = ("id", "utility_id", "branch_id", "name", "kind")
    principal = Principal(
        **dict(zip(keys, row, strict=True)),
        rights=rights_of(["vendor"]),
        currency="KES",
        time_zone="Africa/Nairobi",
    )
    return Caller(principal, None, "127.0.0.1", "test")


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "slotmeter.db"
    shutil.copy(FIXTURES / "revision_0001.sqlite3", path)
    return path


@pytest.fixture
async def old(old_file: Path) -> AsyncIterator[Upgraded]:
    database = await Database.open(old_file)
    create_vault(old_file.parent)
    security = SoftwareSecurityModule.open(old_file.parent)
    await security.load(KEY_ID, VENDING_KEY)
    clock = FakeClock(datetime.fromisoformat(SAID["pending_at"]))

    async def after_payment(_meter_id: int) -> None:
        return None

    selling = Selling(
        database,
        security,
        clock,
        draw_rnd=lambda: 5,
        after_payment=after_payment,
        on_issued=lambda: None,
    )
    yield Upgraded(old_file, database, selling, clock, _till(old_file))
    await security.close()
    await database.close()


def test_the_file_is_of_the_first_revision_and_is_brought_to_this_one(old_file: Path) -> None:
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
    assert recovered.figures == SAID["figures"]
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
