"""Statements that go through many sales or accounts take them in the order of an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from slotmeter.storage.dialect import Statements
from slotmeter.storage.migrate import migrate


@pytest.fixture(scope="module")
def statements() -> Statements:
    return Statements()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / "slotmeter.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def plan(database: sqlite3.Connection, statements: Statements, name: str) -> list[str]:
    compiled = statements.reads[name]
    values = (1,) * compiled.text.count("?")
    rows = database.execute(f"EXPLAIN QUERY PLAN {compiled.text}", values)
    return [row[3] for row in rows]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("reprice_sales", "ix_sale_supply_point_id_sold_us"),
        ("preview_sales", "ix_sale_supply_point_id_sold_us"),
        ("terms_purchases", "ix_sale_meter_id_sold_us"),
        ("class_use", "INTEGER PRIMARY KEY (rowid>?)"),
        ("free_not_collected", "INTEGER PRIMARY KEY (rowid>?)"),
    ],
)
def test_a_page_is_found_and_ordered_by_an_index(
    database: sqlite3.Connection, statements: Statements, name: str, first: str
) -> None:
    steps = plan(database, statements, name)

    assert first in steps[0]
    assert not any("TEMP B-TREE" in step for step in steps)


def test_the_use_of_an_account_is_summed_by_its_supply_points(
    database: sqlite3.Connection, statements: Statements
) -> None:
    steps = plan(database, statements, "class_use")

    assert not any("ix_sale_state" in step or "ix_sale_utility" in step for step in steps)
    assert sum("ix_sale_supply_point_id_sold_us" in step for step in steps) == 2


SALE_READS = {
    "sale_by_principal": (
        "sale USING INDEX sqlite_autoindex_sale_1 (principal_id=? AND sale_id=?)",
    ),
    "tokens_of_sale": ("token USING INDEX ix_token_sale_row_id (sale_row_id=?)",),
    "debts_of_sale": ("debt_taken USING COVERING INDEX sqlite_autoindex_debt_taken_1",),
    "meter_for_sale": (
        "meter USING INDEX sqlite_autoindex_meter_1 (utility_id=? AND number=?)",
        "sale USING INDEX ix_sale_state (account_id=?)",
    ),
    "tariff_in_force": ("tariff_version USING INDEX ix_tariff_version_tariff_id_valid_from_us",),
    "sold_in_window": ("ix_sale_supply_point_id_sold_us (supply_point_id=? AND sold_us>?)",),
    "charges_of_point": ("charge USING INDEX sqlite_autoindex_charge_1 (supply_point_id=?",),
    "debts_for_sale": (
        "debt USING INDEX ix_debt_account_id_state (account_id=? AND state=?)",
        "sale USING INDEX ix_sale_state (account_id=?)",
        "debt_taken USING INDEX sqlite_autoindex_debt_taken_1 (sale_row_id=?)",
    ),
    "kept_tids": ("token USING COVERING INDEX sqlite_autoindex_token_1 (meter_id=? AND",),
    "till_of_branch": ("ledger_account USING INDEX sqlite_autoindex_ledger_account_1",),
    "ledger_accounts": ("ledger_account USING INDEX sqlite_autoindex_ledger_account_1",),
    "commission_in_force": ("commission_plan USING INDEX ix_commission_plan_branch_id_from_us",),
}
"""What a sale reads, and by which index of what can grow: pending sales by an index of these alone,
the past of a meter from the start of its window on."""


@pytest.mark.parametrize("name", SALE_READS)
def test_no_read_of_a_sale_grows_with_what_was_sold_before(
    database: sqlite3.Connection, statements: Statements, name: str
) -> None:
    steps = plan(database, statements, name)

    assert not any(step.startswith("SCAN") for step in steps)
    for wanted in SALE_READS[name]:
        assert any(wanted in step for step in steps), steps


def test_the_commands_of_a_key_change_are_found_by_its_meter(
    database: sqlite3.Connection, statements: Statements
) -> None:
    steps = plan(database, statements, "key_change_commands")

    assert any("ix_command_meter_id_created_us" in step for step in steps)
    assert not any(step.startswith("SCAN command") for step in steps)
