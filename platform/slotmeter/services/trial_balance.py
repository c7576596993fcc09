"""What the books say at any instant: balances by account, and what moved them in between.

Accounts of which every customer has one (debts, credit, kept money) are shown as one sum each. A
closed period is not added up again: what it was closed with is carried forward.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.ports import Clock, Read, Row, Rows, SqlValue
from slotmeter.ports.looking import Looks
from slotmeter.services.debt_terms import Books
from slotmeter.services.queries import Page
from slotmeter.units import epoch_us
from slotmeter.vending.ledger import account_kind, account_title

__all__ = ["BalanceLine", "TrialBalance", "TrialBalances", "carried", "lines_of"]

END_OF_TIME_US: Final = 2**62
_LAST_CHARACTER: Final = "\U0010ffff"

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class BalanceLine:
    """One account, or one kind of customers' accounts; minor units, debit positive.

    Args:
        code: of the account, or of the kind that is shown as one.
        title: for people.
        kind: asset, liability, income, expense or equity.
        currency: of the amounts.
        opening_minor: balance when the time began.
        debits_minor: of the time.
        credits_minor: of the time, positive.
    """

    code: str
    title: str
    kind: str
    currency: str
    opening_minor: int
    debits_minor: int
    credits_minor: int

    @property
    def closing_minor(self) -> int:
        """Balance when the time ended."""
        return self.opening_minor + self.debits_minor - self.credits_minor


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All accounts of a utility over a time; each currency sums to zero.

    Args:
        from_us: when it begins; 0 for the beginning of the books.
        to_us: the first instant that does not belong to it.
        lines: by code.
    """

    from_us: int
    to_us: int
    lines: tuple[BalanceLine, ...]

    @property
    def differences(self) -> dict[str, int]:
        """What the balances of each currency sum to, where that is not zero."""
        sums: dict[str, int] = {}
        for line in self.lines:
            sums[line.currency] = sums.get(line.currency, 0) + line.closing_minor
        return {currency: minor for currency, minor in sums.items() if minor}


def carried(periods: Sequence[Row]) -> dict[Key, int]:
    """Return the balances that the newest closed period was closed with; nothing without one."""
    if not periods:
        return {}
    sums: list[list[str | int]] = json.loads(periods[0]["sums"])
    return {(str(code), str(currency)): int(closing) for code, currency, _, _, closing in sums}


def lines_of(opening: Mapping[Key, int], moved: Sequence[Row]) -> tuple[BalanceLine, ...]:
    """Join balances and what moved them."""
    movement = {(row["control"], row["currency"]): row for row in moved}
    lines = []
    for code, currency in sorted({*opening, *movement}):
        row = movement.get((code, currency))
        lines.append(
            BalanceLine(
                code=code,
                title=account_title(code),
                kind=account_kind(code),
                currency=currency,
                opening_minor=opening.get((code, currency), 0),
                debits_minor=0 if row is None else int(row["debits"]),
                credits_minor=0 if row is None else int(row["credits"]),
            )
        )
    return tuple(lines)


class TrialBalances:
    """Adds up the books."""

    def __init__(self, looks: Looks, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._looks = looks
        self._clock = clock

    async def balance(
        self, books: Books, *, from_us: int | None = None, to_us: int | None = None
    ) -> TrialBalance:
        """Return the trial balance of a time.

        Args:
            books: whose.
            from_us: what came before is in the opening balances; the beginning if not given.
            to_us: the first instant that does not belong to it; now if not given.
        """
        until_us = epoch_us(self._clock.now()) + 1 if to_us is None else to_us
        first_us = from_us or 0
        rows = await self._looks.read(
            [
                self._before(books, first_us, "before"),
                Read("ledger_movement", _span(books, first_us, until_us), "moved"),
            ]
        )
        opening = await self._opening(books, rows, first_us)
        return TrialBalance(first_us, until_us, lines_of(opening, rows["moved"]))

    @staticmethod
    def _before(books: Books, at_us: int, key: str) -> Read:
        params: dict[str, SqlValue] = {"utility_id": books.utility_id, "at_us": at_us}
        return Read("ledger_period_before", params, key)

    async def _opening(self, books: Books, rows: Rows, at_us: int) -> dict[Key, int]:
        """Return the balances at an instant: the period closed before it, and what came since."""
        if not at_us:
            return {}
        closed = rows["before"]
        since_us = closed[0]["to_us"] if closed else 0
        read = Read("ledger_movement", _span(books, since_us, at_us), "moved")
        lines = lines_of(carried(closed), (await self._looks.read([read]))["moved"])
        return {(line.code, line.currency): line.closing_minor for line in lines}

    async def accounts(
        self, books: Books, *, family: str = "", after: str = "", limit: int = 50
    ) -> Page:
        """Return ledger accounts by code, with what they stand at now.

        Args:
            books: whose.
            family: only accounts of this code, or whose code begins with it and a colon.
            after: the last code of the page before.
            limit: rows of a page.
        """
        params: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "after": after,
            "first": family,
            "beyond": f"{family}:{_LAST_CHARACTER}" if family else _LAST_CHARACTER,
            "limit": limit + 1,
        }
        rows = (await self._looks.read([Read("look_ledger_accounts", params, "accounts")]))[
            "accounts"
        ]
        following = rows[limit - 1]["code"] if len(rows) > limit else None
        return Page(rows[:limit], following)


def _span(books: Books, from_us: int, to_us: int) -> dict[str, SqlValue]:
    return {"utility_id": books.utility_id, "from_us": from_us, "to_us": to_us}
