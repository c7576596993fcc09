"""Commands that a driver has no octets for end as refused and keep nothing else from its meter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from slotmeter.devices.commands import CommandKind, CommandOut
from slotmeter.errors import Refused
from slotmeter.ports import Caller
from slotmeter.testing.command_town import cuttable
from slotmeter.testing.device_side import DRIVER_KEY, DeviceTown

pytestmark = pytest.mark.both_databases

Encode = Callable[[tuple[CommandOut, ...]], bytes]


def not_taken(_encode: Encode, _commands: tuple[CommandOut, ...]) -> bytes:
    raise Refused("command_unsupported", "the meter takes no reading now")


def broken(_encode: Encode, _commands: tuple[CommandOut, ...]) -> bytes:
    raise KeyError("read_now")


@pytest.mark.parametrize("fault", [not_taken, broken])
async def test_a_command_without_octets_is_refused_and_the_next_one_goes(
    town: DeviceTown, operator: Caller, fault: Callable[[Encode, tuple[CommandOut, ...]], bytes]
) -> None:
    meter = await cuttable(town)
    scripted = town.side.drivers[DRIVER_KEY]

    def encode(commands: tuple[CommandOut, ...]) -> bytes:
        if any(command.kind is CommandKind.READ_NOW for command in commands):
            return fault(scripted.encode, commands)
        return scripted.encode(commands)

    town.side.drivers[DRIVER_KEY] = replace(scripted, encode=encode)
    asked = await town.side.requests.request_command(operator, meter.number, "read_now", "why")
    await town.sell_token(meter, 50, tid=9)

    taken = [*await town.side.take(meter, limit=2), *await town.side.take(meter, limit=2)]

    assert [each["kind"] for each in taken] == ["load_token"]
    row = town.row("SELECT state, hold FROM command WHERE kind = ?", "read_now")
    assert row["state"] == "refused"
    assert "kind_unsupported" in row["hold"]
    assert asked["kind"] == "read_now"
