"""Whether a tariff may go live at an instant: what the language alone cannot say; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal
from zoneinfo import ZoneInfo

from slotmeter.errors import Refused
from slotmeter.units import instant
from slotmeter.vending.tariff.calendar import require_coming_year
from slotmeter.vending.tariff.model import Tariff

__all__ = ["Finding", "GoLive", "as_documents", "check_go_live", "findings"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that speaks against a tariff: an error forbids it, a warning must be accepted."""

    code: str
    severity: Severity
    message: str
    field: str


@dataclass(frozen=True, slots=True)
class GoLive:
    """A tariff that is to take effect.

    Args:
        tariff: the new version.
        valid_from_us: when, UTC epoch microseconds.
        currency: of the utility.
        time_zone: of the utility.
        tax_number: of the utility; empty when it has none.
        commodity: of the tariff's earlier versions; None for the first.
        in_force: the version that it follows, or None when no version is in force before it.
    """

    tariff: Tariff
    valid_from_us: int
    currency: str
    time_zone: str
    tax_number: str
    commodity: str | None = None
    in_force: Tariff | None = None

    @property
    def starts_on(self) -> date:
        """The local day on which it takes effect."""
        zone = ZoneInfo(self.tariff.time_zone or self.time_zone)
        return instant(self.valid_from_us).astimezone(zone).date()


def findings(live: GoLive) -> tuple[Finding, ...]:
    """Return everything that speaks against it, errors first."""
    found = [*_errors(live), *_warnings(live)]
    return tuple(sorted(found, key=lambda each: each.severity != "error"))


def check_go_live(live: GoLive, *, accept_warnings: bool) -> tuple[Finding, ...]:
    """Refuse what must not go live; return the warnings that were accepted.

    Raises:
        Refused: the code of the first error, or ``warnings_not_accepted``; all findings are in the
            details.
    """
    found = findings(live)
    if found and (found[0].severity == "error" or not accept_warnings):
        first = found[0]
        is_error = first.severity == "error"
        raise Refused(
            first.code if is_error else "warnings_not_accepted",
            first.message if is_error else f"{first.message}; accept the warnings or mend it",
            field=first.field,
            details={"findings": as_documents(found)},
        )
    return found


def as_documents(found: Sequence[Finding]) -> list[dict[str, str]]:
    """Return findings as JSON documents."""
    return [
        {
            "code": each.code,
            "severity": each.severity,
            "message": each.message,
            "field": each.field,
        }
        for each in found
    ]


def _errors(live: GoLive) -> Iterator[Finding]:
    tariff = live.tariff
    if tariff.currency != live.currency:
        yield Finding(
            "currency_mismatch",
            "error",
            f"the utility sells in {live.currency}, the tariff is in {tariff.currency}",
            "currency",
        )
    if live.commodity is not None and live.commodity != tariff.commodity.value:
        yield Finding(
            "commodity_changed",
            "error",
            f"tariff {tariff.code} is for {live.commodity}; give the new one another code",
            "commodity",
        )
    taxes = [item for item in tariff.percent_items if item.is_tax and item.percent]
    if taxes and not live.tax_number.strip():
        yield Finding(
            "tax_number_missing",
            "error",
            f"a receipt with {taxes[0].label} is a tax invoice and needs the utility's tax number; "
            "set it with `slotmeter utility particulars`",
            "taxes",
        )
    if tariff.prices_since is not None and tariff.prices_since > live.starts_on:
        yield Finding(
            "prices_since_after_start",
            "error",
            f"prices_since {tariff.prices_since} is after {live.starts_on}, the day it begins; "
            "prices count from then on or from before",
            "prices_since",
        )
    if tariff.valid_until is not None and tariff.valid_until <= live.starts_on:
        yield Finding(
            "ends_before_it_begins",
            "error",
            f"valid_until {tariff.valid_until} is not after {live.starts_on}, the day it begins",
            "valid_until",
        )
    try:
        require_coming_year(tariff, live.starts_on)
    except Refused as error:
        yield Finding(error.code, "error", error.message, "calendar.holidays.through")


def _warnings(live: GoLive) -> Iterator[Finding]:
    before = live.in_force
    ends = None if before is None else before.valid_until
    if ends is not None and ends < live.starts_on:
        yield Finding(
            "gap_in_force",
            "warning",
            f"the version before ends on {ends} and this one begins on {live.starts_on}: in "
            "between there is no price and every sale is refused",
            "valid_from",
        )
    until = live.tariff.valid_until
    if until is not None:
        yield Finding(
            "ends_by_itself",
            "warning",
            f"on {until} this version ends by itself; without a newer one every sale is refused "
            "from then on",
            "valid_until",
        )
