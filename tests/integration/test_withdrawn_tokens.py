"""A token whose sale was taken back, and that turns up in a meter after all."""

from __future__ import annotations

import pytest

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.frames import TokenEntry
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def meter(town: DeviceTown) -> SmallMeter:
    return await town.utility.add_meter("electricity")


def withdraw(town: DeviceTown) -> None:
    """Do to the token what taking its sale back does."""
    town.behind.rows("UPDATE token SET state = 'withdrawn'")


async def test_a_withdrawn_token_that_is_typed_raises_an_alarm(
    town: DeviceTown, meter: SmallMeter
) -> None:
    await town.side.report(meter, {"credit_total": 0})
    await town.sell_token(meter, 50, tid=9)
    withdraw(town)
    typed = TokenEntry(Outcome.DONE, 9, 50, town.side.clock.now())

    await town.side.report(meter, {"credit_total": 50}, entries=(typed,))

    kinds = [row["kind"] for row in town.rows("SELECT kind FROM alarm")]
    assert kinds == ["withdrawn_token_used"]
    assert town.row("SELECT state FROM token")["state"] == "accepted"


async def test_a_withdrawn_token_that_a_late_delivery_brought_raises_an_alarm(
    town: DeviceTown, meter: SmallMeter
) -> None:
    _, command_id = await town.sell_token(meter, 50, tid=9)
    await town.side.take(meter)
    withdraw(town)

    await town.side.report(meter, results=(CommandResult(command_id, Outcome.DONE, 9, 50),))

    assert [row["kind"] for row in town.rows("SELECT kind FROM alarm")] == ["withdrawn_token_used"]
