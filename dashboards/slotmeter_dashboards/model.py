"""What the API answers, as values: JSON comes in here and nowhere else.

Every ``parse_*`` takes one decoded JSON object and raises ``Unavailable`` (``api_not_understood``)
when it is not what the API document promises. Unknown members are ignored, so that a newer platform
can add some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Generic, TypeVar

from slotmeter.units import QUANTITIES
from slotmeter_dashboards.answers import Row
from slotmeter_dashboards.answers import amounts as _amounts
from slotmeter_dashboards.answers import counts as _counts
from slotmeter_dashboards.answers import decimal as _decimal
from slotmeter_dashboards.answers import flag as _flag
from slotmeter_dashboards.answers import member as _object
from slotmeter_dashboards.answers import members as _rows
from slotmeter_dashboards.answers import number as _number
from slotmeter_dashboards.answers import text as _text
from slotmeter_dashboards.answers import time as _time
from slotmeter_dashboards.answers import time_needed as _time_needed

__all__ = [
    "Alarm",
    "Bucket",
    "Command",
    "Event",
    "Meter",
    "Overview",
    "Page",
    "Sale",
    "SoldHour",
    "Token",
    "parse_alarm",
    "parse_command",
    "parse_event",
    "parse_meter",
    "parse_overview",
    "parse_page",
    "parse_readings",
    "parse_sale",
    "parse_token",
]

RIGHTS_PARTS = ("meters", "alarms", "commands")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next`` is the cursor of the following page, None at the end."""

    items: tuple[T, ...]
    next: str | None


def parse_page(answer: Row, parse: Callable[[Row], T]) -> Page[T]:
    """Read ``{items, next}``; some cursors are numbers, and an id works as well as text."""
    cursor = answer.get("next")
    items = tuple(parse(row) for row in _rows(answer, "items"))
    return Page(items, None if cursor is None else str(cursor))


@dataclass(frozen=True, slots=True)
class SoldHour:
    """What was sold in one hour of the utility's day, named by its start."""

    start: datetime
    count: int
    tendered: Decimal


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that waits for somebody."""

    id: int
    meter: str | None
    kind: str
    severity: str
    text: str
    raised_at: datetime
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class Command:
    """One command on its way to a meter."""

    id: int
    meter: str
    kind: str
    state: str
    cause: str
    reason: str
    hold: tuple[str, ...]
    result: str | None
    asked_by: str
    created_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of what happened."""

    id: int
    at: datetime
    kind: str
    severity: str
    meter: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale, without its token."""

    receipt_number: str
    state: str
    meter: str
    commodity: str
    credit_mode: str
    tendered: Decimal
    currency: str
    units: Decimal | None
    unit: str
    sold_by: str
    sold_at: datetime
    delivery: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token of one meter, masked."""

    receipt_number: str
    sold_at: datetime
    units: Decimal | None
    unit: str
    state: str
    delivery: str
    accepted_by: str | None
    accepted_at: datetime | None
    masked: str
    is_free: bool = False


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter as its list and its page show it; quantities in the unit that is sold."""

    number: str
    commodity: str
    credit_mode: str
    area: str
    address: str
    customer: str
    account: str
    critical: bool
    supply: str
    unit: str
    register: Decimal | None
    credit_balance: Decimal | None
    credit_total: Decimal | None
    account_balance: Decimal | None
    tamper: bool
    online: bool
    last_contact_at: datetime | None
    measured_at: datetime | None
    driver: str
    medium: str
    state: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A register over one span of the meter's own time.

    Args:
        start: first instant of the span.
        end: first instant after it.
        first: the register's first value in the span, in the unit that is sold.
        last: its last value.
    """

    start: datetime
    end: datetime
    first: Decimal
    last: Decimal

    @property
    def width(self) -> timedelta:
        """How long the span is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the whole utility at one moment.

    ``hidden`` names the parts that the key has no right to see: ``meters``, ``alarms``,
    ``commands``. Their counts are zero and mean nothing.
    """

    as_of: datetime
    utility: str
    time_zone: str
    currency: str
    sale_count: int
    tendered: Decimal
    units: Mapping[str, Decimal]
    hours: tuple[SoldHour, ...]
    meter_count: int
    by_supply: Mapping[str, int]
    by_commodity: Mapping[str, int]
    heard: int
    alarm_count: int
    alarms: tuple[Alarm, ...]
    commands_by_state: Mapping[str, int]
    commands: tuple[Command, ...]
    quarantined: int
    ledger_balanced: bool
    hidden: frozenset[str] = frozenset()


def parse_alarm(row: Row) -> Alarm:
    """Read one alarm."""
    return Alarm(
        id=_number(row, "id"),
        meter=row.get("meter"),
        kind=_text(row, "kind"),
        severity=_text(row, "severity", "alarm"),
        text=_text(row, "text", ""),
        raised_at=_time_needed(row, "raised_at"),
        cleared_at=_time(row, "cleared_at"),
    )


def parse_command(row: Row) -> Command:
    """Read one command; a held or refused one carries its causes."""
    return Command(
        id=_number(row, "id"),
        meter=_text(row, "meter"),
        kind=_text(row, "kind"),
        state=_text(row, "state"),
        cause=_text(row, "cause", ""),
        reason=_text(row, "reason", ""),
        hold=_causes(row),
        result=row.get("result"),
        asked_by=_text(row, "asked_by", ""),
        created_at=_time_needed(row, "created_at"),
        sent_at=_time(row, "sent_at"),
        ended_at=_time(row, "ended_at"),
    )


def _causes(row: Row) -> tuple[str, ...]:
    return tuple(_text(each, "text", _text(each, "code", "")) for each in _rows(row, "causes"))


def parse_event(row: Row) -> Event:
    """Read one event."""
    return Event(
        id=_number(row, "id"),
        at=_time_needed(row, "at"),
        kind=_text(row, "kind"),
        severity=_text(row, "severity", "info"),
        meter=row.get("meter"),
        text=_text(row, "text", ""),
    )


def parse_sale(row: Row) -> Sale:
    """Read one sale."""
    return Sale(
        receipt_number=_text(row, "receipt_number"),
        state=_text(row, "state"),
        meter=_text(row, "meter"),
        commodity=_text(row, "commodity"),
        credit_mode=_text(row, "credit_mode", "meter"),
        tendered=_decimal(row, "tendered") or Decimal(0),
        currency=_text(row, "currency"),
        units=_decimal(row, "units"),
        unit=_text(row, "unit", ""),
        sold_by=_text(row, "sold_by", ""),
        sold_at=_time_needed(row, "sold_at"),
        delivery=_text(_object(row, "delivery"), "state", "none"),
    )


def parse_token(row: Row) -> Token:
    """Read one masked token."""
    return Token(
        receipt_number=_text(row, "receipt_number", ""),
        sold_at=_time_needed(row, "sold_at"),
        units=_decimal(row, "units"),
        unit=_text(row, "unit", ""),
        state=_text(row, "state"),
        delivery=_text(row, "delivery", "none"),
        accepted_by=row.get("accepted_by"),
        accepted_at=_time(row, "accepted_at"),
        masked=_text(row, "token_masked", ""),
        is_free=row.get("purpose") == "free",
    )


def parse_meter(row: Row) -> Meter:
    """Read one meter, of the list or by its number."""
    return Meter(
        number=_text(row, "number"),
        commodity=_text(row, "commodity"),
        credit_mode=_text(row, "credit_mode", "meter"),
        area=_text(row, "area", ""),
        address=_text(row, "address", ""),
        customer=_text(row, "customer", ""),
        account=_text(row, "account", ""),
        critical=_flag(row, "critical"),
        supply=_text(row, "supply", "unknown"),
        unit=_text(row, "unit", ""),
        register=_decimal(row, "register"),
        credit_balance=_decimal(row, "credit_balance"),
        credit_total=_decimal(row, "credit_total"),
        account_balance=_decimal(row, "account_balance"),
        tamper=_flag(row, "tamper"),
        online=_flag(row, "online"),
        last_contact_at=_time(row, "last_contact_at"),
        measured_at=_time(row, "measured_at"),
        driver=_text(row, "driver", ""),
        medium=_text(row, "medium", ""),
        state=_text(row, "state", "active"),
    )


def parse_readings(answer: Row) -> tuple[Bucket, ...]:
    """Read the buckets of one register, oldest first, turned into the unit that is sold.

    The platform answers in base units (Wh, mL) and names them.
    """
    quantity = QUANTITIES.get(_text(answer, "unit", ""))
    divisor = quantity.per_sold_unit if quantity is not None else 1
    buckets = []
    for row in _rows(answer, "buckets"):
        first, last = _decimal(row, "first"), _decimal(row, "last")
        if first is None or last is None:
            continue
        start, end = _time_needed(row, "start"), _time_needed(row, "end")
        buckets.append(Bucket(start, end, first / divisor, last / divisor))
    return tuple(sorted(buckets, key=lambda bucket: bucket.start))


def _sold_hour(row: Row) -> SoldHour:
    tendered = _decimal(row, "tendered") or Decimal(0)
    return SoldHour(_time_needed(row, "hour"), _number(row, "count", 0), tendered)


def parse_overview(answer: Row) -> Overview:
    """Read the whole overview."""
    sales, meters = _object(answer, "sales"), _object(answer, "meters")
    alarms, commands = _object(answer, "alarms"), _object(answer, "commands")
    return Overview(
        as_of=_time_needed(answer, "as_of"),
        utility=_text(answer, "utility", ""),
        time_zone=_text(answer, "time_zone", "UTC"),
        currency=_text(answer, "currency"),
        sale_count=_number(sales, "count", 0),
        tendered=_decimal(sales, "tendered") or Decimal(0),
        units=_amounts(sales, "units"),
        hours=tuple(_sold_hour(row) for row in _rows(answer, "sales_by_hour")),
        meter_count=_number(meters, "total", 0),
        by_supply=_counts(meters, "by_supply"),
        by_commodity=_counts(meters, "by_commodity"),
        heard=_number(meters, "heard", 0),
        alarm_count=_number(alarms, "open", 0),
        alarms=tuple(parse_alarm(row) for row in _rows(alarms, "items")),
        commands_by_state=_counts(commands, "by_state"),
        commands=tuple(parse_command(row) for row in _rows(commands, "items")),
        quarantined=_number(answer, "quarantined", 0),
        ledger_balanced=_flag(answer, "ledger_balanced"),
        hidden=frozenset(name for name in RIGHTS_PARTS if answer.get(name) is None),
    )
