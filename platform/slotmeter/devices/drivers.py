"""What a driver is: data about one meter model, with code only where its bytes need it.

A pack is a package named by an entry point of the group ``slotmeter.drivers``; every module in it
that has a ``DRIVER`` is a driver. A new driver is one new file and nothing else. For frames of
octets at fixed places ``slotmeter.devices.octets`` has the code: such a driver is a literal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace as changed

from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult
from slotmeter.devices.entities import REGISTERS, Entity, SupplyState, not_a_register
from slotmeter.devices.frames import Reading, Report, SlotReport
from slotmeter.errors import FrameError
from slotmeter.units import Commodity

__all__ = ["COMMAND_ID_OCTETS", "UNTIMED", "CommandExample", "Driver", "Example", "valid_key"]

UNTIMED: Final = datetime(1, 1, 1, tzinfo=UTC)
"""``measured_at`` of a frame that tells no time; :meth:`Driver.read` puts the receipt's there."""

COMMAND_ID_OCTETS: Final = 8
"""A command's id fits in these; meters that echo fewer get the low ones."""


def valid_key(key: str) -> bool:
    """Say whether a driver's or medium's key is a lower-case identifier, 64 characters at most."""
    return key.isidentifier() and key == key.lower() and len(key) <= 64


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example: documentation and test at once.

    What is stated must be exactly what ``decode`` gives. ``None`` states nothing.

    Args:
        note: what the frame shows.
        path: where the frame arrives.
        payload: the bytes.
        values: every register of the frame with its value: an integer in base units, or as the
            meter's display shows it, ``"1234.5 kWh"``. Of a register with several values, the
            newest.
        measured_at: the meter's clock; ``UNTIMED`` for a frame without one.
        supply: what the relay or the valve lets through.
        tamper: whether the meter reports tampering.
        serial: the number that the meter gives as its own.
        results: what the frame says of commands.
        slots: what a node says of the meters behind it.
    """

    note: str
    path: str
    payload: bytes
    values: Mapping[str, int | str]
    measured_at: datetime | None = None
    supply: SupplyState | None = None
    tamper: bool | None = None
    serial: str | None = None
    results: tuple[CommandResult, ...] | None = None
    slots: tuple[SlotReport, ...] | None = None

    def counted(self) -> dict[str, int]:
        """Return the values in base units.

        Raises:
            ValueError: a value is not one of its register, or the register is not known.
        """
        counted: dict[str, int] = {}
        for name, value in self.values.items():
            if name not in REGISTERS:
                raise ValueError(not_a_register(name))
            counted[name] = REGISTERS[name].amount(value) if isinstance(value, str) else value
        return counted


@dataclass(frozen=True, slots=True)
class CommandExample:
    """Commands and the bytes that carry them, as the maker's document shows them.

    Args:
        note: what the meter is asked.
        commands: in the order sent; a sample token only, never one of a real meter.
        payload: the bytes.
    """

    note: str
    commands: tuple[CommandOut, ...]
    payload: bytes


def _timed(readings: tuple[Reading, ...], at: datetime) -> tuple[Reading, ...]:
    return tuple(
        changed(each, measured_at=at) if each.measured_at == UNTIMED else each for each in readings
    )


@dataclass(frozen=True, slots=True)
class Driver:
    """One meter model.

    Args:
        key: unique identifier, snake_case.
        maker: who makes it.
        model: the maker's name for it.
        medium: key of the medium that carries it.
        commodities: what it can meter.
        registers: names of ``REGISTERS`` it reports; those of ``entities`` if not given.
        decode: (path, payload) to a ``Report``; pure; raises ``FrameError`` and nothing else.
        encode: commands to the payload that carries them; pure.
        commands: the kinds it understands.
        examples: at least one.
        media: keys of other media that it speaks as well, with the same bytes.
        entities: how this model has its registers: unit, resolution, where they roll over. A
            register without an entity counts base units and does not roll over.
        decode_command: the other way round of ``encode``: what a payload asks a meter to do; pure;
            raises ``FrameError`` and nothing else. Needed with ``commands``: it is how the contract
            proves that the bytes say what was meant.
        command_examples: worked examples of commands.
        claims: (path, payload): whether the frame looks like one of this model, for commissioning;
            pure and never raises. Without it a frame that can be decoded does.
        command_id_octets: how many octets of a command's id the meter echoes, 0 to 8; with fewer
            than 8 a result names the low ones, with 0 it means the command that is in flight. The
            platform finds the whole id among the commands that the device was sent.
    """

    key: str
    maker: str
    model: str
    medium: str
    commodities: frozenset[Commodity]
    registers: tuple[str, ...] = field(default=(), kw_only=True)
    decode: Callable[[str, bytes], Report]
    encode: Callable[[tuple[CommandOut, ...]], bytes]
    commands: frozenset[CommandKind]
    examples: tuple[Example, ...]
    media: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    decode_command: Callable[[bytes], tuple[CommandOut, ...]] | None = None
    command_examples: tuple[CommandExample, ...] = ()
    claims: Callable[[str, bytes], bool] | None = None
    command_id_octets: int = COMMAND_ID_OCTETS

    def __post_init__(self) -> None:
        """Refuse a driver that could not be found or drawn."""
        if not valid_key(self.key):
            raise ValueError(f"driver key {self.key!r} is not a lower-case identifier")
        if not self.registers:
            names = tuple(dict.fromkeys(entity.name for entity in self.entities))
            object.__setattr__(self, "registers", names)
        unknown = [name for name in self.registers if name not in REGISTERS]
        if unknown:
            raise ValueError(f"driver {self.key}: unknown registers {unknown}")
        if not self.examples:
            raise ValueError(f"driver {self.key}: at least one example is needed")

    def carried_by(self, medium: str) -> bool:
        """Say whether frames of this model come over a medium."""
        return medium == self.medium or medium in self.media

    def entity(self, register: str) -> Entity:
        """Return how this model has a register; of one it does not report, the plain one."""
        found = (entity for entity in self.entities if entity.name == register)
        return next(found, Entity(register))

    def read(self, path: str, payload: bytes, received_at: datetime) -> Report:
        """Decode a frame; one that tells no time is of the moment it was received.

        Raises:
            FrameError: what ``decode`` says.
        """
        report = self.decode(path, payload)
        if report.measured_at != UNTIMED:
            return report
        return changed(
            report,
            measured_at=received_at,
            readings=_timed(report.readings, received_at),
            slots=tuple(
                replace(each, readings=_timed(each.readings, received_at)) for each in report.slots
            ),
            entries=tuple(
                replace(each, at=received_at) if each.at == UNTIMED else each
                for each in report.entries
            ),
            events=tuple(
                replace(each, at=received_at) if each.at == UNTIMED else each
                for each in report.events
            ),
        )

    def in_flight(self, report: Report, command_ids: Iterable[int]) -> Report:
        """Return a report whose results name commands whole, where the meter echoes ids in part.

        A result that fits none of the commands, or more than one, is left out: its number alone
        says of no command what became of it.

        Args:
            report: as decoded.
            command_ids: the device's commands that were sent and are not ended.
        """
        if self.command_id_octets >= COMMAND_ID_OCTETS or not report.results:
            return report
        modulus = 1 << 8 * self.command_id_octets
        sent: dict[int, list[int]] = {}
        for command_id in command_ids:
            sent.setdefault(command_id % modulus, []).append(command_id)
        return changed(
            report,
            results=tuple(
                replace(each, command_id=sent[each.command_id][0])
                for each in report.results
                if len(sent.get(each.command_id, ())) == 1
            ),
        )

    def recognises(self, path: str, payload: bytes) -> bool:
        """Say whether a frame looks like one of this model."""
        if self.claims is not None:
            return self.claims(path, payload)
        try:
            self.decode(path, payload)
        except FrameError:
            return False
        return True
