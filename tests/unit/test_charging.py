"""What use costs: running totals that never drift, segments, and postings that sum to zero."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices.entities import Entity
from slotmeter.ports import Insert, Row, Rows, Update
from slotmeter.services.charging import (
    RATE_PER_HOUR_MAX,
    REGISTER_HOURS_MAX,
    Charged,
    Metered,
    charge_steps,
    due_for,
)
from slotmeter.testing.small_utility import tariff_document
from slotmeter.units import HOUR_US, Commodity
from slotmeter.vending.tariff.reader import parse_tariff

WATER = tariff_document("water", price="3.3333")


def rows_for(segment: Row | None, *, version: int = 5, account: int = 9) -> Rows:
    return {
        "supply": [
            {
                "account_id": account,
                "account_number": "A1",
                "currency": "KES",
                "time_zone": "Africa/Nairobi",
                "class_code": None,
                "connection": None,
                "load_w": None,
            }
        ],
        "tariff": [{"tariff_version_id": version, "body": json.dumps(WATER)}],
        "segment": [] if segment is None else [segment],
        "used_before": [],
        "accounts": [],
    }


def segment_row(**changes: Any) -> dict[str, Any]:
    return {
        "id": 70,
        "account_id": 9,
        "tariff_version_id": 5,
        "start_register": 1_000,
        "register": 1_000,
        "charged_minor": 0,
        "taxed_minor": 0,
        "charged_us": 4,
        "measured_us": 4,
        "doubted_register": None,
        "body": json.dumps(WATER),
        "situation": None,
        "from_us": 4,
        "time_zone": "Africa/Nairobi",
        "currency": "KES",
        "customer_code": "customer:A1",
        **changes,
    }


def charge(register: int, rows: Rows, **changes: Any) -> Charged:
    ids = count(1_000)
    metered = Metered(
        1, 2, "07", register, frame_id=3, now_us=4, commodity=Commodity.WATER, measured_us=4
    )
    return charge_steps(replace(metered, **changes), rows, lambda: next(ids))


def inserts(charged: Charged, table: str) -> list[Row]:
    return [step.row for step in charged.steps if isinstance(step, Insert) and step.table == table]


def moves(charged: Charged) -> list[Row]:
    return [
        step.params
        for step in charged.steps
        if isinstance(step, Update) and step.statement == "charging_move"
    ]


def test_the_first_value_begins_a_segment_and_costs_nothing() -> None:
    charged = charge(1_000, rows_for(None))

    (segment,) = inserts(charged, "meter_charge")
    assert (segment["start_register"], segment["register"]) == (1_000, 1_000)
    assert charged.minor == 0
    assert inserts(charged, "posting") == []


def test_growth_is_charged_with_tax_to_customer_income_and_tax() -> None:
    # 30 m³ at 3.3333 KES is 99.999 KES, and 16 % of it 15.99984 KES.
    charged = charge(30_001_000, rows_for(segment_row()))

    accounts = {row["id"]: row["code"] for row in inserts(charged, "ledger_account")}
    postings = {
        accounts[row["ledger_account_id"]]: row["amount_minor"]
        for row in inserts(charged, "posting")
    }
    assert postings == {"customer:A1": 11_600, "income:water": -10_000, "tax:VAT": -1_600}
    assert inserts(charged, "journal")[0]["kind"] == "consumption"


def test_a_register_that_stands_still_writes_nothing() -> None:
    assert charge(1_000, rows_for(segment_row())).steps == []


def test_growth_too_small_for_a_coin_moves_the_register_without_an_entry() -> None:
    charged = charge(1_001, rows_for(segment_row()))

    assert moves(charged)[0]["to_register"] == 1_001
    assert inserts(charged, "journal") == []


def test_a_register_that_goes_backwards_is_not_charged() -> None:
    charged = charge(999, rows_for(segment_row()))

    assert charged.went_backwards
    assert charged.steps == []


FIVE_DIGITS = Entity("volume", "m³", wrap=100_000_000_000)  # 99 999 m³, then 0 again


def test_a_register_that_rolls_over_is_charged_for_what_it_counted() -> None:
    at_the_end = rows_for(segment_row(start_register=99_999_000_000, register=99_999_000_000))

    charged = charge(29_000_000, at_the_end, entity=FIVE_DIGITS)

    (move,) = moves(charged)
    assert (move["to_register"], charged.minor) == (100_029_000_000, 11_600)  # 30 m³


def test_a_register_counts_on_from_where_it_rolled_over() -> None:
    beyond = rows_for(segment_row(start_register=99_999_000_000, register=100_029_000_000))

    stands = charge(29_000_000, beyond, entity=FIVE_DIGITS)
    grows = charge(30_000_000, beyond, entity=FIVE_DIGITS)

    assert (stands.went_backwards, stands.steps) == (False, [])
    assert moves(grows)[0]["to_register"] == 100_030_000_000


def test_the_next_segment_begins_beyond_the_roll_over_too() -> None:
    at_the_end = rows_for(segment_row(register=99_999_000_000), version=6)

    charged = charge(29_000_000, at_the_end, entity=FIVE_DIGITS)

    assert inserts(charged, "meter_charge")[0]["start_register"] == 100_029_000_000


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (30_000_000, 29_000_000),  # set back
        (100_030_000_000, 29_000_000),  # set back after it rolled over
        (99_000_000_000, 0),  # put to 0: 1 000 m³ did not flow within the hour
        (100_000_000_000, 99_999_000_000),  # from before it rolled over
    ],
)
def test_a_step_down_that_is_no_roll_over_is_not_charged(before: int, after: int) -> None:
    rows = rows_for(segment_row(start_register=0, register=before))

    charged = charge(after, rows, entity=FIVE_DIGITS)

    assert (charged.went_backwards, charged.steps) == (True, [])


def test_a_register_that_is_not_known_to_roll_over_goes_backwards() -> None:
    at_the_end = rows_for(segment_row(register=99_999_000_000))

    assert charge(29_000_000, at_the_end, entity=Entity("volume")).went_backwards


WATER_PER_HOUR = RATE_PER_HOUR_MAX[Commodity.WATER]


@pytest.mark.parametrize("commodity", list(Commodity))
def test_a_register_that_rises_faster_than_any_meter_delivers_is_not_charged(
    commodity: Commodity,
) -> None:
    most = 1_000 + RATE_PER_HOUR_MAX[commodity]

    charged = charge(most + 1, rows_for(segment_row()), commodity=commodity)

    (doubt,) = charged.steps
    assert (charged.is_implausible, charged.minor) == (True, 0)
    assert isinstance(doubt, Update)
    assert (doubt.statement, doubt.params["to_doubted_register"]) == ("charging_doubt", most + 1)
    assert not charge(most, rows_for(segment_row()), commodity=commodity).is_implausible


@pytest.mark.parametrize("clock", ["now_us", "measured_us"])
def test_what_a_long_silence_explains_is_charged(clock: str) -> None:
    ten_hours = {clock: 4 + 10 * HOUR_US}

    most = charge(1_000 + 10 * WATER_PER_HOUR, rows_for(segment_row()), **ten_hours)
    more = charge(1_001 + 10 * WATER_PER_HOUR, rows_for(segment_row()), **ten_hours)

    assert (most.is_implausible, more.is_implausible) == (False, True)


def test_a_clock_that_is_not_believed_explains_no_use() -> None:
    year_2080 = {"measured_us": 4 + 500_000 * HOUR_US, "is_clock_ahead": True}

    assert charge(9 * WATER_PER_HOUR, rows_for(segment_row()), **year_2080).is_implausible


def test_a_clock_that_was_behind_and_is_set_right_explains_no_use() -> None:
    now_us = 500_000 * HOUR_US
    behind = rows_for(segment_row(charged_us=now_us, measured_us=4))

    charged = charge(9 * WATER_PER_HOUR, behind, now_us=now_us, measured_us=now_us)

    assert charged.is_implausible


def test_a_doubted_value_does_not_become_plausible_by_waiting() -> None:
    doubted = rows_for(segment_row(doubted_register=9 * WATER_PER_HOUR))
    later = {"now_us": 4 + 1_000 * HOUR_US}

    above = charge(9 * WATER_PER_HOUR, doubted, **later)
    below = charge(9 * WATER_PER_HOUR - 1, doubted, **later)

    assert (above.is_implausible, above.steps) == (True, [])
    assert not below.is_implausible
    assert below.minor > 0


def test_an_implausible_value_does_not_end_a_segment() -> None:
    charged = charge(2**53, rows_for(segment_row(), version=6))

    assert charged.is_implausible
    assert moves(charged) == []


def test_a_first_value_that_no_meter_reaches_in_its_life_begins_no_segment() -> None:
    charged = charge(WATER_PER_HOUR * REGISTER_HOURS_MAX + 1, rows_for(None))

    assert (charged.is_implausible, charged.steps) == (True, [])


def test_a_new_tariff_version_ends_the_segment_at_the_register_and_begins_another() -> None:
    charged = charge(30_001_000, rows_for(segment_row(), version=6))

    (move,) = moves(charged)
    (segment,) = inserts(charged, "meter_charge")
    assert (move["to_to_us"], move["to_register"]) == (4, 30_001_000)
    assert (segment["tariff_version_id"], segment["start_register"]) == (6, 30_001_000)
    assert charged.minor == 11_600


def test_use_before_another_account_began_goes_to_the_old_one() -> None:
    charged = charge(30_001_000, rows_for(segment_row(), account=10))

    assert inserts(charged, "meter_charge")[0]["account_id"] == 10
    assert "customer:A1" in {row["code"] for row in inserts(charged, "ledger_account")}


def test_a_meter_that_was_taken_down_is_charged_up_to_its_last_value_and_no_further() -> None:
    rows = {**rows_for(segment_row()), "supply": [], "tariff": []}

    charged = charge(30_001_000, rows)

    assert moves(charged)[0]["to_to_us"] == 4
    assert inserts(charged, "meter_charge") == []


def test_a_tariff_without_tax_moves_two_accounts() -> None:
    body = json.dumps(tariff_document("water", price="1.00", tax=None))

    charged = charge(1_001_000, rows_for(segment_row(body=body)))

    assert [row["amount_minor"] for row in inserts(charged, "posting")] == [100, -100]


@given(
    st.lists(st.integers(0, 5_000_000), min_size=1, max_size=30),
    st.sampled_from(["0.0001", "3.3333", "21.50", "999.99"]),
    st.sampled_from([None, "0", "7.7", "16", "20"]),
)
def test_however_often_a_meter_reports_the_charges_add_up_to_the_price_of_its_use(
    growths: list[int], price: str, percent: str | None
) -> None:
    tax = None if percent is None else {"name": "VAT", "percent": percent}
    document = tariff_document("water", price=price, tax=tax)
    row = segment_row(body=json.dumps(document))
    sums: dict[str, int] = {}
    for growth in growths:
        charged = charge(row["register"] + growth, rows_for(row))
        accounts = {each["id"]: each["code"] for each in inserts(charged, "ledger_account")}
        postings = inserts(charged, "posting")
        assert sum(each["amount_minor"] for each in postings) == 0
        for each in postings:
            code = accounts[each["ledger_account_id"]]
            sums[code] = sums.get(code, 0) + each["amount_minor"]
        for move in moves(charged):
            row["register"] = move["to_register"]
            row["charged_minor"] = move["to_charged_minor"]
            row["taxed_minor"] = move["to_taxed_minor"]

    due = due_for(parse_tariff(document), sum(growths))
    assert sums.get("customer:A1", 0) == due.gross_minor
    assert sums.get("income:water", 0) == -due.net_minor
    assert sums.get("tax:VAT", 0) == -due.tax_minor


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=20))
def test_what_is_due_never_falls_when_the_use_grows(uses: list[int]) -> None:
    tariff = parse_tariff(WATER)

    dues = [due_for(tariff, used) for used in sorted(uses)]

    assert all(a.net_minor <= b.net_minor and a.tax_minor <= b.tax_minor for a, b in pairwise(dues))


@pytest.mark.parametrize(("used", "gross"), [(0, 0), (1_000_000, 386), (10_000_000, 3_866)])
def test_what_is_due_is_rounded_half_up_once_for_each_part(used: int, gross: int) -> None:
    # 1 m³: 3.3333 and 0.533328; 10 m³: 33.333 and 5.33328.
    assert due_for(parse_tariff(WATER), used).gross_minor == gross
