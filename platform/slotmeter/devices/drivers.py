"""What a driver is: data about one meter model, with code only where its bytes need it.

A pack is a package named by an entry point of the group ``slotmeter.drivers``; every module in it
that has a ``DRIVER`` is a driver. A new driver is one new file and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slotmeter.devices.commands import CommandKind, CommandOut
from slotmeter.devices.entities import REGISTERS
from slotmeter.devices.frames import Report
from slotmeter.units import Commodity

__all__ = ["Driver", "Example", "valid_key"]


def valid_key(key: str) -> bool:
    """Say whether a driver's or medium's key is a lower-case identifier, 64 characters at most."""
    return key.isidentifier() and key == key.lower() and len(key) <= 64


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example: documentation and test at once.

    Args:
        note: what the frame shows.
        path: where the frame arrives.
        payload: the bytes.
        values: register name to integer value, exactly what ``decode`` must give.
    """

    note: str
    path: str
    payload: bytes
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Driver:
    """One meter model.

    Args:
        key: unique identifier, snake_case.
        maker: who makes it.
        model: the maker's name for it.
        medium: key of the medium that carries it.
        commodities: what it can meter.
        registers: names of ``REGISTERS`` it reports.
        decode: (path, payload) to a ``Report``; pure; raises ``FrameError`` and nothing else.
        encode: commands to the payload that carries them; pure.
        commands: the kinds it understands.
        examples: at least one.
    """

    key: str
    maker: str
    model: str
    medium: str
    commodities: frozenset[Commodity]
    registers: tuple[str, ...]
    decode: Callable[[str, bytes], Report]
    encode: Callable[[tuple[CommandOut, ...]], bytes]
    commands: frozenset[CommandKind]
    examples: tuple[Example, ...]

    def __post_init__(self) -> None:
        """Refuse a driver that could not be found or drawn."""
        if not valid_key(self.key):
            raise ValueError(f"driver key {self.key!r} is not a lower-case identifier")
        unknown = [name for name in self.registers if name not in REGISTERS]
        if unknown:
            raise ValueError(f"driver {self.key}: unknown registers {unknown}")
        if not self.examples:
            raise ValueError(f"driver {self.key}: at least one example is needed")
