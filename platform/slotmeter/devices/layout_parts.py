"""The parts of a frame of octets at fixed places: marks, clocks, numbers, states, results.

``slotmeter.devices.layout`` joins them to a frame; ``slotmeter.devices.octets`` has them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol

from slotmeter.devices.checksums import Checksum, checksum, checksum_octets
from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.drivers import UNTIMED
from slotmeter.devices.entities import Entity, SupplyState
from slotmeter.devices.frames import Reading, Report, SlotReport
from slotmeter.errors import FrameError

__all__ = [
    "EPOCH",
    "VALUE_MAX",
    "CalendarClock",
    "Check",
    "Clock",
    "Draft",
    "Mark",
    "Order",
    "Part",
    "Result",
    "Serial",
    "Supply",
    "Tamper",
    "check_place",
    "number_at",
    "under_mask",
]

Order = Literal["big", "little"]
"""Which octet of a number comes first."""

LATEST_S: Final = 4_102_444_800
"""2100-01-01: no meter's clock is later."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SERIAL_DIGITS: Final = 8
"""Of the maker's serial within a meter number (IEC 62055-41, DRN)."""

VALUE_MAX: Final = (1 << 63) - 1
"""Values and ids are integers of 64 bits."""


@dataclass(slots=True)
class Draft:
    """A report in the making, filled in by the parts of a layout.

    Args:
        order: of the layout, for numbers that do not have their own.
        measured_at: the meter's clock.
        counted: register, value, and the time it is of where that is not the frame's.
    """

    order: Order
    measured_at: datetime = UNTIMED
    counted: list[tuple[str, int, datetime | None]] = field(default_factory=list)
    supply: SupplyState | None = None
    tamper: bool | None = None
    serial: str | None = None
    results: list[CommandResult] = field(default_factory=list)
    slots: list[SlotReport] = field(default_factory=list)

    def report(self) -> Report:
        """Return the report."""
        return Report(
            measured_at=self.measured_at,
            readings=tuple(
                Reading(name, value, at or self.measured_at) for name, value, at in self.counted
            ),
            supply=self.supply,
            tamper=self.tamper,
            results=tuple(self.results),
            serial=self.serial,
            slots=tuple(self.slots),
        )


class Part(Protocol):
    """Some octets of a frame, with a meaning. A driver may bring parts of its own."""

    @property
    def end(self) -> int:
        """Offset of the octet after the part: a frame has at least so many."""
        ...

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The registers that the part reports."""
        ...

    def read(self, payload: bytes, draft: Draft) -> None:
        """Read the octets of a frame that has all of them.

        Raises:
            FrameError: they mean nothing.
        """
        ...


def number_at(
    payload: bytes, offset: int, size: int, order: Order, *, signed: bool = False, bcd: bool = False
) -> int:
    """Return the number in some octets.

    Raises:
        FrameError: ``not_decimal``: two digits an octet were expected.
    """
    octets = payload[offset : offset + size]
    if not bcd:
        return int.from_bytes(octets, order, signed=signed)
    digits = (octets if order == "big" else octets[::-1]).hex()
    if not digits.isdecimal():
        raise FrameError("not_decimal", f"octets {offset} to {offset + size - 1} are not decimal")
    return int(digits)


def under_mask(number: int, mask: int) -> int:
    """Return the bits of a number that a mask lets through, moved down to bit 0."""
    return (number & mask) >> ((mask & -mask).bit_length() - 1)


def _luhn_digit(digits: str) -> str:
    """Return the check digit that belongs after some digits (IEC 62055-41, DRN)."""
    weighed = (int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(digits)))
    return str(-sum(sum(divmod(each, 10)) for each in weighed) % 10)


def check_place(offset: int, size: int) -> None:
    """Refuse a place that no number in a frame can have.

    Raises:
        ValueError: it is before the frame, or not 1 to 8 octets.
    """
    if offset < 0 or not 1 <= size <= 8:
        raise ValueError(f"expected an offset from 0 and 1 to 8 octets, got {offset} and {size}")


@dataclass(frozen=True, slots=True)
class Mark:
    """Octets that are the same in each frame of the model.

    Raises:
        FrameError: ``wrong_mark`` when they are not; by it frames of other models are told apart.
    """

    offset: int
    octets: bytes
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + len(self.octets)

    def read(self, payload: bytes, draft: Draft) -> None:
        """Compare."""
        if payload[self.offset : self.end] != self.octets:
            raise FrameError("wrong_mark", f"expected {self.octets.hex()} at octet {self.offset}")


@dataclass(frozen=True, slots=True)
class Check:
    """The check of all octets from ``start`` up to itself.

    Raises:
        FrameError: ``wrong_check``.
    """

    kind: Checksum
    offset: int
    start: int = 0
    order: Order | None = None
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + checksum_octets(self.kind)

    def read(self, payload: bytes, draft: Draft) -> None:
        """Compare."""
        stated = int.from_bytes(payload[self.offset : self.end], self.order or draft.order)
        made = checksum(self.kind, payload[self.start : self.offset])
        if made != stated:
            raise FrameError(
                "wrong_check",
                f"the {self.kind.value} of octets {self.start} to {self.offset - 1} is {made:#x}, "
                f"and the frame says {stated:#x}",
            )


@dataclass(frozen=True, slots=True)
class Clock:
    """The meter's clock as a count of seconds.

    Args:
        offset: of its first octet.
        size: in octets.
        since: when the count was 0, aware.
        order: of its octets, where it is not the layout's.

    Raises:
        FrameError: ``clock_not_set`` for 0 and for what is after the year 2099.
    """

    offset: int
    size: int = 4
    since: datetime = EPOCH
    order: Order | None = None
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no frame can have."""
        check_place(self.offset, self.size)
        if self.since.tzinfo is None:
            raise ValueError("expected since with a time zone")

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + self.size

    def read(self, payload: bytes, draft: Draft) -> None:
        """Set the time of the frame."""
        count = number_at(payload, self.offset, self.size, self.order or draft.order)
        if not 0 < count < LATEST_S:
            raise FrameError("clock_not_set", f"the meter's clock counts {count} s")
        draft.measured_at = self.since.astimezone(UTC) + timedelta(seconds=count)
        if draft.measured_at.year >= 2100:
            raise FrameError("clock_not_set", "the meter's clock is after the year 2099")


@dataclass(frozen=True, slots=True)
class CalendarClock:
    """The meter's clock as decimal digits, two an octet: year, month, day, hour, minute, second.

    Args:
        offset: of the year, of which there are the last two digits.
        is_reversed: the second comes first.
        ahead_minutes: by how much the meter's clock is ahead of UTC.

    Raises:
        FrameError: ``not_decimal``, ``clock_not_set``.
    """

    offset: int
    is_reversed: bool = False
    ahead_minutes: int = 0
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + 6

    def read(self, payload: bytes, draft: Draft) -> None:
        """Set the time of the frame."""
        places = range(self.offset, self.end)
        year, month, day, hour, minute, second = (
            number_at(payload, place, 1, "big", bcd=True)
            for place in (reversed(places) if self.is_reversed else places)
        )
        try:
            at = datetime(2_000 + year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError as error:
            raise FrameError("clock_not_set", "the meter's clock shows no date") from error
        draft.measured_at = at - timedelta(minutes=self.ahead_minutes)


@dataclass(frozen=True, slots=True)
class Serial:
    """The number that the meter gives as its own.

    It must be the meter number under which the meter is registered: the platform sets frames aside
    that name another one.

    Args:
        offset: of its first octet.
        size: in octets; 8 at most, but for ``ascii``.
        form: ``number`` (a count), ``bcd`` (two digits an octet) or ``ascii`` (letters and digits).
        digits: filled up with zeros in front to so many.
        order: of its octets, where it is not the layout's.
        maker_code: the 2 or 4 digits that stand before the serial's 8 in the meter number, where
            the meter gives those 8 only; the check digit is put behind them (IEC 62055-41, DRN).

    Raises:
        FrameError: ``not_decimal``, ``wrong_serial``.
    """

    offset: int
    size: int
    form: Literal["number", "bcd", "ascii"] = "bcd"
    digits: int = 0
    order: Order | None = None
    maker_code: str = ""
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no frame can have."""
        check_place(self.offset, 1 if self.form == "ascii" else self.size)
        code = self.maker_code
        if code and not (len(code) in (2, 4) and code.isascii() and code.isdecimal()):
            raise ValueError(f"expected 2 or 4 digits as the maker's code, got {code!r}")

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + self.size

    def read(self, payload: bytes, draft: Draft) -> None:
        """Set the serial."""
        if self.form == "ascii":
            text = payload[self.offset : self.end].rstrip(b"\0 ").decode("ascii", "replace")
            if not (text.isascii() and text.isalnum()):
                raise FrameError("wrong_serial", "expected letters and digits as the serial")
        else:
            is_bcd = self.form == "bcd"
            order = self.order or draft.order
            number = number_at(payload, self.offset, self.size, order, bcd=is_bcd)
            text = str(number).zfill(2 * self.size if is_bcd else 1)
        text = text.zfill(self.digits)
        draft.serial = self._meter_number(text) if self.maker_code else text

    def _meter_number(self, serial: str) -> str:
        digits = serial.lstrip("0").zfill(SERIAL_DIGITS)
        if len(digits) > SERIAL_DIGITS or not digits.isdecimal():
            raise FrameError("wrong_serial", f"expected {SERIAL_DIGITS} digits as the serial")
        whole = self.maker_code + digits
        return whole + _luhn_digit(whole)


@dataclass(frozen=True, slots=True)
class Supply:
    """What the relay or the valve lets through.

    Args:
        offset: of its octet.
        states: what a code means.
        mask: which bits of the octet are the code, moved down to bit 0.

    Raises:
        FrameError: ``unknown_state``.
    """

    offset: int
    states: Mapping[int, SupplyState]
    mask: int = 0xFF
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + 1

    def read(self, payload: bytes, draft: Draft) -> None:
        """Set the state."""
        code = under_mask(payload[self.offset], self.mask)
        if code not in self.states:
            raise FrameError("unknown_state", f"octet {self.offset}: {code} is no state of supply")
        draft.supply = self.states[code]


@dataclass(frozen=True, slots=True)
class Tamper:
    """Bits of which each one means tampering."""

    offset: int
    mask: int = 0xFF
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + 1

    def read(self, payload: bytes, draft: Draft) -> None:
        """Set the condition."""
        draft.tamper = bool(draft.tamper) or bool(payload[self.offset] & self.mask)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one command.

    Args:
        offset: of the octet with the code.
        outcomes: what a code means.
        id_offset: of the command's id; None: the frame does not name the command.
        id_octets: how many octets of the id there are; a driver says the same in
            ``command_id_octets``.
        nothing: the code for "no command was done", unless ``outcomes`` has it.
        order: of the id's octets, where it is not the layout's.
        mask: which bits of the octet are the code, moved down to bit 0.

    Raises:
        FrameError: ``unknown_outcome``.
    """

    offset: int
    outcomes: Mapping[int, Outcome]
    id_offset: int | None = None
    id_octets: int = 1
    nothing: int | None = 0
    order: Order | None = None
    mask: int = 0xFF
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        if self.id_offset is None:
            return self.offset + 1
        return max(self.offset + 1, self.id_offset + self.id_octets)

    def read(self, payload: bytes, draft: Draft) -> None:
        """Add the result."""
        code = under_mask(payload[self.offset], self.mask)
        if code not in self.outcomes:
            if code == self.nothing:
                return
            raise FrameError("unknown_outcome", f"octet {self.offset}: {code} is no outcome")
        command_id = 0
        if self.id_offset is not None:
            order = self.order or draft.order
            command_id = number_at(payload, self.id_offset, self.id_octets, order)
        if command_id <= VALUE_MAX:
            draft.results.append(CommandResult(command_id, self.outcomes[code]))
