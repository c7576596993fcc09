"""While another meter speaks at a meter's address, that address gets no commands."""

from __future__ import annotations

import pytest

from slotmeter.testing.device_side import DeviceTown

pytestmark = pytest.mark.both_databases


async def test_commands_wait_while_another_meter_speaks_at_the_address(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("electricity")
    await town.side.report(meter, {"credit_total": 0}, serial=meter.number)
    await town.sell_token(meter, 50, tid=9)
    await town.side.report(meter, serial="62000000017")
    while_wrong = await town.side.take(meter)
    await town.side.report(meter, {"credit_total": 0}, serial=meter.number)
    when_right = await town.side.take(meter)

    assert not while_wrong
    assert when_right
