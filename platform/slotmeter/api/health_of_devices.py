"""How devices are, over HTTP."""

from __future__ import annotations

from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.commissioning_models import (
    DeviceHealth,
    DeviceHealthPage,
    DeviceHealthQuery,
    DeviceStates,
)
from slotmeter.api.route import Route, get
from slotmeter.api.sales import instant_text
from slotmeter.errors import Unavailable
from slotmeter.ports import Right
from slotmeter.services.device_health import DeviceHealth as HealthDesk
from slotmeter.services.device_health import Health, HealthFilter
from slotmeter.units import SECOND_US

__all__ = ["ROUTES"]

_METERS: Final = frozenset({Right.METERS})


async def device_health(call: Call[Nothing, DeviceHealthQuery]) -> Answer:
    """List devices and how they are."""
    query = call.query
    wanted = HealthFilter(state=query.state, medium=query.medium, text=query.q)
    page = await _of(call).devices(
        call.caller.principal, wanted, after=query.after, limit=query.limit
    )
    return json_answer(DeviceHealthPage(items=[_health(row) for row in page.rows], next=page.next))


async def device_states(call: Call[Nothing, Nothing]) -> Answer:
    """Count devices by how they are."""
    counts = await _of(call).counts(call.caller.principal)
    return json_answer(DeviceStates(**counts))


async def meter_health(call: Call[Nothing, Nothing]) -> Answer:
    """Return how the device of a meter is."""
    row = await _of(call).of_meter(call.caller.principal, call.path("number"))
    return json_answer(_health(row))


def _of(call: Call[Any, Any]) -> HealthDesk:
    if call.services.health is None:
        raise Unavailable("devices_not_served", "this server serves no devices")
    return call.services.health


def _health(row: Health) -> DeviceHealth:
    permille = row.success_permille
    return DeviceHealth(
        id=row.id,
        meter=row.meter,
        commodity=row.commodity,
        medium=row.medium,
        address=row.address,
        driver=row.driver,
        serial=row.serial,
        node=row.node,
        slot=row.slot,
        devices_behind=row.behind,
        entry=row.entry,
        state=row.state,
        last_contact_at=instant_text(row.last_contact_us),
        expected_at=instant_text(row.expected_us),
        interval_s=None if row.interval_us is None else row.interval_us // SECOND_US,
        success_percent=None if permille is None else f"{permille // 10}.{permille % 10}",
        contacts=row.contacts,
        contacts_missed=row.missed,
        battery=row.battery,
        signal=row.signal,
        clock_offset_s=_thousandths(row.clock_offset_us, 1_000),
        clock_drift_ppm=_thousandths(row.clock_drift_ppb, 1),
        clock_seen_at=instant_text(row.clock_seen_us),
        offline_at=instant_text(row.offline_us),
    )


def _thousandths(amount: int | None, by: int) -> str | None:
    """Write an amount with three decimals, of which ``by`` make one thousandth."""
    if amount is None:
        return None
    whole, part = divmod(abs(amount) // by, 1_000)
    return f"{'-' if amount < 0 else ''}{whole}.{part:03d}"


ROUTES: Final[tuple[Route, ...]] = (
    get(
        "/device-health",
        device_health,
        "devices",
        _METERS,
        DeviceHealthPage,
        query=DeviceHealthQuery,
    ),
    get("/device-health/counts", device_states, "devices", _METERS, DeviceStates),
    get("/meters/{number}/health", meter_health, "devices", _METERS, DeviceHealth),
)
