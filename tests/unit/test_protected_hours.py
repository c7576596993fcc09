"""When supply is protected, by the utility's own clock, and what a policy document may say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from slotmeter.errors import Refused
from slotmeter.services.protection import (
    CUTS_PER_HOUR,
    PROTECTED_DAYS_MAX,
    Policy,
    parse_policy,
    policy_of,
    protected_until,
    readable_policy,
)
from slotmeter.units import epoch_us, instant

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHTS = {"protected_hours": [{"days": DAYS, "from": "18:00", "to": "08:00"}]}


def local_us(text: str, zone: str, fold: int = 0) -> int:
    return epoch_us(
        datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)
    )


def until(text: str, document: dict[str, Any], zone: str = "Africa/Nairobi") -> str | None:
    end_us = protected_until(local_us(text, zone), parse_policy(document), zone)
    return None if end_us is None else f"{instant(end_us).astimezone(ZoneInfo(zone)):%a %H:%M}"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-18 17:59", None),
        ("2026-11-18 18:00", "Thu 08:00"),
        ("2026-11-18 23:59", "Thu 08:00"),
        ("2026-11-19 00:00", "Thu 08:00"),
        ("2026-11-19 07:59", "Thu 08:00"),
        ("2026-11-19 08:00", None),
    ],
)
def test_a_night_window_holds_from_its_start_to_its_end_next_day(
    at: str, expected: str | None
) -> None:
    assert until(at, NIGHTS) == expected


def test_a_window_belongs_to_the_day_on_which_it_starts() -> None:
    fridays = {"protected_hours": [{"days": ["fri"], "from": "12:00", "to": "08:00"}]}

    assert until("2026-11-20 13:00", fridays) == "Sat 08:00"
    assert until("2026-11-21 07:00", fridays) == "Sat 08:00"
    assert until("2026-11-20 07:00", fridays) is None


def test_a_window_from_midnight_to_midnight_is_the_whole_day() -> None:
    sundays = {"protected_hours": [{"days": ["sun"], "from": "00:00", "to": "00:00"}]}

    assert until("2026-11-22 00:00", sundays) == "Mon 00:00"
    assert until("2026-11-22 23:59", sundays) == "Mon 00:00"
    assert until("2026-11-23 00:00", sundays) is None


def test_adjoining_windows_hold_as_one() -> None:
    weekend = {
        "protected_hours": [
            {"days": DAYS, "from": "18:00", "to": "08:00"},
            {"days": ["sun"], "from": "00:00", "to": "00:00"},
        ]
    }

    assert until("2026-11-21 18:00", weekend) == "Mon 08:00"


def test_a_holiday_is_protected_from_midnight_to_midnight() -> None:
    assert until("2026-12-25 10:00", {"holidays": ["2026-12-25"]}) == "Sat 00:00"
    assert until("2026-12-26 10:00", {"holidays": ["2026-12-25"]}) is None


def test_a_holiday_in_one_zone_is_none_in_another() -> None:
    policy = parse_policy({"holidays": ["2026-12-25"]})
    at_us = epoch_us(datetime(2026, 12, 24, 22, 0, tzinfo=UTC))

    assert protected_until(at_us, policy, "Africa/Nairobi") is not None
    assert protected_until(at_us, policy, "Europe/London") is None


def test_an_empty_policy_protects_nothing() -> None:
    assert until("2026-12-25 03:00", {}) is None


def test_protection_without_end_is_given_up_to_the_days_looked_ahead() -> None:
    always = {"protected_hours": [{"days": DAYS, "from": "00:00", "to": "00:00"}]}
    at_us = local_us("2026-11-18 12:00", "UTC")

    end_us = protected_until(at_us, parse_policy(always), "UTC")

    assert end_us is not None
    assert (end_us - at_us) // 86_400_000_000 == PROTECTED_DAYS_MAX


# Berlin: 2026-03-29 02:00 becomes 03:00; 2026-10-25 03:00 becomes 02:00 again.


def test_a_night_is_shorter_when_clocks_go_forward() -> None:
    policy = parse_policy(NIGHTS)
    start_us = local_us("2026-03-28 18:00", "Europe/Berlin")

    end_us = protected_until(start_us, policy, "Europe/Berlin")

    assert end_us == epoch_us(datetime(2026, 3, 29, 6, 0, tzinfo=UTC))


def test_a_night_is_longer_when_clocks_go_back() -> None:
    policy = parse_policy(NIGHTS)
    start_us = local_us("2026-10-24 18:00", "Europe/Berlin")

    end_us = protected_until(start_us, policy, "Europe/Berlin")

    assert end_us == epoch_us(datetime(2026, 10, 25, 7, 0, tzinfo=UTC))


def test_an_end_that_happens_twice_is_the_later_one() -> None:
    early = {"protected_hours": [{"days": DAYS, "from": "01:00", "to": "02:30"}]}
    second_0215_us = local_us("2026-10-25 02:15", "Europe/Berlin", fold=1)

    end_us = protected_until(second_0215_us, parse_policy(early), "Europe/Berlin")

    assert end_us == local_us("2026-10-25 02:30", "Europe/Berlin", fold=1)


def test_a_start_that_happens_twice_is_the_earlier_one() -> None:
    late = {"protected_hours": [{"days": DAYS, "from": "02:30", "to": "05:00"}]}
    first_0245_us = local_us("2026-10-25 02:45", "Europe/Berlin", fold=0)

    assert protected_until(first_0245_us, parse_policy(late), "Europe/Berlin") is not None


def test_a_start_that_never_happens_begins_before_the_gap_at_the_latest() -> None:
    gap = {"protected_hours": [{"days": DAYS, "from": "02:30", "to": "05:00"}]}
    after_gap_us = local_us("2026-03-29 03:00", "Europe/Berlin")

    assert protected_until(after_gap_us, parse_policy(gap), "Europe/Berlin") is not None


# --- the document -------------------------------------------------------------------------------


def test_an_empty_document_means_the_defaults() -> None:
    assert policy_of("{}") == policy_of("") == Policy()
    assert Policy().cuts_per_hour == CUTS_PER_HOUR


def test_every_key_is_taken() -> None:
    policy = parse_policy(
        {
            **NIGHTS,
            "holidays": ["2026-12-25"],
            "cuts_per_hour": 3,
            "low_credit_minor": 900,
            "reading_age_hours_max": 6,
        }
    )

    assert (policy.cuts_per_hour, policy.low_credit_minor) == (3, 900)
    assert policy.reading_age_hours_max == 6
    assert len(policy.protected_hours) == len(policy.holidays) == 1


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "policy"),
        ({"protected_hour": []}, "protected_hour"),
        ({"protected_hours": {}}, "protected_hours"),
        ({"protected_hours": [{}]}, "protected_hours.0"),
        ({"protected_hours": ["mon"]}, "protected_hours.0"),
        (
            {"protected_hours": [{"days": ["monday"], "from": "18:00", "to": "08:00"}]},
            "protected_hours.0.days",
        ),
        (
            {"protected_hours": [{"days": [], "from": "18:00", "to": "08:00"}]},
            "protected_hours.0.days",
        ),
        (
            {"protected_hours": [{"days": ["mon"], "from": "24:00", "to": "08:00"}]},
            "protected_hours.0.from",
        ),
        (
            {"protected_hours": [{"days": ["mon"], "from": "18:00", "to": 8}]},
            "protected_hours.0.to",
        ),
        ({"holidays": ["2026-13-01"]}, "holidays.0"),
        ({"holidays": [20261225]}, "holidays"),
        ({"cuts_per_hour": -1}, "cuts_per_hour"),
        ({"cuts_per_hour": True}, "cuts_per_hour"),
        ({"low_credit_minor": "5.00"}, "low_credit_minor"),
        ({"reading_age_hours_max": 48}, "reading_age_hours_max"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_the_name_of_its_part(
    document: object, field: str
) -> None:
    with pytest.raises(Refused) as refused:
        parse_policy(document)

    assert refused.value.code == "policy_invalid"
    assert refused.value.field == field


def test_a_stored_policy_that_cannot_be_read_is_none_rather_than_a_guess() -> None:
    assert readable_policy("{") is None
    assert readable_policy('{"cuts_per_hour": "many"}') is None
    assert readable_policy("{}") == Policy()
