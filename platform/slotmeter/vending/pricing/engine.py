"""Pricing a purchase: from a tender to lines and units, and from units to what they cost.

Everything is exact: integers over one denominator for each tariff, rounded once per line by the
tariff's rule. The same tariff, situation and tender give the same lines for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from slotmeter.vending.ledger import income_account, levy_account
from slotmeter.vending.pricing.amounts import Amounts, line_amounts
from slotmeter.vending.pricing.by_tender import divides, taxes_of, with_taxes
from slotmeter.vending.pricing.charges_due import charge_period, open_charges
from slotmeter.vending.pricing.chosen import cap_percent, in_force, local_day
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.earlier import carried_over
from slotmeter.vending.pricing.fixed import items_due
from slotmeter.vending.pricing.limits import TOKEN_MONEY_STEPS, check_currency, check_tender
from slotmeter.vending.pricing.lines import lines_of
from slotmeter.vending.pricing.outlook import outlook_of
from slotmeter.vending.pricing.plan import ENDLESS, Plan
from slotmeter.vending.pricing.priced import ChargeTaken, DebtTaken, FreeGiven, Outlook, Priced
from slotmeter.vending.pricing.refusals import beyond, no_price_in_advance, too_small
from slotmeter.vending.pricing.settle import (
    Purchase,
    Settled,
    at_tender,
    pay_charges,
    settle,
    transfer_e5,
)
from slotmeter.vending.pricing.situation import Situation, Transfer
from slotmeter.vending.pricing.solve import Counted
from slotmeter.vending.pricing.stated import parts_of_units, settle_units
from slotmeter.vending.pricing.windows import window_start_us
from slotmeter.vending.tariff.model import Tariff, TooSmall

__all__ = [
    "BlockRate",
    "block_rates",
    "check_currency",
    "free_given",
    "open_charges",
    "price_tender",
    "price_units",
    "use_by_account",
    "use_cost",
    "use_of_sale",
    "window_start_us",
]


def price_tender(
    tariff: Tariff, situation: Situation, tender_minor: int, *, with_outlook: bool = True
) -> Priced:
    """Price a purchase for an amount of money.

    Limits, debts by priority within the cap, fixed charges, percentages of the tender, and what is
    left buys units with all that lies on them. Units are rounded by the tariff and to what a token
    can carry; each line is computed from these units, and what remains is the line ``rounding``.

    A currency token carries the money of the energy lines, which the meter counts down at the price
    of energy, cut to the largest amount that it can code. The lines are those of a token of units.

    Args:
        tariff: the prices.
        situation: the buyer and the instant.
        tender_minor: what is paid.
        with_outlook: also look at what comes after it; who compares sales can do without.

    Raises:
        Refused: ``amount_not_positive``, ``below_minimum``, ``above_maximum``,
            ``tender_too_small`` (with ``needed``), ``too_much_for_one_token``,
            ``no_price_for_units``, ``no_price_in_force``, ``no_price_in_advance``,
            ``load_unknown``, ``tariff_invalid``.
    """
    purchase = at_tender(_purchase(tariff, situation), tender_minor)
    plan = purchase.plan
    check_tender(plan, situation, purchase.day, tender_minor)
    if situation.is_meter_credit and not plan.regimes:
        raise no_price_in_advance(tariff)
    settled = settle(purchase, tender_minor)
    if settled is None and tariff.too_small is TooSmall.PAY_CHARGES:
        settled = pay_charges(purchase, tender_minor)
    if settled is None:
        raise too_small(purchase, tender_minor)
    if settled.bought is not None and settled.bought.is_beyond:
        raise beyond(purchase, tender_minor)
    outlook = outlook_of(purchase, settled) if with_outlook else Outlook()
    return _priced(purchase, settled, outlook)


def price_units(tariff: Tariff, situation: Situation, units: int) -> Priced:
    """Price an amount of units: what must be tendered for them, with the same lines.

    Args:
        tariff: the prices.
        situation: the buyer.
        units: as the block counter counts them: Wh or mL; Wh for gas priced by energy. They are
            taken as they are, not rounded to what a token carries.

    Raises:
        Refused: ``units_not_positive``, ``no_price_for_units`` or as :func:`price_tender`.
    """
    purchase = _purchase(tariff, situation)
    if not purchase.plan.regimes:
        raise no_price_in_advance(tariff)
    settled = settle_units(purchase, units)
    purchase = at_tender(purchase, settled.tender)
    return _priced(purchase, settled, outlook_of(purchase, settled))


def use_cost(tariff: Tariff, situation: Situation, used: int) -> tuple[int, int]:
    """Return what units used cost: without tax, and the tax, minor units.

    Energy with its levies and taxes only: no fixed charges, debts or percentages of a tender.

    Args:
        tariff: the prices.
        situation: says where the block counter stood before.
        used: Wh or mL, not negative.

    Raises:
        Refused: ``no_price_for_units``, ``no_price_in_force`` or ``no_price_in_advance``.
    """
    if used <= 0:
        _purchase(tariff, situation)
        return 0, 0
    plan, amounts, total = _used(tariff, situation, used)
    tax = taxes_of(amounts.percents, plan)
    return total - tax, tax


def use_by_account(tariff: Tariff, situation: Situation, used: int) -> dict[str, int]:
    """Return what units used cost by the ledger accounts that earn it, minor units.

    The same as :func:`use_cost`, and the sum of it: income, levies and taxes each apart.
    """
    if used <= 0:
        _purchase(tariff, situation)
        return {}
    plan, amounts, total = _used(tariff, situation, used)
    return _earned(plan, amounts, total)


def use_of_sale(tariff: Tariff, situation: Situation, used: int) -> tuple[dict[str, int], int]:
    """Return what the units of a sale cost by account, and what a later correction may take back.

    Args:
        tariff: the prices.
        situation: of the sale.
        used: what its token carries, Wh or mL.

    Raises:
        Refused: as :func:`use_cost`.
    """
    purchase = _purchase(tariff, situation)
    plan, priced = purchase.plan, purchase.delivery.priced(used)
    after = plan.regime_of(purchase.counted.prior + priced)
    correctable = _correctable(purchase, after, priced)
    return use_by_account(tariff, situation, used), correctable


def _earned(plan: Plan, amounts: Amounts, total: int) -> dict[str, int]:
    earned = {income_account(plan.tariff.commodity.value): sum(amounts.energy) + amounts.correction}
    corrections = amounts.levy_corrections or [0] * len(plan.levies)
    for item, levy, correction in zip(plan.levies, amounts.levies, corrections, strict=True):
        account = levy_account(item.code)
        earned[account] = earned.get(account, 0) + levy + correction
    for each, amount in zip(plan.percents, amounts.percents, strict=True):
        earned[each.account] = earned.get(each.account, 0) + amount
    rounding = total - sum(earned.values())
    if rounding:
        earned["rounding"] = rounding  # prices that are rounded with everything on them
    return earned


@dataclass(frozen=True, slots=True)
class BlockRate:
    """What a unit costs in a block.

    Args:
        block: its number, 1 is the first; 0 for a lifeline.
        up_to: the block counter's value at which it ends, Wh or mL; None for no end.
        price: published price per sold unit, as text.
        all_in: with all levies, percentages and taxes, rounded to the price step if there is one.
    """

    block: int
    up_to: int | None
    price: str
    all_in: Decimal


def block_rates(tariff: Tariff, situation: Situation) -> tuple[BlockRate, ...]:
    """Return the price of every block for a buyer, a lifeline first; empty without a price.

    Raises:
        Refused: ``no_price_in_force``.
    """
    plan = _purchase(tariff, situation).plan
    rates: dict[tuple[str, str], BlockRate] = {}
    for regime in plan.regimes:
        for segment in regime.segments:
            number = 0 if segment.code == "lifeline" else segment.block
            # A lifeline may be cut where levies begin, at one price, or have several.
            rates[segment.code, segment.price] = BlockRate(
                block=number,
                up_to=None if segment.end == ENDLESS else segment.end,
                price=segment.rate or segment.gross_rate or segment.price,
                all_in=Decimal(segment.price),
            )
    return tuple(rates.values())


def free_given(tariff: Tariff, situation: Situation) -> tuple[FreeGiven, ...]:
    """Return the free units that a buyer may claim, one for each month; also without a purchase."""
    items = {item.code: item for item in tariff.free_units}
    return tuple(
        FreeGiven(state.code, items[state.code].label, period, items[state.code].units)
        for state in situation.free
        if state.code in items
        for period in state.periods
    )


# --- inside -------------------------------------------------------------------------------------


def _purchase(tariff: Tariff, situation: Situation) -> Purchase:
    day = local_day(situation.at_us, situation.time_zone)
    in_force(tariff, day)
    ready = compiled(tariff)
    plan = ready.plan(situation, day)
    delivery = ready.delivery(situation)
    carried = carried_over(plan, situation)
    prior = situation.prior_units - carried
    if situation.free and tariff.energy.counter.counts_free:
        # As if they had been claimed just before, so that the order makes no difference.
        prior += sum(delivery.priced(each.units) for each in free_given(tariff, situation))
    cap = cap_percent(tariff.debt_caps, situation, day) if situation.debts else None
    return Purchase(
        plan=plan,
        situation=situation,
        day=day,
        delivery=delivery,
        counted=Counted(prior, situation.prior_lifeline_units, situation.priced_before, carried),
        cap=cap,
        debts=situation.debts,
        advance=situation.advance_minor - sum(each.minor for each in situation.price_changes),
        charges=items_due(plan, situation, situation.charges, day),
        period=charge_period(tariff.energy.counter, day) if plan.by_use else None,
        changes=situation.price_changes,
    )


def _used(tariff: Tariff, situation: Situation, used: int) -> tuple[Plan, Amounts, int]:
    """Return the prices, the amounts and the sum of units used."""
    purchase = _purchase(tariff, situation)
    plan = purchase.plan
    if not plan.regimes:
        raise no_price_in_advance(tariff)
    parts, taken_back, _ = parts_of_units(purchase, purchase.delivery.priced(used))
    if divides(plan):
        return plan, *with_taxes(plan, parts, taken_back)
    amounts = line_amounts(plan, parts, taken_back, (), [0] * len(plan.percents))
    return plan, amounts, amounts.total


def _priced(purchase: Purchase, settled: Settled, outlook: Outlook) -> Priced:
    plan, situation, bought = purchase.plan, purchase.situation, settled.bought
    free = free_given(plan.tariff, situation) if situation.free else ()
    counted = 0 if bought is None else bought.priced
    if free and plan.tariff.energy.counter.counts_free:
        counted += sum(purchase.delivery.priced(each.units) for each in free)
    value = purchase.delivery.calorific_value
    transfer = carried_e5 = None
    if bought is not None and situation.transfer is Transfer.CURRENCY:
        carried_e5 = transfer_e5(purchase, settled)
        transfer = carried_e5 * plan.scale // TOKEN_MONEY_STEPS
    return Priced(
        tender_minor=settled.tender,
        lines=lines_of(purchase, settled),
        units=0 if bought is None else bought.delivered,
        transfer_minor=transfer,
        transfer_e5=carried_e5,
        counted_units=counted,
        free=free,
        charges=_charges(settled),
        debts=tuple(DebtTaken(debt.debt_id, minor) for debt, minor in settled.debts),
        kept_minor=settled.kept,
        outlook=outlook,
        calorific_value=None if value is None else f"{value:f}",
        lifeline_units=_lifeline_units(purchase, settled) + situation.repriced_lifeline_units,
    )


def _charges(settled: Settled) -> tuple[ChargeTaken, ...]:
    """Return what is taken of charges by period; those of every purchase have none."""
    return tuple(
        ChargeTaken(each.item.code, each.period, each.taken.net, each.due.net)
        for each in settled.fixed
        if each.period
    )


def _lifeline_units(purchase: Purchase, settled: Settled) -> int:
    bought = settled.bought
    return 0 if bought is None else _correctable(purchase, bought.regime, bought.priced)


def _correctable(purchase: Purchase, after: int, priced: int) -> int:
    """Return the change of the units that a later purchase corrects, by one of so many units."""
    regimes = purchase.plan.regimes
    if len(regimes) == 1:
        return 0
    return -purchase.counted.correctable if after == len(regimes) - 1 else priced
