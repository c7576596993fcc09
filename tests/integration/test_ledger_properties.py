"""Any sequence of sales, voids, corrections, debts, refunds and deposits leaves true books."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slotmeter.errors import Refused, SlotmeterError
from slotmeter.ports import Caller
from slotmeter.services.commission import Commissions, PlanWish
from slotmeter.services.float_accounts import FloatAccounts
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.refunds import Refunds, RefundWish
from slotmeter.services.registry import Registry
from slotmeter.services.replacement import Replacements, ReplacementWish
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.services.sale_begin import SellRequest
from slotmeter.services.sale_views import SaleView
from slotmeter.services.trial_balance import TrialBalances
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter

STEPPED = {
    "tariff": "stepped",
    "title": "Stepped",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "blocks": [{"to": "20", "price": "10"}, {"price": "30"}]},
    "fixed": {"service": {"label": "Service", "amount": "15.00"}},
}
FLAT = {
    "tariff": "flat",
    "title": "Flat",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "price": "20"},
    "taxes": {"vat": {"label": "VAT", "percent": 16, "on": ["energy"]}},
}
METERS = st.integers(0, 2)
MONEY = st.integers(1_00, 900_00)
PICK = st.integers(0, 9)
ACTS = st.one_of(
    st.tuples(st.just("sell"), METERS, MONEY),
    st.tuples(st.just("sell"), METERS, MONEY),
    st.tuples(st.just("void"), METERS, MONEY),
    st.tuples(st.just("reverse"), PICK, st.just(0)),
    st.tuples(st.just("replace"), PICK, METERS),
    st.tuples(st.just("debt"), METERS, MONEY),
    st.tuples(st.just("pay_in"), PICK, MONEY),
    st.tuples(st.just("refund"), METERS, MONEY),
    st.tuples(st.just("wait"), PICK, st.just(0)),
)


@dataclass
class Books:
    """An office that does what it is told, and remembers what stands."""

    office: DebtOffice
    boss: Caller
    meters: list[SmallMeter]
    count: int = 0
    receipts: list[str] = field(default_factory=list)
    standing: set[str] = field(default_factory=set)

    def asked(self) -> Asked:
        self.count += 1
        return Asked(self.boss, f"q{self.count}", "any reason")

    async def sell(self, meter: int, minor: int) -> None:
        self.count += 1
        tendered = f"{minor // 100}.{minor % 100:02d}"
        number = self.meters[meter].number
        self._sold(await self.office.shop.sell(number, tendered, f"s{self.count}"))

    def _sold(self, sale: SaleView) -> None:
        self.receipts.append(sale.receipt_number)
        self.standing.add(sale.receipt_number)

    async def void(self, meter: int, minor: int) -> None:
        """Begin a sale whose token cannot be made any more; one without a token is completed."""
        shop = self.office.shop
        self.count += 1
        request = SellRequest(f"v{self.count}", self.meters[meter].number, f"{minor // 100}")
        await shop.first_commit_only(request)
        shop.sql("UPDATE token SET key_id = 'gone' WHERE state = 'reserved'")
        with suppress(Refused):
            sale, _ = await shop.selling.sell(shop.till, request)
            self._sold(sale)

    def _receipt(self, pick: int) -> str:
        return self.receipts[pick % len(self.receipts)] if self.receipts else "R00000000"

    async def reverse(self, pick: int, _: int) -> None:
        receipt = self._receipt(pick)
        shop = self.office.shop
        await Reversals(shop.database, shop.clock).reverse(
            self.asked(), ReversalWish(receipt, "the customer")
        )
        self.standing.remove(receipt)

    async def replace(self, pick: int, meter: int) -> None:
        receipt = self._receipt(pick)
        shop = self.office.shop
        replacements = Replacements(shop.database, shop.clock, shop.selling)
        wish = ReplacementWish(receipt, self.meters[meter].number, "the customer")
        _, sale, _ = await replacements.replace(self.asked(), wish)
        self.standing.remove(receipt)
        self._sold(sale)

    async def debt(self, meter: int, minor: int) -> None:
        await self.office.owe(self.meters[meter], f"{minor // 100}.{minor % 100:02d}")

    async def pay_in(self, pick: int, minor: int) -> None:
        floats = FloatAccounts(self.office.shop.database, self.office.shop.clock)
        await floats.pay_in(self.asked(), "head", f"{minor // 100}", f"SLIP {pick}")

    async def refund(self, meter: int, minor: int) -> None:
        refunds = Refunds(self.office.shop.database, self.office.shop.clock)
        wish = RefundWish(self.meters[meter].account_number, f"{minor // 100}", "credit", "bank")
        await refunds.refund(self.asked(), wish)

    async def wait(self, pick: int, _: int) -> None:
        self.office.shop.clock.advance(days=pick)


async def make_books(folder: Path) -> tuple[Any, Books]:
    opened = open_debt_office(folder)
    office = await opened.__aenter__()
    utility = office.shop.utility
    for document in (STEPPED, FLAT):
        await utility.add_tariff(document)
    boss = await utility.add_principal("Boss", "supervisor")
    meters = [
        await utility.add_meter(online=False, tariff="stepped"),
        await utility.add_meter(online=False, tariff="flat"),
        await utility.add_meter(credit_mode="platform", tariff="flat"),
    ]
    plan = PlanWish("sale", [("0", "2.5")], per_sale="0.50")
    await Commissions(office.shop.database, office.shop.clock).set_plan(
        Asked(boss, "c", "contract"), "head", plan
    )
    return opened, Books(office, boss, meters)


async def check(books: Books) -> None:
    shop = books.office.shop
    utility = await Registry(shop.database, shop.clock).utility("small")
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    assert [each.sentence for each in verdict.sentences if not each.holds] == []
    balance = await TrialBalances(shop.database, shop.clock).balance(books.office.books)
    assert balance.differences == {}
    tids = shop.rows_of("SELECT meter_id, tid FROM token")
    assert len({(row["meter_id"], row["tid"]) for row in tids}) == len(tids)
    assert shop.column("SELECT count(*) FROM ledger_account WHERE reserved_minor != 0") == [0]
    low = "SELECT count(*) FROM ledger_account WHERE code LIKE 'debt:%' AND balance_minor < 0"
    assert shop.column(low) == [0]
    states = "SELECT receipt_number FROM sale WHERE state = 'issued' ORDER BY id"
    assert sorted(shop.column(states)) == sorted(books.standing)


async def play(acts: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        opened, books = await make_books(Path(folder))
        try:
            for name, first, second in acts:
                act: Callable[[int, int], Awaitable[None]] = getattr(books, name)
                with suppress(SlotmeterError):
                    await act(first, second)
            await check(books)
        finally:
            await opened.__aexit__(None, None, None)


@given(st.lists(ACTS, max_size=14))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_books_hold_after_any_sequence(acts: list[tuple[str, int, int]]) -> None:
    asyncio.run(play(acts))


async def quotes_after(folder: Path, tenders: list[int], taken_back: list[bool]) -> list[Any]:
    """Sell in turn, take some back at once, and return what each meter would get next."""
    opened, books = await make_books(folder)
    try:
        shop = books.office.shop
        await books.debt(0, 50_00)
        for at, (minor, back) in enumerate(zip(tenders, taken_back, strict=True)):
            before = len(books.receipts)
            with suppress(SlotmeterError):
                await books.sell(at % 2, minor)
            if back and len(books.receipts) > before:
                await books.reverse(len(books.receipts) - 1, 0)
        await check(books)
        quotes = [
            await shop.selling.quote(shop.till, meter.number, "600.00")
            for meter in books.meters[:2]
        ]
        return [(quote.quantity, quote.lines, quote.prior_units) for quote in quotes]
    finally:
        await opened.__aexit__(None, None, None)


@given(st.lists(st.tuples(MONEY, st.booleans()), min_size=1, max_size=5))
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_was_taken_back_counts_for_no_later_purchase(sales: list[tuple[int, bool]]) -> None:
    async def both() -> tuple[list[Any], list[Any]]:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            tenders = [minor for minor, _ in sales]
            corrected = await quotes_after(Path(one), tenders, [back for _, back in sales])
            # A tender of nothing is refused: as if the sale had never been asked for.
            kept = [0 if back else minor for minor, back in sales]
            never = await quotes_after(Path(other), kept, [False] * len(sales))
            return corrected, never

    corrected, never = asyncio.run(both())

    assert corrected == never
