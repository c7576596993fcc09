"""What a rule pack is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from slotmeter.devices.entities import SupplyState
from slotmeter.units import Commodity

__all__ = ["CreditRule", "CreditView", "RulePack", "SupplyWish", "Wish"]


class Wish(StrEnum):
    """What credit control wants of the supply."""

    NOTHING = "nothing"
    CUT = "cut"
    RESTORE = "restore"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class CreditView:
    """What a credit rule may know of one meter whose credit the platform holds.

    Args:
        commodity: what the meter delivers.
        balance_minor: ledger balance in minor units; negative is owed.
        low_credit_minor: at or below this the customer is warned.
        supply: the meter's own newest report.
        warned: a low-credit notice was recorded since the last payment.
        cut_pending: a cutting command is on its way (queued, held, sent or acknowledged).
        restore_pending: a restoring command is on its way.
        cut_by_credit: the last cut, done or on its way, was for lack of credit, not by a person.
    """

    commodity: Commodity
    balance_minor: int
    low_credit_minor: int
    supply: SupplyState
    warned: bool
    cut_pending: bool
    restore_pending: bool
    cut_by_credit: bool


@dataclass(frozen=True, slots=True)
class SupplyWish:
    """What a rule wants, and the sentence that the event list will show."""

    wish: Wish
    cause: str


CreditRule = Callable[[CreditView], SupplyWish]


@dataclass(frozen=True, slots=True)
class RulePack:
    """What the entry point group ``slotmeter.rules`` offers."""

    key: str
    credit_control: CreditRule
