"""Which page and which day an address of the dashboards means."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from slotmeter_dashboards.console import find_page, title_of
from slotmeter_dashboards.pages.lists import api_day
from slotmeter_dashboards.pages.meter import METER


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-21", 24)]
)
def test_a_day_lasts_from_midnight_to_midnight_on_the_wall(day: str, hours: int) -> None:
    span = api_day(day, ZoneInfo("Europe/Berlin"), datetime(2026, 11, 21, tzinfo=UTC))

    begin, end = (datetime.fromisoformat(span[name]).astimezone(UTC) for name in ("from", "to"))
    assert (end - begin).total_seconds() == hours * 3_600


def test_today_is_the_utilitys_day_and_not_that_of_utc() -> None:
    late = datetime(2026, 11, 21, 23, tzinfo=UTC)

    span = api_day("today", ZoneInfo("Africa/Johannesburg"), late)

    assert span["from"] == "2026-11-22T00:00:00+02:00"


@pytest.mark.parametrize("day", ["", "soon", "2026-13-01"])
def test_a_day_that_is_none_filters_nothing(day: str) -> None:
    assert api_day(day, UTC, datetime(2026, 11, 21, tzinfo=UTC)) == {}


@pytest.mark.parametrize(
    ("path", "prefix", "title"),
    [
        ("/", "/", "Today"),
        ("/console/", "/console/", "Today"),
        ("/console/meters", "/console/", "Meters"),
        ("/meters/07100000003", "/", "Meter {}"),
        ("/meters/", "/", "Meters"),
    ],
)
def test_an_address_leads_to_its_page(path: str, prefix: str, title: str) -> None:
    kind, _ = find_page(path, prefix)

    assert kind is not None
    assert kind.title == title


@pytest.mark.parametrize("path", ["/nothing", "/sales/5", "/meters/1/2", "/meters/1/tokens"])
def test_an_address_that_leads_nowhere_has_no_page(path: str) -> None:
    assert find_page(path, "/") == (None, "")


def test_the_windows_title_names_the_meter() -> None:
    assert title_of(METER, "07100000003") == "Meter 07100000003 · Slotmeter"
