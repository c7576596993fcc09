"""Each way to search walks an index, and so does what is asked at every start and every while, in a
town so large that a walk over a table would show."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql, sqlite

from slotmeter.services.search import LAST
from slotmeter.storage.dialects.variants import read_for
from slotmeter.storage.statements import catalogue
from slotmeter.testing.shop import Shop, open_shop

pytestmark = pytest.mark.both_databases

METERS: Final = 20_000
FIRST_ID: Final = 4_000_000_000
ANYBODY: Final = None


def begins(text: str) -> dict[str, Any]:
    return {"from": text, "to": text + LAST, "after": ""}


def words(*wanted: str) -> dict[str, Any]:
    ends = {f"from{at}": word for at, word in enumerate(wanted)}
    return ends | {f"to{at}": word + LAST for at, word in enumerate(wanted)}


SEARCHES: Final[Mapping[str, dict[str, Any]]] = {
    "search_meter": begins("M1234"),
    "search_account": {**begins("A1234"), "after_id": -1},
    "search_customer": {**begins("C1234"), "after_id": -1},
    "search_words_1": {**words("name1234"), "after_id": -1},
    "search_words_2": {**words("name1234", "road12"), "after_id": -1},
    "search_words_3": {**words("name1234", "road12", "lake"), "after_id": -1},
    "search_words_4": {**words("name1234", "road12", "lake", "town"), "after_id": -1},
    "search_receipt": {"receipt_number": "RX1234", "principal_id": ANYBODY},
    "search_token": {"digits_index": "ix1234", "principal_id": ANYBODY},
}


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop:
        meter = await shop.utility.add_meter(online=False)
        await shop.sell(meter.number)
        grow(shop)
        yield shop


def grow(shop: Shop) -> None:
    """Make thousands of the one customer, with all that hangs on it."""
    more(shop, "customer", number="'C' || i")
    more(shop, "account", number="'A' || i", customer_id=own("i"))
    more(shop, "supply_point", number="'S' || i", account_id=own("i"))
    more(shop, "meter", number="'M' || i")
    more(shop, "installation", supply_point_id=own("i"), meter_id=own("i"))
    sold = {"sale_id": "'x' || i", "receipt_number": "'RX' || i", "account_id": own("i")}
    more(shop, "sale", meter_id=own("i"), supply_point_id=own("i"), **sold)
    token = {"meter_id": own("i"), "sale_row_id": own("i"), "digits_index": "'ix' || i"}
    more(shop, "token", **token)
    for word in ("'name' || i", "'road' || (i % 900)", "'lake'", "'town'"):
        more(shop, "search_word", word=word, supply_point_id=own("i"))
    shop.sql("ANALYZE")


def own(number: str) -> str:
    return f"{FIRST_ID} + {number}"


def more(shop: Shop, table: str, **changed: str) -> None:
    """Copy a row of a table many times, with these columns written otherwise."""
    one_row = f"{table} ORDER BY 1 LIMIT 1"
    [one] = shop.rows_of(" ".join(("SELECT * FROM", one_row)))
    ids = {"id": own("i")} if "id" in one else {}
    values = {name: f"one.{name}" for name in one} | ids | changed
    parts = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <",
        f"{METERS})",
        "INSERT INTO",
        f"{table} ({', '.join(values)})",
        "SELECT",
        ", ".join(values.values()),
        "FROM n CROSS JOIN (SELECT * FROM",
        f"{one_row}) one",
    )
    shop.sql(" ".join(parts))


async def plan_of(shop: Shop, name: str, params: Mapping[str, Any]) -> list[str]:
    """Return the lines of the plan that the database has for a read, whatever its values are."""
    statement = catalogue().reads[name]
    if not shop.behind.is_postgres:
        made = read_for(statement, sqlite.dialect()).compile(dialect=sqlite.dialect())
        values = [{**made.params, **params}[each] for each in made.positiontup or ()]
        with closing(sqlite3.connect(shop.path)) as connection:
            found = connection.execute(f"EXPLAIN QUERY PLAN {made}", values).fetchall()
        return [str(row[3]) for row in found]
    dialect: Any = postgresql
    dialect = dialect.dialect(paramstyle="numeric_dollar")
    made = read_for(statement, dialect).compile(dialect=dialect)
    text, names = own_values_written(str(made), made.positiontup or (), made.params)
    values = [literal(params[each]) for each in names]
    connection = await asyncpg.connect(shop.behind.url)
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE wanted AS {text}")
        found = await connection.fetch(f"EXPLAIN EXECUTE wanted({', '.join(values)})")
        return [row[0] for row in found]
    finally:
        await connection.close()


def own_values_written(
    text: str, names: Sequence[str], own: Mapping[str, Any]
) -> tuple[str, list[str]]:
    """Write the values that a statement brings itself into it, as the platform does."""
    left = [name for name in names if own[name] is None]

    def mark(found: re.Match[str]) -> str:
        name = names[int(found[1]) - 1]
        return f"${left.index(name) + 1}" if own[name] is None else literal(own[name])

    return re.sub(r"\$(\d+)", mark, text), left


def literal(value: object) -> str:
    if value is None:
        return "NULL"
    return f"{value}" if isinstance(value, int) else f"'{value}'"


def walks(plan: list[str]) -> list[str]:
    """Return the lines of a plan that go through a whole table."""
    whole = ("Seq Scan on", "SCAN ")
    small = ("Scan on utility", "Scan on principal", "SCAN principal", "SCAN places", "SCAN (sub")
    return [
        line
        for line in plan
        if any(each in line for each in whole) and not any(each in line for each in small)
    ]


async def test_every_search_walks_an_index(town: Shop) -> None:
    of = {"utility_id": town.utility.utility_id, "limit": 20}

    plans = {name: await plan_of(town, name, {**of, **given}) for name, given in SEARCHES.items()}

    assert {name: walks(plan) for name, plan in plans.items() if walks(plan)} == {}


def test_every_search_is_among_those() -> None:
    assert {name for name in catalogue().reads if name.startswith("search_")} == SEARCHES.keys()


async def test_sales_that_stopped_in_the_middle_are_found_without_a_walk_past_all_sales(
    town: Shop,
) -> None:
    params = {"after_id": 0, "before_us": 2**60, "limit": 100}

    plan = await plan_of(town, "sales_pending", params)

    assert [line for line in plan if "ix_sale_state" in line], plan
