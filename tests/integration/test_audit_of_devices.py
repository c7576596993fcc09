"""What the registries of devices write is sealed: edits behind them are named, on each database."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import Any

import pytest

from slotmeter.devices.entries import EntryState, EntryStatus
from slotmeter.ports import Caller
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import AuditVerdict, verify_audit
from slotmeter.services.areas import AreaName, Areas
from slotmeter.services.bearers import Bearers, BearerWish
from slotmeter.services.bindings import Bindings, NewNode
from slotmeter.services.entries import EntryDesk, EntryWish
from slotmeter.services.integrations import FoundIntegrations
from slotmeter.services.keypads import Keypads
from slotmeter.services.lifecycle import Lifecycle
from slotmeter.storage.schema import METADATA
from slotmeter.testing.databases import settings_of
from slotmeter.testing.device_side import DRIVER_KEY, MEDIUM, DeviceTown
from slotmeter.testing.sample_safe import sample_secret_box
from slotmeter.testing.tampering import Tampering, changed

pytestmark = pytest.mark.both_databases

BOX, NORTH, WHY = "BOX-1", AreaName("region", "north"), "as it is"
PLACES = AreaName("transformer", "T7")

CHANGED = {
    "integration_entry": "options",
    "entry_log": "reason",
    "area": "name",
    "meter_life": "place",
    "binding": "slot",
    "keypad": "serial",
    "bearer": "address",
}
"""The sealed tables of the registries, with the column in which each is edited."""

DATED = ("binding", "keypad", "bearer")


async def fill_connections(town: DeviceTown, boss: Caller) -> None:
    known = FoundIntegrations(MappingProxyType({}), media=frozenset({"owl"}))
    side = town.side
    desk = EntryDesk(side.uow, side.clock, sample_secret_box(), known, on_change=lambda: None)
    for key in ("one", "two"):
        entry = await desk.add(boss, EntryWish(key=key, medium="owl"), reason=WHY)
        await desk.note(entry, EntryStatus(EntryState.LOADED, "it listens", town.now_us))
    await desk.remove(boss, "two", reason=WHY)


async def fill_places(town: DeviceTown, boss: Caller, number: str) -> None:
    parts = (town.side.uow, town.side.clock)
    areas, lives = Areas(*parts), Lifecycle(*parts)
    await areas.put(boss, NORTH, name="North", above=None, reason=WHY)
    await areas.put(boss, PLACES, name="Mill Road", above=NORTH, reason=WHY)
    await areas.remove(boss, PLACES, reason=WHY)
    await areas.take_in(boss, ["S0001"], NORTH, reason=WHY)
    town.side.clock.advance(seconds=60)
    await lives.take_off(boss, number, place="van 3", reason=WHY)
    await lives.record(boss, number, "stored", place="depot", reason=WHY)


async def fill_dated(town: DeviceTown, boss: Caller, one: str, other: str) -> None:
    """Have ended and live rows of each dated table."""
    side = town.side
    bindings = Bindings(side.uow, side.clock, side.drivers)
    keypads, bearers = Keypads(side.uow, side.clock), Bearers(side.uow, side.clock, side.drivers)
    await bindings.add_node(boss, NewNode(BOX, MEDIUM, "box-1", DRIVER_KEY), reason=WHY)
    for places in ({0: one, 1: other}, {0: other, 1: one}):
        side.clock.advance(seconds=60)
        await bindings.bind(boss, BOX, dict(places), reason=WHY)
    for serial in ("K-1", "K-2"):
        side.clock.advance(seconds=60)
        await keypads.give(boss, one, serial, reason=WHY)
    await bearers.change_node(boss, BOX, BearerWish(MEDIUM, "box-2"), reason=WHY)


@pytest.fixture
async def filled(town: DeviceTown) -> DeviceTown:
    """A town in which everybody who keeps a registry has written, changed and ended something."""
    boss = await town.utility.add_principal("Boss", "admin")
    hung, one, other = [await town.utility.add_meter(online=False) for _ in range(3)]
    await fill_connections(town, boss)
    await fill_places(town, boss, hung.number)
    await fill_dated(town, boss, one.number, other.number)
    return town


async def verify(town: DeviceTown) -> AuditVerdict:
    return await asyncio.to_thread(verify_audit, reader_of(settings_of(town.path.parent)))


async def first_named(town: DeviceTown) -> tuple[str, int | None] | None:
    breaks = (await verify(town)).breaks
    return (breaks[0].table, breaks[0].row_id) if breaks else None


def rows_of(town: DeviceTown, table: str) -> list[dict[str, Any]]:
    return town.rows(f'SELECT * FROM "{table}" ORDER BY id')  # noqa: S608  ours


async def test_what_the_registries_write_change_and_remove_holds(filled: DeviceTown) -> None:
    verdict = await verify(filled)

    assert verdict.breaks == []
    assert all(rows_of(filled, table) for table in CHANGED)


async def test_a_row_that_is_changed_or_removed_behind_the_registries_is_named(
    filled: DeviceTown,
) -> None:
    tampering, wrong = Tampering(filled.behind), []
    for table, column in CHANGED.items():
        row = rows_of(filled, table)[0]
        new = changed(row[column], METADATA.tables[table].c[column])
        tampering.set(table, ("id", row["id"]), {column: new})
        on_change = await first_named(filled)
        tampering.set(table, ("id", row["id"]), {column: row[column]})
        tampering.remove(table, row["id"])
        on_removal = await first_named(filled)
        tampering.put_back(table, row)
        if (on_change, on_removal) != ((table, row["id"]), (table, row["id"])):
            wrong.append((table, on_change, on_removal))

    assert wrong == []
    assert (await verify(filled)).holds


async def test_what_had_ended_and_is_let_go_on_behind_the_registries_is_named(
    filled: DeviceTown,
) -> None:
    tampering, wrong = Tampering(filled.behind), []
    for table in DATED:
        ended = next(row for row in rows_of(filled, table) if row["to_us"] is not None)
        tampering.set(table, ("id", ended["id"]), {"to_us": None})
        if await first_named(filled) != (table, ended["id"]):
            wrong.append(table)
        tampering.set(table, ("id", ended["id"]), {"to_us": ended["to_us"]})

    assert wrong == []


async def test_a_supply_point_that_is_moved_to_another_area_behind_them_is_named(
    filled: DeviceTown,
) -> None:
    [point] = filled.rows("SELECT id FROM supply_point WHERE area_id IS NOT NULL")
    Tampering(filled.behind).set("supply_point", ("id", point["id"]), {"area_id": None})

    assert await first_named(filled) == ("supply_point", point["id"])
