"""A tariff whose holidays end does not go live."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slotmeter.errors import Refused
from slotmeter.services.tariff_checks import GoLive, check_go_live
from slotmeter.units import epoch_us
from slotmeter.vending.tariff.reader import read_tariff

TEXT = """\
tariff: tou
title: Time of use
commodity: electricity
currency: ZAR
energy: {periods: {usual: 1, holiday: 2}}
calendar:
  days:
    - {weekdays: [monday-sunday], hours: {"00:00": usual}}
    - {holidays: true, hours: {"00:00": holiday}}
  holidays: {dates: [2026-12-16], through: 2027}
"""


def go_live(year: int, text: str = TEXT) -> GoLive:
    return GoLive(
        tariff=read_tariff(text)[1],
        valid_from_us=epoch_us(datetime(year, 7, 1, tzinfo=UTC)),
        currency="ZAR",
        time_zone="Africa/Johannesburg",
        tax_number="",
    )


def test_a_calendar_that_covers_the_coming_year_may_go_live() -> None:
    assert check_go_live(go_live(2026), accept_warnings=False) == ()


def test_a_calendar_without_the_coming_year_may_not_go_live() -> None:
    with pytest.raises(Refused, match="without the coming year: 2028 is missing") as refused:
        check_go_live(go_live(2027), accept_warnings=True)

    assert refused.value.code == "holiday_calendar_ends"
    assert refused.value.field == "calendar.holidays.through"


def test_a_tariff_that_ends_before_needs_no_holidays_of_the_coming_year() -> None:
    ends = TEXT + "valid_until: 2028-01-01\n"

    found = check_go_live(go_live(2027, ends), accept_warnings=True)

    assert [each.code for each in found] == ["ends_by_itself"]


def test_the_holidays_of_a_country_go_on() -> None:
    country = TEXT.replace("{dates: [2026-12-16], through: 2027}", "{country: ZA}")

    assert check_go_live(go_live(2027, country), accept_warnings=False) == ()
