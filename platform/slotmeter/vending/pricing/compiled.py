"""Turn a tariff into exact integer prices, once; see :mod:`slotmeter.vending.pricing.plan`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from math import lcm
from typing import Final

from slotmeter.errors import Refused
from slotmeter.units import CURRENCY_EXPONENTS, Rounding, commodity_quantity
from slotmeter.vending.ledger import levy_account, tax_account
from slotmeter.vending.pricing.bases import Bases, Stretch, bears, regimes_of
from slotmeter.vending.pricing.by_tender import divides, fixed_percents
from slotmeter.vending.pricing.chosen import holds, holds_for_tender, table_for
from slotmeter.vending.pricing.delivery import Delivery, delivery_for
from slotmeter.vending.pricing.fixed import FixedTaken, constant, fixed_taken, items_due
from slotmeter.vending.pricing.integers import DIVIDE
from slotmeter.vending.pricing.plan import (
    ENDLESS,
    Fixed,
    Percentage,
    Plan,
    Regime,
    Segment,
)
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.gross import ALL, together
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Collection,
    PercentItem,
    Table,
    Tariff,
    UnitItem,
)

__all__ = ["Compiled", "compiled"]

COMPILED_MAX: Final = 500
"""Tariff versions kept ready; a utility sells by a few at a time."""
DELIVERIES_MAX: Final = 1_000
"""Calorific values kept ready for one tariff; there is one for each day and zone."""
CONSTANTS_MAX: Final = 1_000
"""Sums of fixed charges kept ready for one tariff; there is one for each day, size and load."""
TEXT_DIGITS: Final = 12
"""Digits of a price for people that has no end in decimals."""

_TEXT = Context(prec=TEXT_DIGITS, rounding=ROUND_HALF_UP)
_WH_PER_KWH = 1_000
_PERCENT = 100


# --- what a unit costs ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Prices:
    """The exact prices of a stretch, minor units per base unit."""

    stretch: Stretch
    net: Fraction
    gross: Fraction
    levies: tuple[Fraction, ...]
    gross_levies: tuple[Fraction, ...]
    percents: tuple[Fraction, ...]
    all_in: Fraction

    def all(self) -> Iterator[Fraction]:
        yield from (self.net, self.gross, self.all_in)
        yield from self.levies
        yield from self.gross_levies
        yield from self.percents


def _priced(
    stretch: Stretch,
    per_unit: Callable[[Decimal], Fraction],
    levies: Sequence[UnitItem],
    bases: Bases,
    step: Fraction | None,
) -> _Prices:
    gross = per_unit(stretch.price)
    net = gross / (1 + sum(bases.on_energy(stretch, only_included=True)))
    percents = [net * share for share in bases.on_energy(stretch)]
    levy_rates = []
    gross_rates = []
    for item in levies:
        rate = published = Fraction(0)
        if bears(stretch, item):
            inside = bases.on_levy(item.code, stretch, only_included=True)
            published = per_unit(item.price)
            rate = published / (1 + sum(inside))
            shares = bases.on_levy(item.code, stretch)
            percents = [all + rate * share for all, share in zip(percents, shares, strict=True)]
        levy_rates.append(rate)
        gross_rates.append(published)
    all_in = net + sum(levy_rates) + sum(percents)
    if step is not None:
        all_in = _stepped(all_in, step)
    return _Prices(
        stretch, net, gross, tuple(levy_rates), tuple(gross_rates), tuple(percents), all_in
    )


def _stepped(value: Fraction, step: Fraction) -> Fraction:
    steps = value / step
    count = DIVIDE[Rounding.HALF_UP](steps.numerator, steps.denominator)
    return step * count


# --- the plan -----------------------------------------------------------------------------------


def _plan(
    tariff: Tariff,
    table: Table,
    levies: Sequence[UnitItem],
    items: Sequence[PercentItem],
    earlier: Sequence[Table] = (),
) -> Plan:
    scale: int = 10 ** CURRENCY_EXPONENTS.get(tariff.currency, 2)
    sold_unit = _sold_unit(tariff)
    bases = Bases(items)
    step = tariff.rounding.price_step
    bounded: list[UnitItem | PercentItem] = [*levies, *items]
    is_by_block = any(item.blocks is not None for item in bounded)

    def per_unit(price: Decimal) -> Fraction:
        return Fraction(price) * scale / sold_unit

    price_step = None if step is None else per_unit(step)
    by_table = {
        each.code: [
            (low, high, [_priced(part, per_unit, levies, bases, price_step) for part in stretches])
            for low, high, stretches in regimes_of(each, is_by_block)
        ]
        for each in (table, *earlier)
    }
    fixed = {item.code: bases.on_fixed(item.code) for item in tariff.fixed_items}
    inside = {code: sum(bases.on_fixed(code, only_included=True), Fraction(0)) for code in fixed}
    on_tender = {
        at: bases.on(lambda item: False, start=at)
        for at, item in enumerate(items)
        if item.on == ("tender",)
    }
    denominator = lcm(
        *(
            rate.denominator
            for regimes in by_table.values()
            for _, _, parts in regimes
            for part in parts
            for rate in part.all()
        ),
        *(share.denominator for shares in fixed.values() for share in shares),
        *(share.denominator for share in inside.values()),
        *(share.denominator for shares in on_tender.values() for share in shares),
    )
    made = {code: _made(regimes, denominator, tariff, scale) for code, regimes in by_table.items()}
    return Plan(
        tariff=tariff,
        scale=scale,
        sold_unit=sold_unit,
        denominator=denominator,
        regimes=made[table.code],
        levies=tuple(levies),
        percents=tuple(_percentage(item, bases, levies, tariff, scale) for item in items),
        fixed={code: _fixed(denominator, shares, inside[code]) for code, shares in fixed.items()},
        tender_weights={at: _over(denominator, shares) for at, shares in on_tender.items()},
        divide=DIVIDE[tariff.rounding.lines],
        spares_lifeline=any(each.lifeline is not None for each in (table, *earlier))
        and not all(item.lifeline for item in items),
        earlier=made if earlier else {},
    )


def _made(
    regimes: Iterable[tuple[int, int, list[_Prices]]], denominator: int, tariff: Tariff, scale: int
) -> tuple[Regime, ...]:
    return tuple(
        Regime(low, high, tuple(_segment(each, denominator, tariff, scale) for each in parts))
        for low, high, parts in regimes
    )


def _check_gross(tariff: Tariff, items: Sequence[PercentItem]) -> None:
    for percent in together(items).values():
        if percent >= ALL:
            raise Refused(
                "tariff_invalid",
                f"tariff {tariff.code}: {percent:f} % of the gross are taken, which leaves nothing",
                field="percentages",
            )


def _sold_unit(tariff: Tariff) -> int:
    """Return the base units that prices are for; gas by its energy content is priced per kWh."""
    if tariff.energy_content is not None:
        return _WH_PER_KWH
    return commodity_quantity(tariff.commodity).per_sold_unit


def _over(denominator: int, values: Iterable[Fraction]) -> tuple[int, ...]:
    return tuple(value.numerator * (denominator // value.denominator) for value in values)


def _fixed(denominator: int, shares: Sequence[Fraction], inside: Fraction) -> Fixed:
    weights = _over(denominator, shares)
    return Fixed(
        weights=weights,
        all_in=denominator + sum(weights),
        inside=_over(denominator, [inside])[0],
        with_included=1 + inside,
        with_all=1 + sum(shares, Fraction(0)),
    )


def _segment(prices: _Prices, denominator: int, tariff: Tariff, scale: int) -> Segment:
    net, gross, all_in = _over(denominator, (prices.net, prices.gross, prices.all_in))
    if all_in < 0 or (all_in == 0 and prices.stretch.end == ENDLESS):
        raise Refused(
            "tariff_invalid",
            f"tariff {tariff.code}: {prices.stretch.code} has a price with everything on it of "
            f"{prices.all_in}; expected more than zero",
            field="energy",
        )
    is_net = net == gross
    price = _text(prices.all_in * _sold_unit(tariff) / scale)
    shown, gross_rate = 0, None
    if tariff.rounding.price_step is not None:
        shown, gross_rate = all_in, price
    elif not is_net:
        shown, gross_rate = gross, f"{prices.stretch.price:f}"
    return Segment(
        end=prices.stretch.end,
        block=prices.stretch.block,
        code=prices.stretch.code,
        rate=f"{prices.stretch.price:f}" if is_net else None,
        net=net,
        gross=gross,
        levies=_over(denominator, prices.levies),
        gross_levies=_over(denominator, prices.gross_levies),
        percents=_over(denominator, prices.percents),
        all_in=all_in,
        price=price,
        shown=shown,
        gross_rate=gross_rate,
    )


def _text(value: Fraction) -> str:
    """Write a number in decimals: exact where it ends, else to 12 digits."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    digits = Context(prec=80) if rest == 1 else _TEXT
    number = digits.divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{number.normalize(digits):f}"


def _percentage(
    item: PercentItem,
    bases: Bases,
    levies: Sequence[UnitItem],
    tariff: Tariff,
    scale: int,
) -> Percentage:
    at = bases.position[item.code]
    share, fixed = bases.fractions[at], tariff.fixed_items
    account = tax_account if item.is_tax else levy_account
    return Percentage(
        code=item.code,
        label=item.label,
        kind="tax" if item.is_tax else "levy",
        account=account(item.code),
        rate=f"{item.percent.normalize():f}",
        numerator=share.numerator,
        denominator=share.denominator,
        on_tender=item.on == ("tender",),
        on_energy="energy" in item.on,
        levies=tuple(
            at for at, levy in enumerate(levies) if levy.code in item.on or "levies" in item.on
        ),
        percents=tuple(bases.position[code] for code in item.on if code in bases.position),
        fixed=frozenset(each.code for each in fixed if each.code in item.on or "fixed" in item.on),
        blocks=item.blocks,
        lifeline=item.lifeline,
        is_included=item.included,
        gross=bases.gross[at],
        least=int((item.minimum or 0) * scale),
        most=None if item.maximum is None else int(item.maximum * scale),
    )


def _constant(plan: Plan, taken: Sequence[FixedTaken]) -> int:
    if not divides(plan):
        return constant(plan, taken, [0] * len(plan.percents))
    minor = sum(each.taken.net + sum(fixed_percents(plan, each)) for each in taken)
    return minor * plan.denominator


# --- kept ready ---------------------------------------------------------------------------------


class Compiled:
    """A tariff with the plans made of it so far, one for each choice of table and items."""

    def __init__(self, tariff: Tariff) -> None:
        self.tariff = tariff
        self._conditions = [item.when for item in tariff.unit_items]
        self._conditions += [item.when for item in tariff.percent_items]
        self._is_conditional = any(when != ALWAYS for when in self._conditions)
        self._deliveries: dict[tuple[bool, str | None], Delivery] = {}
        self._new_charges: dict[date, tuple[ChargeState, ...]] = {}
        self._new_constants: dict[tuple[Plan, date, str | None, int | None, int | None], int] = {}
        self._by_period = [
            item for item in tariff.fixed_items if item.collect is not Collection.PURCHASE
        ]
        self._is_fixed_conditional = any(item.when != ALWAYS for item in tariff.fixed_items)
        self._plans: dict[tuple[str, tuple[bool, ...], tuple[str, ...]], Plan] = {}

    def plan(self, situation: Situation, day: date, tender_minor: int | None = None) -> Plan:
        """Return the prices for a buyer on a local day, and for a tender where that matters.

        Raises:
            Refused: ``no_price_in_force``.
        """
        tariff = self.tariff
        table = table_for(tariff, situation, day)
        applies: tuple[bool, ...] = ()
        if self._is_conditional:
            applies = tuple(
                [
                    holds(when, situation, day) and holds_for_tender(when, tender_minor)
                    for when in self._conditions
                ]
            )
        earlier: tuple[str, ...] = ()
        if situation.priced_before:
            earlier = tuple(sorted({each.table for each in situation.priced_before}))
        key = (table.code, applies, earlier)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._new_plan(table, applies, earlier)
        return plan

    def delivery(self, situation: Situation) -> Delivery:
        """Return how units are counted out for a buyer.

        Raises:
            Refused: ``calorific_value_not_positive``.
        """
        has_grid = situation.is_meter_credit and situation.sts_grid
        key = has_grid, situation.calorific_value
        found = self._deliveries.get(key)
        if found is None:
            if len(self._deliveries) >= DELIVERIES_MAX:
                self._deliveries.clear()
            found = self._deliveries[key] = delivery_for(self.tariff, situation)
        return found

    def new_charges(self, situation: Situation, day: date) -> tuple[ChargeState, ...]:
        """Return the fixed charges of the period of a day, as if nothing was taken of them."""
        if not self._is_fixed_conditional and day in self._new_charges:
            return self._new_charges[day]
        charges = []
        for item in self._by_period:
            if holds(item.when, situation, day):
                is_daily = item.collect is Collection.DAY
                charges.append(ChargeState(item.code, f"{day}" if is_daily else f"{day:%Y-%m}"))
        if not self._is_fixed_conditional:
            self._new_charges[day] = tuple(charges)
        return tuple(charges)

    def new_constant(self, plan: Plan, situation: Situation, day: date) -> int:
        """Return what :meth:`new_charges` cost, over the denominator of a plan of this tariff."""
        key = plan, day, situation.connection, situation.load_w, situation.demand_w
        found = self._new_constants.get(key)
        if found is None or self._is_fixed_conditional:
            items = items_due(plan, situation, self.new_charges(situation, day), day)
            found = _constant(plan, fixed_taken(plan, items, situation, 0))
            if len(self._new_constants) >= CONSTANTS_MAX:
                self._new_constants.clear()
            self._new_constants[key] = found
        return found

    def _new_plan(self, table: Table, applies: tuple[bool, ...], earlier: tuple[str, ...]) -> Plan:
        levies: Sequence[UnitItem] = self.tariff.unit_items
        percents: Sequence[PercentItem] = self.tariff.percent_items
        if applies:
            count = len(levies)
            levies = [each for each, yes in zip(levies, applies, strict=False) if yes]
            percents = [each for each, yes in zip(percents, applies[count:], strict=True) if yes]
        _check_gross(self.tariff, percents)
        tables = [self.tariff.energy.tables[code] for code in earlier]
        return _plan(self.tariff, table, levies, percents, tables)


_ready: dict[int, Compiled] = {}


def compiled(tariff: Tariff) -> Compiled:
    """Return a tariff made ready; each object is made ready once, while it is in use."""
    found = _ready.get(id(tariff))
    if found is None:
        # Each entry holds its tariff, so that the identity is not given to another one meanwhile.
        found = Compiled(tariff)
        while len(_ready) >= COMPILED_MAX:
            _ready.pop(next(iter(_ready)), None)
        _ready[id(tariff)] = found
    return found
