"""What waits and what is refused is seen in the metrics, by a name of its own."""

from __future__ import annotations

import json

import pytest

from slotmeter.devices.frames import PAYLOAD_BYTES_MAX, Frame, Reading, Report
from slotmeter.errors import Refused
from slotmeter.ports import Caller, Changes, Insert, NewId, Rows, SqlValue
from slotmeter.services.commissioning_rows import KIND
from slotmeter.services.quarantine import Quarantine
from slotmeter.services.queue_gauges import QueueGauges
from slotmeter.testing.device_side import MEDIUM, DeviceTown

ASIDE = "slotmeter_quarantine_frames"


@pytest.mark.both_databases
async def test_open_commands_are_counted_by_state(town: DeviceTown, operator: Caller) -> None:
    meters = [await town.utility.add_meter("electricity") for _ in range(3)]
    for meter in meters:
        await town.side.requests.request_command(operator, meter.number, "read_now", "why")
    await town.side.take(meters[0])

    await QueueGauges(town.side.uow, town.side.metrics).look()

    counts = {
        state: town.side.count("slotmeter_commands_open", state=state)
        for state in ("queued", "sent", "held")
    }
    assert counts == {"queued": 2, "sent": 1, "held": 0}


@pytest.mark.both_databases
async def test_frames_that_are_set_aside_are_shown_until_they_are_replayed(
    town: DeviceTown,
) -> None:
    side = town.side
    meter = await town.utility.add_meter("electricity")
    gauges = QueueGauges(side.uow, side.metrics)
    await side.hand_in(meter, b"nobody reads this")
    await side.consumer.step()
    await gauges.look()
    before = side.count(ASIDE, code="not_in_script")

    at = side.clock.now()
    side.script.reports[b"nobody reads this"] = Report(at, (Reading("energy_import", 1, at),))
    quarantine = Quarantine(side.uow, side.clock, side.bus, side.metrics)
    await quarantine.replay_all(town.seller, "not_in_script", reason="mended")
    await gauges.look()

    assert (before, side.count(ASIDE, code="not_in_script")) == (1, 0)
    assert side.count("slotmeter_quarantine_replayed_total") == 1


@pytest.mark.both_databases
async def test_claims_of_all_utilities_are_counted_by_state(town: DeviceTown) -> None:
    states = ("1:waiting", "2:waiting", "1:done")

    def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
        rows: list[dict[str, SqlValue]] = [
            {"id": new_id(), **KIND, "name": str(at), "body": json.dumps({}), "i1": state}
            | {"i2": None, "i3": None, "at_us": town.now_us}
            for at, state in enumerate(states)
        ]
        return Changes(None, [Insert("plugin_record", row) for row in rows])

    await town.side.uow.run([], decide)
    await QueueGauges(town.side.uow, town.side.metrics).look()

    claims = "slotmeter_commissioning_claims"
    assert town.side.count(claims, state="waiting") == 2
    assert town.side.count(claims, state="done") == 1


async def test_frames_that_can_never_be_taken_are_counted_by_cause(town: DeviceTown) -> None:
    now = town.side.clock.now()
    large = Frame(MEDIUM, "a", "m", bytes(PAYLOAD_BYTES_MAX + 1), now)
    far = Frame(MEDIUM, "a" * 256, "m", b"", now)
    with pytest.raises(Refused):
        await town.side.frames.hand_in(large)
    await town.side.frames.hand_in_many([large, far])

    unfit = "slotmeter_frames_unfit_total"
    assert town.side.count(unfit, code="payload_too_large") == 2
    assert town.side.count(unfit, code="address_too_long") == 1
