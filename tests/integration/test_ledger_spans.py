"""``ledger verify`` goes over spans of ids: what it finds does not depend on how long they are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql, sqlite

from slotmeter.services.ledger_check import SPANNED, LedgerVerdict, verify_ledger
from slotmeter.services.ledger_sums import ACCOUNTS, SUMS
from slotmeter.services.meter_swap import MeterSwaps, SwapWish
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.services.selling import SellRequest
from slotmeter.services.sole_tokens import SoleTokens
from slotmeter.storage.statements import catalogue
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import meter_number, tariff_document

pytestmark = pytest.mark.both_databases

CHARGE = {"code": "service", "label": "Service", "amount": "10.00", "taxed": True}

DECLARED = "the customer, at the counter"

DAMAGES = (
    "UPDATE posting SET amount_minor = amount_minor + 1 WHERE id > (SELECT min(id) FROM posting)",
    "DELETE FROM posting WHERE journal_id = (SELECT max(id) FROM journal)",
    "UPDATE ledger_account SET balance_minor = balance_minor + 1, reserved_minor = 5",
    "UPDATE posting SET currency = 'USD' WHERE id = (SELECT max(id) FROM posting)",
    "UPDATE journal SET sale_row_id = (SELECT min(id) FROM sale)",
    "UPDATE sale SET tender_minor = tender_minor + 1",
    "UPDATE token SET digits = NULL",
    "UPDATE sale SET state = 'pending' WHERE sale_id = 's0'",
    "UPDATE sale SET state = 'reversed' WHERE sale_id = 's0'",
    "UPDATE token SET amount = amount + 100",
    "UPDATE token SET digits_index = '11111111111111111111'",
    "UPDATE charge SET taken_minor = due_minor + 1",
    "UPDATE charge SET taken_minor = taken_minor - 1",
    "UPDATE sale SET kept_minor = 5",
)


@pytest.fixture
async def sold(api: ApiTown) -> ApiTown:
    """A small utility with tokens of two kinds and a payment sold."""
    await api.utility.add_tariff(
        tariff_document("gas", tariff="gas-with-charge", fixed_charge=CHARGE)
    )
    meters = [
        await api.utility.add_meter(),
        await api.utility.add_meter("gas", tariff="gas-with-charge", online=False),
        await api.utility.add_meter("water", credit_mode="platform"),
    ]
    till = await api.utility.add_principal("till", "vendor")
    for at, meter in enumerate(meters):
        await api.selling.sell(till, SellRequest(f"s{at}", meter.number, "116.00"))
    return api


async def verdict_of(api: ApiTown, span_ids: int) -> LedgerVerdict:
    utility = await Registry(api.database, api.clock).utility(None)
    return await verify_ledger(api.database, api.clock, utility, span_ids=span_ids)


async def test_an_honest_ledger_holds_in_spans_of_three_ids(sold: ApiTown) -> None:
    verdict = await verdict_of(sold, 3)

    assert [each.name for each in verdict.sentences if not each.holds] == []
    assert verdict == await verdict_of(sold, 2**40)


@pytest.mark.parametrize("statement", DAMAGES)
async def test_spans_of_three_ids_find_the_damage_that_one_span_finds(
    sold: ApiTown, statement: str
) -> None:
    sold.behind.damage(statement)

    whole = await verdict_of(sold, 2**40)

    assert not whole.holds
    assert await verdict_of(sold, 3) == whole


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    """An office with a sale that repaid of a debt, one that was taken back, and a meter swapped."""
    async with open_debt_office(tmp_path) as opened:
        shop = opened.shop
        boss = await shop.utility.add_principal("Boss", "supervisor")
        owing, sorry, worn = [await shop.utility.add_meter(online=False) for _ in range(3)]
        await opened.owe(owing, "300.00")
        await shop.selling.sell(shop.till, SellRequest("pays", owing.number, "500.00"))
        sale, _ = await shop.selling.sell(shop.till, SellRequest("back", sorry.number, "116.00"))
        await Reversals(shop.database, shop.clock).reverse(
            Asked(boss, "r1", "sold for the wrong customer"),
            ReversalWish(sale.receipt_number, declared=DECLARED),
        )
        tokens = SoleTokens(
            shop.database,
            shop.security,
            sample_safe(),
            shop.clock,
            draw_rnd=lambda: 5,
            tids=ONE_LANE,
        )
        await MeterSwaps(shop.database, shop.clock, tokens).swap(
            Asked(boss, "w1", "the display was dark"),
            SwapWish(worn.number, meter_number(900), "12.34"),
        )
        yield opened


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE debt SET state = 'open'", "debts_owed"),
        ("UPDATE debt_taken SET minor = minor + 1", "debts_repaid"),
        ("UPDATE sale SET state = 'issued' WHERE sale_id = 'back'", "reversals"),
        ("UPDATE sale SET state = 'reversed' WHERE sale_id = 'pays'", "reversed"),
        ("UPDATE meter_swap SET moved = credit + 1", "swaps"),
    ],
)
async def test_damage_to_debts_reversals_and_swaps_is_found_in_spans_too(
    office: DebtOffice, statement: str, name: str
) -> None:
    utility = await Registry(office.shop.database, office.shop.clock).utility(None)
    parts = (office.shop.database, office.shop.clock, utility)
    honest = await verify_ledger(*parts, span_ids=3)
    office.shop.behind.damage(statement)

    verdict = await verify_ledger(*parts, span_ids=3)

    assert honest.holds
    assert name in {each.name for each in verdict.sentences if not each.holds}
    assert verdict == await verify_ledger(*parts, span_ids=2**40)


async def test_each_statement_of_a_span_goes_along_the_ids_of_its_table(sold: ApiTown) -> None:
    plans = {name: await plan_of(sold, name) for name in (*SPANNED, *SUMS, *ACCOUNTS)}

    assert {name: plan for name, plan in plans.items() if not goes_along_ids(plan)} == {}


def goes_along_ids(plan: list[str]) -> bool:
    # What hangs on a span of rows may also be found by a span of an index of references to them.
    a_range = re.compile(r"(rowid|\w+_id)>\? AND \1<\?|id >= '?1'?(::bigint)?\) AND \(id < ")
    return any(a_range.search(line) for line in plan) and not any(
        line.startswith("SCAN ") for line in plan
    )


async def test_what_is_there_twice_is_found_along_an_index(sold: ApiTown) -> None:
    digits = await plan_of(sold, "check_tokens_once")
    identifiers = await plan_of(sold, "check_tids_once")

    along = re.compile(r"COVERING INDEX|Index (Only )?Scan using")
    assert [line for line in digits if "ix_token_digits_index" in line and along.search(line)], (
        digits
    )
    assert [line for line in identifiers if "token" in line and along.search(line)]


def written(value: object) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


async def plan_of(api: ApiTown, name: str) -> list[str]:
    """Return the lines of the plan that the database has for a read."""
    on: Any = postgresql if api.behind.is_postgres else sqlite
    made = catalogue().reads[name].compile(dialect=on.dialect(paramstyle="named"))
    values = {**made.params, "utility_id": 1, "limit": 20, "from_id": 1, "to_id": 9}
    text = re.sub(r"(?<!:):(\w+)", lambda found: written(values[found[1]]), str(made))
    if not api.behind.is_postgres:
        rows = api.behind.rows(f"EXPLAIN QUERY PLAN {text}")
        return [row["detail"] for row in rows]
    connection = await asyncpg.connect(api.behind.url)
    try:
        # A table of few rows is read whole, whatever indexes it has.
        await connection.execute("SET enable_seqscan = off")
        return [row[0] for row in await connection.fetch(f"EXPLAIN {text}")]
    finally:
        await connection.close()
