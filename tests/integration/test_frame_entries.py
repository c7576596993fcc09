"""By which config entry a frame came, and by which one a device was heard last."""

from __future__ import annotations

from datetime import timedelta

import pytest

from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import Frame, Reading, Report
from slotmeter.ports import Changes, Insert, NewId, Rows, SqlValue
from slotmeter.testing.device_side import MEDIUM, DeviceTown
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter("electricity")


async def entry(town: DeviceTown, key: str) -> int:
    """Make a config entry; return its id."""

    def decide(_rows: Rows, new_id: NewId) -> Changes[int]:
        row: dict[str, SqlValue] = {"id": new_id(), "key": key, "medium": MEDIUM, "title": ""}
        row |= {"options": "{}", "secrets": None, "enabled": 1, "source": "api"}
        row |= {"created_us": town.now_us, "changed_us": town.now_us, "principal_id": None}
        return Changes(int(str(row["id"])), [Insert("integration_entry", row)])

    return await town.side.uow.run([], decide)


async def comes(
    town: DeviceTown,
    meter: SmallMeter,
    entry_id: int,
    *,
    supply: SupplyState = SupplyState.ON,
    minutes_ago: int = 0,
) -> None:
    """Let a meter report through an entry; nothing is taken in yet."""
    at = town.side.clock.now() - timedelta(minutes=minutes_ago)
    payload = f"through {entry_id} {supply} {at}".encode()
    readings = (Reading("energy_import", 1_000, at),)
    town.side.script.reports[payload] = Report(at, readings=readings, supply=supply)
    frame = Frame(MEDIUM, str(meter.address), "m", payload, at)
    await town.side.frames.of_entry(entry_id).hand_in(frame)


def heard_by(town: DeviceTown, meter: SmallMeter) -> int | None:
    found: int | None = town.row("SELECT entry_id FROM device WHERE meter_id = ?", meter.id)[
        "entry_id"
    ]
    return found


@pytest.mark.parametrize("supply", [SupplyState.ON, SupplyState.OFF])
async def test_a_device_is_known_by_the_entry_that_it_was_heard_by_last(
    town: DeviceTown, meter: SmallMeter, supply: SupplyState
) -> None:
    await comes(town, meter, await entry(town, "first"))
    await town.side.consumer.step()
    second = await entry(town, "second")
    town.side.clock.advance(hours=1)

    # Whether plain, among thousands, or with something to tell, in a unit of its own.
    await comes(town, meter, second, supply=supply)
    await town.side.consumer.step()

    assert heard_by(town, meter) == second
    newest = town.row("SELECT entry_id FROM frame ORDER BY id DESC LIMIT 1")
    assert newest["entry_id"] == second


async def test_a_frame_that_is_older_than_the_last_contact_changes_nothing(
    town: DeviceTown, meter: SmallMeter
) -> None:
    first, second = await entry(town, "first"), await entry(town, "second")
    await comes(town, meter, first)
    await town.side.consumer.step()

    await comes(town, meter, second, minutes_ago=5)
    await town.side.consumer.step()

    assert heard_by(town, meter) == first


async def test_an_entry_that_is_removed_before_its_frames_are_taken_in_stops_none_of_them(
    town: DeviceTown, meter: SmallMeter
) -> None:
    gone = await entry(town, "gone")
    await comes(town, meter, gone)
    await comes(town, meter, gone, supply=SupplyState.OFF)
    town.rows("DELETE FROM integration_entry WHERE id = ?", gone)

    await town.side.consumer.step()

    assert heard_by(town, meter) is None
    assert town.rows("SELECT code FROM quarantine") == []
    known = town.row("SELECT register, supply FROM device WHERE meter_id = ?", meter.id)
    assert known == {"register": 1_000, "supply": "off"}


async def test_a_frame_that_came_by_no_entry_leaves_what_is_known(
    town: DeviceTown, meter: SmallMeter
) -> None:
    first = await entry(town, "first")
    await comes(town, meter, first)
    await town.side.consumer.step()

    town.side.clock.advance(hours=1)
    await town.side.report(meter, {"energy_import": 1_001})

    assert heard_by(town, meter) == first
