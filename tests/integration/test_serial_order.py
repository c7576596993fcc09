"""Whatever is done at once on few accounts comes out as if it had been done one after another.

Two processes' worth of writers share a database; each unit notes when it was decided, which is the
order that the database gave them. The same work, done again one by one in that order on a fresh
SQLite database, must have the same answers and leave the same books.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest

from slotmeter.errors import Conflict, SlotmeterError
from slotmeter.ports import Caller, Changes, NewId, Reads, Rows, UnitOfWork
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.services.access import Origin
from slotmeter.services.debt_terms import Books, NewDebt, PlanWish
from slotmeter.services.debts import Debts
from slotmeter.services.float_accounts import FloatAccounts
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.services.selling import Selling, SellRequest
from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.databases import opened_in, settings_of
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.vending.debt_plans import Shape
from slotmeter.vending.tariff.marks import plain, read_yaml

pytestmark = pytest.mark.both_databases

T = TypeVar("T")

KENYA = "ke-kplc-dc-fixed-charge-era"
ACCOUNTS = 2
SOLD_BEFORE = 6
DONE_AT_ONCE = 40
CLIENTS = 10
LIMIT = "6000.00"
DEBT_PERCENT = "20"
SEEDS = [20_240_607, 42, 4_711]
TRIES_MAX = 50

DOING: ContextVar[tuple[int, list[int]] | None] = ContextVar("doing", default=None)


@dataclass
class Order:
    """In which order the first unit of each work was decided; a unit that is run again moves."""

    decided: dict[int, None] = field(default_factory=dict)

    def on(self, database: UnitOfWork) -> Any:
        """Return a database that notes it."""
        return _Noting(database, self)


@dataclass
class _Noting:
    database: UnitOfWork
    order: Order

    async def read(self, reads: Reads) -> Rows:
        return await self.database.read(reads)

    async def run(self, reads: Reads, decide: Callable[[Rows, NewId], Changes[T]]) -> T:
        doing = DOING.get()
        if doing is None or doing[1]:
            return await self.database.run(reads, decide)
        number, units = doing
        units.append(number)

        def noted(rows: Rows, new_id: NewId) -> Changes[T]:
            self.order.decided.pop(number, None)
            self.order.decided[number] = None
            return decide(rows, new_id)

        return await self.database.run(reads, noted)


@dataclass
class Till:
    """The services of one process."""

    selling: Selling
    reversals: Reversals
    floats: FloatAccounts
    debts: Debts

    @classmethod
    def on(cls, shop: Shop, database: Any) -> Till:
        selling = Selling(
            database,
            shop.security,
            shop.clock,
            safe=sample_safe(),
            draw_rnd=lambda: 5,
            after_payment=shop.selling._after_payment,
            on_issued=lambda: None,
        )
        parts = (database, shop.clock)
        return cls(selling, Reversals(*parts), FloatAccounts(*parts), Debts(*parts))


@dataclass
class Scene:
    """A shop with two customers, who owe, have bought, and share a seller with a limit."""

    shop: Shop
    boss: Caller
    meters: list[SmallMeter]
    receipts: list[str]

    def asked(self, number: int) -> Asked:
        return Asked(self.boss, f"q{number}", "because")


Work = Callable[[Till, Scene], Awaitable[Any]]


@asynccontextmanager
async def scene_in(folder: Path) -> AsyncIterator[Scene]:
    """Make the same scene in any folder."""
    async with open_shop(folder) as shop:
        document = plain(read_yaml(pack_texts()[KENYA]))
        assert isinstance(document, dict)
        await shop.utility.add_tariff(document)
        boss = await shop.utility.add_principal("Boss", "supervisor")
        shop.clock.advance(seconds=60)
        meters = [await shop.utility.add_meter(tariff=KENYA, online=False) for _ in range(ACCOUNTS)]
        till = Till.on(shop, shop.database)
        scene = Scene(shop, boss, meters, [])
        for at, meter in enumerate(meters):
            await owe(till, scene, meter, f"OLD-{at}", "700.00")
        for at in range(SOLD_BEFORE):
            sale = await shop.sell(meters[at % ACCOUNTS].number, "500.00", f"before{at}")
            scene.receipts.append(sale.receipt_number)
        await till.floats.set_limit(scene.asked(10_000), "head", LIMIT)
        shop.clock.advance(seconds=60)
        yield scene


async def owe(till: Till, scene: Scene, meter: SmallMeter, number: str, amount: str) -> str:
    """Make a debt of which each purchase takes a share."""
    plan = PlanWish(shape=Shape.PERCENT, percent=DEBT_PERCENT)
    new = NewDebt(meter.account_number, "arrears", amount, plan=plan, number=number)
    books = Books.of(scene.boss.principal)
    await till.debts.add(Origin.of(scene.boss), books, new, reason="because")
    return number


def drawn(seed: int) -> list[Work]:
    """Draw what is done at once."""
    random = Random(seed)
    receipts = random.sample(range(SOLD_BEFORE), k=SOLD_BEFORE)
    works = [_drawn(random, number, receipts) for number in range(DONE_AT_ONCE)]
    random.shuffle(works)
    return works


def _drawn(random: Random, number: int, receipts: list[int]) -> Work:
    at, amount = random.randrange(ACCOUNTS), random.choice(("160.00", "500.00", "999.95"))
    kind = random.choice(("sale", "sale", "sale", "reversal", "deposit", "debt"))
    if kind == "reversal" and receipts:
        taken = receipts.pop()

        async def reverse(till: Till, scene: Scene) -> Any:
            wish = ReversalWish(scene.receipts[taken], declared="the slip was brought back")
            row, _ = await till.reversals.reverse(scene.asked(number), wish)
            return row["amount_minor"]

        return reverse
    if kind == "deposit":

        async def deposit(till: Till, scene: Scene) -> Any:
            slip = f"SLIP {number}"
            row, _ = await till.floats.pay_in(scene.asked(number), "head", amount, slip)
            return row["amount_minor"]

        return deposit
    if kind == "debt":

        async def debt(till: Till, scene: Scene) -> Any:
            return await owe(till, scene, scene.meters[at], f"NEW-{number}", amount)

        return debt

    async def sell(till: Till, scene: Scene) -> Any:
        request = SellRequest(f"s{number}", scene.meters[at].number, amount)
        view, _ = await till.selling.sell(scene.shop.till, request)
        return view.units, view.token

    return sell


async def done(number: int, work: Work, till: Till, scene: Scene) -> Any:
    """Do one thing as a client does that asks again where it is told to; return what came out."""
    for _ in range(TRIES_MAX):
        DOING.set((number, []))
        try:
            return await work(till, scene)
        except Conflict as conflict:
            if conflict.code != "changed_meanwhile":
                return conflict.code
        except SlotmeterError as error:
            return error.code
    raise AssertionError("it was changed meanwhile each time")


def books_of(scene: Scene) -> dict[str, Any]:
    """Return what the books hold at the end, by names that both databases share."""
    accounts = scene.shop.rows_of("SELECT code, balance_minor, reserved_minor FROM ledger_account")
    sales = scene.shop.rows_of(
        "SELECT sale.sale_id, sale.state, sale.units, token.tid_minute FROM sale "
        "LEFT JOIN token ON token.sale_row_id = sale.id"
    )
    debts = scene.shop.rows_of("SELECT number, state FROM debt")
    return {
        "accounts": {
            row["code"]: (row["balance_minor"], row["reserved_minor"]) for row in accounts
        },
        "sales": {row["sale_id"]: tuple(row.values())[1:] for row in sales},
        "debts": {row["number"]: row["state"] for row in debts},
    }


async def at_once(folder: Path, works: Sequence[Work]) -> tuple[list[int], dict[int, Any], Any]:
    """Do everything at once from two writers; return the order, the answers and the books."""
    order = Order()
    async with scene_in(folder) as scene, opened_in(folder) as other:
        tills = [Till.on(scene.shop, order.on(each)) for each in (scene.shop.database, other)]
        waiting = iter(enumerate(works))
        answers: dict[int, Any] = {}

        async def client(till: Till) -> None:
            for number, work in waiting:
                answers[number] = await done(number, work, till, scene)

        await asyncio.gather(*(client(tills[at % len(tills)]) for at in range(CLIENTS)))
        [utility] = await Registry(scene.shop.database, scene.shop.clock).utilities()
        verdict = await verify_ledger(scene.shop.database, scene.shop.clock, utility)
        audit = await asyncio.to_thread(verify_audit, reader_of(settings_of(folder)), processes=1)
        assert [each.sentence for each in verdict.sentences if not each.holds] == []
        assert audit.breaks == []
        return list(order.decided), answers, books_of(scene)


async def one_by_one(
    folder: Path, works: Sequence[Work], order: Sequence[int]
) -> tuple[dict[int, Any], Any]:
    """Do the same in this order; return the answers by number, and the books."""
    async with scene_in(folder) as scene:
        till = Till.on(scene.shop, scene.shop.database)
        answers = {number: await done(number, works[number], till, scene) for number in order}
        return answers, books_of(scene)


@pytest.fixture
def serial_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "serial"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("seed", [*SEEDS, None])
async def test_what_is_done_at_once_comes_out_as_in_some_order(
    tmp_path: Path, serial_folder: Path, seed: int | None
) -> None:
    seed = secrets.randbelow(2**32) if seed is None else seed
    works = drawn(seed)

    order, answers, books = await at_once(tmp_path, works)
    expected, expected_books = await one_by_one(serial_folder, works, order)

    assert sorted(order) == list(range(len(works))), f"seed {seed}"
    assert answers == expected, f"seed {seed}"
    assert books == expected_books, f"seed {seed}"
