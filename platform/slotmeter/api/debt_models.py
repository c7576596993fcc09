"""The shapes of debts, blocks of accounts, and the report of arrears."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from slotmeter.api.models import Body, Instant, Money, MoneyIn, Out, Reason
from slotmeter.api.query_models import PageQuery

__all__ = [
    "ArrangeBody",
    "ArrearsAnswer",
    "ArrearsLine",
    "ArrearsQuery",
    "BlockLine",
    "BlocksPage",
    "BlocksQuery",
    "CancelBody",
    "DebtBody",
    "DebtDetail",
    "DebtInterest",
    "DebtLine",
    "DebtLogLine",
    "DebtMovement",
    "DebtPlanLine",
    "DebtSuspension",
    "DebtsOfAccountQuery",
    "DebtsPage",
    "DebtsQuery",
    "InterestAnswer",
    "InterestBody",
    "InterestTermsBody",
    "PlanBody",
    "ReasonBody",
    "SuspendBody",
]

Number = Annotated[str, Field(min_length=1, max_length=64)]
Word = Annotated[str, Field(min_length=1, max_length=32, examples=["arrears"])]
Percent = Annotated[str, Field(min_length=1, max_length=10, examples=["30"])]
Day = Annotated[date, Field(strict=False)]
Shape = Literal["once", "percent", "instalments"]
Every = Literal["purchase", "day", "week", "month"]
Missed = Literal["accumulate", "one_at_a_time", "skip"]
State = Literal["open", "suspended", "closed", "cancelled"]


# --- requests ------------------------------------------------------------------------------------


class PlanBody(Body):
    """How a debt shall be repaid."""

    shape: Shape = Field(
        default="once", description="All at the next purchase, a share of each, or fixed amounts."
    )
    percent: Percent | None = Field(default=None, description="Of each purchase.")
    amount: MoneyIn | None = Field(default=None, description="One instalment.")
    every: Every | None = Field(default=None, description="`purchase` if not given.")
    missed: Missed | None = Field(
        default=None,
        description="Instalments by date that were missed: all due at once (if not given), one at "
        "each purchase, or moved to the end.",
    )
    first: Day | None = Field(
        default=None, description="Local day of the first instalment by date; the plan's first day."
    )


class InterestTermsBody(Body):
    """Simple interest on what is left of the original amount, by day."""

    model_config = ConfigDict(populate_by_name=True)

    percent: Percent
    per: Literal["month", "year"]
    from_day: Day | None = Field(
        default=None, alias="from", description="The first day that bears; the debt's first day."
    )


class DebtBody(Body):
    """A debt to be made. Its ``number`` is yours, so that the same request may be sent again."""

    account: Number
    kind: Word = Field(description="`arrears`, `loan`, `fine`, `emergency_credit` or another word.")
    amount: MoneyIn
    number: Annotated[str, Field(min_length=1, max_length=32)] = Field(
        description="The same number with the same facts is the same debt."
    )
    label: Annotated[str, Field(max_length=100)] = Field(
        default="", description="For receipts; made from the kind if empty."
    )
    priority: Annotated[int, Field(ge=0, le=99)] | None = Field(
        default=None, description="Smaller is taken first; by kind if not given."
    )
    plan: PlanBody = PlanBody()
    tax_percent: Percent | None = Field(
        default=None, description="Tax within the amount, and within what is repaid of it."
    )
    tax: Word | None = Field(default=None, description="Code of that tax; `vat` if not given.")
    interest: InterestTermsBody | None = None
    source: Literal["billed", "taken_over", "credit"] | None = Field(
        default=None,
        description="Earned now, owed from before (arrears if not given), or lent into the balance "
        "that the platform holds.",
    )
    starts: Day | None = Field(default=None, description="Nothing is taken before; today.")
    currency: Annotated[str, Field(max_length=3)] | None = Field(
        default=None, description="Refused if it is not the utility's."
    )
    reason: Reason


class ArrangeBody(Body):
    """A plan that replaces the one in force."""

    plan: PlanBody
    starts: Day | None = Field(default=None, description="From this day on; now if not given.")
    reason: Reason


class SuspendBody(Body):
    """A time in which nothing is taken."""

    starts: Day | None = Field(default=None, description="Now if not given.")
    until: Day | None = Field(
        default=None, description="The first day on which it is taken again; null until resumed."
    )
    interest: bool = Field(default=True, description="Interest runs on meanwhile.")
    reason: Reason


class CancelBody(Body):
    """The end of a debt that is not repaid."""

    how: Literal["write_off", "mistake"] = Field(
        default="write_off",
        description="An expense, or as if it had never been made: only while nothing moved it.",
    )
    reason: Reason


class ReasonBody(Body):
    """Why."""

    reason: Reason


class InterestBody(Body):
    """Through which day interest shall be posted."""

    through: Day = Field(description="A local day that is over.")
    reason: Reason


class DebtsOfAccountQuery(PageQuery):
    """Which debts of an account."""

    state: Literal["open", "closed", "cancelled"] | None = Field(
        default=None, description="Open ones may be suspended."
    )
    kind: str | None = Field(default=None, max_length=32)


class DebtsQuery(DebtsOfAccountQuery):
    """Which debts."""

    account: str | None = Field(default=None, max_length=64)


class BlocksQuery(PageQuery):
    """Which blocks."""

    account: str | None = Field(default=None, max_length=64)
    open: bool = Field(default=True, description="Only those not released.")


class ArrearsQuery(BaseModel):
    """Which month, and how areas are told apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    month: str | None = Field(
        default=None, max_length=7, description="YYYY-MM; this month if not given."
    )
    level: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None, description="Parts of an area's path; all if not given."
    )
    by_kind: bool = Field(default=False, description="A row for each kind of debt.")


# --- answers -------------------------------------------------------------------------------------


class DebtPlanLine(Out):
    """How a debt is repaid from an instant on."""

    starts_at: Instant
    shape: Shape
    percent: str | None
    amount: Money | None
    every: Every | None
    missed: Missed | None
    first: date | None


class DebtSuspension(Out):
    """A time in which nothing is taken."""

    starts_at: Instant
    until: Instant | None
    interest: bool


class DebtInterest(Out):
    """The interest that a debt bears."""

    percent: str
    per: Literal["month", "year"]
    from_day: date = Field(serialization_alias="from")
    posted_through: date | None
    posted: Money


class DebtLine(Out):
    """A debt."""

    number: str
    account: str
    kind: str
    label: str
    priority: int
    currency: str
    amount: Money = Field(description="When it was made.")
    left: Money = Field(description="What is owed now.")
    state: State
    tax_percent: str | None
    tax_left: Money | None = Field(description="Tax within what is owed now.")
    plans: list[DebtPlanLine] = Field(description="The one in force and those that will follow.")
    suspensions: list[DebtSuspension]
    interest: DebtInterest | None
    created_at: Instant


class DebtsPage(Out):
    """Debts, newest first."""

    items: list[DebtLine]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class DebtLogLine(Out):
    """What was done with a debt."""

    at: Instant
    what: str
    by: str | None = Field(description="Null for somebody at the machine itself.")
    reason: str | None


class DebtMovement(Out):
    """What moved the balance of a debt: owed is positive, repaid negative."""

    at: Instant
    what: str
    amount: Money
    receipt_number: str | None
    reason: str


class DebtDetail(DebtLine):
    """A debt with its history, newest first."""

    log: list[DebtLogLine]
    movements: list[DebtMovement]


class BlockLine(Out):
    """A block of an account."""

    account: str
    reason: str
    blocked_by: str
    blocked_at: Instant
    released_at: Instant | None
    released_by: str | None
    release_reason: str | None


class BlocksPage(Out):
    """Blocks, newest first."""

    items: list[BlockLine]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class InterestAnswer(Out):
    """What was posted."""

    through: date
    debts: int = Field(description="Open debts that bear interest.")
    posted: int = Field(description="Of these, with something to post.")
    total: Money
    currency: str


class ArrearsLine(Out):
    """One area: before + billed + interest - collected - written_off + other = outstanding."""

    area: str
    kind: str | None
    debts: int
    before: Money
    billed: Money
    interest: Money
    collected: Money
    written_off: Money
    other: Money
    outstanding: Money


class ArrearsAnswer(Out):
    """Collection and arrears of a month."""

    month: str
    currency: str
    items: list[ArrearsLine]
    total: ArrearsLine
