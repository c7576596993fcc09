"""The shapes of key changes, campaigns of them, and management tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from slotmeter.api.models import ROWS, Amount, Body, Commodity, Instant, Out, Reason, TokenDigits
from slotmeter.api.query_models import Limit, PageQuery

__all__ = [
    "CampaignBody",
    "CampaignCloseBody",
    "CampaignLine",
    "CampaignMeter",
    "CampaignMetersPage",
    "CampaignMetersQuery",
    "CampaignReplaced",
    "CampaignRunBody",
    "CampaignSelectBody",
    "CampaignSelected",
    "CampaignSetsBody",
    "CampaignUnusedPage",
    "CampaignsPage",
    "Coding",
    "KeyChange",
    "KeyChangeBody",
    "KeyChangePlan",
    "KeyChangePlanQuery",
    "KeyChangeReasonBody",
    "KeyChangesPage",
    "KeyChangesQuery",
    "ManagementBody",
    "ManagementToken",
    "ManagementTokensPage",
    "ReplaceBody",
    "ReplacementToken",
]

KeyName = Annotated[str, Field(min_length=1, max_length=64, examples=["600727-2"])]
TariffIndex = Annotated[int, Field(ge=0, le=99)]
RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
State = Literal["with_sale", "open", "proven", "cancelled"]
How = Literal["deliver", "with_sale"]


# --- requests ------------------------------------------------------------------------------------


class KeyChangeBody(Body):
    """What a meter shall be coded with."""

    key: KeyName | None = Field(
        default=None,
        description="Vending key; without it that of the meter's supply group, else its own.",
    )
    tariff_index: TariffIndex | None = Field(default=None, description="The meter's if left out.")
    three_tokens: bool = Field(
        default=False, description="EA07: let the set carry the supply group code as well."
    )
    when: Literal["now", "with_sale"] = Field(
        default="now", description="Make the set now, or let the meter's next sale make it."
    )
    reason: Reason


class KeyChangeReasonBody(Body):
    """Why something is done to a key change."""

    reason: Reason


class ReplaceBody(Body):
    """Which token is replaced."""

    token: int = Field(ge=1, description="`token` of one that the change names as unused.")
    reason: Reason


class ManagementBody(Body):
    """A token that manages a meter."""

    request_id: RequestId = Field(description="Yours; the same is one token.")
    kind: Annotated[str, Field(min_length=1, max_length=40, examples=["clear_tamper"])]
    value: Annotated[int, Field(ge=0, le=2**31)] | None = Field(
        default=None, description="Watts, a register, raw bits: what the kind says."
    )
    reason: Reason


class CampaignBody(Body):
    """A campaign of key changes."""

    code: Annotated[str, Field(min_length=1, max_length=40)]
    key: KeyName
    tariff_index: TariffIndex | None = None
    three_tokens: bool = False
    how: How = "deliver"
    reason: Reason


class CampaignSelectBody(Body):
    """Which meters to add; all that is given must match."""

    key: KeyName | None = Field(default=None, description="That they are on.")
    base_date: Literal[1993, 2014, 2035] | None = None
    sgc: Annotated[str, Field(pattern=r"^[0-9]{6}$")] | None = None
    krn: Annotated[int, Field(ge=1, le=9)] | None = None
    commodity: Commodity | None = None
    area: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    meters: Annotated[list[str], Field(max_length=5_000)] | None = Field(
        default=None, description="These and no others."
    )
    reason: Reason


class CampaignRunBody(Body):
    """How far to go in this request."""

    meters: Annotated[int, Field(ge=1, le=200)] = 100
    again: bool = Field(default=False, description="Try those that failed once more.")


class CampaignSetsBody(Body):
    """Which sets to hand out, and how."""

    form: Literal["csv", "text", "html"] = "csv"
    after: Annotated[int, Field(ge=0)] = 0
    meters: Annotated[int, Field(ge=1, le=500)] = 500
    reason: Reason


class CampaignCloseBody(Body):
    """Why a campaign ends, or its tokens are replaced."""

    reason: Reason


class KeyChangesQuery(PageQuery):
    """Which key changes."""

    state: Literal["open", "proven", "cancelled"] | None = None
    meter: str | None = Field(default=None, max_length=64)


class _Query(BaseModel):
    """Parameters of a path: closed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyChangePlanQuery(_Query):
    """What a meter would be coded with."""

    key: KeyName | None = None
    tariff_index: TariffIndex | None = None


class CampaignMetersQuery(_Query):
    """A page in the order in which meters were added."""

    limit: Limit = ROWS
    after: Annotated[int, Field(ge=0)] = 0


# --- answers -------------------------------------------------------------------------------------


class Coding(Out):
    """What a meter is coded with."""

    key: str
    sgc: str
    krn: int
    kt: int
    ti: int
    ken: int
    base_date: int
    ea: int


class UnusedToken(Out):
    """A token of credit that no meter reported as used."""

    token: int
    receipt_number: str | None
    sold_at: Instant
    units: Amount
    state: str
    replaced_by: int | None


class SetToken(Out):
    """One token of a set; they stand in the order in which they are typed."""

    place: int
    subclass: int
    digits: TokenDigits
    state: str
    delivery: str | None = Field(description="State of the command that carries it, if one does.")


class KeyChangeLine(Out):
    """A change of one meter's key."""

    id: int | None = Field(description="Null while the next sale will make it.")
    meter: str
    state: State
    current: Coding = Field(description="What it was changed from.")
    wanted: Coding
    three_tokens: bool
    proof: Literal["delivery", "keypad", "token", "declared"] | None
    reason: str
    asked_by: str | None
    created_at: Instant | None
    ended_at: Instant | None
    ended_by: str | None
    end_reason: str | None
    mark: Literal["", "training"] = Field(description="`training`: real meters refuse the tokens.")


class KeyChange(KeyChangeLine):
    """A change with its set in clear."""

    tokens: list[SetToken]
    unused: list[UnusedToken] = Field(
        description="Recent tokens that the change makes worthless if they are not typed before."
    )


class KeyChangePlan(Out):
    """What a change would do."""

    meter: str
    current: Coding
    wanted: Coding
    unused: list[UnusedToken]


class KeyChangesPage(Out):
    """Key changes, newest first, without their tokens."""

    items: list[KeyChangeLine]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class ReplacementToken(Out):
    """A token in place of another."""

    token: int
    replaces: int
    digits: TokenDigits
    units: Amount
    mark: Literal["", "training"]


class ManagementLine(Out):
    """A management token without its digits."""

    id: int
    meter: str
    kind: str
    value: int | None
    reason: str
    asked_by: str
    made_at: Instant
    state: str
    delivery: str | None = Field(description="State of the command that carries it, if one does.")
    accepted_at: Instant | None


class ManagementToken(ManagementLine):
    """A management token."""

    digits: TokenDigits
    key_change: int | None = Field(
        description="An open change of the meter's key: its set is typed before this token."
    )
    mark: Literal["", "training"]


class ManagementTokensPage(Out):
    """Management tokens, newest first."""

    items: list[ManagementLine]
    next: int | None


class CampaignLine(Out):
    """A campaign and how far it is, in meters."""

    code: str
    key: str
    tariff_index: int | None
    three_tokens: bool
    how: How
    state: Literal["open", "closed"]
    reason: str
    asked_by: str
    begun_at: Instant
    closed_at: Instant | None
    meters: int
    selected: int
    with_sale: int
    waiting: int
    proven: int
    cancelled: int
    failed: int
    nothing_to_do: int


class CampaignsPage(Out):
    """Campaigns, newest first."""

    items: list[CampaignLine]
    next: int | None


class CampaignSelected(Out):
    """What was added."""

    added: int
    unknown: list[str] = Field(description="Numbers of no meter with a key.")


class CampaignMeter(Out):
    """A meter of a campaign."""

    meter: str
    state: Literal["selected", "made", "failed", "nothing_to_do"]
    problem: str | None
    key_change: int | None
    change_state: Literal["open", "proven", "cancelled"] | None
    proof: str | None
    printed_at: Instant | None


class CampaignMetersPage(Out):
    """Meters in the order in which they were added."""

    items: list[CampaignMeter]
    next: int | None = Field(description="Give it as `after` for the page that follows.")


class CampaignUnused(UnusedToken):
    """A token that a campaign makes worthless, or made so."""

    meter: str
    key_change: int | None
    online: bool


class CampaignUnusedPage(Out):
    """Such tokens, oldest first."""

    items: list[CampaignUnused]
    next: int | None = Field(description="Give it as `after` for the page that follows.")


class CampaignReplaced(Out):
    """How many tokens were replaced."""

    replaced: int
    failed: int
    problem: str | None
