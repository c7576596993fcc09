"""What speaks against a tariff going live: errors forbid it, warnings must be accepted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.services.tariff_checks import GoLive, check_go_live, findings
from slotmeter.units import epoch_us
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import parse_tariff

PLAIN: dict[str, Any] = {
    "tariff": "homes",
    "title": "Homes",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "price": "20"},
}
HOLIDAYS: dict[str, Any] = {
    **PLAIN,
    "energy": {
        "label": "Energy",
        "tables": {"day": {"periods": {"peak": "30", "off": "10"}, "advance_price": "20"}},
        "use": [{"table": "day"}],
    },
    "calendar": {
        "days": [
            {"weekdays": ["monday-sunday"], "hours": {"00:00": "off", "17:00": "peak"}},
            {"holidays": True, "hours": {"00:00": "off"}},
        ],
        "holidays": {"dates": ["2026-12-25", "2027-12-25"], "through": "2027"},
    },
}
VAT = {"vat": {"label": "VAT", "percent": "16", "on": ["energy"]}}


def tariff(**changes: Any) -> Tariff:
    return parse_tariff({**PLAIN, **changes})


def live(wanted: Tariff, *, year: int = 2026, **changes: Any) -> GoLive:
    given = GoLive(
        tariff=wanted,
        valid_from_us=epoch_us(datetime(year, 12, 1, tzinfo=UTC)),
        currency="KES",
        time_zone="Africa/Nairobi",
        tax_number="P05",
    )
    return replace(given, **changes)


def codes(wanted: GoLive) -> list[str]:
    return [each.code for each in findings(wanted)]


def test_a_plain_tariff_may_go_live() -> None:
    assert codes(live(tariff())) == []


@pytest.mark.parametrize(
    ("wanted", "changes", "code"),
    [
        (tariff(currency="UGX"), {}, "currency_mismatch"),
        (tariff(), {"commodity": "water"}, "commodity_changed"),
        (tariff(taxes=VAT), {"tax_number": " "}, "tax_number_missing"),
        (tariff(valid_until="2026-12-01"), {}, "ends_before_it_begins"),
        (tariff(prices_since="2026-12-02"), {}, "prices_since_after_start"),
    ],
)
def test_what_cannot_be_is_an_error(wanted: Tariff, changes: Any, code: str) -> None:
    with pytest.raises(Refused) as refused:
        check_go_live(live(wanted, **changes), accept_warnings=True)

    assert refused.value.code == code


def test_prices_may_count_from_the_day_of_the_version_or_before() -> None:
    assert codes(live(tariff(prices_since="2026-12-01"))) == []


def test_without_a_tax_no_tax_number_is_needed() -> None:
    assert codes(live(tariff(), tax_number="")) == []


def test_a_gap_after_the_version_before_is_a_warning() -> None:
    before = tariff(valid_until="2026-11-15")

    assert codes(live(tariff(), in_force=before)) == ["gap_in_force"]


def test_a_version_that_follows_without_a_gap_is_fine() -> None:
    before = tariff(valid_until="2026-12-01")

    assert codes(live(tariff(), in_force=before)) == []


@pytest.mark.parametrize(("year", "expected"), [(2026, []), (2027, ["holiday_calendar_ends"])])
def test_the_holiday_list_must_cover_the_coming_year(year: int, expected: list[str]) -> None:
    assert codes(live(parse_tariff(HOLIDAYS), year=year)) == expected


def test_a_tariff_that_ends_before_needs_no_holidays_after_it() -> None:
    wanted = parse_tariff({**HOLIDAYS, "valid_until": "2028-01-01"})

    assert codes(live(wanted, year=2027)) == ["ends_by_itself"]


def test_errors_come_before_warnings_and_all_are_in_the_refusal() -> None:
    wanted = live(tariff(valid_until="2027-07-01", taxes=VAT), tax_number="")

    with pytest.raises(Refused) as refused:
        check_go_live(wanted, accept_warnings=True)

    found: Any = refused.value.details["findings"]
    assert [each["code"] for each in found] == ["tax_number_missing", "ends_by_itself"]
