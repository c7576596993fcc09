"""Tariffs in force whose holidays end are told of while there is time to mend them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slotmeter.services.bus import Bus, EventsRecorded
from slotmeter.services.holiday_watch import HolidayWatch
from slotmeter.testing.api_town import ApiTown


def by_hours(through: int, **changes: Any) -> dict[str, Any]:
    return {
        "tariff": "hours",
        "title": "Hours",
        "commodity": "electricity",
        "currency": "KES",
        "energy": {"periods": {"all": "2"}, "advance_price": "2"},
        "calendar": {
            "days": [{"weekdays": ["monday-sunday"], "holidays": True, "hours": {"00:00": "all"}}],
            "holidays": {"dates": [f"{through}-05-01"], "through": through},
        },
        **changes,
    }


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def watch(api: ApiTown, bus: Bus) -> HolidayWatch:
    return HolidayWatch(api.database, api.clock, bus)


def told(api: ApiTown) -> list[tuple[str, dict[str, Any]]]:
    rows = api.sql("SELECT severity, data FROM event WHERE kind = 'holiday_calendar_ends'")
    return [(severity, json.loads(data)) for severity, data in rows]


async def test_a_tariff_without_the_coming_years_holidays_is_an_alarm(
    api: ApiTown, bus: Bus, watch: HolidayWatch
) -> None:
    await api.utility.add_tariff(by_hours(2026))

    with bus.subscribe(EventsRecorded) as wakes:
        found = await watch.check()
        assert await wakes.next(1.0)

    assert found == 1
    assert told(api) == [("alarm", {"tariff": "hours", "version": 1, "year": 2027})]


async def test_the_alarm_is_seen_over_http(api: ApiTown, watch: HolidayWatch) -> None:
    await api.join("auditor", "auditor")
    await api.utility.add_tariff(by_hours(2026))
    await watch.check()

    events = (await api.get("/api/v1/events", "auditor")).json["items"]

    (alarm,) = [each for each in events if each["kind"] == "holiday_calendar_ends"]
    assert alarm["severity"] == "alarm"
    assert "hours, version 1" in alarm["text"]


@pytest.mark.parametrize(
    "document",
    [by_hours(2027), by_hours(2026, valid_until="2027-01-01")],
    ids=["the coming year is known", "it ends before"],
)
async def test_a_tariff_that_needs_no_more_holidays_is_not_told_of(
    api: ApiTown, watch: HolidayWatch, document: dict[str, Any]
) -> None:
    await api.utility.add_tariff(document)

    assert await watch.check() == 0
    assert told(api) == []


async def test_a_newer_version_with_more_holidays_ends_it(
    api: ApiTown, watch: HolidayWatch
) -> None:
    await api.utility.add_tariff(by_hours(2026))
    api.clock.advance(seconds=60)
    await api.utility.add_tariff(by_hours(2027), version=2)

    assert await watch.check() == 0
