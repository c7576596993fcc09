"""Fixed charges that depend on the month's own use: taken once, and risen with the total."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, VAT_15, line_of, small_tariff
from slotmeter.units import HOUR_US
from slotmeter.vending.pricing.charges_due import TakenCharge, open_charges
from slotmeter.vending.pricing.engine import price_tender, price_units
from slotmeter.vending.pricing.intervals import Interval, price_intervals
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.tariff.model import (
    Block,
    FixedItem,
    Lifeline,
    Missed,
    RoundingRules,
    SplitBy,
    Table,
    Tariff,
    TooSmall,
    UseBand,
)

KWH = 1_000
PERIOD = "2026-05"
BANDS = (UseBand(30 * KWH, Decimal("2.13")), UseBand(None, Decimal("10.73")))
SERVICE = FixedItem("service", "Service charge", Decimal(0), by_use=BANDS)
GHANA = small_tariff((None, "1"), fixed_items=(SERVICE,))
EGYPT = small_tariff(
    (None, "1"),
    fixed_items=(
        FixedItem(
            "service",
            "Customer service",
            Decimal(0),
            by_use=(
                UseBand(50 * KWH, Decimal(1)),
                UseBand(100 * KWH, Decimal(2)),
                UseBand(200 * KWH, Decimal(6)),
                UseBand(None, Decimal(11)),
            ),
        ),
    ),
)


def buyer(prior: int = 0, taken: int = 0, **more: object) -> Situation:
    state = ChargeState("service", PERIOD, taken)
    situation = replace(BUYER, prior_units=prior * KWH, charges=(state,))
    return replace(situation, **more)  # type: ignore[arg-type]  # any field of a situation


def charge_of(priced: Priced) -> int:
    return sum(line.amount_minor for line in priced.lines if line.kind == "charge")


@pytest.mark.parametrize(
    ("units", "total"), [(30, 30_00 + 2_13), (31, 31_00 + 10_73), (100, 100_00 + 10_73)]
)
def test_units_cost_the_charge_of_the_total_that_they_lead_to(units: int, total: int) -> None:
    assert price_units(GHANA, buyer(), units * KWH).tender_minor == total


def test_a_purchase_that_leads_above_a_limit_pays_the_difference_of_the_charge() -> None:
    priced = price_tender(GHANA, buyer(prior=20, taken=2_13), 30_00)

    line = line_of(priced, "charge")
    assert line.amount_minor == 8_60
    assert line.base_minor == 2_13
    assert priced.units == 21_400
    assert [(each.net_minor, each.due_minor) for each in priced.charges] == [(8_60, 10_73)]


def test_a_purchase_that_stays_within_the_limit_takes_nothing_more() -> None:
    priced = price_tender(GHANA, buyer(prior=20, taken=2_13), 10_00)

    assert priced.units == 10 * KWH
    assert priced.charges == ()
    assert priced.kept_minor == 0


def test_money_that_does_not_pay_the_higher_charge_and_a_unit_buys_to_the_limit() -> None:
    priced = price_tender(GHANA, buyer(prior=20, taken=2_13), 18_69)

    assert priced.units == 10 * KWH
    assert priced.kept_minor == 8_69
    assert priced.charges == ()


def test_a_coin_more_than_that_leads_above_the_limit() -> None:
    priced = price_tender(GHANA, buyer(prior=20, taken=2_13), 18_70)

    assert priced.units == 10_100
    assert priced.kept_minor == 0
    assert charge_of(priced) == 8_60


def test_at_the_limit_a_tender_below_the_rise_buys_nothing_and_says_what_would_do() -> None:
    with pytest.raises(Refused) as refused:
        price_tender(GHANA, buyer(prior=30, taken=2_13), 8_60)

    assert refused.value.code == "tender_too_small"
    assert refused.value.details["needed"] == "8.70"


def test_one_large_purchase_passes_several_limits_at_once() -> None:
    priced = price_tender(EGYPT, buyer(), 161_00)

    assert charge_of(priced) == 6_00
    assert priced.units == 155 * KWH


def test_many_purchases_pay_what_one_pays() -> None:
    prior = taken = paid = 0
    for _ in range(10):
        state = ChargeState("service", PERIOD, taken)
        situation = replace(BUYER, prior_units=prior, charges=(state,))
        priced = price_units(EGYPT, situation, 25 * KWH)
        prior += priced.units
        taken += sum(each.net_minor for each in priced.charges)
        paid += priced.tender_minor

    assert taken == 11_00
    assert paid == price_units(EGYPT, buyer(), 250 * KWH).tender_minor


@pytest.mark.parametrize("step", range(0, 60_00, 37))
def test_units_for_money_and_money_for_units_agree(step: int) -> None:
    priced = price_tender(GHANA, buyer(prior=5, taken=2_13), 50 + step)

    cost = price_units(GHANA, buyer(prior=5, taken=2_13), priced.units)

    assert cost.tender_minor == 50 + step - priced.kept_minor - rounding_of(priced)


def rounding_of(priced: Priced) -> int:
    return sum(line.amount_minor for line in priced.lines if line.kind == "rounding")


def test_more_money_never_buys_fewer_units() -> None:
    bought = [price_tender(GHANA, buyer(), tender).units for tender in range(3_00, 60_00, 7)]

    assert bought == sorted(bought)


def test_taxes_lie_on_what_the_charge_rises_by() -> None:
    taxed = replace(GHANA, percent_items=(VAT_15,))

    priced = price_units(taxed, buyer(prior=20, taken=2_13), 20 * KWH)

    assert charge_of(priced) == 8_60
    assert line_of(priced, "tax").amount_minor == 4_29
    assert recompute(taxed, priced) == []


def test_a_tax_that_is_divided_out_of_the_tender_meets_the_same_limit() -> None:
    divided = replace(
        GHANA, percent_items=(VAT_15,), rounding=RoundingRules(split_by=SplitBy.TENDER)
    )

    at_limit = price_tender(divided, buyer(prior=20, taken=2_13), 21_39)
    above = price_tender(divided, buyer(prior=20, taken=2_13), 23_00)

    assert (at_limit.units, charge_of(at_limit)) == (10 * KWH, 0)
    assert charge_of(above) == 8_60
    assert above.units == 11_400


def test_months_without_a_purchase_cost_what_no_use_costs() -> None:
    charges = (ChargeState("service", "2026-04"), ChargeState("service", PERIOD))
    sold = replace(GHANA, fixed_items=(replace(SERVICE, missed=Missed.ACCUMULATE),))

    priced = price_units(sold, replace(BUYER, charges=charges), 40 * KWH)

    assert [each.net_minor for each in priced.charges] == [2_13, 10_73]


def test_what_is_left_of_an_earlier_month_is_of_what_it_came_to_then() -> None:
    charges = (ChargeState("service", "2026-04", 5_00, due_minor=10_73),)

    priced = price_units(GHANA, replace(BUYER, charges=charges), 1 * KWH)

    assert [(each.net_minor, each.due_minor) for each in priced.charges] == [(5_73, 10_73)]


def test_a_charge_that_is_paid_stays_open_while_its_month_lasts() -> None:
    taken = [TakenCharge("service", PERIOD, 2_13, 2_13)]

    assert open_charges(GHANA, BUYER, taken) == (ChargeState("service", PERIOD, 2_13),)


def test_a_state_is_stored_as_it_was_before_unless_it_says_more() -> None:
    plain = replace(BUYER, charges=(ChargeState("service", PERIOD, 1),))
    more = replace(BUYER, charges=(ChargeState("service", PERIOD, 1, due_minor=5),))

    assert plain.to_dict()["charges"] == [
        {"code": "service", "period": PERIOD, "taken_minor": 1, "tendered_minor": 0}
    ]
    assert Situation.from_dict(more.to_dict()) == more


def test_a_tender_too_small_for_units_pays_the_charge_of_the_use_so_far() -> None:
    lenient = replace(GHANA, too_small=TooSmall.PAY_CHARGES)

    priced = price_tender(lenient, buyer(prior=40, taken=2_13), 5_00)

    assert [(each.net_minor, each.due_minor) for each in priced.charges] == [(5_00, 10_73)]
    assert recompute(lenient, priced) == []


def test_where_the_ledger_holds_the_credit_the_use_so_far_says_what_is_due() -> None:
    held = buyer(taken=2_13, is_meter_credit=False, used_units=31 * KWH)

    priced = price_tender(GHANA, held, 20_00)

    assert line_of(priced, "charge").amount_minor == 8_60
    assert line_of(priced, "credit").amount_minor == 11_40


def test_the_outlook_takes_the_charge_of_what_it_would_buy() -> None:
    priced = price_tender(GHANA, buyer(prior=100, taken=10_73), 50_00)

    assert priced.units == 50 * KWH
    assert priced.outlook.first_of_month_units == 39_200


def test_a_bill_has_the_charge_of_its_month_s_use() -> None:
    start = BUYER.at_us
    hours = [Interval(start + at * HOUR_US, start + (at + 1) * HOUR_US, 16 * KWH) for at in (0, 1)]
    situation = replace(BUYER, charges=(ChargeState("service", PERIOD),))

    one, two = (price_intervals(GHANA, part, situation) for part in (hours[:1], hours))

    assert one.sum_of("charge") == 2_13
    assert two.sum_of("charge") == 10_73


# --- a charge that spares the lifeline ------------------------------------------------------------

LIFELINE = Table(
    "standard", (Block(None, Decimal(1)),), lifeline=Lifeline(30 * KWH, Decimal("0.50"))
)
SPARED: Tariff = small_tariff(
    table=LIFELINE,
    fixed_items=(FixedItem("service", "Service charge", Decimal("10.73"), lifeline=False),),
)


def test_a_charge_spares_who_stays_at_the_lifeline_price() -> None:
    priced = price_tender(SPARED, buyer(), 10_00)

    assert priced.units == 20 * KWH
    assert priced.charges == ()


def test_who_passes_the_lifeline_pays_correction_and_charge_together() -> None:
    situation = buyer(prior=20, prior_lifeline_units=20 * KWH)

    priced = price_units(SPARED, situation, 20 * KWH)

    assert charge_of(priced) == 10_73
    assert line_of(priced, "correction").amount_minor == 10_00
    assert priced.tender_minor == 20_00 + 10_00 + 10_73


def test_money_in_the_jump_of_price_and_charge_is_kept() -> None:
    priced = price_tender(SPARED, buyer(), 40_82)

    assert priced.units == 30 * KWH
    assert priced.kept_minor == 25_82
    assert price_tender(SPARED, buyer(), 40_83).units == 30_100


def test_a_table_without_lifeline_pays_the_charge_from_the_first_unit() -> None:
    plain = replace(SPARED, energy=GHANA.energy)

    assert charge_of(price_units(plain, buyer(), 1 * KWH)) == 10_73
