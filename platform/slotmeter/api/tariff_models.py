"""The shapes of tariffs, their versions and their drafts."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slotmeter.api.models import (
    ROWS,
    ROWS_MAX,
    Amount,
    Body,
    Commodity,
    Instant,
    Money,
    Out,
    Reason,
)
from slotmeter.api.paging import BeforeQuery

__all__ = [
    "ApproveBody",
    "Change",
    "DiffAnswer",
    "DraftBody",
    "DraftDetail",
    "DraftEditBody",
    "DraftQuery",
    "DraftState",
    "DraftsPage",
    "FindingAnswer",
    "Preview",
    "PreviewBody",
    "ReasonBody",
    "RevisionBody",
    "TariffDetail",
    "TariffDraft",
    "TariffLine",
    "TariffVersion",
    "TariffVersionDetail",
    "TariffsPage",
    "VersionQuery",
]

SOURCE_CHARACTERS_MAX: Final = 50_000

DraftState = Literal["draft", "submitted", "approved", "rejected", "withdrawn"]
Source = Annotated[
    str,
    Field(
        min_length=1,
        max_length=SOURCE_CHARACTERS_MAX,
        description="The tariff as YAML; kept as it is written.",
    ),
]
Note = Annotated[str, Field(max_length=500, description="What the draft is for.")]
Revision = Annotated[
    int,
    Field(ge=1, description="The revision that you looked at; another one is refused with 409."),
]
TariffCode = Annotated[str, Field(max_length=40)]


# --- requests ------------------------------------------------------------------------------------


class DraftBody(Body):
    """A tariff to keep as a draft."""

    source: Source
    note: Note = ""
    reason: Reason


class DraftEditBody(DraftBody):
    """A draft written anew."""

    revision: Revision


class RevisionBody(Body):
    """An act on a draft as it was looked at."""

    revision: Revision
    reason: Reason


class ApproveBody(RevisionBody):
    """The second person's word."""

    valid_from: Annotated[AwareDatetime, Field(strict=False)] | None = Field(
        default=None, description="When it takes effect; now if not given, never in the past."
    )
    accept_warnings: bool = Field(
        default=False, description="Go live although something deserves a second look."
    )


class PreviewBody(Body):
    """Which sales to price again under a draft."""

    month: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")] | None = Field(
        default=None, description="Local month; the last whole one if not given."
    )
    sales_of: TariffCode | None = Field(
        default=None, description="The tariff whose sales are taken; the draft's own if not given."
    )
    reason: Reason


class ReasonBody(Body):
    """Why."""

    reason: Reason


class DraftQuery(BaseModel):
    """Which drafts, newest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: DraftState | None = None
    code: TariffCode | None = Field(default=None, description="Of the tariff.")
    limit: Annotated[int, Field(ge=1, le=ROWS_MAX, description="Rows on a page.")] = ROWS
    before: Annotated[int | None, Field(ge=1, description="`next` of the page before.")] = None


class VersionQuery(BeforeQuery):
    """At which instant, and which versions."""

    at: AwareDatetime | None = Field(
        default=None, description="Says which version is in force then; now if not given."
    )


# --- answers -------------------------------------------------------------------------------------


class TariffLine(Out):
    """A tariff in a list."""

    code: str
    title: str
    commodity: Commodity
    currency: str
    version: int | None = Field(description="In force now; null when none is.")
    valid_from: Instant | None


class TariffsPage(Out):
    """Tariffs by code."""

    items: list[TariffLine]
    next: str | None = Field(description="Give it as `after` for the page that follows.")


class TariffVersion(Out):
    """One version of a tariff."""

    version: int
    valid_from: Instant
    author: str | None
    approver: str | None = Field(description="Null for a version that was set up at the machine.")
    approved_at: Instant | None
    withdrawn_at: Instant | None


class TariffDetail(Out):
    """A tariff with its versions, newest first."""

    code: str
    title: str
    commodity: Commodity
    currency: str
    in_force: int | None = Field(description="The version in force at the instant asked for.")
    versions: list[TariffVersion]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class TariffVersionDetail(TariffVersion):
    """A version with what it says."""

    code: str
    title: str
    source: str | None = Field(description="YAML as it was written; null for the oldest versions.")
    document: dict[str, Any]


class FindingAnswer(Out):
    """Something that speaks against going live."""

    code: str
    severity: Literal["error", "warning"]
    message: str
    field: str


class TariffDraft(Out):
    """A tariff that is being prepared."""

    id: int
    code: str
    state: DraftState
    revision: int
    note: str
    author: str
    submitter: str | None
    decider: str | None
    created_at: Instant
    submitted_at: Instant | None
    decided_at: Instant | None
    valid_from: Instant | None
    version: int | None = Field(description="What it became.")
    previewed: bool = Field(description="A preview of this revision is kept.")


class DraftDetail(TariffDraft):
    """A draft with what it says and what speaks against it."""

    source: str
    document: dict[str, Any]
    findings: list[FindingAnswer] = Field(
        description="What an approval taking effect now would be refused for, or warned of."
    )


class DraftsPage(Out):
    """Drafts, newest first."""

    items: list[TariffDraft]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class PreviewSums(Out):
    """Sums under the price of then and under the draft."""

    sales: int
    tender: Money
    units_old: Amount
    units_new: Amount


class PreviewClass(PreviewSums):
    """Sums of a customer class."""

    model_config = ConfigDict(populate_by_name=True)

    class_code: str | None = Field(alias="class", serialization_alias="class")


class PreviewBuyer(PreviewClass):
    """Sums of one account at one place."""

    account: str


class PreviewMoney(Out):
    """A ledger account; those of single debts and customers are taken together."""

    account: str
    old: Money
    new: Money


class Preview(PreviewSums):
    """What the sales of a month would have been under a draft; nothing was booked."""

    tariff: str
    sales_of: str
    month: str
    revision: int
    made_at: Instant
    currency: str
    unit: str
    buyers: int
    refused: dict[str, int] = Field(description="Sales that would have been refused, by code.")
    refused_tender: Money
    by_class: list[PreviewClass]
    by_account: list[PreviewMoney]
    winners: list[PreviewBuyer]
    losers: list[PreviewBuyer]


class Change(Out):
    """One value that differs; null where there is or was nothing."""

    path: str
    old: str | None
    new: str | None


class DiffAnswer(Out):
    """What a draft changes in the version in force."""

    version: int | None = Field(description="The version compared with; null when none is.")
    same_meaning: bool
    changes: list[Change]
    text: str = Field(description="Unified diff of the two texts.")
