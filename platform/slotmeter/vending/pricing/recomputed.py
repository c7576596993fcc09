"""Check a priced purchase from what its own lines say, without the code that made them.

Each line is computed again from its quantity and price or from its base and percentage, with
fractions. What comes back is what a customer with a pocket calculator would object to.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from slotmeter.units import CURRENCY_EXPONENTS, Rounding, commodity_quantity
from slotmeter.vending.pricing.integers import DIVIDE
from slotmeter.vending.pricing.priced import Priced, PricedLine
from slotmeter.vending.tariff.gross import together
from slotmeter.vending.tariff.model import PercentItem, PercentOf, SplitBy, Tariff

__all__ = ["recompute"]

_PERCENT = 100


def recompute(tariff: Tariff, priced: Priced) -> list[str]:
    """Return a sentence for each line that does not follow from its own figures; empty if all do.

    Args:
        tariff: that it was priced by.
        priced: the purchase.
    """
    return list(_Check(tariff, priced).problems())


class _Check:
    def __init__(self, tariff: Tariff, priced: Priced) -> None:
        self.tariff = tariff
        self.priced = priced
        self.scale = 10 ** CURRENCY_EXPONENTS.get(tariff.currency, 2)
        self.sold_unit = commodity_quantity(tariff.commodity).per_sold_unit
        if tariff.energy_content is not None:
            self.sold_unit = 1_000
        self.percents = {item.code: item for item in tariff.percent_items}
        self.at_lifeline = any(
            (line.kind, line.code) == ("energy", "lifeline") for line in priced.lines
        )
        self.is_divided = _is_divided(tariff, priced)
        self.has_remainder = self.is_divided or any(item.included for item in tariff.percent_items)

    def problems(self) -> Iterator[str]:
        total = sum(line.amount_minor for line in self.priced.lines)
        if total != self.priced.tender_minor:
            yield f"the lines add up to {total}, the tender is {self.priced.tender_minor}"
        for line in self.priced.lines:
            if line.kind in ("energy", "levy") and line.quantity is not None:
                yield from self._product(line)
            elif line.kind in ("levy", "tax"):
                yield from self._percentage(line)
            elif line.kind == "correction":
                yield from self._correction(line)
            elif line.kind == "debt":
                yield from self._debt(line)
            elif line.kind == "charge":
                yield from self._charge(line)
        yield from self._units()
        yield from self._token()

    # --- quantity times price -----------------------------------------------------------------

    def _product(self, line: PricedLine) -> Iterator[str]:
        for rate, amount in ((line.rate, _price_of(line)), (line.gross_rate, line.gross_minor)):
            if rate is None:
                continue
            exact = Fraction(Decimal(rate)) * (line.quantity or 0) * self.scale / self.sold_unit
            expected = DIVIDE[self.tariff.rounding.lines](exact.numerator, exact.denominator)
            if amount != expected:
                yield f"{line.code}: {line.quantity} x {rate} is {expected}, the line says {amount}"
        if line.rate is None and line.gross_rate is None:
            yield f"{line.code} names no price"

    def _correction(self, line: PricedLine) -> Iterator[str]:
        if line.rate is not None or line.gross_rate is not None:
            yield from self._product(line)
        if line.code != "energy" or line.base_minor is None or self.has_remainder:
            return
        costs = []
        for table in self.tariff.energy.tables.values():
            if table.lifeline is not None:
                for _, published in table.lifeline.steps:
                    price = Fraction(published) * self.scale / self.sold_unit
                    exact = price * (line.quantity or 0)
                    divide = DIVIDE[self.tariff.rounding.lines]
                    costs.append(divide(exact.numerator, exact.denominator))
        # Units that were sold by several tables had cost something between their prices.
        if not costs or not min(costs) <= line.base_minor <= max(costs):
            yield (
                f"the correction says that its units had cost {line.base_minor}, at a price for "
                f"small totals {' or '.join(str(cost) for cost in costs)}"
            )

    # --- percentages --------------------------------------------------------------------------

    def _percentage(self, line: PricedLine) -> Iterator[str]:
        if line.rate is None and self._is_an_end(line):
            return
        if line.rate is None or line.base_minor is None:
            yield f"{line.code} names no percentage or base"
            return
        share = Fraction(Decimal(line.rate)) / _PERCENT
        low, high = self._between(line, share)
        if not low <= line.amount_minor <= high:
            yield (
                f"{line.code}: {line.rate} % of {line.base_minor} is {low} to {high}, the line "
                f"says {line.amount_minor}"
            )
        item = self.percents.get(line.code)
        if item is not None and line.period is None and item.blocks is None:
            yield from self._base(line, item)

    def _is_an_end(self, line: PricedLine) -> bool:
        """Say whether a percentage of the tender comes to its least, or its most."""
        item = self.percents.get(line.code)
        if item is None:
            return False
        amount = Decimal(line.amount_minor) / self.scale
        share = self.priced.tender_minor * item.percent / _PERCENT / self.scale
        ends = ((item.minimum, share <= amount), (item.maximum, share >= amount))
        return any(end == amount and is_beyond for end, is_beyond in ends)

    def _between(self, line: PricedLine, share: Fraction) -> tuple[int, int]:
        """Return what a percentage may come to; its base stands on the line to the coin only."""
        base = line.base_minor or 0
        doubt = Fraction(0)
        is_of_gross = line.code in self.percents and self.percents[line.code].of_gross
        if is_of_gross or self.has_remainder or self.tariff.rounding.percent_of is PercentOf.EXACT:
            doubt = Fraction(1, 2)
        ends = sorted((share * (base - doubt), share * (base + doubt)))
        divide = DIVIDE[self.tariff.rounding.lines]
        low, high = (divide(end.numerator, end.denominator) for end in ends)
        if self.has_remainder:
            # The tax is what is left: it differs by the rounding of the lines it is taken out of.
            room = 1 + len(self.priced.lines)
            return floor(low) - room, ceil(high) + room
        return low, high

    def _base(self, line: PricedLine, item: PercentItem) -> Iterator[str]:
        """Check that the base is what the lines of its bases add up to, within their rounding."""
        if item.on == ("tender",):
            if line.base_minor != self.priced.tender_minor:
                yield f"{line.code}: the base is {line.base_minor}, not the tender"
            return
        bases = [each for each in self.priced.lines if self._is_base(each, item)]
        total = sum(_price_of(each) for each in bases)
        if not item.lifeline:
            # What units had cost at the price of a lifeline was not taxed then, and is now.
            total += sum(each.base_minor or 0 for each in bases if each.kind == "correction")
        room = 0
        if self.tariff.rounding.percent_of is PercentOf.EXACT or self.has_remainder:
            room = 1 + len(bases)
        if self.is_divided:
            # There the tax lies on money before it was rounded to units.
            roundings = (e for e in self.priced.lines if e.kind == e.code == "rounding")
            room += sum(abs(each.amount_minor) for each in roundings)
            step = self.tariff.rounding.price_step or Decimal(0)
            units = sum(each.quantity or 0 for each in bases if each.kind == "energy")
            room += ceil(Fraction(step) * self.scale * units / self.sold_unit)
        gross = self._gross(item)
        doubt = Fraction(1, 2) if item.of_gross else 0
        if abs(total * gross - (line.base_minor or 0)) > room * gross + doubt:
            yield f"{line.code}: its bases add up to {total}, the line says {line.base_minor}"

    def _gross(self, item: PercentItem) -> Fraction:
        """Return the gross of one unit of money, by the percentages that have lines."""
        if not item.of_gross:
            return Fraction(1)
        codes = {each.code for each in self.priced.lines if each.kind in ("levy", "tax")}
        lying = [each for each in self.percents.values() if each.code in codes]
        return 1 / (1 - Fraction(together(lying)[item.shares]) / _PERCENT)

    def _is_base(self, line: PricedLine, item: PercentItem) -> bool:
        is_spared = self.at_lifeline and not item.lifeline
        if line.kind == "energy" or (line.kind == "correction" and line.code == "energy"):
            return "energy" in item.on and not is_spared
        if line.kind == "charge":
            # Where the tender is divided, the taxes of a charge have lines of their own.
            return not self.is_divided and ("fixed" in item.on or line.code in item.on)
        if line.period is not None:
            return False
        if line.kind in ("levy", "correction") and line.code not in self.percents:
            return ("levies" in item.on or line.code in item.on) and not is_spared
        return line.kind in ("levy", "tax") and line.code in item.on

    # --- the rest -----------------------------------------------------------------------------

    def _debt(self, line: PricedLine) -> Iterator[str]:
        if line.left_minor is None or line.left_minor < 0:
            yield f"debt {line.item} has {line.left_minor} left"
        if line.amount_minor <= 0:
            yield f"debt {line.item} takes {line.amount_minor}"
        if line.rate is not None:
            share = Fraction(Decimal(line.rate)) / _PERCENT * self.priced.tender_minor
            if line.amount_minor > share:
                yield f"debt {line.item} takes {line.amount_minor}, more than {line.rate} %"

    def _charge(self, line: PricedLine) -> Iterator[str]:
        taken = sum(
            each.net_minor
            for each in self.priced.charges
            if each.code == line.code and _is_within(each.period, line.period)
        )
        if line.period is not None and taken != line.amount_minor:
            yield f"{line.code}: {taken} is taken, the line has {line.amount_minor}"
        if line.left_minor is None or line.left_minor < 0:
            yield f"{line.code} has {line.left_minor} left"
        if line.base_minor is not None:
            yield from self._whole_charge(line)

    def _whole_charge(self, line: PricedLine) -> Iterator[str]:
        """Check what a charge by use comes to with what was taken before."""
        whole = (line.base_minor or 0) + line.amount_minor + (line.left_minor or 0)
        due = [
            each.due_minor
            for each in self.priced.charges
            if (each.code, each.period) == (line.code, line.period)
        ]
        if due != [whole]:
            yield f"{line.code}: {whole} with what was taken before, {due} is due"

    def _token(self) -> Iterator[str]:
        """Check that what a token of money leaves of the energy is one line, and the rest on it."""
        energy = [each for each in self.priced.lines if each.kind == "energy"]
        left = sum(_price_of(each) - each.amount_minor for each in energy)
        lines = [e for e in self.priced.lines if (e.kind, e.code) == ("rounding", "token")]
        if sum(each.amount_minor for each in lines) != left:
            yield f"the token leaves {left} of the energy, the lines say otherwise"
        carried = self.priced.transfer_minor
        if carried is not None and sum(each.amount_minor for each in energy) < carried:
            yield f"the token carries {carried}, more than the energy"

    def _units(self) -> Iterator[str]:
        sold = sum(line.quantity or 0 for line in self.priced.lines if line.kind == "energy")
        is_plain = self.tariff.energy_content is None
        if is_plain and sold != self.priced.units:
            yield f"the lines have {sold} units, the token {self.priced.units}"
        if self.tariff.rounding.units in (Rounding.DOWN, Rounding.FLOOR) and self.priced.units < 0:
            yield f"{self.priced.units} units"


def _price_of(line: PricedLine) -> int:
    """Return the amount of a line, with what a token of money could not carry of it."""
    is_cut = line.kind == "energy" and line.base_minor is not None
    return line.base_minor or 0 if is_cut else line.amount_minor


def _is_divided(tariff: Tariff, priced: Priced) -> bool:
    """Say whether taxes were divided out of the tender."""
    taxes = {item.code for item in tariff.percent_items if item.is_tax}
    is_taxed_first = any(
        taxes.intersection(item.on) for item in tariff.percent_items if not item.is_tax
    )
    kinds = {(line.kind, line.code) for line in priced.lines}
    is_stopped = ("kept", "kept") in kinds and any(kind == "energy" for kind, _ in kinds)
    return tariff.rounding.split_by is SplitBy.TENDER and not is_taxed_first and not is_stopped


def _is_within(period: str, span: str | None) -> bool:
    if span is None:
        return False
    first, _, last = span.partition("/")
    return first <= period <= (last or first)
