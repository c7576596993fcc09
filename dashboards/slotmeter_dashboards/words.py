"""Numbers, times and states as people read them.

Money and quantities stay exact decimals up to the last step. Times are shown in the utility's zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from slotmeter.units import CURRENCY_EXPONENTS

__all__ = [
    "COMMODITIES",
    "MEDIA",
    "MISSING",
    "NO_BREAK",
    "STATES",
    "State",
    "age",
    "clock",
    "commodity_unit",
    "count",
    "day_and_clock",
    "iso",
    "money",
    "plain",
    "quantity",
    "sentence",
    "state",
    "zone_of",
]

NO_BREAK = "\u00a0"
MISSING = "–"  # noqa: RUF001  an en dash stands for a value that is not known


@dataclass(frozen=True, slots=True)
class State:
    """A state in words; the tone picks its colour and shape, which never stand alone."""

    label: str
    tone: str


COMMODITIES = MappingProxyType(
    {
        "electricity": ("Electricity", "kWh"),
        "water": ("Water", "m³"),
        "gas": ("Gas", "m³"),
    }
)
"""Commodity: its name and the unit it is sold in."""

MEDIA = MappingProxyType({"nbiot": "NB-IoT", "ip": "IP", "lorawan": "LoRaWAN", "plc": "PLC"})
"""Medium: its name for people."""

STATES: Mapping[str, Mapping[str, State]] = MappingProxyType(
    {
        "supply": MappingProxyType(
            {
                "on": State("On", "good"),
                "off": State("Off", "bad"),
                "armed": State("Armed", "warn"),
                "unknown": State("Unknown", "none"),
            }
        ),
        "command": MappingProxyType(
            {
                "queued": State("Queued", "info"),
                "waiting": State("Waiting for contact", "info"),
                "held": State("Held", "warn"),
                "refused": State("Refused", "bad"),
                "sent": State("Sent", "info"),
                "acknowledged": State("Acknowledged", "info"),
                "verified": State("Verified", "good"),
                "failed": State("Failed", "bad"),
                "expired": State("Expired", "none"),
                "superseded": State("Not needed", "none"),
            }
        ),
        "delivery": MappingProxyType(
            {
                "none": State("On the account", "good"),
                "keypad": State("Keypad only", "none"),
                "pending": State("Delivery pending", "info"),
                "sent": State("Sent", "info"),
                "accepted": State("Accepted", "info"),
                "verified": State("Balance rose", "good"),
                "already_used": State("Not needed", "none"),
                "failed": State("Not delivered", "bad"),
            }
        ),
        "token": MappingProxyType(
            {
                "reserved": State("Being issued", "info"),
                "issued": State("Not yet used", "info"),
                "accepted": State("Accepted", "good"),
            }
        ),
        "health": MappingProxyType(
            {
                "on_time": State("On time", "good"),
                "late": State("Late", "warn"),
                "offline": State("Offline", "bad"),
                "behind": State("Node offline", "none"),
                "never": State("Never heard", "none"),
            }
        ),
        "claim": MappingProxyType(
            {
                "waiting": State("Waits for contact", "info"),
                "unclear": State("Needs a choice", "warn"),
                "done": State("Commissioned", "good"),
                "withdrawn": State("Given up", "none"),
            }
        ),
        "severity": MappingProxyType(
            {
                "info": State("Info", "info"),
                "warning": State("Warning", "warn"),
                "alarm": State("Alarm", "bad"),
            }
        ),
    }
)
"""What the API's states are called on a screen, per subject."""


def state(subject: str, name: str) -> State:
    """Return how a state is shown; one that is not known keeps its own name."""
    return STATES[subject].get(name) or State(plain(name), "none")


def plain(name: str) -> str:
    """Turn ``open_relay`` into ``Open relay``."""
    return name.replace("_", " ").capitalize() or MISSING


def sentence(text: str) -> str:
    """Begin with a capital letter and leave the rest as it is."""
    return text[:1].upper() + text[1:]


def commodity_unit(commodity: str) -> str:
    """Return the unit a commodity is sold in."""
    return COMMODITIES.get(commodity, ("", ""))[1]


def count(number: int) -> str:
    """Write a count with separated thousands."""
    return f"{number:,}"


def money(amount: Decimal | None, currency: str) -> str:
    """Write money as ``ZAR 1,234.50``, with the currency's own decimals."""
    if amount is None:
        return MISSING
    places = CURRENCY_EXPONENTS.get(currency, 2)
    return f"{currency}{NO_BREAK}{amount:,.{places}f}"


def quantity(amount: Decimal | None, unit: str, places: int | None = None) -> str:
    """Write a quantity as ``1,234.5 kWh``; by default kWh to the tenth and m³ to the litre."""
    if amount is None:
        return MISSING
    if places is None:
        places = 3 if unit == "m³" else 1
    rounded = amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    return f"{rounded:,}{NO_BREAK}{unit}"


def zone_of(name: str) -> tzinfo:
    """Return a time zone by name; a name that is not known gives UTC."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def clock(at: datetime, zone: tzinfo) -> str:
    """Write a time of the day, ``14:03:05``."""
    return at.astimezone(zone).strftime("%H:%M:%S")


def day_and_clock(at: datetime | None, zone: tzinfo) -> str:
    """Write a day and a time, ``21 Nov 14:03``."""
    if at is None:
        return MISSING
    local = at.astimezone(zone)
    return f"{local.day}{NO_BREAK}{local.strftime('%b %H:%M')}"


def iso(at: datetime | None, zone: tzinfo) -> str:
    """Write a time for a machine, ISO 8601 with the zone's offset, to the second."""
    return "" if at is None else at.astimezone(zone).isoformat(timespec="seconds")


def age(seconds: int) -> str:
    """Write how long ago, as ``3 s ago``; ``live.js`` counts on in the same words."""
    seconds = max(seconds, 0)
    for limit, size, unit in ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h")):
        if seconds < limit:
            return f"{seconds // size}{NO_BREAK}{unit} ago"
    return f"{seconds // 86_400}{NO_BREAK}d ago"
