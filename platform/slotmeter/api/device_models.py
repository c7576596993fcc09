"""The shapes of answers about meters, commands, events and the overview; see ``models``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from slotmeter.api.models import (
    Amount,
    CommandState,
    Commodity,
    CreditMode,
    Instant,
    Money,
    Out,
    SupplyState,
)

__all__ = [
    "Alarm",
    "AlarmsPage",
    "Alive",
    "Bucket",
    "ByCommodity",
    "BySupply",
    "Command",
    "CommandDetail",
    "CommandLogLine",
    "CommandsPage",
    "CreditException",
    "CreditExceptionsPage",
    "Event",
    "EventsPage",
    "Hold",
    "HourOfSales",
    "Meter",
    "MeterCounts",
    "MeterToken",
    "MeterTokensPage",
    "MetersPage",
    "Overview",
    "OverviewAlarms",
    "OverviewCommands",
    "Reading",
    "Readings",
    "Ready",
    "SalesToday",
    "SoldUnits",
]


class Meter(Out):
    """A meter: where it is, what it reported last, how much credit is left."""

    number: str
    commodity: Commodity
    credit_mode: CreditMode
    state: Literal["active", "blocked", "removed"]
    area: str | None
    address: str | None = Field(description="Null for callers without the right to readings.")
    customer: str | None = Field(description="Masked for callers without the right to readings.")
    account: str | None
    critical: bool = Field(description="Supply must never be cut from afar.")
    supply: SupplyState
    unit: str = Field(description="The unit of register and credit.")
    register_value: Amount | None = Field(serialization_alias="register")
    credit_balance: Amount | None = Field(description="Credit that the meter holds.")
    credit_total: Amount | None = Field(description="All credit the meter ever accepted.")
    account_balance: Money | None = Field(description="Credit that the ledger holds.")
    currency: str
    tamper: bool
    online: bool = Field(description="Heard within the last 26 hours.")
    last_contact_at: Instant | None
    measured_at: Instant | None
    driver: str | None
    medium: str | None


class MetersPage(Out):
    """Meters by number."""

    items: list[Meter]
    next: str | None = Field(description="Give it as `after` for the page that follows.")


class Reading(Out):
    """One value, in the register's base unit (Wh, mL, W, ...), by the meter's clock."""

    at: Instant
    value: int


class Bucket(Out):
    """What a register did in a span of time; start included, end excluded."""

    start: Instant
    end: Instant
    min: int
    max: int
    first: int
    last: int
    count: int


class ReadingGap(Out):
    """Time of which nothing is stored; start included, end excluded."""

    start: Instant
    end: Instant


class Readings(Out):
    """Values of one register; ``buckets`` instead of ``items`` when ``bucket`` was asked."""

    register_name: str = Field(serialization_alias="register")
    unit: str
    from_at: Instant = Field(serialization_alias="from")
    to_at: Instant = Field(serialization_alias="to")
    items: list[Reading]
    buckets: list[Bucket]
    gaps: list[ReadingGap] = Field(
        description="Where `bucket` was asked: spans up to now that hold no value; neighbours are "
        "one. They go when the meter sends what it kept."
    )
    truncated: bool = Field(description="There are more values in this time than were given.")


class MeterToken(Out):
    """A token sold for a meter, without its digits."""

    purpose: Literal["key_change", "credit", "free", "replacement"] = Field(
        description="What was paid for, free units, or one of a set that changes the meter's key."
    )
    receipt_number: str
    sold_at: Instant
    tendered: Money = Field(description="For its sale; 0 for what is no paid credit.")
    currency: str
    units: Amount
    unit: str
    state: Literal["reserved", "issued", "accepted", "void"]
    delivery: str = Field(description="Of its sale.")
    accepted_by: Literal["delivery", "keypad"] | None
    accepted_at: Instant | None
    token_masked: str | None


class MeterTokensPage(Out):
    """Tokens, newest first."""

    items: list[MeterToken]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class Hold(Out):
    """Why a command was held or refused."""

    code: str
    text: str
    until: Instant | None


class Command(Out):
    """A command to a meter and where it is on its way."""

    id: int
    meter: str
    commodity: Commodity
    kind: str
    value: int | None = Field(description="Percent, or W; see the request.")
    text: str | None = Field(description="A tariff's number or a credit mode.")
    state: CommandState
    cause: str = Field(description="sale, rule, person or service")
    reason: str
    result: str | None
    causes: list[Hold] = Field(description="Why it is held or was refused.")
    confirmed: bool = Field(description="A second person agreed.")
    attempts: int
    asked_by: str | None
    receipt_number: str | None
    created_at: Instant
    sent_at: Instant | None
    acknowledged_at: Instant | None
    ended_at: Instant | None
    expires_at: Instant
    expected_at: Instant | None = Field(
        description="When the meter is expected to be heard, while the state is `waiting`."
    )
    cell: str | None = Field(description="The cell, gateway or concentrator it was handed to last.")


class CreditException(Out):
    """A sale whose credit is not proven to be in its meter, though it should be by now."""

    receipt_number: str
    meter: str
    commodity: Commodity
    delivery: str = Field(description="`pending`, `sent`, `accepted` or `failed`.")
    issued_at: Instant
    sent_at: Instant | None
    accepted_at: Instant | None = Field(description="The meter took the token, its credit is open.")


class CreditExceptionsPage(Out):
    """Sales whose credit is not proven, newest first."""

    proof_hours: int = Field(description="After so many hours a sale is listed; the policy says.")
    items: list[CreditException]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class CommandLogLine(Out):
    """One step of a command."""

    at: Instant
    state: str
    detail: str


class CommandDetail(Command):
    """A command with all that happened to it."""

    log: list[CommandLogLine]


class CommandsPage(Out):
    """Commands, newest first."""

    items: list[Command]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class Event(Out):
    """Something that happened."""

    id: int
    at: Instant
    kind: str
    severity: Literal["info", "warning", "alarm"]
    meter: str | None
    text: str
    data: dict[str, Any]


class EventsPage(Out):
    """Events in the order they came."""

    items: list[Event]
    next: int = Field(description="Give it as `after` for what comes later.")


class Alarm(Out):
    """A condition that somebody should look at."""

    id: int
    meter: str | None = Field(description="Null for an alarm that is not of a meter.")
    subject: str | None = Field(description="What it is of then, as `vending_key:GAS-2`.")
    kind: str
    severity: str
    text: str
    raised_at: Instant
    cleared_at: Instant | None


class AlarmsPage(Out):
    """Alarms, newest first."""

    items: list[Alarm]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class SoldUnits(Out):
    """Amounts sold, in kWh and m³."""

    electricity: Amount
    water: Amount
    gas: Amount


class SalesToday(Out):
    """Sales of the utility's local day."""

    count: int
    tendered: Money
    units: SoldUnits


class HourOfSales(Out):
    """Sales of one hour, named by its start."""

    hour: Instant
    count: int
    tendered: Money


class BySupply(Out):
    """Meters by what their relay or valve lets through."""

    on: int = 0
    off: int = 0
    armed: int = 0
    unknown: int = 0


class ByCommodity(Out):
    """Meters by what they measure."""

    electricity: int = 0
    water: int = 0
    gas: int = 0


class MeterCounts(Out):
    """How many meters there are, and in what state."""

    total: int
    heard: int = Field(description="Heard within the last 26 hours.")
    by_supply: BySupply
    by_commodity: ByCommodity


class OverviewAlarms(Out):
    """Open alarms, the newest of them in full."""

    open: int
    items: list[Alarm]


class OverviewCommands(Out):
    """Commands of the last 24 hours by state, and the newest in full."""

    by_state: dict[str, int]
    items: list[Command]


class Overview(Out):
    """What the first page shows."""

    as_of: Instant
    utility: str = Field(description="The utility's name.")
    day_start: Instant
    time_zone: str
    currency: str
    sales: SalesToday
    sales_by_hour: list[HourOfSales]
    meters: MeterCounts | None = Field(description="Null without the right `meters`.")
    alarms: OverviewAlarms | None = Field(description="Null without the right `events`.")
    commands: OverviewCommands | None = Field(description="Null without the right `commands`.")
    quarantined: int = Field(description="Frames of the utility's devices that were set aside.")
    ledger_balanced: bool


class Alive(Out):
    """The server answers."""

    alive: Literal[True] = True


class Ready(Out):
    """The server should be given requests."""

    ready: Literal[True] = True
    warnings: list[str] = Field(
        default_factory=list,
        description="Config entries that should run and do not, with the code of the reason.",
    )
