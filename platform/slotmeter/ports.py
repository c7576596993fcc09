"""Every promise from outside on one page: what the platform needs, and what plugins are given.

Each boundary is a ``Protocol``; the implementations live in ``storage``, ``security`` and the
plugins, and each passes a contract suite of ``slotmeter.testing``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import Frame
from slotmeter.units import Commodity
from slotmeter.vending.sts import (
    IssuedToken,
    KeyParameters,
    TokenRequest,
    VendingKey,
    VendingKeyInfo,
)

__all__ = [
    "Aggregate",
    "Caller",
    "Changes",
    "Clock",
    "Commands",
    "CreditRule",
    "CreditView",
    "Frames",
    "From",
    "Insert",
    "Medium",
    "MediumSetup",
    "Metrics",
    "NewId",
    "PluginContext",
    "Principal",
    "Read",
    "ReadingRow",
    "ReadingStore",
    "Reads",
    "Right",
    "Row",
    "Rows",
    "RulePack",
    "SecurityModule",
    "SqlValue",
    "Step",
    "StoreStats",
    "SupplyWish",
    "Tasks",
    "Then",
    "UnitOfWork",
    "Update",
    "Wish",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# --- time ---------------------------------------------------------------------------------------


class Clock(Protocol):
    """Where time comes from; the only source of it."""

    def now(self) -> datetime:
        """Return the present as aware UTC."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards, for time-outs."""
        ...


# --- the unit of work: data in, data out ---------------------------------------------------------

SqlValue = str | int | bytes | None
Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]
NewId = Callable[[], int]


@dataclass(frozen=True, slots=True)
class From:
    """A parameter taken from the first row of an earlier read; without a row the read is empty."""

    read: str
    column: str


@dataclass(frozen=True, slots=True)
class Read:
    """One named statement of ``storage.statements`` with its parameters.

    Args:
        statement: the name in the catalogue.
        params: values, or references to earlier reads of the same unit.
        key: the name of its rows in ``Rows``; the statement's name if not given.
    """

    statement: str
    params: Mapping[str, SqlValue | From] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True, slots=True)
class Then:
    """Further reads, which a pure function chooses by the rows that are there already."""

    of: Callable[[Rows], Sequence[Read]]


Reads = Sequence[Read | Then]


@dataclass(frozen=True, slots=True)
class Insert:
    """A row to add to a table of ``storage.schema``."""

    table: str
    row: Mapping[str, SqlValue]


@dataclass(frozen=True, slots=True)
class Update:
    """A named, guarded update; the unit fails when it does not change ``rows`` rows.

    ``rows`` is None for any number. ``statement`` is the name in the catalogue.
    """

    statement: str
    params: Mapping[str, SqlValue]
    rows: int | None = 1


Step = Insert | Update


@dataclass(frozen=True, slots=True)
class Changes(Generic[T_co]):
    """What a unit of work writes, in order, and what it answers."""

    result: T_co
    steps: Sequence[Step] = ()


class UnitOfWork(Protocol):
    """The transaction boundary.

    ``run`` makes the reads, calls ``decide`` with the rows and a source of new ids, and writes the
    changes: all or nothing, durable before it returns. ``decide`` is pure and synchronous; an error
    it raises is handed to the caller and nothing is written. Ids grow with time.
    """

    async def run(self, reads: Reads, decide: Callable[[Rows, NewId], Changes[T]]) -> T:
        """Read, decide, write, commit.

        Raises:
            Conflict: ``changed_meanwhile`` when a guarded update met other rows than it expected.
            Unavailable: ``database_unavailable`` when the commit failed; nothing was written.
        """
        ...

    async def read(self, reads: Reads) -> Rows:
        """Make reads that see one committed state, without writing."""
        ...


# --- readings ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """One stored value.

    Args:
        meter_id: the platform's id of the meter.
        register: a name of ``devices.entities.REGISTERS``.
        measured_us: the meter's clock, UTC epoch microseconds.
        value: integer in the register's base unit.
        frame_id: the frame it came from, or 0.
    """

    meter_id: int
    register: str
    measured_us: int
    value: int
    frame_id: int = 0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One bucket of a register: bounds are UTC epoch microseconds, start included, end excluded."""

    start_us: int
    end_us: int
    count: int
    minimum: int
    maximum: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How much a store holds."""

    rows: int
    meters: int
    oldest_us: int | None
    newest_us: int | None


class ReadingStore(Protocol):
    """Where register values live; duplicates and late values are harmless."""

    async def append(self, rows: Sequence[ReadingRow], *, cursor: int | None = None) -> int:
        """Store rows keyed by (meter, register, time) and, in the same commit, the cursor.

        Returns how many rows were new. Durable before it returns.
        """
        ...

    async def cursor(self) -> int:
        """Return the newest cursor that ``append`` was given; 0 at first."""
        ...

    async def range(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, limit: int
    ) -> Sequence[ReadingRow]:
        """Return the values with start <= time < end in time order, at most ``limit``."""
        ...

    async def aggregate(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, bucket_us: int
    ) -> Sequence[Aggregate]:
        """Return non-empty buckets aligned to ``start_us``, in time order."""
        ...

    async def last(self, meter_id: int, register: str) -> ReadingRow | None:
        """Return the newest value by the meter's clock."""
        ...

    async def retain(self, before_us: int) -> int:
        """Drop whole days that end at or before the given time; return rows dropped."""
        ...

    async def stats(self) -> StoreStats:
        """Return how much is stored."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of files."""
        ...


# --- keys ----------------------------------------------------------------------------------------


class SecurityModule(Protocol):
    """The only holder of key material; software or hardware."""

    async def issue(
        self, key_id: str, parameters: KeyParameters, request: TokenRequest
    ) -> IssuedToken:
        """Make a token. Pure: the same arguments give the same digits, now and after years.

        Raises:
            Refused: ``key_expired`` and the range errors of the engine.
            NotFound: ``vending_key_unknown``.
        """
        ...

    async def change_key(
        self,
        current: tuple[str, KeyParameters],
        new: tuple[str, KeyParameters],
        *,
        three_tokens: bool = False,
    ) -> tuple[IssuedToken, ...]:
        """Make the key change tokens that take a meter from one set of parameters to another."""
        ...

    async def load(self, key_id: str, key: VendingKey) -> VendingKeyInfo:
        """Take in a vending key; it is never readable again."""
        ...

    async def describe(self, key_id: str) -> VendingKeyInfo:
        """Return what may be known of a key: its names and its check value."""
        ...

    async def close(self) -> None:
        """Forget everything held in memory."""
        ...


# --- who acts ------------------------------------------------------------------------------------


class Right(StrEnum):
    """What a principal may do; roles are sets of these (``services.access``)."""

    QUOTE = "quote"
    SELL = "sell"
    SALES_OWN = "sales.own"
    SALES_ALL = "sales.all"
    METERS = "meters"
    READINGS = "readings"
    COMMANDS = "commands"
    COMMAND_SEND = "command.send"
    COMMAND_CONFIRM = "command.confirm"
    EVENTS = "events"
    METERS_WRITE = "meters.write"
    TARIFFS = "tariffs"
    TARIFF_DRAFT = "tariff.draft"
    TARIFF_APPROVE = "tariff.approve"
    CLASSES_WRITE = "classes.write"
    DEBTS = "debts"
    DEBTS_WRITE = "debts.write"
    FREE_WRITE = "free.write"
    ACCOUNTS_WRITE = "accounts.write"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: a person or a service of one utility and one branch.

    ``kind`` is ``"person"`` or ``"service"``; a service never approves what a second person must.
    """

    id: int
    utility_id: int
    branch_id: int
    name: str
    kind: str
    rights: frozenset[Right]
    currency: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal in one request: what every act records."""

    principal: Principal
    api_key_id: int | None
    address: str
    request_id: str
    terminal: str = ""  # what the key is labelled, such as the name of a till


# --- rules ---------------------------------------------------------------------------------------


class Wish(StrEnum):
    """What credit control wants of the supply."""

    NOTHING = "nothing"
    CUT = "cut"
    RESTORE = "restore"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class CreditView:
    """What a credit rule may know of one meter whose credit the platform holds.

    Args:
        commodity: what the meter delivers.
        balance_minor: ledger balance in minor units; negative is owed.
        low_credit_minor: at or below this the customer is warned.
        supply: the meter's own newest report.
        warned: a low-credit notice was recorded since the last payment.
        cut_pending: a cutting command is on its way (queued, held, sent or acknowledged).
        restore_pending: a restoring command is on its way.
        cut_by_credit: the last cut, done or on its way, was for lack of credit, not by a person.
    """

    commodity: Commodity
    balance_minor: int
    low_credit_minor: int
    supply: SupplyState
    warned: bool
    cut_pending: bool
    restore_pending: bool
    cut_by_credit: bool


@dataclass(frozen=True, slots=True)
class SupplyWish:
    """What a rule wants, and the sentence that the event list will show."""

    wish: Wish
    cause: str


CreditRule = Callable[[CreditView], SupplyWish]


@dataclass(frozen=True, slots=True)
class RulePack:
    """What the entry point group ``slotmeter.rules`` offers."""

    key: str
    credit_control: CreditRule


# --- media ---------------------------------------------------------------------------------------


class Frames(Protocol):
    """Where a medium hands in what it received."""

    async def hand_in(self, frame: Frame) -> int:
        """Write the frame to the durable frame log and return its id.

        Answer the device only after this returned.

        Raises:
            Unavailable: the log cannot take it now; the device must send again.
            Refused: ``payload_too_large``.
        """
        ...


class Commands(Protocol):
    """The durable queue as a medium sees it."""

    async def take(self, address: str, *, limit: int = 1) -> bytes | None:
        """Lease what is due for a device and return it encoded by its driver, or None.

        Taken commands are *sent*; unless the device reports them within the lease they are queued
        again. A device that is not registered gets None.
        """
        ...


class Tasks(Protocol):
    """Tasks owned by the supervisor: ended with the entry, and logged if they fail."""

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work until it ends or the entry is unloaded."""
        ...


class Metrics(Protocol):
    """Named counters under the plugin's own prefix."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to ``slotmeter_<plugin>_<name>_total``."""
        ...


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a config entry of a plugin is given; it opens no database and no file of its own."""

    frames: Frames
    commands: Commands
    tasks: Tasks
    clock: Clock
    log: logging.Logger
    metrics: Metrics


class MediumSetup(Protocol):
    """A medium that runs."""

    async def stop(self) -> None:
        """Stop listening, answer what was begun, let go of sockets."""
        ...

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, for people: ``coap://127.0.0.1:5683``."""
        ...


class Medium(Protocol):
    """What the entry point group ``slotmeter.media`` offers."""

    key: str

    def setup(
        self, context: PluginContext, options: Mapping[str, object]
    ) -> Awaitable[MediumSetup]:
        """Check the options, start to listen, and return what runs.

        Raises:
            ConfigError: an option is unknown or cannot work.
        """
        ...
