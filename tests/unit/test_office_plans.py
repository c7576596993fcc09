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
