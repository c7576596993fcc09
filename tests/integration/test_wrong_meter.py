"""While another meter speaks at a meter's address, that address gets no commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.testing.device_side import DeviceTown, device_town
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[DeviceTown]:
    async with device_town(tmp_path, RULES.credit_control) as opened:
        yield opened


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
