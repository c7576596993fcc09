"""Units that go together in one transaction: what one of them moves, the next one finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from slotmeter.ports import Changes, NewId, Read, Reads, Rows, UnitOfWork
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.list_pages import ID_MAX
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SellRequest
from slotmeter.storage.seal.chain import read_layouts
from slotmeter.storage.seal.items import read_items
from slotmeter.testing.databases import settings_of
from slotmeter.testing.shop import Shop, open_shop

pytestmark = pytest.mark.both_databases

T = TypeVar("T")

KEEPS: Final[dict[str, Any]] = {
    "tariff": "keeps",
    "title": "Keeps money",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "price": "500.37"},
    "fixed": {"service": {"label": "Service", "amount": "30.01"}},
    "purchase": {"too_small": "pay_charges"},
}
LIMIT_S: Final = 20
SALES: Final = 8


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        await opened.utility.add_tariff(KEEPS)
        yield opened


class Gate:
    """A database that two units enter at one instant, in a given order.

    Args:
        database: where they go.
        first: a read of the unit that is to be in front.
        second: a read of the one behind it.
    """

    def __init__(self, database: UnitOfWork, first: str, second: str) -> None:
        self._database = database
        self._first, self._second = first, second
        self._second_is_there, self._first_is_in = asyncio.Event(), asyncio.Event()

    async def read(self, reads: Reads) -> Rows:
        return await self._database.read(reads)

    async def run(self, reads: Reads, decide: Callable[[Rows, NewId], Changes[T]], **how: Any) -> T:
        asked = {read.statement for read in reads if isinstance(read, Read)}
        if self._first in asked:
            await self._second_is_there.wait()
            self._first_is_in.set()
        elif self._second in asked:
            self._second_is_there.set()
            await self._first_is_in.wait()
        return await self._database.run(reads, decide, **how)


def kept(shop: Shop) -> list[int]:
    return shop.column("SELECT kept_minor FROM sale ORDER BY id")


async def assert_all_holds(shop: Shop) -> None:
    utility = await Registry(shop.database, shop.clock).utility(None)
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    assert [each for each in verdict.sentences if not each.holds] == []
    audit = await asyncio.to_thread(
        verify_audit, reader_of(settings_of(shop.path.parent)), processes=1
    )
    assert list(audit.breaks) == []


async def test_money_that_an_account_has_kept_is_used_by_one_of_two_sales_at_one_instant(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter(tariff="keeps")
    await shop.sell(meter.number, "35.00", "keeps")
    await shop.first_commit_only(SellRequest("uses", meter.number, "100.00"))
    # The second commit of one sale, and the first of another, of one account.
    shop.selling._uow = Gate(shop.database, "commission_in_force", "kept_tids")

    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(shop.selling.recover(), shop.sell(meter.number, "100.00", "again"))

    first, used, again = kept(shop)
    assert (first > 0, used) == (True, -first)
    assert again >= 0
    await assert_all_holds(shop)


def rows_by_entry(shop: Shop, table: str, kind: str) -> list[list[int]]:
    """Return which rows of a table each entry of the audit tells of; none for most."""
    reader = reader_of(settings_of(shop.path.parent))()
    try:
        layouts, _damaged = read_layouts(reader)
        return [
            sorted(
                {
                    row_id
                    for item in read_items(entry, layouts)
                    if (item.table, item.kind) == (table, kind)
                    for row_id in item.ids
                }
            )
            for entry in reader.entries_up(0, ID_MAX)
        ]
    finally:
        reader.close()


def entry_ids(shop: Shop) -> list[int]:
    return shop.column("SELECT id FROM audit_entry ORDER BY id")


async def test_each_entry_of_the_audit_tells_of_the_rows_of_its_own_unit(shop: Shop) -> None:
    meters = [await shop.utility.add_meter() for _ in range(SALES)]
    requests = [SellRequest(f"s{at}", meter.number, "116.00") for at, meter in enumerate(meters)]
    for request in requests:
        await shop.first_commit_only(request)

    # In the order opposite to that of the rows.
    await asyncio.gather(*(shop.selling.sell(shop.till, each) for each in reversed(requests)))

    issued = await asyncio.to_thread(rows_by_entry, shop, "sale", "update")
    booked = await asyncio.to_thread(rows_by_entry, shop, "journal", "insert")
    sale_of = {
        row["id"]: row["sale_row_id"] for row in shop.rows_of("SELECT id, sale_row_id FROM journal")
    }
    assert issued == [[sale_of[each] for each in journals] for journals in booked]
    assert sum(map(len, issued)) == SALES


async def test_the_audit_finds_the_entry_of_each_sale_that_went_with_others(shop: Shop) -> None:
    meters = [await shop.utility.add_meter() for _ in range(SALES)]

    await asyncio.gather(
        *(shop.sell(meter.number, sale_id=f"s{at}") for at, meter in enumerate(meters))
    )

    sold = await asyncio.to_thread(rows_by_entry, shop, "sale", "insert")
    ids = await asyncio.to_thread(entry_ids, shop)
    found = {}
    for (sale_row_id,) in filter(None, sold):
        [entry] = await shop.rows("audit_entry_after", row_id=sale_row_id)
        found[sale_row_id] = sold[ids.index(entry["id"])]
    assert found == {each: [each] for each in found}
    assert len(found) == SALES
