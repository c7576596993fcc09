"""Whatever is done at once on few accounts comes out as if it had been done one after another.

Two processes' worth of writers share a database; each call notes when its first unit of work was
decided, which is the order that the database gave them. The same calls, done again one by one in
that order on a fresh SQLite database, must have the same answers and leave the same books.

A sale that is voided is two calls: its beginning, and its end in vain, between which others see the
money it has reserved. So is one that gives the customer money to hold: a refund finds it after the
second commit, while prices count it from the first on. Any other sale is one call, whatever came
between its two commits.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest

from slotmeter.errors import Conflict, Refused, SlotmeterError
from slotmeter.ports import Caller, Changes, NewId, Reads, Rows, SecurityModule, UnitOfWork
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.services.access import Origin
from slotmeter.services.debt_terms import Books, NewDebt, PlanWish
from slotmeter.services.debts import Debts
from slotmeter.services.float_accounts import FloatAccounts
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.operations import Asked
from slotmeter.services.refunds import Refunds, RefundWish
from slotmeter.services.registry import Registry
from slotmeter.services.replacement import Replacements, ReplacementWish
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.services.sale_issue import Begun
from slotmeter.services.selling import Selling, SellRequest
from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.databases import opened_in, settings_of
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import epoch_us
from slotmeter.vending.debt_plans import Shape
from slotmeter.vending.sts import IssuedToken, KeyParameters, TokenRequest
from slotmeter.vending.tariff.marks import plain, read_yaml

pytestmark = pytest.mark.both_databases

T = TypeVar("T")

KENYA = "ke-kplc-dc-fixed-charge-era"
KEEPS = {
    "tariff": "keeps",
    "title": "Keeps money",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"label": "Energy", "blocks": [{"to": "4", "price": "10"}, {"price": "70.37"}]},
    "fixed": {"service": {"label": "Service", "amount": "300.01"}},
    "purchase": {"too_small": "pay_charges"},
}
ACCOUNTS = 4
"""Two with Kenya's tariff, one whose small purchases are kept, one whose credit we hold."""
KEPT, HELD = 2, 3
SOLD_BEFORE = 8
DONE_AT_ONCE = 50
CLIENTS = 10
LIMIT = "7000.00"
DEBT_PERCENT = "20"
KINDS = (
    *("sale", "sale", "sale", "reversal", "returned", "deposit", "debt"),
    *("void", "refund", "refund", "replacement"),
)
SEEDS = [20_240_607, 42, 4_711]
TRIES_MAX = 50

Step = tuple[int, int]
"""Number of a work, and number of a call in it."""

DOING: ContextVar[tuple[Step, list[Step]] | None] = ContextVar("doing", default=None)


@dataclass
class Order:
    """In which order the first unit of each call was decided; a unit that is run again moves."""

    decided: dict[Step, None] = field(default_factory=dict)

    def on(self, database: UnitOfWork) -> Any:
        """Return a database that notes it."""
        return _Noting(database, self)


@dataclass
class _Noting:
    database: UnitOfWork
    order: Order

    async def read(self, reads: Reads) -> Rows:
        return await self.database.read(reads)

    async def run(self, reads: Reads, decide: Callable[[Rows, NewId], Changes[T]], **how: Any) -> T:
        doing = DOING.get()
        if doing is None or doing[1]:
            return await self.database.run(reads, decide, **how)
        step, units = doing
        units.append(step)

        def noted(rows: Rows, new_id: NewId) -> Changes[T]:
            self.order.decided.pop(step, None)
            self.order.decided[step] = None
            return decide(rows, new_id)

        return await self.database.run(reads, noted, **how)


class NoTokens:
    """A security module that can make no token of a meter, now or ever."""

    def __init__(self, security: SecurityModule) -> None:
        self._security = security

    def __getattr__(self, name: str) -> Any:
        return getattr(self._security, name)

    async def issue(
        self, key_id: str, parameters: KeyParameters, request: TokenRequest
    ) -> IssuedToken:
        raise Refused("key_expired", "expected a key that has not ended")


@dataclass
class Till:
    """The services of one process; ``doomed`` begins sales whose tokens cannot be made."""

    database: Any
    selling: Selling
    doomed: Selling
    reversals: Reversals
    replacements: Replacements
    refunds: Refunds
    floats: FloatAccounts
    debts: Debts

    @classmethod
    def on(cls, shop: Shop, database: Any) -> Till:
        def selling(security: Any) -> Selling:
            return Selling(
                database,
                security,
                shop.clock,
                safe=sample_safe(),
                draw_rnd=lambda: 5,
                after_payment=shop.selling._after_payment,
                on_issued=lambda: None,
            )

        parts, sells = (database, shop.clock), selling(shop.security)
        return cls(
            database,
            sells,
            selling(NoTokens(shop.security)),
            Reversals(*parts),
            Replacements(*parts, sells),
            Refunds(*parts),
            FloatAccounts(*parts),
            Debts(*parts),
        )


@dataclass
class Scene:
    """A shop with a few customers, who owe, have bought, and share a seller with a limit."""

    shop: Shop
    boss: Caller
    meters: list[SmallMeter]
    receipts: list[str]

    def asked(self, number: int) -> Asked:
        return Asked(self.boss, f"q{number}", "because")


Call = Callable[[Till, Scene, Any], Awaitable[Any]]
"""A call, which is given what the call before it of the same work came to."""
Work = tuple[Call, ...]


@asynccontextmanager
async def scene_in(folder: Path) -> AsyncIterator[Scene]:
    """Make the same scene in any folder."""
    async with open_shop(folder) as shop:
        document = plain(read_yaml(pack_texts()[KENYA]))
        assert isinstance(document, dict)
        await shop.utility.add_tariff(document)
        await shop.utility.add_tariff(KEEPS)
        boss = await shop.utility.add_principal("Boss", "supervisor")
        shop.clock.advance(seconds=60)
        add = shop.utility.add_meter
        meters = [await add(tariff=KENYA, online=False) for _ in range(2)]
        meters += [await add(tariff="keeps", online=False)]
        meters += [await add(tariff=KENYA, credit_mode="platform")]
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
    kind = random.choice(KINDS)
    if kind == "replacement" and receipts:
        return (_replace(number, receipts.pop(), at % KEPT),)
    others: dict[str, Work] = {
        "reversal": (_reverse(number, random.randrange(SOLD_BEFORE)),),
        "returned": (*_sell(number, at, amount), _reverse(number, None)),
        "void": _doomed(number, at, amount),
        "refund": (_refund(number, random.choice((KEPT, HELD)), amount),),
        "deposit": (_deposit(number, amount),),
        "debt": (_debt(number, at, amount),),
    }
    return others.get(kind, _sell(number, at, amount))


def _sell(number: int, at: int, amount: str) -> Work:
    async def sell(till: Till, scene: Scene, _: Any) -> Any:
        request = SellRequest(f"s{number}", scene.meters[at].number, amount)
        view, _is_new = await till.selling.sell(scene.shop.till, request)
        return view.receipt_number, view.units, view.token

    async def end(till: Till, _: Scene, begun: Any) -> Any:
        view = await till.selling.finish(begun)
        return view.receipt_number, view.units, view.token

    return (_begin(f"s{number}", at, amount), end) if at in (KEPT, HELD) else (sell,)


def _begin(sale_id: str, at: int, amount: str) -> Call:
    async def begin(till: Till, scene: Scene, _: Any) -> Any:
        request = SellRequest(sale_id, scene.meters[at].number, amount)
        now_us = epoch_us(scene.shop.clock.now())
        first = till.selling.begin(scene.shop.till, request, now_us)
        return await till.database.run(first.reads(), first.decide)

    return begin


def _reverse(number: int, taken: int | None) -> Call:
    """A sale from before, or that of the call before."""

    async def reverse(till: Till, scene: Scene, before: Any) -> Any:
        receipt = before[0] if taken is None else scene.receipts[taken]
        wish = ReversalWish(receipt, declared="the slip was brought back")
        row, _ = await till.reversals.reverse(scene.asked(number), wish)
        return row["amount_minor"], in_no_order(row["detail"])

    return reverse


def _replace(number: int, taken: int, at: int) -> Call:
    async def replace(till: Till, scene: Scene, _: Any) -> Any:
        wish = ReplacementWish(scene.receipts[taken], scene.meters[at].number, "the customer")
        row, view, _is_new = await till.replacements.replace(scene.asked(number), wish)
        return row["amount_minor"], view.receipt_number, view.units, view.token

    return replace


def _refund(number: int, at: int, amount: str) -> Call:
    async def refund(till: Till, scene: Scene, _: Any) -> Any:
        held_as = "kept" if at == KEPT else "credit"
        wish = RefundWish(scene.meters[at].account_number, amount, held_as, "bank")
        row, _is_new = await till.refunds.refund(scene.asked(number), wish)
        return row["amount_minor"]

    return refund


def _deposit(number: int, amount: str) -> Call:
    async def deposit(till: Till, scene: Scene, _: Any) -> Any:
        slip = f"SLIP {number}"
        row, _is_new = await till.floats.pay_in(scene.asked(number), "head", amount, slip)
        return row["amount_minor"]

    return deposit


def _debt(number: int, at: int, amount: str) -> Call:
    async def debt(till: Till, scene: Scene, _: Any) -> Any:
        return await owe(till, scene, scene.meters[at], f"NEW-{number}", amount)

    return debt


def _doomed(number: int, at: int, amount: str) -> Work:
    async def end(till: Till, _: Scene, begun: Any) -> Any:
        return (await till.doomed.finish(begun)).units

    return _begin(f"v{number}", at, amount), end


async def done(step: Step, call: Call, before: Any, till: Till, scene: Scene) -> tuple[Any, bool]:
    """Call as a client does that asks again where it is told to; return what came of it, and if
    it was done."""
    for _ in range(TRIES_MAX):
        DOING.set((step, []))
        try:
            return await call(till, scene, before), True
        except Conflict as conflict:
            if conflict.code != "changed_meanwhile":
                return conflict.code, False
        except SlotmeterError as error:
            return error.code, False
    raise AssertionError("it was changed meanwhile each time")


def in_no_order(detail: str) -> str:
    """Return the detail of an operation without the order of its postings."""
    read = json.loads(detail)
    return json.dumps({**read, "postings": sorted(read.get("postings", ()))}, sort_keys=True)


def told(came: Any) -> Any:
    """Return what a client is told of it."""
    return came.sale["receipt_number"] if isinstance(came, Begun) else came


BOOKS = {
    "accounts": "SELECT code, balance_minor, reserved_minor FROM ledger_account",
    "sales": (
        "SELECT sale.sale_id, sale.receipt_number, sale.state, sale.units, sale.kept_minor,"
        " sale.counted_units, token.tid_minute, token.state AS token_state, token.amount FROM sale"
        " LEFT JOIN token ON token.sale_row_id = sale.id"
    ),
    "journals": (
        "SELECT journal.kind, journal.at_us, ledger_account.code, posting.amount_minor FROM journal"
        " JOIN posting ON posting.journal_id = journal.id"
        " JOIN ledger_account ON ledger_account.id = posting.ledger_account_id"
    ),
    "debts": "SELECT number, state FROM debt",
    "taken": (
        "SELECT debt.number, sale.sale_id, debt_taken.minor FROM debt_taken"
        " JOIN debt ON debt.id = debt_taken.debt_id JOIN sale ON sale.id = debt_taken.sale_row_id"
    ),
    "charges": ("SELECT code, period, due_minor, taken_minor FROM charge"),
    "operations": (
        "SELECT kind, request_id, number, subject, amount_minor, detail FROM ledger_operation"
    ),
}
"""What the books hold, by names that both databases share."""


def _values(row: dict[str, Any]) -> tuple[Any, ...]:
    detail = {"detail": in_no_order(row["detail"])} if "detail" in row else {}
    return tuple({**row, **detail}.values())


def books_of(scene: Scene) -> dict[str, Counter[tuple[Any, ...]]]:
    """Return everything that the books hold at the end, in no order."""
    return {
        name: Counter(_values(row) for row in scene.shop.rows_of(text))
        for name, text in BOOKS.items()
    }


async def at_once(
    folder: Path, works: Sequence[Work]
) -> tuple[list[Step], dict[Step, Any], dict[str, Any]]:
    """Do everything at once from two writers; return the order, the answers and the books."""
    order = Order()
    async with scene_in(folder) as scene, opened_in(folder) as other:
        tills = [Till.on(scene.shop, order.on(each)) for each in (scene.shop.database, other)]
        waiting = iter(enumerate(works))
        answers: dict[Step, Any] = {}

        async def client(till: Till) -> None:
            for number, work in waiting:
                came, goes_on = None, True
                for at, call in enumerate(work):
                    if goes_on:
                        came, goes_on = await done((number, at), call, came, till, scene)
                        answers[number, at] = told(came)

        await asyncio.gather(*(client(tills[at % len(tills)]) for at in range(CLIENTS)))
        [utility] = await Registry(scene.shop.database, scene.shop.clock).utilities()
        verdict = await verify_ledger(scene.shop.database, scene.shop.clock, utility)
        audit = await asyncio.to_thread(verify_audit, reader_of(settings_of(folder)), processes=1)
        assert [each.sentence for each in verdict.sentences if not each.holds] == []
        assert audit.breaks == []
        return list(order.decided), answers, books_of(scene)


async def one_by_one(
    folder: Path, works: Sequence[Work], order: Sequence[Step]
) -> tuple[dict[Step, Any], dict[str, Any]]:
    """Do the same in this order; return the answers, and the books."""
    answers: dict[Step, Any] = {}
    came: dict[int, tuple[Any, bool]] = {}
    async with scene_in(folder) as scene:
        till = Till.on(scene.shop, scene.shop.database)
        for number, at in order:
            call, before = works[number][at], came.get(number, (None, True))
            if before[1]:
                came[number] = await done((number, at), call, before[0], till, scene)
                answers[number, at] = told(came[number][0])
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

    assert sorted(order) == sorted(answers), f"seed {seed}"
    assert answers == expected, f"seed {seed}"
    for name, found in books.items():
        assert found == expected_books[name], f"{name}, seed {seed}"
