"""Frames of octets at fixed places, described instead of programmed.

A protocol sheet is a table of offsets; a :class:`Layout` is the same table::

    FRAME = Layout(
        octets=15,
        parts=(
            Mark(0, b"W1"),
            Check(Checksum.CRC16_MODBUS, 13, order="little"),
            Clock(2),
            Field("volume", 6, 4, "10 L"),
            Field("flow", 10, 2, "0.1 L/h", signed=True),
            Field("battery", 12, 1, "%"),
        ),
    )

Offsets count octets from 0. ``slotmeter.devices.octets`` has all that such a driver needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from slotmeter.devices.drivers import UNTIMED
from slotmeter.devices.entities import REGISTERS, Entity, RegisterKind, not_a_register
from slotmeter.devices.frames import Report, SlotReport
from slotmeter.devices.layout_parts import (
    EPOCH,
    VALUE_MAX,
    CalendarClock,
    Clock,
    Draft,
    Order,
    Part,
    check_place,
    number_at,
    under_mask,
)
from slotmeter.devices.quantities import CODE, FLAG, Measure
from slotmeter.errors import FrameError

__all__ = ["Choice", "Field", "Layout", "Series", "Slots"]

_OF_ANOTHER: Final = frozenset({"wrong_path", "wrong_length", "wrong_mark"})
"""Refusals of a frame that another layout may read."""


@dataclass(frozen=True, slots=True)
class Field:
    """One register.

    Args:
        register: its name in the vocabulary.
        offset: of its first octet.
        size: in octets, 1 to 8.
        unit: what one count is, as the sheet says it: ``"0.01 kWh"``, ``"10 L"``, ``"0.1 °C"``.
        signed: two's complement.
        bcd: two decimal digits an octet.
        mask: which bits count, moved down to bit 0.
        absent: the count that stands for "no value".
        wrap: the count at which a cumulative register starts at 0 again, where it is not the one
            that its octets cannot hold.
        order: of its octets, where it is not the layout's.
        codes: what each count means, where the meter's numbers are not those of the vocabulary:
            ``{1: "prepaid", 0: "postpaid"}``, or ``{0x11: 1, 0x12: 2}`` for tariffs.

    Raises:
        ValueError: a register that the vocabulary does not have, a unit that is not its own, or
            codes of what is an amount.
        FrameError: ``not_decimal``, ``out_of_range``, ``unknown_code``.
    """

    register: str
    offset: int
    size: int
    unit: str
    signed: bool = False
    bcd: bool = False
    mask: int | None = None
    absent: int | None = None
    wrap: int | None = None
    order: Order | None = None
    codes: Mapping[int, int | str] | None = None
    entities: tuple[Entity, ...] = field(default=(), init=False, repr=False)
    _measure: Measure = field(init=False, repr=False)
    _factor: int = field(init=False, repr=False)
    _meanings: Mapping[int, int] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Look the unit up once."""
        check_place(self.offset, self.size)
        if self.register not in REGISTERS:
            raise ValueError(not_a_register(self.register))
        found = REGISTERS[self.register].measure(self.unit)
        plain = found.factor.denominator == 1 and not found.zero
        object.__setattr__(self, "_measure", found)
        object.__setattr__(self, "_factor", int(found.factor) if plain else 0)
        object.__setattr__(self, "_meanings", self._numbers())
        entity = Entity(self.register, self.unit, self._wrap())
        object.__setattr__(self, "entities", (entity,))

    def _numbers(self) -> Mapping[int, int] | None:
        """Return the codes as numbers of the vocabulary."""
        if self.codes is None:
            return None
        register = REGISTERS[self.register]
        if register.quantity is not None or register.unit not in (CODE, FLAG):
            raise ValueError(f"{self.register} is an amount, and codes are for names and flags")
        return {
            count: register.word(meaning) if isinstance(meaning, str) else meaning
            for count, meaning in self.codes.items()
        }

    def _wrap(self) -> int | None:
        if REGISTERS[self.register].kind is not RegisterKind.CUMULATIVE:
            return None
        counts = self.wrap or self._counts()
        wrap = self._measure.amount(counts)
        return wrap if wrap <= VALUE_MAX else None

    def _counts(self) -> int:
        """Return how many counts its digits or bits tell apart."""
        if self.bcd:
            return int(10 ** (2 * self.size))
        bits = (1 << 8 * self.size) - 1
        return (bits if self.mask is None else under_mask(bits, self.mask)) + 1

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + self.size

    def value(self, payload: bytes, offset: int, order: Order) -> int | None:
        """Return the value at an offset in base units, or None for "no value"."""
        count = number_at(
            payload, offset, self.size, self.order or order, signed=self.signed, bcd=self.bcd
        )
        if self.mask is not None:
            count = under_mask(count, self.mask)
        if count == self.absent:
            return None
        if self._meanings is not None:
            if count not in self._meanings:
                raise FrameError(
                    "unknown_code", f"{self.register}: {count} is no code of the meter"
                )
            count = self._meanings[count]
        value = count * self._factor if self._factor else self._measure.amount(count)
        if value > VALUE_MAX or not REGISTERS[self.register].admits(value):
            raise FrameError(
                "out_of_range", f"{self.register}: {count} is more or less than a meter can mean"
            )
        return value

    def read(self, payload: bytes, draft: Draft) -> None:
        """Add the value."""
        value = self.value(payload, self.offset, draft.order)
        if value is not None:
            draft.counted.append((self.register, value, None))


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one register at even distances in time, as meters keep for the last hours.

    The frame must have a clock, before the series. The newest value is of the last full step of
    the clock, the others of the steps before it.

    Args:
        first: the field of the first value in the frame.
        count: how many values follow one another.
        step_s: seconds between two of them.
        newest_first: whether they go back in time.

    Raises:
        FrameError: as ``Field``, and ``clock_not_set``.
    """

    first: Field
    count: int
    step_s: int
    newest_first: bool = True

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The register."""
        return self.first.entities

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.first.offset + self.count * self.first.size

    def read(self, payload: bytes, draft: Draft) -> None:
        """Add the values, the newest last."""
        if draft.measured_at == UNTIMED:
            raise FrameError("clock_not_set", "values of past hours came without a time")
        since_epoch = (draft.measured_at - EPOCH) // timedelta(seconds=self.step_s)
        newest = EPOCH + since_epoch * timedelta(seconds=self.step_s)
        for back in reversed(range(self.count)):
            place = back if self.newest_first else self.count - 1 - back
            offset = self.first.offset + place * self.first.size
            value = self.first.value(payload, offset, draft.order)
            if value is not None:
                at = newest - back * timedelta(seconds=self.step_s)
                draft.counted.append((self.first.register, value, at))


@dataclass(frozen=True, slots=True)
class Slots:
    """Meters behind a node, one after another, each in as many octets.

    Args:
        offset: of the first octet of the first place.
        count: how many places there are.
        octets: how many each one takes.
        parts: what they mean; offsets count from the first octet of a place.
        first: what the node calls the first place.
        empty: the octet that fills a place without a meter; such a place is passed over.
    """

    offset: int
    count: int
    octets: int
    parts: Sequence[Part]
    first: int = 0
    empty: int | None = None

    def __post_init__(self) -> None:
        """Refuse parts that reach into the next place."""
        _check_ends(self.parts, self.octets)

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The registers of a meter behind the node."""
        return _entities_of(self.parts)

    @property
    def end(self) -> int:
        """Offset of the octet after the part."""
        return self.offset + self.count * self.octets

    def read(self, payload: bytes, draft: Draft) -> None:
        """Add what each place tells."""
        for place in range(self.count):
            start = self.offset + place * self.octets
            octets = payload[start : start + self.octets]
            if self.empty is not None and octets == bytes((self.empty,)) * self.octets:
                continue
            own = Draft(draft.order, draft.measured_at)
            for part in self.parts:
                part.read(octets, own)
            told = own.report()
            draft.slots.append(
                SlotReport(
                    slot=self.first + place,
                    serial=told.serial,
                    readings=told.readings,
                    supply=told.supply,
                    tamper=told.tamper,
                )
            )


def _entities_of(parts: Sequence[Part]) -> tuple[Entity, ...]:
    found = {entity.name: entity for part in parts for entity in part.entities}
    return tuple(found.values())


def _check_ends(parts: Sequence[Part], octets: int) -> None:
    for part in parts:
        if part.end > octets:
            named = " ".join((type(part).__name__, *(each.name for each in part.entities)))
            raise ValueError(
                f"{named} ends with octet {part.end - 1}, after the {octets} octets that there "
                "are; the first one is octet 0"
            )


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of frame.

    Args:
        octets: how many a frame has.
        parts: what they mean, read in this order; marks and checks first, so that a frame of
            something else is refused for what it is. A frame without a clock is of the moment it
            was received.
        order: of numbers whose part does not say it.
        path: where such frames arrive, if they arrive elsewhere than others.
        more: further octets may follow, which newer meters add and these parts do not know.

    Raises:
        ValueError: a part lies outside, or a series has no clock before it.
    """

    octets: int
    parts: Sequence[Part]
    order: Order = "big"
    path: str | None = None
    more: bool = False

    def __post_init__(self) -> None:
        """Refuse a description that cannot be right."""
        _check_ends(self.parts, self.octets)
        kinds = [type(part) for part in self.parts]
        clock = next((n for n, kind in enumerate(kinds) if kind in (Clock, CalendarClock)), 0)
        if {Series, Slots} & set(kinds[:clock]):
            raise ValueError("expected the clock before the series or places whose times it tells")

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The registers that such frames report, each once."""
        return _entities_of(self.parts)

    def decode(self, path: str, payload: bytes) -> Report:
        """Read a frame.

        Raises:
            FrameError: ``wrong_path``, ``wrong_length``, or what a part says.
        """
        if self.path is not None and path != self.path:
            raise FrameError("wrong_path", f"expected such frames at {self.path}")
        if len(payload) < self.octets or (len(payload) > self.octets and not self.more):
            raise FrameError("wrong_length", f"expected {self.octets} octets, got {len(payload)}")
        draft = Draft(self.order)
        for part in self.parts:
            part.read(payload, draft)
        return draft.report()

    def claims(self, path: str, payload: bytes) -> bool:
        """Say whether a frame can be read, which by marks and checks is no chance."""
        try:
            self.decode(path, payload)
        except FrameError:
            return False
        return True


class Choice:
    """Several kinds of frames of one model, told apart by path, length and marks.

    A frame is read by the first layout whose path, length and marks it has.
    """

    def __init__(self, *layouts: Layout) -> None:
        """Take the layouts in the order in which they are tried."""
        self._layouts = layouts

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The registers of all of them, each once."""
        each = (entity for layout in self._layouts for entity in layout.entities)
        return tuple({entity.name: entity for entity in each}.values())

    def decode(self, path: str, payload: bytes) -> Report:
        """Read a frame.

        Raises:
            FrameError: ``unknown_frame`` when it is of no layout, or what its layout says.
        """
        for layout in self._layouts:
            try:
                return layout.decode(path, payload)
            except FrameError as error:
                if error.code not in _OF_ANOTHER:
                    raise
        raise FrameError("unknown_frame", "expected a frame of a known path, length and mark")

    def claims(self, path: str, payload: bytes) -> bool:
        """Say whether one of the layouts claims a frame."""
        return any(layout.claims(path, payload) for layout in self._layouts)
