"""What a unit costs with everything on it, to find tariffs that would give money away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Context
from fractions import Fraction

from slotmeter.vending.tariff.gross import gross_factors
from slotmeter.vending.tariff.model import ALWAYS, PercentItem, Table, UnitItem
from slotmeter.vending.tariff.problems import Problems

__all__ = ["check_prices"]

_SHORT = Context(prec=6)
_LIFELINE = "the lifeline"


def check_prices(
    tables: Mapping[str, Table],
    levies: Sequence[UnitItem],
    percents: Sequence[PercentItem],
    problems: Problems,
) -> None:
    """Check that subsidies and rebates leave a price for each unit.

    What always applies is checked as such; subsidies with conditions are a warning, because nobody
    may fulfil them together.
    """
    if not any(each.price < 0 for each in levies) and not any(
        each.percent < 0 for each in percents
    ):
        return
    always = _Added(
        [each for each in levies if each.when == ALWAYS],
        [each for each in percents if each.when == ALWAYS],
    )
    found = _below_zero(tables, always)
    if found is not None:
        problems.add(*found)
        return
    worst = _Added(
        [each for each in levies if each.when == ALWAYS or each.price < 0],
        [each for each in percents if each.when == ALWAYS or each.percent < 0],
    )
    found = _below_zero(tables, worst)
    if found is not None:
        path, message = found
        problems.warn(path, f"if all conditions of subsidies hold together: {message}")


def _below_zero(tables: Mapping[str, Table], added: _Added) -> tuple[str, str] | None:
    for table in tables.values():
        for name, block, price, is_endless in _prices(table):
            cost = added.cost(price, block, name == _LIFELINE)
            if cost < 0 or (cost == 0 and is_endless):
                where = f"a unit in {name} of table {table.code}"
                shown = _SHORT.divide(cost.numerator, cost.denominator).normalize()
                return added.culprit, f"{where} costs {shown:f} in all; expected more than 0"
    return None


def _prices(table: Table) -> Iterator[tuple[str, int, Fraction, bool]]:
    """Yield what units cost: name, number of the block, price, whether it never ends."""
    for number, block in enumerate(table.blocks, 1):
        yield f"block {number}", number, Fraction(block.price), block.up_to is None
    if table.lifeline is not None:
        starts = [0, *(block.up_to for block in table.blocks[:-1] if block.up_to is not None)]
        for limit, price in table.lifeline.steps:
            for number, start in enumerate(starts, 1):
                if start < limit:
                    yield _LIFELINE, number, Fraction(price), False
    if table.advance_price is not None:
        yield "advance", 1, Fraction(table.advance_price), True


class _Added:
    """Levies and percentages that apply together."""

    def __init__(self, levies: Sequence[UnitItem], percents: Sequence[PercentItem]) -> None:
        self.levies = levies
        self.percents = percents

    @property
    def culprit(self) -> str:
        """The path of the first item that takes away."""
        for levy in self.levies:
            if levy.price < 0:
                return f"levies.{levy.code}.per_unit"
        for item in self.percents:
            if item.percent < 0:
                return f"{'taxes' if item.is_tax else 'percentages'}.{item.code}.percent"
        return "energy"

    def cost(self, price: Fraction, block: int, is_lifeline: bool) -> Fraction:
        """Return what a unit of a block, or of a lifeline there, costs with everything."""

        def bears(item: UnitItem | PercentItem) -> bool:
            is_in = item.blocks is None or block in item.blocks
            return is_in and (item.lifeline or not is_lifeline)

        percents = [item for item in self.percents if bears(item)]
        total = self._with_all(price, percents, {"energy"})
        for levy in self.levies:
            if bears(levy):
                total += self._with_all(Fraction(levy.price), percents, {"levies", levy.code})
        return total

    def _with_all(
        self, published: Fraction, percents: Sequence[PercentItem], names: set[str]
    ) -> Fraction:
        lying = {item.code for item in percents if not names.isdisjoint(item.on)}
        included = _share(lying, [item for item in self.percents if item.included])
        if included <= -1:
            return Fraction(-1)
        return published / (1 + included) * (1 + _share(lying, self.percents))


def _share(lying: set[str], percents: Sequence[PercentItem]) -> Fraction:
    """Return all percentages of one unit of money that some lie on, each base before its own."""
    found: dict[str, Fraction] = {}
    for item, factor in zip(percents, gross_factors(percents), strict=True):
        base = sum((found.get(code, Fraction(0)) for code in item.on), Fraction(item.code in lying))
        found[item.code] = Fraction(item.percent) / 100 * factor * base
    return sum(found.values(), Fraction(0))
