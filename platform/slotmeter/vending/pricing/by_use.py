"""Charges that depend on the use of the window: where they change, and what is due at a total."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from slotmeter.vending.pricing.plan import ENDLESS, Plan
from slotmeter.vending.pricing.situation import ChargeState
from slotmeter.vending.tariff.model import FixedItem

__all__ = ["EVERYWHERE", "NOTHING_USED", "Level", "Reach", "level_at", "reaches"]


class Level(msgspec.Struct, frozen=True):
    """What charges by use look at.

    Args:
        used: units in the window, Wh or mL.
        is_lifeline: all of them are at the price of a lifeline.
        period: the charge period of the purchase; nothing is known of the use in others. None: the
            level is that of every period.
    """

    used: int
    is_lifeline: bool
    period: str | None

    def knows(self, state: ChargeState) -> bool:
        """Say whether the level is that of the period that a charge is for."""
        return self.period is None or state.period in ("", self.period)


NOTHING_USED: Final = Level(0, True, None)


@dataclass(frozen=True, slots=True)
class Reach:
    """A range of the window's total that a purchase may end in.

    Args:
        low: it ends above this; below any counter where the window is in the range already.
        high: and at most there.
        is_last: more money does not lead beyond it into another range.
    """

    low: int
    high: int
    is_last: bool


EVERYWHERE: Final = Reach(-ENDLESS, ENDLESS, is_last=True)


def level_at(plan: Plan, total: int, carried: int, period: str | None) -> Level:
    """Return the level at a value of the block counter, which began so much below zero."""
    limit = plan.lifeline_up_to
    return Level(total + carried, limit is not None and total <= limit, period)


def reaches(
    plan: Plan, now: Level, carried: int, charges: Iterable[tuple[FixedItem, ChargeState]]
) -> Iterator[Reach]:
    """Yield the ranges of the window's total in which charges stay the same, the last first.

    The first of them, which is yielded last, is the one that the window is in before the purchase.

    Args:
        plan: the prices.
        now: before the purchase.
        carried: units by which the block counter began below zero.
        charges: fixed charges that are open.
    """
    if not plan.by_use:
        yield EVERYWHERE
        return
    limits: set[int] = set()
    for item, state in charges:
        if not now.knows(state):
            continue
        limits.update(each.up_to - carried for each in item.by_use if each.up_to)
        if not item.lifeline and plan.lifeline_up_to is not None:
            limits.add(plan.lifeline_up_to)
    prior = now.used - carried
    ahead = sorted(limit for limit in limits if limit >= prior)
    lows = [EVERYWHERE.low, *ahead]
    highs = [*ahead, ENDLESS]
    for number in reversed(range(len(lows))):
        yield Reach(lows[number], highs[number], is_last=number == len(ahead))
