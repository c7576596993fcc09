"""All that a driver needs whose meter speaks in octets at fixed places.

::

    from slotmeter.devices import octets

    FRAME = octets.frame(15, octets.Clock(2), octets.Field("volume", 6, 4, "10 L"), ...)
    COMMANDS = octets.CommandLayout({CommandKind.CLOSE_VALVE: 2, CommandKind.OPEN_VALVE: 3})
    DRIVER = octets.driver(FRAME, COMMANDS, key="acme_w1", ...)
"""

from __future__ import annotations

from typing import Final

from slotmeter.devices.checksums import Checksum
from slotmeter.devices.command_layout import Amount, Argument, CommandLayout, Digits, Fixed, Word
from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult, Outcome
from slotmeter.devices.drivers import CommandExample, Driver, Example
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.layout import Choice, Field, Layout, Series, Slots
from slotmeter.devices.layout_parts import (
    CalendarClock,
    Check,
    Clock,
    Draft,
    Mark,
    Order,
    Part,
    Result,
    Serial,
    Supply,
    Tamper,
)
from slotmeter.units import Commodity

__all__ = [
    "Amount",
    "Argument",
    "CalendarClock",
    "Check",
    "Checksum",
    "Choice",
    "Clock",
    "CommandExample",
    "CommandKind",
    "CommandLayout",
    "CommandOut",
    "CommandResult",
    "Commodity",
    "Digits",
    "Draft",
    "Example",
    "Field",
    "Fixed",
    "Layout",
    "Mark",
    "Order",
    "Outcome",
    "Part",
    "Result",
    "Serial",
    "Series",
    "Slots",
    "Supply",
    "SupplyState",
    "Tamper",
    "Word",
    "driver",
    "frame",
]

_NO_COMMANDS: Final = CommandLayout({})


def frame(
    size: int, *parts: Part, order: Order = "big", path: str | None = None, more: bool = False
) -> Layout:
    """Return the description of a kind of frame.

    Args:
        size: how many octets it has.
        parts: what they mean, marks and checks first; the rest as of ``Layout``.

    Raises:
        ValueError: what ``Layout`` says.
    """
    return Layout(size, parts, order, path, more)


def driver(  # noqa: PLR0913  named as the fields of Driver are
    frames: Layout | Choice,
    commands: CommandLayout = _NO_COMMANDS,
    *,
    key: str,
    maker: str,
    model: str,
    medium: str,
    commodities: frozenset[Commodity],
    examples: tuple[Example, ...],
    media: tuple[str, ...] = (),
    command_examples: tuple[CommandExample, ...] = (),
) -> Driver:
    """Return the driver of a meter whose frames and commands are described.

    Args:
        frames: what the meter says.
        commands: what it can be told; nothing if not given.
        key: as of ``Driver``, like all that follow.

    Raises:
        ValueError: what ``Driver`` says.
    """
    return Driver(
        key=key,
        maker=maker,
        model=model,
        medium=medium,
        media=media,
        commodities=commodities,
        entities=frames.entities,
        decode=frames.decode,
        encode=commands.encode,
        decode_command=commands.decode,
        commands=commands.kinds,
        command_id_octets=commands.id_octets,
        examples=examples,
        command_examples=command_examples,
        claims=frames.claims,
    )
