"""Frames that were set aside are counted, listed, and handed in again once."""

from __future__ import annotations

import pytest

from slotmeter.devices.frames import Reading, Report
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.services import quarantine as module
from slotmeter.services.quarantine import Quarantine
from slotmeter.testing.device_side import DRIVER_KEY, DeviceTown
from slotmeter.testing.small_utility import SmallMeter, meter_number

REASON = "the driver is mended"


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter("electricity")


@pytest.fixture
def aside(town: DeviceTown) -> Quarantine:
    return Quarantine(town.side.uow, town.side.clock, town.side.bus)


async def consume(town: DeviceTown) -> None:
    while await town.side.consumer.step():
        pass


def mend(town: DeviceTown, *payloads: bytes) -> None:
    for number, payload in enumerate(payloads, start=1):
        at = town.later(seconds=number)
        town.side.script.reports[payload] = Report(at, (Reading("energy_import", number, at),))


async def set_aside(town: DeviceTown, meter: SmallMeter, *payloads: bytes) -> None:
    for payload in payloads:
        await town.side.hand_in(meter, payload)
    await consume(town)


@pytest.mark.both_databases
async def test_frames_are_counted_by_cause_and_listed_newest_first(
    town: DeviceTown, meter: SmallMeter, aside: Quarantine
) -> None:
    await set_aside(town, meter, b"one", b"two", b"three")
    await town.side.hand_in("nobody", b"stranger")
    await consume(town)
    anybody = town.seller.principal

    counts = await aside.counts(anybody)
    first = await aside.page(anybody, limit=2)
    second = await aside.page(anybody, limit=2, before=first.next)
    of_code = await aside.page(anybody, code="not_in_script", limit=9)

    assert [(each.code, each.waiting) for each in counts] == [
        ("device_unknown", 1),
        ("not_in_script", 3),
    ]
    assert [row["payload"] for row in (*first.rows, *second.rows)] == [
        b"stranger",
        b"three",
        b"two",
        b"one",
    ]
    assert second.next is None
    assert {row["meter"] for row in of_code.rows} == {meter.number}


@pytest.mark.both_databases
async def test_a_frame_takes_effect_when_it_is_replayed_after_its_driver_was_mended(
    town: DeviceTown, meter: SmallMeter, aside: Quarantine
) -> None:
    await set_aside(town, meter, b"one")
    frame = town.row("SELECT * FROM frame")
    mend(town, b"one")
    town.side.clock.advance(seconds=600)

    done = await aside.replay(town.seller, frame["id"], reason=REASON)
    await consume(town)

    again = town.row("SELECT * FROM frame WHERE id = ?", done.newest)
    assert again["received_us"] == frame["received_us"]
    assert town.row("SELECT register FROM device")["register"] == 1
    assert (await aside.page(town.seller.principal, limit=9)).rows == []
    shown = await aside.page(town.seller.principal, replayed=True, limit=9)
    assert [row["frame_id"] for row in shown.rows] == [frame["id"]]
    act = town.row("SELECT what, subject, reason FROM act WHERE what = 'quarantine.replay'")
    assert act["reason"] == REASON


async def test_a_frame_is_replayed_once(
    town: DeviceTown, meter: SmallMeter, aside: Quarantine
) -> None:
    await set_aside(town, meter, b"one")
    frame = town.row("SELECT id FROM frame")
    await aside.replay(town.seller, frame["id"], reason=REASON)

    with pytest.raises(Conflict) as refused:
        await aside.replay(town.seller, frame["id"], reason=REASON)

    assert refused.value.code == "frame_replayed"
    assert len(town.rows("SELECT id FROM frame")) == 2


async def test_what_cannot_be_read_even_now_is_set_aside_again(
    town: DeviceTown, meter: SmallMeter, aside: Quarantine
) -> None:
    await set_aside(town, meter, b"one")

    done = await aside.replay_all(town.seller, "not_in_script", reason=REASON)
    await consume(town)

    waiting = (await aside.page(town.seller.principal, limit=9)).rows
    assert done.frames == 1
    assert [row["frame_id"] for row in waiting] == [done.newest]


@pytest.mark.both_databases
async def test_all_of_a_cause_are_replayed_unit_by_unit_in_the_order_they_came(
    town: DeviceTown,
    meter: SmallMeter,
    aside: Quarantine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REPLAY_TOGETHER_MAX", 2)
    payloads = [b"one", b"two", b"three", b"four", b"five"]
    await set_aside(town, meter, *payloads)
    mend(town, *payloads)
    town.side.clock.advance(seconds=600)

    done = await aside.replay_all(town.seller, "not_in_script", reason=REASON)
    await consume(town)

    assert done.frames == 5
    assert town.row("SELECT register FROM device")["register"] == 5
    assert (await aside.page(town.seller.principal, limit=9)).rows == []


async def test_a_frame_of_a_stranger_is_taken_once_its_device_is_registered(
    town: DeviceTown, aside: Quarantine
) -> None:
    town.side.script.reports[b"hello"] = Report(
        town.later(), (Reading("energy_import", 42, town.later()),)
    )
    await town.side.hand_in(meter_number(1), b"hello")
    await consume(town)
    await town.utility.add_meter("electricity")

    await aside.replay_all(town.seller, "device_unknown", reason=REASON)
    await consume(town)

    assert town.row("SELECT register, driver FROM device") == {
        "register": 42,
        "driver": DRIVER_KEY,
    }


async def test_a_replay_needs_a_reason_and_a_frame(town: DeviceTown, aside: Quarantine) -> None:
    with pytest.raises(Refused):
        await aside.replay(town.seller, 1, reason="  ")
    with pytest.raises(NotFound):
        await aside.replay(town.seller, 1, reason=REASON)
