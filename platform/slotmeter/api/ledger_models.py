"""The shapes of the books, and of operations on them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slotmeter.api.models import Body, Instant, MeterNumber, Money, MoneyIn, Out, Reason, Sale
from slotmeter.api.query_models import Limit, PageQuery

__all__ = [
    "AccountsPage",
    "AccountsQuery",
    "BalanceRow",
    "CloseBody",
    "CommissionBody",
    "CommissionPart",
    "CommissionPlanLine",
    "CommissionPlansPage",
    "CommissionUnits",
    "DepositBody",
    "FloatLine",
    "FloatsPage",
    "FloatsQuery",
    "JournalLine",
    "JournalPage",
    "JournalQuery",
    "LedgerAccount",
    "LimitBody",
    "Operation",
    "OperationsPage",
    "OperationsQuery",
    "PeriodLine",
    "PeriodsPage",
    "RefundBody",
    "Replacement",
    "ReplacementBody",
    "ReversalBody",
    "SettleBody",
    "Swap",
    "SwapBody",
    "TrialBalanceAnswer",
    "TrialBalanceQuery",
]

RequestId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9._:-]+$",
        description="Yours: make it and keep it before you send. The same id is one operation.",
    ),
]
Day = Annotated[date, Field(strict=False)]
Code = Annotated[str, Field(min_length=1, max_length=32)]
Percent = Annotated[str, Field(min_length=1, max_length=10, examples=["2.5"])]
PaidBy = Literal["till", "bank"]
Kind = Literal["asset", "liability", "income", "expense", "equity"]
OperationKind = Literal[
    "reversal", "replacement", "pay_in", "limit", "refund", "commission", "swap"
]
Declared = Annotated[
    str,
    Field(
        max_length=200,
        description="Who says that the token was not used, and how; needs the right "
        "`sale.correct`. Empty: only where the meter's own report shows it.",
    ),
]


class _Closed(BaseModel):
    """Parameters of a path: closed; text is turned into what a field says."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


# --- questions -----------------------------------------------------------------------------------


class TrialBalanceQuery(_Closed):
    """Over which time; from the beginning until now if not given."""

    from_at: AwareDatetime | None = Field(default=None, alias="from")
    to_at: AwareDatetime | None = Field(default=None, alias="to")


class AccountsQuery(_Closed):
    """Which ledger accounts."""

    family: str = Field(
        default="", max_length=64, description="A code, or what stands before a colon in codes."
    )
    after: str = Field(default="", max_length=200, description="`next` of the page before.")
    limit: Limit = 50


class JournalQuery(_Closed):
    """Which postings, the oldest first."""

    from_at: AwareDatetime = Field(alias="from")
    to_at: AwareDatetime = Field(alias="to")
    after: str = Field(default="", max_length=64, description="`next` of the page before.")
    limit: Limit = 50


class OperationsQuery(PageQuery):
    """Which operations."""

    kind: OperationKind | None = None


class FloatsQuery(_Closed):
    """Which page of sellers."""

    after: str = Field(default="", max_length=64, description="`next` of the page before.")
    limit: Limit = 50


# --- requests ------------------------------------------------------------------------------------


class CloseBody(Body):
    """A local day through which the books are closed."""

    through: Day
    reason: Reason


class ReversalBody(Body):
    """A sale to be taken back."""

    request_id: RequestId
    declared: Declared = ""
    paid_by: PaidBy = Field(
        default="till", description="Who gives the money back: the seller, or the utility."
    )
    reason: Reason


class ReplacementBody(Body):
    """A sale for the wrong meter, to be sold to the right one."""

    request_id: RequestId
    meter: MeterNumber
    declared: Declared = ""
    reason: Reason


class RefundBody(Body):
    """Money that is held for a customer, to be given back."""

    request_id: RequestId
    amount: MoneyIn
    held_as: Literal["kept", "credit"] = Field(
        default="kept",
        description="Kept from a purchase for the next one, or credit that the platform holds.",
    )
    paid_by: PaidBy = "till"
    reason: Reason


class DepositBody(Body):
    """What a seller paid into the bank."""

    request_id: RequestId
    amount: MoneyIn
    reference: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="Of the deposit slip; each slip counts once."
    )
    reason: Reason


class LimitBody(Body):
    """How much a seller may owe."""

    request_id: RequestId
    limit: MoneyIn | None = Field(description="0: only what was paid in; null: no limit.")
    reason: Reason


class Band(Body):
    """From which tender on which percentage."""

    from_tender: MoneyIn
    percent: Percent


class CommissionUnits(Body):
    """What each kWh or m³ earns."""

    electricity: MoneyIn | None = None
    water: MoneyIn | None = None
    gas: MoneyIn | None = None


class CommissionBody(Body):
    """How a seller is paid from a day on; no ``when`` is no commission."""

    when: Literal["sale", "settlement"] | None = None
    bands: Annotated[list[Band], Field(max_length=20)] = Field(default_factory=list)
    per_unit: CommissionUnits = CommissionUnits()
    per_sale: MoneyIn = "0"
    starts: Day | None = Field(default=None, description="The first day; now if not given.")
    reason: Reason


class SettleBody(Body):
    """A local day through which commission is settled."""

    request_id: RequestId
    through: Day
    reason: Reason


class SwapBody(Body):
    """Another meter at the same place."""

    request_id: RequestId
    new: MeterNumber
    credit: Annotated[str, Field(min_length=1, max_length=20)] = Field(
        default="0",
        description="kWh or m³ that the old meter still held, or major units if it counts money.",
    )
    old_register: Annotated[str, Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="kWh or m³ on its counter; null if it cannot be read."
    )
    new_register: Annotated[str, Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="kWh or m³ on the new one's."
    )
    coding: dict[str, Annotated[str, Field(max_length=64)]] = Field(
        default_factory=dict,
        description="For a new meter that is not known yet: columns of the meter file for its key "
        "(the old one's where nothing is said) and its device.",
    )
    reason: Reason


# --- answers -------------------------------------------------------------------------------------


class BalanceRow(Out):
    """One account, or one kind of customers' accounts; debits positive."""

    code: str
    title: str
    kind: Kind
    currency: str
    opening: Money
    debits: Money
    credits: Money
    closing: Money


class TrialBalanceAnswer(Out):
    """All accounts over a time."""

    from_at: Instant | None
    to_at: Instant
    items: list[BalanceRow]
    balanced: bool = Field(description="The closing balances of each currency sum to zero.")


class LedgerAccount(Out):
    """An account as it stands now; debits positive."""

    code: str
    title: str
    kind: Kind
    currency: str
    balance: Money
    reserved: Money
    limit: Money | None


class AccountsPage(Out):
    """Ledger accounts by code."""

    items: list[LedgerAccount]
    next: str | None


class JournalLine(Out):
    """One posting with its journal."""

    journal: int
    at: Instant
    kind: str
    reason: str
    receipt_number: str | None
    by: str | None
    account: str
    amount: Money
    currency: str


class JournalPage(Out):
    """Postings, the oldest first."""

    items: list[JournalLine]
    next: str | None


class PeriodLine(Out):
    """A closed period."""

    through: str
    from_at: Instant | None
    to_at: Instant
    journals: int
    postings: int
    digest: str = Field(description="SHA-256 over its sums and the period before, hex.")
    closed_at: Instant
    closed_by: str
    reason: str


class PeriodsPage(Out):
    """Closed periods, the newest first."""

    items: list[PeriodLine]
    next: int | None


class Operation(Out):
    """What was done, as it is kept for ever."""

    number: str
    kind: OperationKind
    subject: str
    request_id: str
    amount: Money
    currency: str
    branch: str | None
    account: str | None
    receipt_number: str | None = Field(description="Of the sale that it corrects.")
    new_receipt_number: str | None = Field(description="Of the sale that is made instead.")
    reason: str
    detail: dict[str, Any]
    done_at: Instant
    done_by: str


class OperationsPage(Out):
    """Operations, the newest first."""

    items: list[Operation]
    next: int | None


class Replacement(Out):
    """A sale that was replaced, and the new one."""

    operation: Operation
    sale: Sale


class Swap(Out):
    """A meter that was swapped, and the token that carries what was left."""

    operation: Operation
    token: str | None
    mark: Literal["", "training"] = Field(description="`training`: real meters refuse the token.")


class FloatLine(Out):
    """A seller's till; a negative balance is money paid in and not used yet."""

    branch: str
    name: str
    owes: Money
    reserved: Money
    limit: Money | None
    left: Money | None = Field(description="What may still be taken in; null without a limit.")


class FloatsPage(Out):
    """Sellers by branch code."""

    items: list[FloatLine]
    next: str | None


class CommissionPart(Out):
    """From which tender on which percentage."""

    from_tender: Money
    percent: str


class CommissionPlanLine(Out):
    """How a seller is paid from an instant on."""

    branch: str
    starts_at: Instant
    when: Literal["sale", "settlement"] | None
    bands: list[CommissionPart]
    per_unit: dict[str, str]
    per_sale: Money
    set_by: str
    set_at: Instant
    reason: str


class CommissionPlansPage(Out):
    """Plans, the newest first."""

    items: list[CommissionPlanLine]
    next: int | None
