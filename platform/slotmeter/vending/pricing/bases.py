"""What a table says, stretch by stretch, and what percentages come to on one unit of money."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final

from slotmeter.vending.pricing.plan import ENDLESS, LIFELINE
from slotmeter.vending.tariff.gross import gross_factors
from slotmeter.vending.tariff.model import Lifeline, PercentItem, Table, UnitItem

__all__ = ["Bases", "Stretch", "bears", "regimes_of"]

PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a table with one published price, up to a value of the block counter."""

    end: int
    block: int
    code: str
    price: Decimal


def regimes_of(table: Table, is_by_block: bool) -> Iterator[tuple[int, int, list[Stretch]]]:
    """Yield (low, high, stretches) of each regime of a table."""
    if table.periods is not None:
        if table.advance_price is not None:
            yield 0, ENDLESS, [Stretch(ENDLESS, 1, "block1", table.advance_price)]
        return
    blocks = [
        Stretch(_end(block.up_to), number, f"block{number}", block.price)
        for number, block in enumerate(table.blocks, 1)
    ]
    if not blocks:  # a formula for gas, without a price
        return
    low = 0
    if table.lifeline is not None:
        yield low, table.lifeline.up_to, list(_cheap(table.lifeline, blocks, is_by_block))
        low = table.lifeline.up_to
    starts = [at for at, each in enumerate(table.blocks) if at and (table.whole or each.whole)]
    for first, after in pairwise([0, *starts, len(blocks)]):
        high = blocks[after - 1].end
        if high > low:
            yield low, high, blocks[first:after]
            low = high


def _cheap(lifeline: Lifeline, blocks: Sequence[Stretch], is_by_block: bool) -> Iterator[Stretch]:
    """Yield the prices of a lifeline, cut at the blocks that its units would fall into."""
    start = 0
    for limit, price in lifeline.steps:
        for block in blocks if is_by_block else ():
            if start < block.end < limit:
                yield Stretch(block.end, block.block, LIFELINE, price)
        inside = (each.block for each in blocks if each.end >= limit)
        number = next(inside, len(blocks)) if is_by_block else 1
        yield Stretch(limit, number, LIFELINE, price)
        start = limit


def _end(up_to: int | None) -> int:
    return ENDLESS if up_to is None else up_to


# --- what lies on what --------------------------------------------------------------------------


class Bases:
    """The percentages that apply, and what they come to on one unit of money."""

    def __init__(self, items: Sequence[PercentItem]) -> None:
        self.items = items
        self.position = {item.code: at for at, item in enumerate(items)}
        self.gross = gross_factors(items)
        self.fractions = [
            Fraction(item.percent) / PERCENT * factor
            for item, factor in zip(items, self.gross, strict=True)
        ]

    def on(
        self,
        lies_on: Callable[[PercentItem], bool],
        *,
        only_included: bool = False,
        start: int | None = None,
    ) -> list[Fraction]:
        """Return each percentage of one unit of money that ``lies_on`` says is in its bases.

        Args:
            lies_on: whether an item's bases name the source.
            only_included: only percentages that published prices include count.
            start: the source is itself a percentage: its position.
        """
        found = [Fraction(0)] * len(self.items)
        for at, item in enumerate(self.items):
            if item.on == ("tender",) or (only_included and not item.included):
                continue
            base = Fraction(1) if lies_on(item) else Fraction(0)
            for code in item.on:
                other = self.position.get(code)
                if other is not None:
                    base += found[other] + (1 if other == start else 0)
            found[at] = self.fractions[at] * base
        return found

    def on_energy(self, stretch: Stretch, *, only_included: bool = False) -> list[Fraction]:
        """Return each percentage of one unit of money of energy."""
        return self.on(
            lambda item: "energy" in item.on and bears(stretch, item),
            only_included=only_included,
        )

    def on_levy(
        self, code: str, stretch: Stretch, *, only_included: bool = False
    ) -> list[Fraction]:
        """Return each percentage of one unit of money of a per-unit item."""
        return self.on(
            lambda item: (code in item.on or "levies" in item.on) and bears(stretch, item),
            only_included=only_included,
        )

    def on_fixed(self, code: str, *, only_included: bool = False) -> list[Fraction]:
        """Return each percentage of one unit of money of a fixed item."""
        return self.on(
            lambda item: code in item.on or "fixed" in item.on, only_included=only_included
        )


def bears(stretch: Stretch, item: UnitItem | PercentItem) -> bool:
    """Say whether an item lies on the units of a stretch."""
    is_in = item.blocks is None or stretch.block in item.blocks
    return is_in and (item.lifeline or stretch.code != LIFELINE)
