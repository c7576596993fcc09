"""What is done with the ledger beside selling, as one thing to hand around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from slotmeter.ports import Clock, UnitOfWork
from slotmeter.ports.looking import Looks
from slotmeter.services.commission import Commissions
from slotmeter.services.float_accounts import FloatAccounts
from slotmeter.services.journal_export import JournalExport
from slotmeter.services.operations import Operations
from slotmeter.services.period_close import Periods
from slotmeter.services.refunds import Refunds
from slotmeter.services.replacement import Replacements
from slotmeter.services.reversal import Reversals
from slotmeter.services.selling import Selling
from slotmeter.services.trial_balance import TrialBalances

__all__ = ["LedgerDesk"]


@dataclass(frozen=True, slots=True)
class LedgerDesk:
    """The services behind the paths and commands of the ledger."""

    uow: UnitOfWork
    clock: Clock
    balances: TrialBalances
    periods: Periods
    journal: JournalExport
    operations: Operations
    floats: FloatAccounts
    commissions: Commissions
    refunds: Refunds
    reversals: Reversals

    @classmethod
    def of(cls, uow: UnitOfWork, clock: Clock, *, looks: Looks | None = None) -> Self:
        """Make all of them on one database, with what reports are read by if that is another."""
        return cls(
            uow=uow,
            clock=clock,
            balances=TrialBalances(looks or uow, clock),
            periods=Periods(uow, clock),
            journal=JournalExport(looks or uow),
            operations=Operations(uow),
            floats=FloatAccounts(uow, clock),
            commissions=Commissions(uow, clock),
            refunds=Refunds(uow, clock),
            reversals=Reversals(uow, clock),
        )

    def replacements(self, selling: Selling) -> Replacements:
        """Return what replaces sales, with what makes them."""
        return Replacements(self.uow, self.clock, selling)
