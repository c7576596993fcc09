"""The shapes of customer classes, registrations for free units, and accounts."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slotmeter.api.models import (
    ROWS,
    ROWS_MAX,
    Amount,
    Body,
    Instant,
    Money,
    MoneyIn,
    Out,
    Reason,
)

__all__ = [
    "AccountClassBody",
    "AccountClassLine",
    "AccountClasses",
    "AccountTerms",
    "ClassBody",
    "ClassLine",
    "ClassPreviewAnswer",
    "ClassPreviewBody",
    "ClassReviewAnswer",
    "ClassReviewBody",
    "ClassesPage",
    "NotCollectedQuery",
    "PreviewLine",
    "ProposalLine",
    "ReadingBody",
    "RegistrationBody",
    "RegistrationLine",
    "RegistrationQuery",
    "RegistrationsPage",
    "TermsBody",
    "TermsLine",
    "UnderClassAnswer",
]

RULES_CHARACTERS_MAX: Final = 20_000
PROPOSALS_SHOWN_MAX: Final = 500

ClassCode = Annotated[str, Field(min_length=1, max_length=32, examples=["lifeline"])]
From = Annotated[AwareDatetime, Field(strict=False)]
Day = Annotated[date, Field(strict=False)]


# --- requests ------------------------------------------------------------------------------------


class ClassBody(Body):
    """A class that tariffs may name."""

    code: ClassCode
    title: Annotated[str, Field(min_length=1, max_length=80)]
    reason: Reason


class AccountClassBody(Body):
    """A class for an account."""

    model_config = ConfigDict(populate_by_name=True)

    class_code: ClassCode | None = Field(alias="class", description="Null takes the class away.")
    from_at: From | None = Field(
        default=None, alias="from", description="Now if not given, never in the past."
    )
    reason: Reason


class ClassReviewBody(Body):
    """Which rules to hold against what accounts bought."""

    model_config = ConfigDict(populate_by_name=True)

    rules: Annotated[
        str,
        Field(min_length=1, max_length=RULES_CHARACTERS_MAX, description="A rules file as YAML."),
    ]
    apply: bool = Field(default=False, description="Set the classes; else they are proposed only.")
    from_at: From | None = Field(default=None, alias="from", description="Now if not given.")
    reason: Reason


class ClassPreviewBody(Body):
    """A purchase to look at under another class; nothing is booked."""

    model_config = ConfigDict(populate_by_name=True)

    meter: Annotated[str, Field(min_length=1, max_length=64)]
    tendered: MoneyIn
    class_code: ClassCode | None = Field(alias="class", description="Null for no class.")


class RegistrationBody(Body):
    """An account that shall get free units; days are local."""

    model_config = ConfigDict(populate_by_name=True)

    account: Annotated[str, Field(min_length=1, max_length=64)]
    code: Annotated[str, Field(min_length=1, max_length=40)]
    evidence: Annotated[str, Field(min_length=1, max_length=200)]
    from_day: Day | None = Field(default=None, alias="from", description="Today if not given.")
    until_day: Day | None = Field(
        default=None, alias="until", description="The first day without; null has no end."
    )
    reason: Reason


class ReadingBody(Body):
    """What a meter shows: kWh or m³; money for a meter that counts money."""

    meter: Annotated[str, Field(min_length=1, max_length=64)]
    register_value: Annotated[str, Field(min_length=1, max_length=30)] | None = Field(
        default=None,
        alias="register",
        description="Not needed where the platform holds the credit and has charged up to now.",
        examples=["1234.5"],
    )
    credit_left: Annotated[str, Field(min_length=1, max_length=30)] | None = Field(
        default=None, description="On a meter that holds its own credit."
    )


class TermsBody(Body):
    """Other terms for an account, with the readings that it is settled at."""

    terms: Literal["prepaid", "postpaid"]
    readings: list[ReadingBody] = Field(default_factory=list, max_length=50)
    at: From | None = Field(
        default=None, description="When the meters were read; now if not given, never to come."
    )
    reason: Reason


class RegistrationQuery(BaseModel):
    """Which registrations, newest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str | None = Field(default=None, max_length=40)
    account: str | None = Field(default=None, max_length=64)
    in_force: bool = Field(default=False, description="Only those that count now.")
    limit: Annotated[int, Field(ge=1, le=ROWS_MAX, description="Rows on a page.")] = ROWS
    before: Annotated[int | None, Field(ge=1, description="`next` of the page before.")] = None


class NotCollectedQuery(BaseModel):
    """Of which month and code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: Annotated[
        str | None, Field(pattern=r"^\d{4}-\d{2}$", description="This month if not given.")
    ] = None
    code: str | None = Field(default=None, max_length=40)
    limit: Annotated[int, Field(ge=1, le=ROWS_MAX, description="Rows on a page.")] = ROWS_MAX
    after: Annotated[int, Field(ge=0, description="`next` of the page before.")] = 0


# --- answers -------------------------------------------------------------------------------------


class ClassLine(Out):
    """A class."""

    code: str
    title: str
    created_at: Instant


class ClassesPage(Out):
    """Classes by code."""

    items: list[ClassLine]
    next: str | None = Field(description="Give it as `after` for the page that follows.")


class AccountClassLine(Out):
    """The class of an account from an instant on."""

    model_config = ConfigDict(populate_by_name=True)

    class_code: str | None = Field(serialization_alias="class")
    from_at: Instant = Field(serialization_alias="from")
    reason: str
    by: str
    created_at: Instant


class AccountClasses(Out):
    """The classes of an account, newest first."""

    model_config = ConfigDict(populate_by_name=True)

    account: str
    class_code: str | None = Field(serialization_alias="class", description="Now.")
    items: list[AccountClassLine]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class PreviewLine(Out):
    """One line of how a tender is used."""

    kind: str
    label: str
    rate: str | None
    amount: Money


class UnderClassAnswer(Out):
    """What a purchase gives under a class."""

    model_config = ConfigDict(populate_by_name=True)

    class_code: str | None = Field(serialization_alias="class")
    units: Amount | None = Field(description="Null when it would be refused.")
    unit: str
    refused: str | None = Field(description="Code of the refusal.")
    detail: str | None
    lines: list[PreviewLine]


class ClassPreviewAnswer(Out):
    """The same purchase under the class of now and under another one."""

    now: UnderClassAnswer
    then: UnderClassAnswer


class ProposalLine(Out):
    """An account that its average puts into another class."""

    account: str
    average: Amount
    from_class: str | None
    to_class: str


class ClassReviewAnswer(Out):
    """What rules say of all accounts."""

    from_at: Instant
    to_at: Instant
    accounts: int
    too_new: int = Field(description="Did not exist through all the months; left alone.")
    other_class: int = Field(description="Of classes that the rules do not name; left alone.")
    no_rule: int = Field(description="No rule covers them; left alone.")
    changes: int
    applied: bool
    proposals: list[ProposalLine] = Field(description="The first 500.")


class RegistrationLine(Out):
    """A registration for free units."""

    id: int
    account: str
    customer: str
    code: str
    evidence: str
    from_at: Instant
    until_at: Instant | None
    ended_at: Instant | None
    by: str
    state: Literal["to_come", "in_force", "over"]


class RegistrationsPage(Out):
    """Registrations."""

    items: list[RegistrationLine]
    next: int | None = Field(description="Give it as `before` (or `after`) for the page after.")


class TermsLine(Out):
    """One change of terms with its settlement."""

    terms: Literal["prepaid", "postpaid"]
    at: Instant
    by: str
    reason: str
    settlement: dict[str, Any] | None


class AccountTerms(Out):
    """When an account pays, and what changed that, newest first."""

    account: str
    terms: Literal["prepaid", "postpaid"]
    items: list[TermsLine]
    next: int | None = Field(description="Give it as `before` for the page that follows.")
