"""Counters that units of one transaction share, followed in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slotmeter.ports import From, Insert, Read, Rows, SqlValue, Update
from slotmeter.services import (
    booking,
    buyer,
    debt_states,
    pricing,
    repriced_sales,
    sale_begin,
    sale_issue,
)
from slotmeter.storage.postgres_counters import FOLLOWED, LOOKING, Counters
from slotmeter.storage.statements import catalogue

TILL = 7
COUNTED_IN = ("ledger_account", "sequence")
OF_ONE_ACCOUNT = {"debts_for_sale", "meter_for_sale"}
"""They look at ledger accounts that belong to the account: sales of it are never in one round."""

NEXT: dict[str, SqlValue | From] = {"utility_id": 1, "name": "receipt"}


def reserve(amount: int, account_id: int = TILL) -> Update:
    return Update("ledger_reserve", {"ledger_account_id": account_id, "amount": amount})


def add(amount: int, account_id: int = TILL) -> Update:
    return Update("ledger_add", {"ledger_account_id": account_id, "amount": amount})


def numbered(value: int) -> Update:
    return Update("sequence_next", {"of_utility_id": 1, "of_name": "receipt", "expected": value})


def till_seen(counters: Counters) -> dict[str, Any]:
    row = {"id": TILL, "balance_minor": 1_000, "reserved_minor": 50, "limit_minor": None}
    counters.correct([Read("till_of_branch", {"branch_id": 3}, "till")], {"till": [row]})
    return row


def test_what_an_earlier_unit_reserved_is_seen_by_the_next() -> None:
    counters = Counters()

    counters.take([reserve(30)])
    counters.take([reserve(12)])

    assert till_seen(counters)["reserved_minor"] == 92


def test_what_an_earlier_unit_booked_is_seen_by_the_next() -> None:
    counters = Counters()

    counters.take([add(400), reserve(-30)])

    seen = till_seen(counters)
    assert (seen["balance_minor"], seen["reserved_minor"]) == (1_400, 20)


def test_another_account_is_seen_as_it_is() -> None:
    counters = Counters()

    counters.take([add(400, account_id=8)])

    assert till_seen(counters)["balance_minor"] == 1_000


def test_each_unit_finds_the_number_after_the_one_before_it() -> None:
    counters = Counters()
    counters.take([numbered(41)])
    rows: Rows = {"sequence": [{"next_value": 41}]}

    counters.correct([Read("sequence", NEXT)], rows)

    assert rows["sequence"][0]["next_value"] == 42


def test_a_sequence_of_another_name_is_seen_as_it_is() -> None:
    counters = Counters()
    counters.take([numbered(41)])
    rows: Rows = {"sequence": [{"next_value": 5}]}

    counters.correct([Read("sequence", {"utility_id": 1, "name": "debt"})], rows)

    assert rows["sequence"][0]["next_value"] == 5


def test_what_many_units_moved_is_written_once() -> None:
    counters = Counters()
    for value in (41, 42, 43):
        counters.take([numbered(value), reserve(10), add(5)])

    assert counters.steps() == [
        Update(
            "sequence_advance",
            {"of_utility_id": 1, "of_name": "receipt", "expected": 41, "to": 44},
        ),
        add(15),
        reserve(30),
    ]


def test_what_is_no_counter_is_left_to_be_written() -> None:
    row = Insert("act", {"id": 1})

    assert Counters().take([numbered(1), row, reserve(1)]) == [row]


def test_a_unit_that_looks_at_balances_moves_them_by_itself() -> None:
    counters = Counters()
    steps = [add(-20), Update("debt_take", {"debt_id": 9})]

    assert counters.take(steps) == steps
    assert not counters


def test_what_a_unit_moves_by_itself_is_seen_by_those_that_were_read_before() -> None:
    counters = Counters()
    counters.take([add(-20), Update("debt_take", {"debt_id": 9})])
    assert till_seen(counters)["balance_minor"] == 980

    counters.round_written()

    assert till_seen(counters)["balance_minor"] == 1_000


def test_a_number_out_of_turn_is_an_error() -> None:
    counters = Counters()
    counters.take([numbered(41)])

    with pytest.raises(RuntimeError, match="is at 42, not at 44"):
        counters.take([numbered(44)])


def test_every_update_that_looks_at_a_balance_is_known() -> None:
    looking = {
        name
        for name, update in catalogue().updates.items()
        if "ledger_account" in str(update) and str(update.table) != "ledger_account"
    }

    assert looking == LOOKING


def test_every_read_of_a_sale_that_shows_a_counter_is_followed_or_hangs_on_its_account() -> None:
    texts = [
        Path(str(module.__file__)).read_text(encoding="utf-8")
        for module in (
            *(booking, buyer, debt_states, pricing),
            *(repriced_sales, sale_begin, sale_issue),
        )
    ]
    shows = {
        name
        for name, read in catalogue().reads.items()
        if any(table in str(read) for table in COUNTED_IN)
        and any(f'"{name}"' in text for text in texts)
    }

    assert shows - FOLLOWED == OF_ONE_ACCOUNT
