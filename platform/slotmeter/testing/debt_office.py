"""A shop with an office that keeps its debts: for tests of debts, reports and receipts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slotmeter.ports import Caller, Row
from slotmeter.services.access import Origin
from slotmeter.services.account_blocks import AccountBlocks
from slotmeter.services.debt_interest import InterestPosting
from slotmeter.services.debt_reports import DebtReports
from slotmeter.services.debt_terms import Books, InterestWish, NewDebt, PlanWish
from slotmeter.services.debts import Debts
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import SmallMeter

__all__ = ["DebtOffice", "open_debt_office"]


@dataclass
class DebtOffice:
    """A shop, and somebody in the office."""

    shop: Shop
    clerk: Caller
    debts: Debts
    blocks: AccountBlocks
    interest: InterestPosting
    reports: DebtReports

    @property
    def origin(self) -> Origin:
        """The clerk, as acts record it."""
        return Origin.of(self.clerk)

    @property
    def books(self) -> Books:
        """The utility's."""
        return Books.of(self.clerk.principal)

    async def owe(
        self,
        meter: SmallMeter,
        amount: str,
        kind: str = "arrears",
        *,
        interest: InterestWish | None = None,
        plan: PlanWish | None = None,
        **more: Any,
    ) -> Row:
        """Make a debt of a meter's account, all of it due at once unless ``plan`` says else."""
        new = NewDebt(
            meter.account_number,
            kind,
            amount,
            plan=plan or PlanWish(),
            interest=interest,
            **more,
        )
        made, _ = await self.debts.add(self.origin, self.books, new, reason="test")
        return made

    async def left(self, number: str) -> int:
        """Return what the ledger says is left of a debt."""
        debt = await self.debts.debt(self.books, number)
        balance: int = debt["balance_minor"]
        return balance

    def acts(self, what: str) -> list[Any]:
        """Return the acts of one name: subject, reason, data."""
        text = "SELECT subject, reason, data FROM act WHERE what = ? ORDER BY id"
        return [tuple(row.values()) for row in self.shop.rows_of(text, what)]


@asynccontextmanager
async def open_debt_office(folder: Path) -> AsyncIterator[DebtOffice]:
    """Make everything in an empty folder, and close it at the end."""
    async with open_shop(folder) as shop:
        clerk = await shop.utility.add_principal("Clerk", "office")
        parts = (shop.database, shop.clock)
        yield DebtOffice(
            shop,
            clerk,
            Debts(*parts),
            AccountBlocks(*parts),
            InterestPosting(*parts),
            DebtReports(*parts),
        )
