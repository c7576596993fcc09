"""Credit control for meters whose credit the platform holds: warn, cut at zero, give back.

The rule says what it wants; the gate of the platform decides what may be done, and when.
"""

from __future__ import annotations

from slotmeter.devices.entities import SupplyState
from slotmeter.ports import CreditView, SupplyWish, Wish

__all__ = ["credit_control"]


def credit_control(view: CreditView) -> SupplyWish:
    """Decide what one meter's supply needs; pure.

    ==============================  ===============================================================
    credit left                     given back if it was cut for lack of credit, also when a cut is
                                    only on its way; else a warning once at or below the limit
    none left, not yet warned       the warning first: nobody is cut without one
    none left, warned               cut, unless supply is off or a cut is on its way
    ==============================  ===============================================================
    """
    if view.balance_minor > 0:
        return _with_credit(view)
    if not view.warned:
        return SupplyWish(Wish.WARN, "the credit is used up")
    if view.supply is SupplyState.OFF or view.cut_pending:
        return SupplyWish(Wish.NOTHING, "supply is off for lack of credit")
    return SupplyWish(Wish.CUT, "the credit is used up")


def _with_credit(view: CreditView) -> SupplyWish:
    is_cut = view.supply is SupplyState.OFF or view.cut_pending
    if is_cut and view.cut_by_credit and not view.restore_pending:
        return SupplyWish(Wish.RESTORE, "there is credit again")
    if view.balance_minor <= view.low_credit_minor and not view.warned:
        return SupplyWish(Wish.WARN, "the credit is low")
    return SupplyWish(Wish.NOTHING, "there is credit")
