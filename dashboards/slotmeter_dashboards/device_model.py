"""Devices, strangers and claims as the API answers them; see ``model``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from slotmeter.units import QUANTITIES
from slotmeter_dashboards.answers import (
    Row,
    decimal,
    member,
    members,
    number,
    text,
    time,
    time_needed,
)

__all__ = [
    "HEALTH_STATES",
    "Claim",
    "Device",
    "Reading",
    "Stranger",
    "parse_claim",
    "parse_commissioning",
    "parse_device",
    "parse_health_counts",
    "parse_stranger",
]

HEALTH_STATES = ("on_time", "late", "offline", "behind", "never")
COMMISSIONING_COUNTS = ("waiting", "unclear", "done", "strangers")


@dataclass(frozen=True, slots=True)
class Device:
    """A device and how it is.

    Args:
        meter: its number; None for a node, which is named by ``serial`` or ``address``.
        success: percent of the contacts that were expected lately.
    """

    id: int
    meter: str | None
    medium: str
    address: str
    driver: str
    serial: str
    node: str
    behind: int
    state: str
    last_contact_at: datetime | None
    expected_at: datetime | None
    interval: timedelta | None
    success: Decimal | None
    missed: int
    battery: int | None
    signal: int | None
    clock_offset_s: Decimal | None
    offline_at: datetime | None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.meter or self.serial or self.address


@dataclass(frozen=True, slots=True)
class Stranger:
    """A device that was heard and that nobody has registered."""

    medium: str
    address: str
    frames: int
    first_at: datetime
    last_at: datetime
    serial: str
    drivers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter told first, in the register's base unit."""

    register: str
    value: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A meter that somebody has scanned."""

    meter: str
    commodity: str
    scan: str
    state: str
    medium: str
    address: str
    driver: str
    problem: str
    choices: tuple[str, ...]
    readings: tuple[Reading, ...]
    scanned_by: str
    scanned_at: datetime
    done_at: datetime | None


def parse_device(row: Row) -> Device:
    """Read one device."""
    interval_s = _whole(row, "interval_s")
    return Device(
        id=number(row, "id"),
        meter=row.get("meter"),
        medium=text(row, "medium", ""),
        address=text(row, "address", ""),
        driver=text(row, "driver", ""),
        serial=text(row, "serial", ""),
        node=text(row, "node", ""),
        behind=number(row, "devices_behind", 0),
        state=text(row, "state"),
        last_contact_at=time(row, "last_contact_at"),
        expected_at=time(row, "expected_at"),
        interval=None if interval_s is None else timedelta(seconds=interval_s),
        success=decimal(row, "success_percent"),
        missed=number(row, "contacts_missed", 0),
        battery=_whole(row, "battery"),
        signal=_whole(row, "signal"),
        clock_offset_s=decimal(row, "clock_offset_s"),
        offline_at=time(row, "offline_at"),
    )


def parse_health_counts(answer: Row) -> Mapping[str, int]:
    """Read how many devices are in each state."""
    return {state: number(answer, state, 0) for state in HEALTH_STATES}


def parse_commissioning(answer: Row) -> Mapping[str, int]:
    """Read how many meters and devices wait for each other."""
    return {name: number(answer, name, 0) for name in COMMISSIONING_COUNTS}


def parse_stranger(row: Row) -> Stranger:
    """Read one device that nobody has registered."""
    return Stranger(
        medium=text(row, "medium"),
        address=text(row, "address"),
        frames=number(row, "frames", 0),
        first_at=time_needed(row, "first_at"),
        last_at=time_needed(row, "last_at"),
        serial=text(row, "serial", ""),
        drivers=_texts(row, "drivers"),
    )


def parse_claim(row: Row) -> Claim:
    """Read one meter that was scanned."""
    problem = member(row, "problem")
    return Claim(
        meter=text(row, "meter"),
        commodity=text(row, "commodity", ""),
        scan=text(row, "scan", ""),
        state=text(row, "state"),
        medium=text(row, "medium", ""),
        address=text(row, "address", ""),
        driver=text(row, "driver", ""),
        problem=text(problem, "text", ""),
        choices=_texts(problem, "choices"),
        readings=tuple(
            Reading(text(each, "register"), number(each, "value"))
            for each in members(row, "first_readings")
        ),
        scanned_by=text(row, "scanned_by", ""),
        scanned_at=time_needed(row, "scanned_at"),
        done_at=time(row, "done_at"),
    )


def sold_value(reading: Reading, commodity: str) -> tuple[Decimal, str] | None:
    """Return a counter in the unit that is sold; None for any other register."""
    unit = {"energy_import": "Wh", "volume": "mL"}.get(reading.register)
    quantity = QUANTITIES.get(unit or "")
    if quantity is None:
        return None
    return Decimal(reading.value) / quantity.per_sold_unit, quantity.sold_symbol


def _whole(row: Row, key: str) -> int | None:
    return None if row.get(key) is None else number(row, key)


def _texts(row: Row, key: str) -> tuple[str, ...]:
    value = row.get(key) or []
    return tuple(str(each) for each in value) if isinstance(value, list) else ()
