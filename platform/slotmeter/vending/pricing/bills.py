"""The lines of one section of a bill, by the same arithmetic as those of a purchase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from msgspec import structs

from slotmeter.errors import Refused
from slotmeter.vending.pricing.amounts import (
    Amounts,
    Part,
    line_amounts,
    parts_between,
    percents_of_tender,
    undone,
)
from slotmeter.vending.pricing.by_tender import divides, fixed_percents, with_taxes
from slotmeter.vending.pricing.by_use import level_at
from slotmeter.vending.pricing.charges_due import charge_period
from slotmeter.vending.pricing.delivery import delivery_for
from slotmeter.vending.pricing.fixed import FixedTaken, fixed_taken, items_due
from slotmeter.vending.pricing.lines import lines_of
from slotmeter.vending.pricing.plan import Plan
from slotmeter.vending.pricing.priced import PricedLine
from slotmeter.vending.pricing.refusals import TENDER_MINOR_MAX, no_price_for_units
from slotmeter.vending.pricing.settle import Purchase, Settled
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.pricing.solve import Counted

__all__ = ["Section", "section_lines"]

TRIES_MAX: Final = 200
"""Percentages of what is paid are found by trying what is paid; a few tries are enough."""


@dataclass(slots=True)
class Section:
    """A stretch of time with one set of prices, while it is being added up.

    Args:
        plan: the prices; for time of use its segments are the periods.
        table: code of the price table.
        periods: of time of use: the period of each of the plan's segments, with the value of the
            period's own counter at which it ends; empty for blocks.
        first_day: local.
        last_day: local, included.
        prior: units counted in the window before.
        correctable: of these, at a price that a correction takes back.
        units: used.
        by_period: the same by period.
        before: units of each period in the window before.
        window: first day of the window.
        used: in the whole window, at the end of the bill.
    """

    plan: Plan
    table: str
    periods: tuple[tuple[str, int], ...]
    first_day: date
    last_day: date
    prior: int
    correctable: int
    units: int = 0
    by_period: dict[str, int] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    window: date | None = None
    used: int = 0

    def add(self, day: date, period: str, units: int) -> None:
        """Count units of a day and period."""
        self.last_day = day
        self.units += units
        if self.periods:
            self.by_period[period] = self.by_period.get(period, 0) + units

    @property
    def correctable_after(self) -> int:
        """What a later section in the same window may have to take back."""
        regimes = self.plan.regimes
        if self.periods or len(regimes) == 1:
            return self.correctable
        if self.plan.regime_of(self.prior + self.units) == len(regimes) - 1:
            return 0
        return self.correctable + self.units

    def parts(self) -> tuple[list[Part], list[Part]]:
        """Return what was used by segment, and what is taken back of units before.

        Raises:
            Refused: ``no_price_for_units``.
        """
        plan = self.plan
        if self.periods:
            return list(self._parts_by_period()), []
        before, after = plan.regime_of(self.prior), plan.regime_of(self.prior + self.units)
        regime = plan.regimes[after]
        if self.prior + self.units > regime.high:
            raise no_price_for_units(plan.tariff)
        if not self.units:
            return [], []
        taken_back = undone(plan, before, after, self.prior, self.correctable)
        return parts_between(regime, self.prior, self.prior + self.units), taken_back

    def _parts_by_period(self) -> Iterator[Part]:
        at = dict(self.before)
        end = {name: at.get(name, 0) + used for name, used in self.by_period.items()}
        for segment, (name, up_to) in zip(self.plan.regimes[0].segments, self.periods, strict=True):
            start = at.get(name, 0)
            stop = min(end.get(name, start), up_to)
            if stop > start:
                yield segment, stop - start
                at[name] = stop


def section_lines(
    section: Section, situations: Iterable[Situation], buyer: Situation
) -> tuple[PricedLine, ...]:
    """Return the lines of a section; what they come to is to be paid.

    Args:
        section: added up.
        situations: with the fixed charges of one month each and the demand measured in it.
        buyer: whose bill it is.

    Raises:
        Refused: ``no_price_for_units`` or ``load_unknown``.
    """
    plan = section.plan
    parts, taken_back = section.parts()
    fixed = [taken for each in situations for taken in _fixed(section, each)]
    settled = _settled(plan, parts, taken_back, fixed)
    purchase = Purchase(
        plan=plan,
        situation=buyer,
        day=section.last_day,
        delivery=delivery_for(plan.tariff, buyer),
        counted=Counted(section.prior, section.correctable),
        cap=None,
        debts=(),
        advance=0,
        charges=(),
    )
    lines = lines_of(purchase, settled)
    names_of_periods = [name for name, _ in section.periods]
    names = {f"block{number}": name for number, name in enumerate(names_of_periods, start=1)}
    named = [
        structs.replace(line, code=names.get(line.code, line.code))
        if line.kind == "energy"
        else line
        for line in lines
    ]
    rounding = settled.tender - sum(line.amount_minor for line in lines)
    if rounding:
        named.append(PricedLine("rounding", "rounding", "Rounding", "rounding", rounding))
    return tuple(named)


def _fixed(section: Section, situation: Situation) -> list[FixedTaken]:
    """Return the charges of a month in full: bills do not share them over purchases."""
    plan = section.plan
    due = items_due(plan, situation, situation.charges, section.last_day)
    of_period = [(item, state) for item, state in due if state.period]
    period = charge_period(plan.tariff.energy.counter, section.first_day)
    level = level_at(plan, section.used, 0, period)
    return fixed_taken(plan, of_period, situation, TENDER_MINOR_MAX, level)


def _settled(
    plan: Plan, parts: list[Part], taken_back: list[Part], fixed: Sequence[FixedTaken]
) -> Settled:
    """Return what is to be paid; percentages of what is paid are part of it."""
    paid = 0
    for _ in range(TRIES_MAX):
        of_tender = percents_of_tender(plan, paid)
        percents = None
        if divides(plan):
            percents = [fixed_percents(plan, each) for each in fixed]
            amounts, total = with_taxes(plan, parts, taken_back)
            top = line_amounts(plan, [], [], (), of_tender)
            amounts = _with_more(amounts, top.percents)
            total += top.total + sum(
                each.taken.net + sum(own) for each, own in zip(fixed, percents, strict=True)
            )
        else:
            amounts = line_amounts(plan, parts, taken_back, fixed, of_tender)
            total = amounts.total
        if total == paid or not plan.on_tender:
            return Settled(total, (), fixed, amounts, None, 0, 0, 0, percents)
        paid = total
    raise Refused(
        "tariff_invalid",
        f"tariff {plan.tariff.code}: percentages of what is paid take all of it",
        field="percentages",
    )


def _with_more(amounts: Amounts, percents: Sequence[int]) -> Amounts:
    both = zip(amounts.percents, percents, strict=True)
    return replace(amounts, percents=[own + more for own, more in both])
