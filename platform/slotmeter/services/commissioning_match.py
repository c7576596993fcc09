"""Which of the devices that nobody registered is the meter that a worker has scanned; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from slotmeter.devices.drivers import Driver
from slotmeter.ports import Row
from slotmeter.services.driver_recognition import (
    Heard,
    Recognised,
    Scan,
    best_drivers,
    by_address,
    identifier,
    pieces,
    recognise,
)
from slotmeter.services.events import compact_json
from slotmeter.units import Commodity, epoch_us

__all__ = [
    "CLAIM_STATES",
    "OPEN_STATES",
    "Claim",
    "FirstReading",
    "Match",
    "Problem",
    "Stranger",
    "StrangerIndex",
    "heard_of",
    "match",
    "strangers_of",
]

CLAIM_STATES: Final = ("waiting", "unclear", "done", "withdrawn")
"""Of a claim: not heard yet; heard, but somebody must choose; commissioned; given up."""

OPEN_STATES: Final = frozenset({"waiting", "unclear"})

SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class FirstReading:
    """The value by which a worker sees that the right meter speaks; in the register's base unit."""

    register: str
    value: int
    measured_us: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a device that was heard is not taken: what a person must choose or mend.

    Args:
        code: stable snake_case identifier.
        text: a sentence for people.
        choices: drivers or addresses to choose from.
    """

    code: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A meter that somebody has scanned, and what became of it.

    Args:
        meter: its number.
        commodity: what it measures.
        scan: the text of the label.
        state: one of :data:`CLAIM_STATES`.
        medium: on which it is expected, or was heard; None for any.
        address: at which it is expected, or was heard; None for any.
        driver: that the worker chose, or that was found; None while it is not known.
        principal_id: who scanned it; ``by`` is their name, and the other ``by_*`` tell from where.
        reason: why.
        at_us: when it was scanned.
        done_us: when its device was registered.
        problem: what a person must mend, when it is unclear.
        readings: what it told first.
    """

    meter: str
    commodity: str
    scan: str
    state: str
    principal_id: int
    reason: str
    at_us: int
    medium: str | None = None
    address: str | None = None
    driver: str | None = None
    done_us: int | None = None
    problem: Problem | None = None
    readings: tuple[FirstReading, ...] = ()
    by: str = ""
    by_address: str = ""
    by_request: str = ""
    by_key_id: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether its device is still looked for."""
        return self.state in OPEN_STATES

    @property
    def is_whole(self) -> bool:
        """Whether all is known that a device needs, before it was heard."""
        return None not in (self.medium, self.address, self.driver)

    def names(self, text: str) -> bool:
        """Say whether an address or a serial number is of this meter."""
        return Scan.of(self.scan, self.meter).names(text)

    def to_body(self) -> str:
        """Write it for its row."""
        return compact_json(asdict(self))

    @classmethod
    def of_body(cls, body: str) -> Self:
        """Read it from its row."""
        known: dict[str, Any] = json.loads(body)
        problem, readings = known.pop("problem"), known.pop("readings")
        return cls(
            **known,
            problem=None
            if problem is None
            else Problem(problem["code"], problem["text"], tuple(problem["choices"])),
            readings=tuple(FirstReading(**each) for each in readings),
        )


@dataclass(frozen=True, slots=True)
class Match:
    """The device of a claim.

    Args:
        frames: what it sent and nobody has taken, the newest first.
        found: by which driver, and what that reads.
    """

    frames: Sequence[Heard]
    found: Recognised

    @property
    def readings(self) -> tuple[FirstReading, ...]:
        """What it told in the newest frame that its driver reads."""
        return tuple(
            FirstReading(each.register, each.value, epoch_us(each.measured_at))
            for each in self.found.readings
        )

    def done(self, claim: Claim, now_us: int) -> Claim:
        """Return the claim with its device."""
        newest = self.frames[0]
        return replace(
            claim,
            state="done",
            medium=newest.medium,
            address=newest.address,
            driver=self.found.driver.key,
            done_us=now_us,
            problem=None,
            readings=self.readings,
        )


@dataclass(frozen=True, slots=True)
class Stranger:
    """A device that was heard and nobody has registered.

    Args:
        frames: how many are kept of it.
        first_us: when the first of these came.
        last_us: when the newest came.
        drivers: keys of those that read its frames, the likeliest first.
        serial: what it gives as its own number.
    """

    medium: str
    address: str
    frames: int
    first_us: int
    last_us: int
    drivers: tuple[str, ...]
    serial: str | None


def heard_of(rows: Sequence[Row]) -> list[Heard]:
    """Return frames of strangers as their rows have them."""
    return [
        Heard(
            row["id"],
            row["medium"],
            row["address"],
            row["path"],
            row["payload"],
            row["received_us"],
            row["entry_id"],
        )
        for row in rows
    ]


def strangers_of(frames: Sequence[Heard], drivers: Mapping[str, Driver]) -> list[Stranger]:
    """Return who was heard, the newest first."""
    found = []
    for (medium, address), sent in by_address(frames).items():
        read = recognise(sent, drivers.values())
        stranger = Stranger(
            medium=medium,
            address=address,
            frames=len(sent),
            first_us=sent[-1].received_us,
            last_us=sent[0].received_us,
            drivers=tuple(each.driver.key for each in read),
            serial=read[0].serial if read else None,
        )
        found.append(stranger)
    return found


class StrangerIndex:
    """Who was heard, by everything that a label may call them.

    A claim is then compared with the few devices that it may mean, and not with all strangers.
    """

    def __init__(self, frames: Sequence[Heard], drivers: Mapping[str, Driver]) -> None:
        """Read the newest frames of each device once, with every driver."""
        self._sent = by_address(frames)
        self._named: dict[str, set[tuple[str, str]]] = {}
        for key, sent in self._sent.items():
            for name in _names(sent, drivers):
                self._named.setdefault(name, set()).add(key)

    def frames_for(self, claim: Claim) -> list[Heard]:
        """Return what devices sent that the claim may mean."""
        names = set(Scan.of(claim.scan, claim.meter).identifiers)
        if claim.address is not None:
            names = {identifier(claim.address)}
        keys = {key for name in names for key in self._named.get(name, ())}
        return [frame for key in sorted(keys) for frame in self._sent[key]]


def _names(sent: Sequence[Heard], drivers: Mapping[str, Driver]) -> set[str]:
    address = sent[0].address
    serials = {each.serial for each in recognise(sent, drivers.values()) if each.serial}
    return {
        name
        for text in (address, *serials)
        for name in (identifier(text), *(piece.upper() for piece in pieces(text)))
    }


def match(
    claim: Claim, frames: Sequence[Heard], drivers: Mapping[str, Driver]
) -> Match | Problem | None:
    """Return the device of a claim, what stands in its way, or None while it was not heard.

    A device is the meter's when its address is on the label, or when it gives a number of the label
    as its own. It is taken only when nothing about it is in doubt: one device, one driver, and no
    other number than the meter's.
    """
    devices = [
        (sent, found)
        for sent in by_address(frames).values()
        if (found := _of_claim(claim, sent, drivers)) is not None
    ]
    if not devices:
        return None
    if len(devices) > 1:
        shown = tuple(f"{sent[0].medium} {sent[0].address}" for sent, _ in devices[:SHOWN_MAX])
        return Problem(
            "several_devices",
            f"{len(devices)} devices say that they are this meter; give the address of the right "
            "one",
            shown,
        )
    sent, found = devices[0]
    return _chosen(claim, sent, found)


def _of_claim(
    claim: Claim, sent: Sequence[Heard], drivers: Mapping[str, Driver]
) -> list[Recognised] | None:
    """Return who reads a device's frames, or None when it is not the claim's."""
    newest = sent[0]
    if claim.medium is not None and newest.medium != claim.medium:
        return None
    tried = [each for each in drivers.values() if claim.driver in (None, each.key)]
    found = recognise(sent, tried, commodity=Commodity(claim.commodity))
    if claim.address is not None:
        is_it = identifier(claim.address) == identifier(newest.address)
        return found if is_it else None
    if claim.names(newest.address):
        return found
    speaking = [each for each in found if each.serial is not None and claim.names(each.serial)]
    return speaking or None


def _chosen(claim: Claim, sent: Sequence[Heard], found: Sequence[Recognised]) -> Match | Problem:
    where = f"{sent[0].medium} {sent[0].address}"
    if not found:
        return Problem(
            "no_driver",
            f"{where} was heard, but no installed driver for {claim.commodity} reads its frames",
        )
    own = [each for each in found if each.serial in (None, claim.meter)]
    if not own:
        others = tuple(sorted({str(each.serial) for each in found}))
        return Problem(
            "serial_differs",
            f"{where} says that it is {others[0]}, not {claim.meter}; scan that meter, or register "
            "it under its own number",
            others,
        )
    best = best_drivers(own)
    if len(best) > 1:
        keys = tuple(sorted(each.driver.key for each in best))
        return Problem(
            "several_drivers",
            f"{where} was heard, and {len(keys)} drivers read its frames; choose one",
            keys,
        )
    return Match(sent, best[0])
