"""Silent devices: one alarm for each cause, raised once and cleared once, whatever restarts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest

from slotmeter.ports import Apart, Changes, NewId, Reads, Rows, SqlValue, UnitOfWork
from slotmeter.services import looking_times
from slotmeter.services.bearers import Bearers, BearerWish
from slotmeter.services.offline_alarms import BEARER_DEVICES_MIN, BEARER_SILENT, OFFLINE
from slotmeter.services.offline_watch import OfflineWatch, Swept
from slotmeter.testing.device_side import DRIVER_KEY, DeviceTown
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import HOUR_US, MINUTE_US

pytestmark = pytest.mark.both_databases

T = TypeVar("T")

LOOKS = 5
"""The watch looks so often an hour; a server's does so a hundred times."""

LOOK_US = HOUR_US // LOOKS


def new_watch(town: DeviceTown) -> OfflineWatch:
    side = town.side
    return OfflineWatch(side.uow, side.clock, side.bus, deaf_us_min=LOOK_US + MINUTE_US)


@dataclass
class Watched:
    """A town whose devices report hourly under a watch that looks every minute or so."""

    town: DeviceTown
    watch: OfflineWatch
    reports: int = 0
    behind: set[int | None] = field(default_factory=set)

    async def hear(self, *meters: SmallMeter) -> None:
        """Have meters report, without looking; those behind a node are heard through it."""
        for meter in meters:
            if meter.device_id in self.behind:
                self.heard(meter)
                continue
            self.reports += 1
            await self.town.side.report(meter, {"energy_import": self.reports})

    async def hours(self, count: int, *meters: SmallMeter, looks: int = LOOKS) -> list[Swept]:
        """Let hours go by in which these meters report; the watch looks so often an hour."""
        swept = []
        for _ in range(count):
            await self.hear(*meters)
            for _ in range(looks):
                swept.append(await self.watch.sweep())
                self.town.side.clock.advance(seconds=3_600 // looks)
        return swept

    def restart(self) -> None:
        """Begin a new watch, as a new process does."""
        self.watch = new_watch(self.town)

    def alarms(self, *, kind: str = OFFLINE) -> list[tuple[int | None, str | None]]:
        """Meter and subject of open alarms."""
        sql = (
            "SELECT meter_id, subject FROM alarm WHERE kind = ? AND cleared_us IS NULL ORDER BY id"
        )
        return [(row["meter_id"], row["subject"]) for row in self.town.rows(sql, kind)]

    def told(self, kind: str = OFFLINE) -> int:
        """How often an event of a kind was told."""
        return len(self.town.rows("SELECT id FROM event WHERE kind = ?", kind))

    async def node(self, *meters: SmallMeter) -> SmallMeter:
        """Add a node with these meters behind it."""
        row: dict[str, SqlValue] = {
            "meter_id": None,
            "medium": "nbiot",
            "address": "box-7",
            "driver": "slotmeter_virtual",
            "supply": "unknown",
            "tamper": 0,
            "serial": "BOX7",
            "created_us": self.town.now_us,
        }
        node_id = await self.town.insert("device", row)
        for slot, meter in enumerate(meters):
            self.behind.add(meter.device_id)
            self.town.rows(
                "UPDATE device SET node_id = ?, slot = ? WHERE id = ?",
                node_id, slot, meter.device_id,
            )  # fmt: skip
        return SmallMeter(0, "", "", "", 0, "", node_id, "box-7", None)

    def heard(self, device: SmallMeter) -> None:
        """Note a contact of a node, whose frames no driver reads here, or of a meter behind it."""
        self.town.rows(
            "UPDATE device SET last_contact_us = ? WHERE id = ?",
            self.town.now_us, device.device_id,
        )  # fmt: skip


class ProcessDied(Exception):
    """Stands for the end of a process."""


class DiesAfter:
    """A unit of work whose process ends after so many units were written."""

    def __init__(self, uow: UnitOfWork, units: int) -> None:
        self._uow = uow
        self._left = units

    async def run(
        self,
        reads: Reads,
        decide: Callable[[Rows, NewId], Changes[T]],
        *,
        apart: Apart | None = None,
    ) -> T:
        if not self._left:
            raise ProcessDied
        self._left -= 1
        return await self._uow.run(reads, decide, apart=apart)

    async def read(self, reads: Reads) -> Rows:
        return await self._uow.read(reads)


def expected(watched: Watched) -> list[int]:
    rows = watched.town.rows("SELECT expected_us FROM device ORDER BY id")
    return [row["expected_us"] for row in rows]


@pytest.fixture
async def watched(town: DeviceTown) -> Watched:
    return Watched(town, new_watch(town))


async def meters_of(watched: Watched, count: int) -> list[SmallMeter]:
    return [await watched.town.utility.add_meter("electricity") for _ in range(count)]


async def test_what_is_learned_of_a_device_is_kept_with_it(watched: Watched) -> None:
    (meter,) = await meters_of(watched, 1)

    await watched.hours(6, meter)

    row = watched.town.row("SELECT * FROM device WHERE id = ?", meter.device_id)
    assert (row["interval_us"], row["contacts"], row["contacts_missed"]) == (HOUR_US, 6, 0)
    assert row["expected_us"] == row["last_contact_us"] + HOUR_US


async def test_a_device_that_falls_silent_is_told_of_once_and_once_when_it_is_back(
    watched: Watched,
) -> None:
    meter, lively = await meters_of(watched, 2)
    await watched.hours(6, meter, lively)
    assert watched.alarms() == []

    swept = await watched.hours(12, lively)

    assert watched.alarms() == [(meter.id, None)]
    assert sum(each.raised for each in swept) == watched.told() == 1
    swept = await watched.hours(3, meter, lively)
    assert watched.alarms() == []
    assert sum(each.cleared for each in swept) == watched.told("offline_cleared") == 1
    assert watched.told() == 1


async def test_silence_is_told_of_after_three_intervals(watched: Watched) -> None:
    (meter,) = await meters_of(watched, 1)
    await watched.hours(6, meter)
    last_us = watched.town.row("SELECT * FROM device")["last_contact_us"]

    await watched.hours(4)

    since_us = watched.town.row("SELECT * FROM device")["offline_us"] - last_us
    assert 3 * HOUR_US < since_us <= 3 * HOUR_US + LOOK_US


async def test_a_meter_that_was_never_heard_is_no_alarm(watched: Watched) -> None:
    await meters_of(watched, 1)

    await watched.hours(60)

    assert watched.alarms() == []


async def test_a_restart_neither_forgets_what_is_offline_nor_tells_of_it_again(
    watched: Watched,
) -> None:
    meter, lively = await meters_of(watched, 2)
    await watched.hours(6, meter, lively)
    await watched.hours(5, lively)
    assert watched.told() == 1

    watched.restart()
    await watched.hours(5, lively)

    assert watched.alarms() == [(meter.id, None)]
    assert watched.told() == 1


async def test_after_a_long_stop_nobody_is_offline_before_it_had_its_time(
    watched: Watched,
) -> None:
    meters = await meters_of(watched, 5)
    await watched.hours(6, *meters)

    watched.town.side.clock.advance(hours=40)
    watched.restart()
    swept = await watched.hours(2, *meters)

    assert swept[0].deaf_us >= 40 * HOUR_US
    assert watched.told() == 0
    assert {row["contacts_missed"] for row in watched.town.rows("SELECT * FROM device")} == {0}


async def test_a_device_that_died_during_a_stop_is_told_of_later(watched: Watched) -> None:
    dead, lively = await meters_of(watched, 2)
    await watched.hours(6, dead, lively)

    watched.town.side.clock.advance(hours=40)
    watched.restart()
    await watched.hours(6, lively)

    assert watched.alarms() == [(dead.id, None)]
    assert watched.told() == 1


async def test_a_dead_node_is_one_alarm_and_none_for_the_meters_behind_it(
    watched: Watched,
) -> None:
    meters = await meters_of(watched, 10)
    (lively,) = await meters_of(watched, 1)
    node = await watched.node(*meters)
    for _ in range(6):
        watched.heard(node)
        await watched.hours(1, *meters, lively)

    await watched.hours(30, lively)

    assert watched.alarms() == [(None, "node:BOX7")]
    assert watched.told() == 1
    text = watched.town.row("SELECT text FROM alarm")["text"]
    assert "nor any of the 10 devices behind it" in text


async def test_a_node_that_is_back_clears_once_and_gives_its_meters_time(watched: Watched) -> None:
    meters = await meters_of(watched, 4)
    node = await watched.node(*meters)
    for _ in range(6):
        watched.heard(node)
        await watched.hours(1, *meters)
    await watched.hours(30)

    watched.heard(node)
    await watched.hours(2)

    assert watched.alarms() == []
    assert watched.told("offline_cleared") == 1
    await watched.hours(3, *meters)
    assert watched.told() == 1


async def test_a_meter_that_stays_silent_behind_a_node_that_speaks_is_its_own_alarm(
    watched: Watched,
) -> None:
    dead, *others = await meters_of(watched, 4)
    node = await watched.node(dead, *others)
    for _ in range(6):
        watched.heard(node)
        await watched.hours(1, dead, *others)

    for _ in range(6):
        watched.heard(node)
        await watched.hours(1, *others)

    assert watched.alarms() == [(dead.id, None)]


async def test_a_node_whose_own_frames_nobody_hears_lives_by_the_meters_behind_it(
    watched: Watched,
) -> None:
    meters = await meters_of(watched, 3)
    await watched.node(*meters)
    await watched.hours(6, *meters)
    assert watched.alarms() == []

    await watched.hours(6)

    assert watched.alarms() == [(None, "node:BOX7")]


async def test_a_dead_node_is_told_of_once_and_cleared_once_across_restarts(
    watched: Watched,
) -> None:
    meters = await meters_of(watched, 4)
    (lively,) = await meters_of(watched, 1)
    node = await watched.node(*meters)
    for _ in range(6):
        watched.heard(node)
        await watched.hours(1, *meters, lively)
    await watched.hours(6, lively)
    assert watched.alarms() == [(None, "node:BOX7")]

    watched.restart()
    await watched.hours(6, lively)
    watched.town.side.clock.advance(hours=40)
    watched.restart()
    await watched.hours(6, lively)

    assert watched.alarms() == [(None, "node:BOX7")]
    assert watched.told() == 1
    watched.heard(node)
    watched.town.side.clock.advance(hours=1)
    watched.restart()
    await watched.hours(1, *meters, lively)
    assert watched.alarms() == []
    await watched.hours(3, *meters, lively)
    assert (watched.told(), watched.told("offline_cleared")) == (1, 1)


async def test_after_a_long_stop_a_node_without_frames_of_its_own_has_its_time(
    watched: Watched,
) -> None:
    meters = await meters_of(watched, 3)
    await watched.node(*meters)
    await watched.hours(6, *meters)

    watched.town.side.clock.advance(hours=40)
    watched.restart()
    await watched.hours(1)
    await watched.hours(3, *meters)

    assert watched.told() == 0


@pytest.mark.parametrize("given", [1, 2])
async def test_a_start_that_is_cut_short_gives_each_device_the_time_of_the_stop_once(
    watched: Watched, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = await meters_of(watched, 3)
    await watched.hours(6, *meters)
    before = expected(watched)
    noted_us = watched.town.now_us - LOOK_US
    watched.town.side.clock.advance(hours=40)
    monkeypatch.setattr(looking_times, "SOME_DEVICES", 1)
    watched.watch = OfflineWatch(
        DiesAfter(watched.town.side.uow, 1 + given),
        watched.town.side.clock,
        watched.town.side.bus,
        deaf_us_min=LOOK_US + MINUTE_US,
    )
    with pytest.raises(ProcessDied):
        await watched.watch.sweep()
    assert len({after - at for after, at in zip(expected(watched), before, strict=True)}) == 2

    watched.restart()
    stopped_us = watched.town.now_us - noted_us
    await watched.watch.sweep()

    assert expected(watched) == [at + stopped_us for at in before]


async def test_a_medium_over_which_nobody_is_heard_is_one_alarm(watched: Watched) -> None:
    meters = await meters_of(watched, BEARER_DEVICES_MIN)
    await watched.hours(6, *meters)

    await watched.hours(8)

    assert watched.alarms() == []
    assert watched.alarms(kind=BEARER_SILENT) == [(None, "bearer:nbiot")]
    await watched.hours(4, *meters)
    assert watched.alarms(kind=BEARER_SILENT) == []
    assert (watched.told(BEARER_SILENT), watched.told(f"{BEARER_SILENT}_cleared")) == (1, 1)
    assert watched.told() == 0


async def test_a_medium_with_too_few_devices_left_speaks_for_none_of_them(
    watched: Watched,
) -> None:
    meters = await meters_of(watched, BEARER_DEVICES_MIN)
    await watched.hours(6, *meters)
    await watched.hours(8)
    assert watched.alarms(kind=BEARER_SILENT) == [(None, "bearer:nbiot")]

    watched.town.rows("UPDATE device SET medium = 'ip' WHERE id <> ?", meters[0].device_id)
    await watched.hours(1)
    assert watched.alarms(kind=BEARER_SILENT) == []
    await watched.hours(5)

    assert (meters[0].id, None) in watched.alarms()


@pytest.mark.parametrize(
    "leaves",
    [
        "UPDATE device SET medium = 'net-' || id",
        "UPDATE meter SET state = 'removed'",
    ],
)
async def test_a_medium_that_its_last_device_leaves_is_silent_no_more(
    watched: Watched, leaves: str
) -> None:
    meters = await meters_of(watched, BEARER_DEVICES_MIN)
    await watched.hours(6, *meters)
    await watched.hours(8)
    assert watched.alarms(kind=BEARER_SILENT) == [(None, "bearer:nbiot")]

    watched.town.rows(leaves)
    await watched.hours(1)
    assert watched.alarms(kind=BEARER_SILENT) == []
    await watched.hours(2)

    assert (watched.told(BEARER_SILENT), watched.told(f"{BEARER_SILENT}_cleared")) == (1, 1)
    texts = watched.town.rows("SELECT text FROM event WHERE kind = 'bearer_silent_cleared'")
    assert texts == [{"text": "No device is waited for on nbiot any more"}]


async def test_a_device_that_changes_its_medium_has_its_time_to_be_heard_there(
    watched: Watched,
) -> None:
    side = watched.town.side
    moved, lively = await meters_of(watched, 2)
    await watched.hours(6, moved, lively)
    await watched.hours(2, lively)
    side.drivers[DRIVER_KEY] = replace(side.drivers[DRIVER_KEY], media=("ip",))
    boss = await watched.town.utility.add_principal("Boss", "supervisor")
    wish = BearerWish("ip", "M-1")
    await Bearers(side.uow, side.clock, side.drivers).change(
        boss, moved.number, wish, reason="no radio there"
    )
    await watched.hours(2, lively)
    assert watched.alarms() == []
    await watched.hours(3, lively)

    assert watched.alarms() == [(moved.id, None)]


async def test_a_meter_that_was_taken_away_is_waited_for_no_longer(watched: Watched) -> None:
    gone, lively = await meters_of(watched, 2)
    await watched.hours(6, gone, lively)
    await watched.hours(5, lively)
    assert watched.alarms() == [(gone.id, None)]

    life: dict[str, SqlValue] = {"meter_id": gone.id, "state": "scrapped", "place": "yard",
            "at_us": watched.town.now_us, "reason": "broken"}  # fmt: skip
    await watched.town.insert("meter_life", life)
    await watched.hours(2, lively)

    assert watched.alarms() == []
    await watched.hours(5, lively)
    assert watched.told() == 1


async def test_while_frames_wait_to_be_read_nobody_is_told_of(watched: Watched) -> None:
    meter, lively = await meters_of(watched, 2)
    await watched.hours(6, meter, lively)
    await watched.town.side.hand_in(lively, b"not read yet")

    await watched.hours(5)

    assert watched.told() == 0
    await watched.hours(1, lively)
    assert watched.told() >= 1
