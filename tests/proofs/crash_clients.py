"""The clients of the crash proof: what each sale is, and what the clients know of it at the end.

The seed and the number of a sale decide everything about it: meter, money, what the line does to
it, and what is done besides.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from crash_line import Fate, Line, LineFailed
from crash_town import BRANCH, CrashTown

__all__ = ["Begun", "Book", "Client"]

AMOUNTS = ("250", "300.00", "500", "999.95", "2000")
ENOUGH = "5000"
FATES = (Fate.LOST_REQUEST, Fate.LOST_ANSWER, Fate.DOUBLED)
FATE_SHARE = 0.15
REPEATED_SHARE = 0.05
REVERSED_SHARE = 0.03
DEPOSIT_SHARE = 0.02
DEBT_SHARE = 0.02
DEBT = "75.00"
SUPERVISOR_SAYS = "the customer returned the unused slip"


@dataclass(slots=True)
class Book:
    """What the clients know.

    Args:
        sales: how many are to be made.
        answers: receipt number and digits of each sale that was answered, by its number.
        tendered: in minor units, by number.
        enough: what was tendered where the first amount was too small, by number.
        reversed: numbers of the sales that were taken back.
        deposits_minor: paid into the bank.
        debts: numbers of debts that were made.
        contradictions: answers that differ from an earlier one of the same sale, without digits.
        counts: what was done.
    """

    sales: int
    answers: dict[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    tendered: dict[int, int] = field(default_factory=dict)
    enough: dict[int, str] = field(default_factory=dict)
    reversed: set[int] = field(default_factory=set)
    deposits_minor: int = 0
    debts: set[str] = field(default_factory=set)
    contradictions: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, number: int, sale: Mapping[str, Any]) -> None:
        """Note an answer."""
        told = (sale["receipt_number"], tuple(token["digits"] for token in sale["tokens"]))
        known = self.answers.setdefault(number, told)
        if known != told:
            self.contradictions.append(f"sale {number} was answered in two ways")


class Begun:
    """How many sales were begun, for whoever waits for a number of them."""

    def __init__(self) -> None:
        self.count = 0
        self._waits: dict[int, asyncio.Event] = {}

    def add(self) -> None:
        self.count += 1
        for at in [at for at in self._waits if at <= self.count]:
            self._waits.pop(at).set()

    async def reach(self, count: int) -> None:
        if self.count < count:
            await self._waits.setdefault(count, asyncio.Event()).wait()


class Client:
    """Sells one sale after the other, on two lines, so that it can ask twice at once.

    Args:
        town: whom it sells to.
        seed: of the run.
        book: shared by all clients.
        lines: both.
    """

    def __init__(self, town: CrashTown, seed: int, book: Book, lines: tuple[Line, Line]) -> None:
        self._town = town
        self._seed = seed
        self._book = book
        self._lines = lines

    async def work(
        self, numbers: Iterator[int], begun: Begun, progress: Callable[[int], None]
    ) -> None:
        """Make the sales with these numbers, and what goes with each."""
        try:
            for number in numbers:
                begun.add()
                await self._one(number)
                progress(len(self._book.answers))
        finally:
            for line in self._lines:
                line.close()

    async def _one(self, number: int) -> None:
        random = Random(f"{self._seed}/{number}")
        at, tendered, fate = self._drawn(number)
        await self._sell(number, fate)
        if random.random() < REPEATED_SHARE:
            known = random.randrange(number + 1)
            if known in self._book.answers:
                self._book.counts["asked for an earlier sale again"] += 1
                await self._sell(known, Fate.PLAIN)
        if random.random() < REVERSED_SHARE:
            await self._reverse(number, random)
        if random.random() < DEPOSIT_SHARE:
            await self._pay_in(number, tendered, random)
        if random.random() < DEBT_SHARE:
            await self._owe(number, at, random)

    def _drawn(self, number: int) -> tuple[int, str, Fate]:
        random = Random(f"{self._seed}/sale/{number}")
        at = random.randrange(len(self._town.meters))
        return at, random.choice(AMOUNTS), _draw_fate(random)

    async def _sell(self, number: int, fate: Fate) -> None:
        _, tendered, _ = self._drawn(number)
        if not await self._sold(number, self._book.enough.get(number, tendered), fate):
            # What is due at this moment is more: a refusal leaves nothing behind, so that the same
            # sale may be asked for again with another amount.
            self._book.counts["refused as too small"] += 1
            self._book.enough[number] = ENOUGH
            if not await self._sold(number, ENOUGH, Fate.PLAIN):
                raise LineFailed(f"sale {number}: {ENOUGH} is too small too")

    async def _sold(self, number: int, tendered: str, fate: Fate) -> bool:
        """Ask for a sale; return whether the money was enough."""
        at, _, _ = self._drawn(number)
        meter = self._town.meters[at]
        sale_id = f"crash-{number}"
        body = {"sale_id": sale_id, "meter": meter, "tendered": tendered, "channel": "till"}
        answers = await self._ask("/sales", "till", body, fate)
        # Of two at once the second one may find less due.
        made = [each for each in answers if each[1].get("code") != "tender_too_small"]
        if not made:
            return False
        for status, sale in made:
            if status not in (200, 201):
                raise LineFailed(f"sale {number}: HTTP {status} {sale['code']}: {sale['detail']}")
            self._book.take(number, sale)
        self._book.tendered[number] = _minor(tendered)
        return True

    async def _reverse(self, number: int, random: Random) -> None:
        """Take a sale back; some cannot be, since a later one rests on it."""
        receipt, _ = self._book.answers[number]
        body = {
            "request_id": f"reverse-{number}",
            "declared": SUPERVISOR_SAYS,
            "reason": "wrong amount",
        }
        path = f"/receipts/{receipt}/reversal"
        answers = await self._ask(path, "boss", body, _draw_fate(random))
        if any(status in (200, 201) for status, _ in answers):
            self._book.reversed.add(number)
            return
        for status, document in answers:
            if status != 422:
                raise LineFailed(f"{path}: HTTP {status} {document['code']}")
            self._book.counts[f"reversals refused: {document['code']}"] += 1

    async def _pay_in(self, number: int, amount: str, random: Random) -> None:
        body = {
            "request_id": f"deposit-{number}",
            "amount": amount,
            "reference": f"SLIP {number}",
            "reason": "daily deposit",
        }
        path = f"/floats/{BRANCH}/deposits"
        for status, document in await self._ask(path, "boss", body, _draw_fate(random)):
            if status not in (200, 201):
                raise LineFailed(f"{path}: HTTP {status} {document['code']}")
        self._book.deposits_minor += _minor(amount)
        self._book.counts["deposits"] += 1

    async def _owe(self, number: int, at: int, random: Random) -> None:
        debt = f"FINE-{number}"
        body = {
            "account": self._town.account(at),
            "kind": "fine",
            "amount": DEBT,
            "number": debt,
            "plan": {"shape": "once"},
            "reason": "reconnection",
        }
        for status, document in await self._ask("/debts", "boss", body, _draw_fate(random)):
            if status not in (200, 201):
                raise LineFailed(f"/debts: HTTP {status} {document}")
        self._book.debts.add(debt)

    async def _ask(
        self, path: str, who: str, body: Mapping[str, Any], fate: Fate
    ) -> list[tuple[int, Any]]:
        self._book.counts[fate.value] += 1
        lines = self._lines if fate is Fate.DOUBLED else self._lines[:1]
        return list(await asyncio.gather(*(line.ask(path, who, body, fate) for line in lines)))


def _draw_fate(random: Random) -> Fate:
    return random.choice(FATES) if random.random() < FATE_SHARE else Fate.PLAIN


def _minor(amount: str) -> int:
    return int(Decimal(amount) * 100)
