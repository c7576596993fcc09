"""Sales of one account between their commits: in whatever order they end, no coin is lost."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import pytest

from slotmeter.errors import Refused
from slotmeter.ports import Changes, From, NewId, Read, Rows
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.sale_issue import Begun
from slotmeter.services.sale_void import void_reads, void_sale
from slotmeter.services.selling import SellRequest
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import epoch_us

KEEPS: Final[dict[str, Any]] = {
    "tariff": "keeps",
    "title": "Keeps money",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {
        "label": "Energy",
        "price": "500.37",
        "lifeline": {"to": "0.4", "price": "100.11"},
    },
    "fixed": {
        "service": {"label": "Service", "amount": "30.01"},
        "daily": {"label": "Daily", "amount": "0.7733", "every": "day"},
    },
    "purchase": {"too_small": "pay_charges"},
}
PAUSE_S: Final = 31 * 3_600
CANNOT = Refused("token_cannot_be_made", "the token cannot be made")
Event = tuple[int, bool]
"""Number of a sale, and whether it ends here; it begins before."""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        await opened.utility.add_tariff(KEEPS)
        yield opened


def orders(sales: int) -> list[tuple[Event, ...]]:
    """Return every order in which so many sales can begin and end."""
    events = [(number, ends) for number in range(sales) for ends in (False, True)]
    return sorted(
        {
            order
            for order in permutations(events)
            if all(order.index((at, False)) < order.index((at, True)) for at in range(sales))
            # Sales are alike until they begin: the order of their numbers says nothing new.
            and sorted(range(sales), key=lambda at: order.index((at, False))) == [*range(sales)]
        }
    )


async def void(shop: Shop, sale_id: str) -> None:
    principal_id = shop.till.principal.id
    rows = await shop.database.read(
        [
            Read("sale_by_principal", {"principal_id": principal_id, "sale_id": sale_id}, "sale"),
            Read("tokens_of_sale", {"sale_row_id": From("sale", "id")}),
            Read("debts_of_sale", {"sale_row_id": From("sale", "id")}),
        ]
    )
    debt_ids = [row["debt_id"] for row in rows["debts_of_sale"]]
    begun = Begun.stored(rows["sale"][0], rows["tokens_of_sale"], debt_ids)

    def decide(found: Rows, new_id: NewId) -> Changes[None]:
        return void_sale(begun, CANNOT, found, new_id, now_us=epoch_us(shop.clock.now()))

    await shop.database.run(void_reads(begun), decide)


class Account:
    """One account while its sales begin and end."""

    def __init__(self, shop: Shop, meter: SmallMeter, name: str) -> None:
        self.shop = shop
        self.meter = meter
        self.name = name
        self.code = f"advance:{meter.account_number}"

    def request(self, number: int, tendered: str) -> SellRequest:
        return SellRequest(f"{self.name}-{number}", self.meter.number, tendered)

    def kept(self, state: str) -> list[int]:
        return self.shop.column(
            "SELECT s.kept_minor FROM sale s JOIN account a ON a.id = s.account_id"
            " WHERE a.number = ? AND s.state = ?",
            self.meter.account_number,
            state,
        )

    async def advance(self) -> int:
        return -(await self.shop.ledger(self.code)).get(self.code, 0)

    async def holds(self) -> None:
        """Kept money is what issued sales kept and used, and covers what pending ones use."""
        advance = await self.advance()
        assert advance == sum(self.kept("issued"))
        assert advance + sum(minor for minor in self.kept("pending") if minor < 0) >= 0
        assert self.charges_taken() == self.charges_of_sales()

    def charges_taken(self) -> dict[str, int]:
        rows = self.shop.rows_of(
            "SELECT code, sum(taken_minor) AS minor FROM charge WHERE supply_point_id = ?"
            " GROUP BY code HAVING minor != 0",
            self.meter.supply_point_id,
        )
        return {row["code"]: row["minor"] for row in rows}

    def charges_of_sales(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for text in self.shop.column(
            "SELECT priced FROM sale WHERE supply_point_id = ? AND state != 'voided'",
            self.meter.supply_point_id,
        ):
            for line in json.loads(text):
                if line["kind"] == "charge":
                    found[line["code"]] = found.get(line["code"], 0) + line["amount_minor"]
        return found

    async def play(self, order: Sequence[Event], tenders: Sequence[str], is_sold: Any) -> None:
        refused = set()
        for number, ends in order:
            request = self.request(number, tenders[number])
            if number in refused:
                continue
            if not ends:
                try:
                    await self.shop.first_commit_only(request)
                except Refused:
                    refused.add(number)
            elif is_sold[number]:
                await self.shop.selling.sell(self.shop.till, request)
            else:
                await void(self.shop, request.sale_id)
            self.shop.clock.advance(seconds=PAUSE_S)
            await self.holds()


async def assert_ledger_holds(shop: Shop) -> None:
    utility = await Registry(shop.database, shop.clock).utility(None)
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    assert [each for each in verdict.sentences if not each.holds] == []


async def test_kept_money_is_exact_in_every_order_in_which_three_sales_end(shop: Shop) -> None:
    drawn = random.Random(3)
    cases = [
        (order, tuple(bool(outcome & 1 << at) for at in range(3)))
        for order in orders(3)
        for outcome in range(8)
    ]
    for at, (order, is_sold) in enumerate(cases):
        meter = await shop.utility.add_meter(tariff="keeps")
        account = Account(shop, meter, f"case{at}")
        # Something is kept from before, so that sales have money to use as well as to keep.
        await shop.selling.sell(
            shop.till, account.request(9, f"{drawn.randint(3500, 4500) / 100:.2f}")
        )
        tenders = [f"{drawn.randint(3300, 30000) / 100:.2f}" for _ in range(3)]

        await account.play(order, tenders, is_sold)

    used = shop.column("SELECT state FROM sale WHERE kept_minor < 0")
    assert len(cases) == 15 * 8
    assert min(used.count("issued"), used.count("voided")) > 10
    await assert_ledger_holds(shop)


async def test_days_that_a_voided_sale_had_paid_are_due_again_after_a_later_sale(
    shop: Shop,
) -> None:
    account = Account(shop, await shop.utility.add_meter(tariff="keeps"), "days")
    await shop.selling.sell(shop.till, account.request(0, "200.00"))
    shop.clock.advance(days=6)
    await shop.first_commit_only(account.request(1, "200.00"))
    shop.clock.advance(days=1)
    await shop.selling.sell(shop.till, account.request(2, "200.00"))
    await void(shop, "days-1")

    await shop.selling.sell(shop.till, account.request(3, "200.00"))

    days = shop.rows_of("SELECT period, taken_minor, due_minor FROM charge WHERE code = 'daily'")
    assert sorted(row["period"] for row in days) == [f"2026-11-{at}" for at in range(21, 29)]
    assert [row for row in days if row["taken_minor"] != row["due_minor"]] == []
    await account.holds()
    await assert_ledger_holds(shop)


async def test_voiding_a_sale_whose_cheap_units_a_later_one_took_back_names_that_one(
    shop: Shop,
) -> None:
    meter = await shop.utility.add_meter(tariff="keeps")
    account = Account(shop, meter, "case")
    await shop.first_commit_only(account.request(0, "66.00"))
    crossing = await shop.sell(meter.number, "500.00", "crossing")

    await void(shop, account.request(0, "66.00").sale_id)

    severity, text = shop.rows_of("SELECT severity, text FROM event WHERE kind = 'sale_voided'")[
        0
    ].values()
    assert severity == "alarm"
    assert f"Sale {crossing.receipt_number} took the cheap units of this one back" in text
