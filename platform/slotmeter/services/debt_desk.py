"""What is done with debts, as one thing to hand around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from slotmeter.ports import Clock, UnitOfWork
from slotmeter.ports.looking import Looks
from slotmeter.services.account_blocks import AccountBlocks
from slotmeter.services.debt_interest import InterestPosting
from slotmeter.services.debt_reports import DebtReports
from slotmeter.services.debts import Debts

__all__ = ["DebtDesk"]


@dataclass(frozen=True, slots=True)
class DebtDesk:
    """The services behind the paths and commands of debts."""

    debts: Debts
    blocks: AccountBlocks
    interest: InterestPosting
    reports: DebtReports

    @classmethod
    def of(cls, uow: UnitOfWork, clock: Clock, *, looks: Looks | None = None) -> Self:
        """Make all of them on one database, with what reports are read by if that is another."""
        return cls(
            Debts(uow, clock),
            AccountBlocks(uow, clock),
            InterestPosting(uow, clock),
            DebtReports(looks or uow, clock),
        )
