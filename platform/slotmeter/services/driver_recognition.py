"""Which meter speaks in frames that nobody has registered, and which driver reads them; pure.

A worker scans or types what is printed on a meter. Labels hold many things beside a serial number;
everything in one that may be an identifier is compared with what the frames show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.devices.frames import Reading, Report
from slotmeter.errors import FrameError
from slotmeter.services.device_effects import check_report
from slotmeter.services.report_unit import credible_readings
from slotmeter.units import Commodity, instant

__all__ = [
    "SCAN_CHARACTERS_MAX",
    "Heard",
    "Recognised",
    "Scan",
    "best_drivers",
    "by_address",
    "identifier",
    "pieces",
    "read_by",
    "recognise",
]

SCAN_CHARACTERS_MAX: Final = 512
"""No label that a reader gives as text is longer."""

IDENTIFIER_CHARACTERS_MIN: Final = 6
"""Shorter pieces of a label are versions, years and counts."""

PIECES_MAX: Final = 32
FRAMES_TRIED_MAX: Final = 5

_PIECE = re.compile(r"[0-9A-Za-z]+")
_SEPARATED = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){3,}")


def identifier(text: str) -> str:
    """Return an identifier as it is compared: capital letters and digits only."""
    return "".join(_PIECE.findall(text)).upper()


def pieces(text: str) -> list[str]:
    """Return the runs of letters and digits in a text, the first of them."""
    return _PIECE.findall(text)[:PIECES_MAX]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a label says.

    Args:
        text: as it was read or typed.
        identifiers: everything in it that may name the meter or its device.
    """

    text: str
    identifiers: frozenset[str]

    @classmethod
    def of(cls, text: str, *more: str) -> Scan:
        """Take a label apart; ``more`` are further numbers of the meter.

        A label is a number alone, or several of them with their names, as ``SN:1;IMEI:2`` or the
        code of a LoRaWAN device (``LW:D0:JOINEUI:DEVEUI:PROFILE``). What has a prefix of one letter
        for its kind, as ``S0123456``, is taken with and without it.
        """
        separated = {identifier(each) for each in _SEPARATED.findall(text)}
        runs = [each.upper() for each in pieces(text)]
        found = separated | {identifier(text)} | set(runs)
        found |= {piece[1:] for piece in runs if piece[:1].isalpha() and piece[1:].isdigit()}
        found |= {identifier(each) for each in more}
        return cls(text, frozenset(each for each in found if _names_something(each)))

    def names(self, text: str) -> bool:
        """Say whether a device's address or serial number is one that the label names."""
        if identifier(text) in self.identifiers:
            return True
        return any(piece.upper() in self.identifiers for piece in pieces(text))


def _names_something(piece: str) -> bool:
    return len(piece) >= IDENTIFIER_CHARACTERS_MIN and any(each.isdigit() for each in piece)


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame of an address that nobody registered; ``entry_id`` is of the entry it came by."""

    frame_id: int
    medium: str
    address: str
    path: str
    payload: bytes
    received_us: int
    entry_id: int | None = None


@dataclass(frozen=True, slots=True)
class Recognised:
    """How well a driver reads what a device sent.

    Args:
        driver: that reads it.
        read: how many of the frames that were tried it reads.
        tried: how many were tried, the newest first.
        is_alike: its driver claims the frames; or one of them came where one of its examples does,
            and is as long.
        serial: the number that the device gives as its own, if it gives one.
        readings: values of the newest frame that it reads.
    """

    driver: Driver
    read: int
    tried: int
    is_alike: bool
    serial: str | None
    readings: tuple[Reading, ...]

    @property
    def rank(self) -> tuple[bool, int, bool, int]:
        """Return how likely it is the right one; greater is likelier."""
        return (self.serial is not None, self.read, self.is_alike, len(self.readings))


def read_by(driver: Driver, frame: Heard) -> Report | None:
    """Return what a driver reads in a frame, or None when it is none of its own."""
    try:
        if driver.claims is not None and not driver.claims(frame.path, frame.payload):
            return None
        received_at = instant(frame.received_us)
        return check_report(driver.read(frame.path, frame.payload, received_at))
    except FrameError:
        return None
    except Exception:  # noqa: BLE001  the border to a third party's code: it may fail in any way
        return None


def recognise(
    frames: Sequence[Heard],
    drivers: Iterable[Driver],
    *,
    commodity: Commodity | None = None,
) -> list[Recognised]:
    """Return the drivers that read a device's frames, the likeliest first.

    Args:
        frames: of one address, the newest first.
        drivers: all that are installed.
        commodity: what the meter measures, if it is known which meter it is.
    """
    tried = frames[:FRAMES_TRIED_MAX]
    found = [
        recognised
        for driver in drivers
        if tried and _may_be(driver, tried[0].medium, commodity)
        if (recognised := _try(driver, tried, commodity)) is not None
    ]
    return sorted(found, key=lambda each: (each.rank, each.driver.key), reverse=True)


def best_drivers(found: Sequence[Recognised]) -> list[Recognised]:
    """Return those of the likeliest rank: one when it is clear which driver is right."""
    return [each for each in found if each.rank == found[0].rank]


def _may_be(driver: Driver, medium: str, commodity: Commodity | None) -> bool:
    if commodity is not None and commodity not in driver.commodities:
        return False
    return driver.carried_by(medium)


def _try(driver: Driver, frames: Sequence[Heard], commodity: Commodity | None) -> Recognised | None:
    """Read frames with one driver; None when it reads none, or they disagree who speaks."""
    reports = [
        (frame, report) for frame in frames if (report := read_by(driver, frame)) is not None
    ]
    if not reports:
        return None
    serials = {report.serial for _, report in reports if report.serial is not None}
    if len(serials) > 1:
        return None
    newest = reports[0][1]
    readings = newest.readings
    if commodity is not None:
        readings = credible_readings(newest, commodity.value)
    shapes: set[tuple[str, int]] = {
        (example.path, len(example.payload)) for example in driver.examples
    }
    return Recognised(
        driver=driver,
        read=len(reports),
        tried=len(frames),
        is_alike=driver.claims is not None
        or any((frame.path, len(frame.payload)) in shapes for frame, _ in reports),
        serial=next(iter(serials), None),
        readings=readings,
    )


def by_address(frames: Iterable[Heard]) -> Mapping[tuple[str, str], list[Heard]]:
    """Return frames by who sent them, each with the newest first."""
    found: dict[tuple[str, str], list[Heard]] = {}
    for frame in sorted(frames, key=lambda each: each.frame_id, reverse=True):
        found.setdefault((frame.medium, frame.address), []).append(frame)
    return found
