"""What holds for every tariff that can be written: tried on tariffs drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from hypothesis import HealthCheck, assume, event, given, reject, settings
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.units import CURRENCY_EXPONENTS, Commodity, Rounding, commodity_quantity
from slotmeter.vending.pricing.engine import block_rates, price_tender, price_units
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import ChargeState, DebtState, Situation
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Collection,
    Condition,
    Counter,
    DebtCap,
    Energy,
    EnergyContent,
    FixedItem,
    Lifeline,
    Measure,
    Missed,
    PercentItem,
    PercentOf,
    RoundingRules,
    Split,
    SplitBy,
    Table,
    TableRule,
    Tariff,
    TooSmall,
    UnitItem,
    UseBand,
)

AT_US = 1_780_000_000_000_000
STRICT = (Rounding.DOWN, Rounding.FLOOR)
REFUSALS = {
    "tender_too_small",
    "too_much_for_one_token",
    "no_price_for_units",
    "tariff_invalid",
}
TOKEN_EXACT_MAX = 16_383
slow = settings(
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    deadline=None,
)


@dataclass(frozen=True, repr=False)
class Case:
    tariff: Tariff
    situation: Situation
    tender: int

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        return f"Case({_told(self.tariff)}, {_told(self.situation)}, {self.tender})"


def _told(value: object) -> str:
    """Write a value without what is usual, so that a failing case can be read."""
    if isinstance(value, tuple):
        return f"({', '.join(_told(each) for each in value)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_told(each)}' for key, each in value.items())}}}"
    if isinstance(value, Enum) or not is_dataclass(value):
        return str(value)
    told = [
        f"{field.name}={_told(getattr(value, field.name))}"
        for field in fields(value)
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(told)})"


def decimals(low: int, high: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda number: Decimal(number).scaleb(-places))


@st.composite
def blocks_of(draw: st.DrawFn, unit: int, money: Decimal) -> tuple[Block, ...]:
    limits = sorted(draw(st.sets(st.integers(1, 30), max_size=3)))
    prices = draw(
        st.lists(decimals(1, 30_000, 3), min_size=len(limits) + 1, max_size=len(limits) + 1)
    )
    if limits and draw(st.integers(0, 5)) == 0:
        prices[0] = Decimal(0)
    ends: list[int | None] = [limit * 10 * unit for limit in limits]
    ends.append(500 * unit if draw(st.integers(0, 5)) == 0 else None)
    return tuple(Block(end, price * money) for end, price in zip(ends, prices, strict=True))


@st.composite
def tables(draw: st.DrawFn, unit: int, money: Decimal) -> Table:
    blocks = draw(blocks_of(unit, money))
    kind = draw(st.sampled_from(["blocks", "blocks", "blocks", "whole", "lifeline", "some"]))
    if kind == "some":
        whole = [number > 0 and draw(st.booleans()) for number in range(len(blocks))]
        blocks = tuple(
            replace(each, whole=is_whole) for each, is_whole in zip(blocks, whole, strict=True)
        )
    lifeline = None
    if kind == "lifeline":
        first = blocks[0].up_to or 50 * unit
        lifeline = Lifeline(first, draw(decimals(1, 9_000, 3)) * money)
    return Table("standard", blocks, whole=kind == "whole", lifeline=lifeline)


some_blocks = st.none() | st.frozensets(st.integers(1, 4), min_size=1, max_size=3)


some_amount = st.none() | st.integers(0, 10).map(Decimal)


def _plus_ten(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else amount + 10


@st.composite
def percents_of(draw: st.DrawFn, codes: list[str]) -> tuple[PercentItem, ...]:
    items: list[PercentItem] = []
    bases = ["energy", *codes]
    for number in range(draw(st.integers(0, 3))):
        code = f"p{number}"
        on = tuple(sorted(draw(st.sets(st.sampled_from(bases), min_size=1, max_size=3))))
        is_on_tender = draw(st.integers(0, 7)) == 0
        included = not is_on_tender and draw(st.integers(0, 3)) == 0
        if included:  # a published price that holds a tax holds what the tax is taken of
            without = {item.code for item in items if not item.included}
            on = tuple(each for each in on if each not in without) or ("energy",)
        items.append(
            PercentItem(
                code=code,
                label=code,
                percent=draw(decimals(0 if is_on_tender else -20, 250, 1)),
                on=("tender",) if is_on_tender else on,
                is_tax=draw(st.booleans()),
                blocks=draw(some_blocks) if draw(st.integers(0, 4)) == 0 else None,
                included=included,
                of_gross=not is_on_tender and draw(st.integers(0, 2)) == 0,
                minimum=draw(some_amount) if is_on_tender else None,
                maximum=draw(some_amount.map(_plus_ten)) if is_on_tender else None,
            )
        )
        bases.append(code)
    return tuple(items)


@st.composite
def roundings(draw: st.DrawFn) -> RoundingRules:
    return RoundingRules(
        unit_step=draw(st.sampled_from([Decimal("0.1"), Decimal("0.01"), Decimal(1)])),
        units=draw(
            st.sampled_from([Rounding.DOWN, Rounding.DOWN, Rounding.HALF_UP, Rounding.CEILING])
        ),
        lines=draw(st.sampled_from([Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.DOWN])),
        percent_of=draw(st.sampled_from(list(PercentOf))),
        price_step=draw(st.sampled_from([None, None, None, Decimal("0.0001"), Decimal("0.01")])),
        fixed_step=draw(st.sampled_from([None, None, None, Decimal("0.01"), Decimal(1)])),
        split_by=draw(st.sampled_from([SplitBy.UNITS, SplitBy.UNITS, SplitBy.TENDER])),
    )


@st.composite
def bands_of(draw: st.DrawFn, unit: int, money: Decimal) -> tuple[UseBand, ...]:
    limits = sorted(draw(st.sets(st.integers(1, 40), min_size=1, max_size=3)))
    ends: list[int | None] = [limit * 10 * unit for limit in limits]
    return tuple(UseBand(end, draw(decimals(0, 3_000, 2)) * money) for end in [*ends, None])


@st.composite
def fixed_items(draw: st.DrawFn, code: str, unit: int, money: Decimal) -> FixedItem:
    is_by_use = draw(st.integers(0, 2)) == 0
    is_split = not is_by_use and draw(st.integers(0, 3)) == 0
    return FixedItem(
        code=code,
        label=code,
        amount=draw(decimals(1, 5_000, 2)) * money,
        includes_tax=draw(st.booleans()),
        missed=Missed.ACCUMULATE,
        measure=draw(st.sampled_from([Measure.FLAT, Measure.LOAD_KW])),
        split=Split(400 * money) if is_split else None,
        by_use=draw(bands_of(unit, money)) if is_by_use else (),
    )


@st.composite
def duties(draw: st.DrawFn, money: Decimal, scale: int) -> FixedItem:
    limit = int(draw(st.integers(1, 2_000)) * money * scale)
    is_above = draw(st.booleans())
    return FixedItem(
        code="duty",
        label="duty",
        amount=draw(decimals(1, 5_000, 2)) * money,
        collect=Collection.PURCHASE,
        when=Condition(tender_above=limit) if is_above else Condition(tender_up_to=limit),
    )


@st.composite
def tariffs(draw: st.DrawFn, *, per_purchase: bool = True) -> Tariff:
    currency = draw(st.sampled_from(["KES", "UGX", "KWD"]))
    commodity = draw(st.sampled_from(list(Commodity)))
    content = None
    if commodity is Commodity.GAS and draw(st.booleans()):
        content = EnergyContent(Decimal("1.02264"), draw(decimals(380, 420, 1)))
    unit = 1_000 if content else commodity_quantity(commodity).per_sold_unit
    money = Decimal(100) if currency == "UGX" else Decimal(1)
    levies = tuple(
        UnitItem(f"l{number}", f"l{number}", price * money, draw(some_blocks))
        for number, price in enumerate(draw(st.lists(decimals(1, 6_000, 3), max_size=3)))
    )
    fixed: tuple[FixedItem, ...] = ()
    if per_purchase:
        fixed = tuple(
            draw(fixed_items(f"f{number}", unit, money))
            for number in range(draw(st.integers(0, 2)))
        )
    codes = [levy.code for levy in levies] + [charge.code for charge in fixed]
    percents = draw(percents_of(codes))
    table = draw(tables(unit, money))
    if table.lifeline is not None:
        levies = tuple(replace(each, lifeline=draw(st.booleans())) for each in levies)
        percents = tuple(
            replace(each, lifeline=each.on == ("tender",) or draw(st.booleans()))
            for each in percents
        )
        fixed = tuple(
            each if each.split else replace(each, lifeline=draw(st.booleans())) for each in fixed
        )
    if not per_purchase:
        percents = tuple(each for each in percents if each.on != ("tender",))
    return Tariff(
        code="drawn",
        title="Drawn",
        commodity=commodity,
        currency=currency,
        energy=Energy("Energy", {"standard": table}, (TableRule(ALWAYS, "standard"),), Counter()),
        unit_items=levies,
        fixed_items=fixed,
        percent_items=percents,
        debt_caps=(DebtCap(draw(decimals(0, 1_000, 1))),) if draw(st.booleans()) else (),
        too_small=draw(st.sampled_from(list(TooSmall))),
        rounding=draw(roundings()),
        energy_content=content,
    )


@st.composite
def debts_of(draw: st.DrawFn, scale: int) -> tuple[DebtState, ...]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        share = draw(st.none() | decimals(0, 1_000, 1))
        due = draw(st.none() | st.integers(0, 500 * scale))
        found.append(
            DebtState(
                number,
                "arrears",
                f"Debt {number}",
                priority=draw(st.integers(1, 3)),
                balance_minor=draw(st.integers(1, 3_000 * scale)),
                due_minor=due,
                percent=None if share is None else str(share),
                bypasses_cap=draw(st.integers(0, 5)) == 0,
            )
        )
    return tuple(found)


@st.composite
def cases(draw: st.DrawFn, *, per_purchase: bool = True, sts_grid: bool | None = None) -> Case:
    tariff = draw(tariffs(per_purchase=per_purchase))
    scale = 10 ** CURRENCY_EXPONENTS.get(tariff.currency, 2)
    worth = scale * (100 if tariff.currency == "UGX" else 1)
    unit = 1_000 if tariff.energy_content else commodity_quantity(tariff.commodity).per_sold_unit
    table = tariff.energy.tables["standard"]
    prior = draw(st.integers(0, 450)) * unit
    limit = table.lifeline.up_to if table.lifeline else 0
    is_whole = table.whole or any(block.whole for block in table.blocks)
    correctable = prior if is_whole or prior <= limit else 0
    situation = Situation(
        AT_US,
        "Africa/Nairobi",
        prior_units=prior,
        prior_lifeline_units=correctable,
        load_w=draw(st.integers(1, 10)) * 500,
        sts_grid=draw(st.booleans()) if sts_grid is None else sts_grid,
        account_number="A1",
        is_meter_credit=not per_purchase or draw(st.integers(0, 7)) > 0,
        advance_minor=draw(st.integers(0, 50 * worth)) if per_purchase else 0,
        charges=tuple(
            ChargeState(item.code, period, draw(st.integers(0, 20 * worth)))
            for item in tariff.fixed_items
            for period in ("2026-04", "2026-05")[: draw(st.integers(0, 2))]
        ),
        debts=draw(debts_of(worth)) if per_purchase else (),
    )
    return Case(tariff, situation, draw(st.integers(1, 3_000 * worth)))


def priced_or_none(case: Case, tender: int) -> Priced | None:
    try:
        return price_tender(case.tariff, case.situation, tender)
    except Refused as refused:
        if refused.code not in REFUSALS:
            raise
        event(refused.code)
        return None


def tolerance(case: Case, purchases: int = 1) -> int:
    """Units that rounding may be off by: a step a purchase, and what coins of rounded lines buy."""
    table = case.tariff.energy.tables["standard"]
    rates = block_rates(case.tariff, case.situation)
    prices = [rate.all_in for rate in rates if rate.all_in > 0] or [Decimal(1)]
    cheapest = min(prices)
    unit = 1_000 if case.tariff.energy_content else 0
    unit = unit or commodity_quantity(case.tariff.commodity).per_sold_unit
    scale = 10 ** CURRENCY_EXPONENTS.get(case.tariff.currency, 2)
    lines = 3 + len(table.blocks) + len(case.tariff.unit_items) + len(case.tariff.percent_items)
    coins = Decimal(2 * lines * purchases) / scale
    step = max(case.tariff.rounding.unit_step, Decimal("0.1"))
    # A step is counted in delivered units; of gas one m³ has at most 13 kWh.
    step *= 13 if case.tariff.energy_content else 1
    # What a step at the highest price leaves over buys more at the lowest.
    return int((2 * purchases * step * max(prices) + coins) / cheapest * unit) + 1


# --- every purchase -------------------------------------------------------------------------------


@slow
@given(cases())
def test_the_lines_add_up_to_the_tender_and_follow_from_their_own_figures(case: Case) -> None:
    priced = priced_or_none(case, case.tender)
    assume(priced is not None)

    assert priced is not None
    assert priced.tender_minor == case.tender
    assert recompute(case.tariff, priced) == []


@slow
@given(cases())
def test_a_purchase_costs_more_than_the_tender_only_where_rounding_says_so(case: Case) -> None:
    rules = case.tariff.rounding
    assume(rules.units in STRICT and rules.price_step is None and rules.fixed_step is None)
    priced = priced_or_none(case, case.tender)
    assume(priced is not None)

    assert priced is not None
    step = commodity_quantity(case.tariff.commodity).per_sold_unit // 10
    assume(not case.situation.sts_grid or priced.units <= TOKEN_EXACT_MAX * step)
    assert all(line.amount_minor >= 0 for line in priced.lines if line.kind == "rounding")


@slow
@given(cases())
def test_debts_stay_within_their_cap_and_never_go_below_zero(case: Case) -> None:
    priced = priced_or_none(case, case.tender)
    assume(priced is not None and bool(priced.debts))

    assert priced is not None
    owed = {debt.debt_id: debt for debt in case.situation.debts}
    assert all(0 < each.minor <= owed[each.debt_id].balance_minor for each in priced.debts)
    bypassing = sum(e.minor for e in priced.debts if owed[e.debt_id].bypasses_cap)
    others = sum(e.minor for e in priced.debts) - bypassing
    for cap in case.tariff.debt_caps:
        assert others == 0 or bypassing + others <= cap.percent * case.tender / 100


@slow
@given(cases(), st.integers(1, 100_000))
def test_more_money_never_buys_fewer_units(case: Case, more: int) -> None:
    # Two items that each take a share of the tender, cut to coins, may take two coins of one more.
    shares = sum(1 for each in case.situation.debts if each.percent is not None)
    shares += any(each.percent is None for each in case.situation.debts)
    shares += sum(1 for each in case.tariff.percent_items if each.on == ("tender",))
    shares += sum(1 for each in case.tariff.fixed_items if each.split is not None)
    assume(shares < 2 and case.situation.is_meter_credit)
    assume(not any(item.when.is_by_tender for item in case.tariff.fixed_items))
    less, greater = (priced_or_none(case, tender) for tender in (case.tender, case.tender + more))
    assume(less is not None and greater is not None)

    assert less is not None
    assert greater is not None
    assert greater.units >= less.units


@slow
@given(cases(per_purchase=False), st.integers(2, 4))
def test_splitting_a_purchase_changes_nothing_but_rounding(case: Case, parts: int) -> None:
    whole = priced_or_none(case, case.tender * parts)
    situation = case.situation
    bought = 0
    for _ in range(parts):
        priced = priced_or_none(replace(case, situation=situation), case.tender)
        assume(priced is not None)
        assert priced is not None
        bought += priced.counted_units
        situation = replace(
            situation,
            prior_units=situation.prior_units + priced.counted_units,
            prior_lifeline_units=situation.prior_lifeline_units + priced.lifeline_units,
            advance_minor=priced.kept_minor,
        )
    assume(whole is not None)

    assert whole is not None
    assume(whole.units < TOKEN_EXACT_MAX * 100)
    left = abs(whole.kept_minor - situation.advance_minor)
    assume(left == 0)
    assert abs(whole.counted_units - bought) <= tolerance(case, parts)


@slow
@given(cases(per_purchase=False, sts_grid=False), st.integers(1, 4_000))
def test_units_cost_what_buys_them_back(case: Case, steps: int) -> None:
    assume(case.tariff.energy_content is None)
    unit = commodity_quantity(case.tariff.commodity).per_sold_unit
    units = int(steps * case.tariff.rounding.unit_step * unit)
    try:
        cost = price_units(case.tariff, case.situation, units)
    except Refused:
        reject()
    assume(cost.tender_minor > 0)

    assert cost.units == units
    assert recompute(case.tariff, cost) == []
    again = priced_or_none(case, cost.tender_minor)
    assume(again is not None and again.kept_minor == 0)
    assert again is not None
    assert again.units >= units - tolerance(case)
    table = case.tariff.energy.tables["standard"]
    is_free = any(block.price == 0 for block in table.blocks)
    # Where a price for the whole window may fall, the same money may buy more than was asked for.
    may_fall = table.corrects
    assert is_free or may_fall or again.units <= units + tolerance(case)


@slow
@given(cases())
def test_what_a_refusal_says_is_needed_is_exactly_enough(case: Case) -> None:
    assume(case.tariff.too_small is TooSmall.REFUSE)
    needed = None
    try:
        price_tender(case.tariff, case.situation, 1)
    except Refused as refused:
        needed = refused.details.get("needed")
    assume(needed is not None)
    scale = 10 ** CURRENCY_EXPONENTS.get(case.tariff.currency, 2)
    enough = int(Decimal(str(needed)) * scale)

    assert priced_or_none(case, enough - 1) is None
    priced = priced_or_none(case, enough)
    assume(priced is not None)
    assert priced is not None
    assert priced.units > 0 or not case.situation.is_meter_credit


@slow
@given(cases())
def test_the_outlook_is_what_the_same_tender_buys_on_the_first(case: Case) -> None:
    assume(case.situation.is_meter_credit)
    priced = priced_or_none(case, case.tender)
    assume(priced is not None and priced.units > 0)
    assert priced is not None
    repaid = {each.debt_id: each.minor for each in priced.debts}
    on_the_first = replace(
        case.situation,
        at_us=AT_US + 5 * 86_400_000_000,
        prior_units=0,
        prior_lifeline_units=0,
        advance_minor=0,
        charges=tuple(ChargeState(each.code, "2026-06") for each in case.tariff.fixed_items),
        debts=tuple(
            replace(debt, balance_minor=debt.balance_minor - repaid.get(debt.debt_id, 0))
            for debt in case.situation.debts
        ),
    )

    then = priced_or_none(replace(case, situation=on_the_first), case.tender)

    units = None if then is None or then.units == 0 else then.units
    assert priced.outlook.first_of_month_units == units
