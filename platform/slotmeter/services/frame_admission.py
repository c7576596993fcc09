"""Who may write to the frame log, and how much: registered devices freely, strangers a sample.

A frame that is not taken is refused with ``Unavailable``, so that its device keeps it: a meter that
is registered a day late loses nothing. What strangers say is worth a sample, by which an operator
finds a meter that nobody registered or whose address is misspelt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import Unavailable
from slotmeter.ports import Read, UnitOfWork
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.units import DAY_US, HOUR_US, MINUTE_US

__all__ = [
    "KNOWN_FOR_US",
    "KNOWN_PER_MINUTE_MAX",
    "UNKNOWN_PER_ADDRESS_AND_HOUR_MAX",
    "UNKNOWN_PER_HOUR_MAX",
    "FrameAdmission",
    "FrameRow",
]

KNOWN_PER_MINUTE_MAX: Final = 600
"""Frames a minute of one registered device; a meter that works needs a handful."""

UNKNOWN_PER_ADDRESS_AND_HOUR_MAX: Final = 3
"""Frames an hour that are kept of one address that nobody registered."""

UNKNOWN_PER_HOUR_MAX: Final = 300
"""Frames an hour that are kept of all such addresses together."""

LOOKED_UP_TOGETHER: Final = 32
PAGE_DEVICES: Final = 10_000

KNOWN_FOR_US: Final = DAY_US
"""A registered device is looked up again after this time, in microseconds, and whenever the
consumer of devices finds that nobody is registered there any more."""


FrameRow = tuple[str, str, str, bytes, int, int | None]
"""A frame as it stands in the log, without its id: medium, address, path, payload, our clock, and
the config entry that it came by."""


@dataclass(slots=True)
class _Known:
    """A registered device that was heard."""

    looked_up_us: int
    minute: int = 0
    frames: int = 0


class FrameAdmission:
    """Decides which frames go into the log. Its counts begin anew with the process."""

    def __init__(self, uow: UnitOfWork, metrics: DeviceMetrics) -> None:
        """Start with nobody heard."""
        self._uow = uow
        self._metrics = metrics
        # Only registered addresses get in here, so there are never more of them than devices.
        self._known: dict[tuple[str, str], _Known] = {}
        self._hour = 0
        self._unknown: Counter[tuple[str, str]] = Counter()

    async def admit(self, medium: str, address: str, now_us: int) -> None:
        """Return if a frame may be logged.

        Args:
            medium: key of the medium that received it.
            address: how the medium knows the device.
            now_us: our clock.

        Raises:
            Unavailable: ``device_unknown`` or ``device_too_busy``; the device may send it again.
        """
        known = await self._look_up((medium, address), now_us)
        if known is None:
            self._admit_unknown((medium, address), now_us // HOUR_US)
        else:
            self._admit_known(known, now_us // MINUTE_US)

    async def admit_many(self, frames: Sequence[FrameRow]) -> dict[int, Unavailable]:
        """Say which of many frames may not be logged, and why, by their place.

        Args:
            frames: as they will stand in the log.
        """
        known = self._known
        others: list[int] = []
        for at, (medium, address, _, _, now_us, _) in enumerate(frames):
            found = known.get((medium, address))
            minute = now_us // MINUTE_US
            if found is None or abs(now_us - found.looked_up_us) >= KNOWN_FOR_US:
                others.append(at)
            elif found.minute != minute:
                found.minute, found.frames = minute, 1
            elif found.frames < KNOWN_PER_MINUTE_MAX:
                found.frames += 1
            else:
                others.append(at)
        return await self._admit_others(frames, others) if others else {}

    async def _admit_others(
        self, frames: Sequence[FrameRow], places: Sequence[int]
    ) -> dict[int, Unavailable]:
        known = self._known
        stale: dict[tuple[str, str], int] = {}
        for at in places:
            medium, address, _, _, now_us, _ = frames[at]
            found = known.get((medium, address))
            if found is None or abs(now_us - found.looked_up_us) >= KNOWN_FOR_US:
                stale[medium, address] = now_us
        if stale:
            await self._look_up_many(stale)
        refused: dict[int, Unavailable] = {}
        for at in places:
            medium, address, _, _, now_us, _ = frames[at]
            found = known.get((medium, address))
            try:
                if found is None:
                    self._admit_unknown((medium, address), now_us // HOUR_US)
                else:
                    self._admit_known(found, now_us // MINUTE_US)
            except Unavailable as error:
                refused[at] = error
        return refused

    def forget(self, key: tuple[str, str]) -> None:
        """Look a medium and address up again when it is heard next."""
        self._known.pop(key, None)

    async def warm(self, now_us: int) -> int:
        """Look up all registered devices, page by page; return how many there are."""
        after = 0
        while True:
            params = {"after": after, "limit": PAGE_DEVICES}
            page = (await self._uow.read([Read("ingest_devices", params, "devices")]))["devices"]
            for row in page:
                self._known.setdefault((row["medium"], row["address"]), _Known(now_us))
            if len(page) < PAGE_DEVICES:
                return len(self._known)
            after = page[-1]["id"]

    async def _look_up_many(self, stale: Mapping[tuple[str, str], int]) -> None:
        keys = list(stale)
        for start in range(0, len(keys), LOOKED_UP_TOGETHER):
            some = keys[start : start + LOOKED_UP_TOGETHER]
            # Always as many, so that it is one statement where reads are made together.
            padded = some + some[-1:] * (LOOKED_UP_TOGETHER - len(some))
            found = await self._uow.read(
                [
                    Read("ingest_registered", {"medium": medium, "address": address}, str(at))
                    for at, (medium, address) in enumerate(padded)
                ]
            )
            for at, key in enumerate(some):
                self._keep(key, stale[key], is_registered=bool(found[str(at)]))

    async def _look_up(self, key: tuple[str, str], now_us: int) -> _Known | None:
        known = self._known.get(key)
        if known is not None and abs(now_us - known.looked_up_us) < KNOWN_FOR_US:
            return known
        params = {"medium": key[0], "address": key[1]}
        found = await self._uow.read([Read("ingest_registered", params, "devices")])
        return self._keep(key, now_us, is_registered=bool(found["devices"]))

    def _keep(self, key: tuple[str, str], now_us: int, *, is_registered: bool) -> _Known | None:
        if not is_registered:
            self._known.pop(key, None)
            return None
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(now_us)
        known.looked_up_us = now_us
        return known

    def _admit_known(self, known: _Known, minute: int) -> None:
        if known.minute != minute:
            known.minute, known.frames = minute, 0
        if known.frames >= KNOWN_PER_MINUTE_MAX:
            self._metrics.frames_too_many.inc()
            raise Unavailable(
                "device_too_busy",
                f"expected at most {KNOWN_PER_MINUTE_MAX} frames a minute of one device",
            )
        known.frames += 1

    def _admit_unknown(self, key: tuple[str, str], hour: int) -> None:
        if self._hour != hour:
            self._hour = hour
            self._unknown.clear()
        if (
            self._unknown[key] >= UNKNOWN_PER_ADDRESS_AND_HOUR_MAX
            or self._unknown.total() >= UNKNOWN_PER_HOUR_MAX
        ):
            # A Counter does not keep what is only looked at: made-up addresses take no memory.
            self._metrics.frames_unknown_dropped.inc()
            raise Unavailable("device_unknown", "no device with this address is registered")
        self._unknown[key] += 1
