"""Blocks within a period of time of use: each period counts its own units of the window."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slotmeter.units import HOUR_US, epoch_us
from slotmeter.vending.pricing.intervals import Bill, Interval, price_intervals
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.problems import TariffProblems
from slotmeter.vending.tariff.reader import read_tariff

KWH = 1_000
TEXT = """
tariff: t
title: T
commodity: electricity
currency: KES
time_zone: UTC
energy:
  periods: {day: [{to: 100, price: 5}, {price: 7}], night: 3}
  advance_price: 5
calendar:
  days: [{weekdays: [monday-sunday], hours: {00:00: night, 06:00: day, 22:00: night}}]
"""


def used(*hours: tuple[datetime, int]) -> Bill:
    intervals = [
        Interval(epoch_us(start), epoch_us(start) + HOUR_US, units * KWH) for start, units in hours
    ]
    return price_intervals(read_tariff(TEXT)[1], intervals, Situation(0, "UTC"))


def at(month: int, day: int, hour: int) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def test_units_of_one_period_do_not_fill_the_blocks_of_another() -> None:
    bill = used((at(3, 1, 1), 500), (at(3, 1, 12), 60), (at(3, 2, 12), 60))

    assert bill.total_minor == 500 * 3_00 + 100 * 5_00 + 20 * 7_00
    assert {code: part.units for code, part in bill.parts.items()} == {
        "night": 500 * KWH,
        "day": 120 * KWH,
    }
    assert [line.rate for line in bill.lines] == ["5", "7", "3"]


def test_a_new_window_begins_with_the_first_block_again() -> None:
    bill = used((at(3, 31, 12), 120), (at(4, 1, 12), 120))

    assert bill.total_minor == 2 * (100 * 5_00 + 20 * 7_00)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ("[{to: 100, price: 5}, {to: 200, price: 7}]", "without limit"),
        ("[{to: 100, price: 5}, {price: 7, whole: true}]", "no whole"),
        ("[{to: 100, price: 5}, {to: 50, price: 7}, {price: 8}]", "in order"),
    ],
)
def test_blocks_of_a_period_that_cannot_be_are_refused(blocks: str, words: str) -> None:
    text = TEXT.replace("[{to: 100, price: 5}, {price: 7}]", blocks)

    with pytest.raises(TariffProblems) as refused:
        read_tariff(text)

    assert words in str(refused.value.problems[0]["message"])


def test_blocks_of_a_period_need_a_window_that_begins_once() -> None:
    rolling = "advance_price: 5\n  counter: {window: rolling, days: 30}"

    with pytest.raises(TariffProblems) as refused:
        read_tariff(TEXT.replace("advance_price: 5", rolling))

    assert refused.value.problems[0]["path"] == "energy.counter"
