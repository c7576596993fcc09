"""How each device is: last contact, how many of its contacts come, battery, signal, clock."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import Clock, Principal, Read, Row, SqlValue
from slotmeter.ports.looking import Looks
from slotmeter.services.list_pages import cut
from slotmeter.services.offline_alarms import record_of
from slotmeter.units import epoch_us

__all__ = ["COUNTS_AGE_S_MAX", "STATES", "DeviceHealth", "Health", "HealthFilter", "HealthPage"]

STATES: Final = ("on_time", "late", "offline", "behind", "never")
"""Heard in time; overdue, but no alarm yet; offline; behind a node that is offline; never heard."""

COUNTS_AGE_S_MAX: Final = 10.0
"""Counting walks all devices of a utility; whoever asks within this time is given the same."""


@dataclass(frozen=True, slots=True)
class Health:
    """How one device is. Times are UTC epoch microseconds of our clock.

    Args:
        id: of the device.
        meter: its number; None for a node.
        node: the serial number or address of the node it is behind.
        behind: how many devices are behind it.
        success_permille: how many of a thousand expected contacts came lately; None while nobody
            knows how often it reports.
        signal: dBm.
        battery: percent.
        clock_offset_us: the meter's clock less ours.
        offline_us: since when it is told to be offline.
    """

    id: int
    meter: str | None
    commodity: str | None
    medium: str
    address: str
    driver: str
    serial: str | None
    node: str | None
    slot: int | None
    behind: int
    entry: str | None
    state: str
    last_contact_us: int | None
    expected_us: int | None
    interval_us: int | None
    success_permille: int | None
    contacts: int
    missed: int
    battery: int | None
    signal: int | None
    clock_offset_us: int | None
    clock_drift_ppb: int | None
    clock_seen_us: int | None
    offline_us: int | None


@dataclass(frozen=True, slots=True)
class HealthFilter:
    """Which devices; None matches all. ``text`` is part of a number, an address or a serial."""

    state: str | None = None
    medium: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class HealthPage:
    """Devices in the order in which they came, and where the next page begins."""

    rows: Sequence[Health]
    next: int | None


class DeviceHealth:
    """Reads how devices are; writes nothing."""

    def __init__(self, looks: Looks, clock: Clock) -> None:
        """Join the parts."""
        self._looks = looks
        self._clock = clock
        self._counted: dict[int, tuple[float, Mapping[str, int]]] = {}
        self._counting: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def devices(
        self, principal: Principal, wanted: HealthFilter, *, after: int = 0, limit: int
    ) -> HealthPage:
        """Return devices and how they are.

        Raises:
            Refused: ``state_unknown``.
        """
        if wanted.state is not None and wanted.state not in STATES:
            raise Refused(
                "state_unknown",
                f"expected one of {', '.join(STATES)}, got {wanted.state[:32]!r}",
                field="state",
            )
        now_us = epoch_us(self._clock.now())
        params: dict[str, SqlValue] = {
            "utility_id": principal.utility_id,
            "now_us": now_us,
            "state": wanted.state,
            "medium": wanted.medium,
            "like": None if wanted.text is None else _like(wanted.text),
            "after": after,
            "limit": limit + 1,
        }
        rows = (await self._looks.read([Read("health_devices", params)]))["health_devices"]
        page, following = cut(rows, limit, lambda row: int(row["id"]))
        return HealthPage([_health(row, now_us) for row in page], following)

    async def of_meter(self, principal: Principal, number: str) -> Health:
        """Return how the device of a meter is.

        Raises:
            NotFound: ``device_unknown``: there is no such meter, or it has no device.
        """
        now_us = epoch_us(self._clock.now())
        params: dict[str, SqlValue] = {
            "utility_id": principal.utility_id,
            "now_us": now_us,
            "number": number,
        }
        rows = (await self._looks.read([Read("health_device", params)]))["health_device"]
        if not rows:
            raise NotFound("device_unknown", f"meter {number[:64]} has no device")
        return _health(rows[0], now_us)

    async def counts(self, principal: Principal) -> Mapping[str, int]:
        """Return how many devices are in each state, at most ``COUNTS_AGE_S_MAX`` ago."""
        of = principal.utility_id
        async with self._counting[of]:
            known = self._counted.get(of)
            now_s = self._clock.monotonic_s()
            if known is not None and 0 <= now_s - known[0] < COUNTS_AGE_S_MAX:
                return known[1]
            params: dict[str, SqlValue] = {
                "utility_id": of,
                "now_us": epoch_us(self._clock.now()),
            }
            rows = (await self._looks.read([Read("health_counts", params)]))["health_counts"]
            found = {row["state"]: int(row["count"]) for row in rows}
            counts = {state: found.get(state, 0) for state in STATES}
            self._counted[of] = (now_s, counts)
            return counts


def _health(row: Row, now_us: int) -> Health:
    return Health(
        id=row["id"],
        meter=row["number"],
        commodity=row["commodity"],
        medium=row["medium"],
        address=row["address"],
        driver=row["driver"],
        serial=row["serial"],
        node=row["node_serial"] or row["node_address"],
        slot=row["slot"],
        behind=row["behind"],
        entry=row["entry"],
        state=row["state"],
        last_contact_us=row["last_contact_us"],
        expected_us=row["expected_us"],
        interval_us=row["interval_us"],
        success_permille=record_of(row).success_permille(now_us),
        contacts=row["contacts"],
        missed=row["contacts_missed"],
        battery=row["battery"],
        signal=row["signal"],
        clock_offset_us=row["clock_offset_us"],
        clock_drift_ppb=row["clock_drift_ppb"],
        clock_seen_us=row["clock_seen_us"],
        offline_us=row["offline_us"],
    )


def _like(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"
