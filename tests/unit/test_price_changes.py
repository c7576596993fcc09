"""Prices that count from before their version: what earlier sales are corrected by, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.units import epoch_us
from slotmeter.vending.pricing.engine import price_tender, price_units, use_by_account
from slotmeter.vending.pricing.price_changes import PriceVersion, SoldBefore, price_changes
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.reader import parse_tariff

OLD, NEW, NEWER = 1, 2, 3


def at_us(day: int, month: int = 3) -> int:
    return epoch_us(datetime(2026, month, day, 12, tzinfo=UTC))


def version(
    number: int, from_us: int, energy: dict[str, Any], since: str | None = None
) -> PriceVersion:
    document = {
        "tariff": "gh",
        "title": "Residential",
        "commodity": "electricity",
        "currency": "GHS",
        "time_zone": "Africa/Accra",
        "energy": {"label": "Energy", **energy},
        "levies": {"street": {"label": "Street light", "per_unit": "0.10"}},
        "taxes": {"vat": {"label": "VAT", "percent": "10", "on": ["energy"]}},
    }
    if since is not None:
        document["prices_since"] = since
    return PriceVersion(number, from_us, parse_tariff(document))


FLAT = [
    version(OLD, 0, {"price": "1.00"}),
    version(NEW, at_us(28), {"price": "0.80"}, "2026-03-15"),
]


def sold(
    day: int,
    units: int,
    *,
    prior: int = 0,
    lifeline: int = 0,
    number: int | None = None,
    **more: Any,
) -> SoldBefore:
    situation = Situation(
        at_us(day), "Africa/Accra", prior_units=prior, prior_lifeline_units=lifeline
    )
    row = {"id": day if number is None else number, "version_id": OLD, **more}
    return SoldBefore(situation=situation, units=units, **row)


def now(day: int = 30, month: int = 3, **more: Any) -> Situation:
    return Situation(at_us(day, month), "Africa/Accra", sts_grid=False, **more)


def corrections(priced: Priced) -> dict[str, int]:
    return {e.account: e.amount_minor for e in priced.lines if e.kind == "correction"}


def test_units_sold_since_the_day_are_corrected_at_the_next_purchase_and_older_ones_are_not() -> (
    None
):
    sales = [sold(14, 50_000), sold(15, 100_000, prior=50_000)]

    situation = price_changes(FLAT, sales, now())
    priced = price_tender(FLAT[1].tariff, situation, 980)

    # 100 x (0.80 - 1.00) and 10 % of it; with these 22.00 the 9.80 buy 31.80 / 0.98.
    assert corrections(priced) == {"income:electricity": -20_00, "tax:vat": -2_00}
    assert priced.units == 32_400
    assert situation.repriced_sales == (15,)
    assert recompute(FLAT[1].tariff, priced) == []


def test_a_line_of_correction_says_since_when_of_how_much_and_what_it_had_cost() -> None:
    situation = price_changes(FLAT, [sold(15, 100_000)], now())

    energy = next(
        e for e in price_tender(FLAT[1].tariff, situation, 980).lines if e.kind == "correction"
    )

    assert (energy.code, energy.label, energy.period) == ("price_change", "Energy", "2026-03-15")
    assert (energy.quantity, energy.cost_minor) == (100_000, 100_00)


def test_who_has_bought_since_under_the_new_prices_is_not_corrected_again() -> None:
    later = sold(29, 10_000, version_id=NEW)

    assert price_changes(FLAT, [sold(15, 100_000), later], now()) == now()


def test_free_units_claimed_meanwhile_leave_the_correction_to_the_next_purchase() -> None:
    claim = sold(29, 0, version_id=NEW, is_purchase=False)

    assert price_changes(FLAT, [sold(15, 100_000), claim], now()).price_changes


def test_a_later_version_of_the_same_day_corrects_at_the_prices_that_said_so_first() -> None:
    versions = [*FLAT, version(NEWER, at_us(1, 4), {"price": "2.00"}, "2026-03-15")]

    situation = price_changes(versions, [sold(15, 100_000)], now(2, 4))

    assert [each.minor for each in situation.price_changes] == [-20_00, -2_00]


def test_a_second_change_starts_from_what_the_first_had_made_of_it() -> None:
    versions = [*FLAT, version(NEWER, at_us(10, 4), {"price": "0.70"}, "2026-03-20")]
    sales = [sold(15, 100_000), sold(21, 100_000, prior=100_000), sold(29, 1_000, version_id=NEW)]

    situation = price_changes(versions, sales, now(11, 4))

    # The one of the 15th stays at 0.80; that of the 21st, and of the 29th, go on to 0.70.
    assert [each.minor for each in situation.price_changes] == [-10_10, -1_01]
    assert situation.repriced_sales == (21, 29)


def test_a_sale_of_another_tariff_is_left_alone() -> None:
    assert price_changes(FLAT, [sold(16, 100_000, version_id=99)], now()) == now()


def test_dearer_prices_are_paid_before_anything_is_bought() -> None:
    versions = [FLAT[0], version(NEW, at_us(28), {"price": "1.20"}, "2026-03-15")]
    situation = price_changes(versions, [sold(15, 100_000)], now())

    priced = price_tender(versions[1].tariff, situation, 36_20)

    assert corrections(priced) == {"income:electricity": 20_00, "tax:vat": 2_00}
    assert priced.units == 10_000
    with pytest.raises(Refused) as refused:
        price_tender(versions[1].tariff, situation, 22_00)
    assert (refused.value.code, refused.value.details["needed"]) == ("tender_too_small", "22.15")


def test_prices_that_have_none_for_what_was_sold_refuse_the_purchase() -> None:
    short = {"blocks": [{"to": "50", "price": "1"}]}
    versions = [FLAT[0], version(NEW, at_us(28), short, "2026-03-15")]

    with pytest.raises(Refused) as refused:
        price_changes(versions, [sold(15, 100_000)], now())

    assert refused.value.code == "no_price_for_units"


# --- lifeline -----------------------------------------------------------------------------------

CHEAP = [
    version(OLD, 0, {"lifeline": {"to": "30", "price": "0.50"}, "price": "1.00"}),
    version(
        NEW,
        at_us(20),
        {"lifeline": {"to": "30", "price": "0.40"}, "price": "0.90"},
        "2026-03-01",
    ),
]


def test_units_of_a_lifeline_that_are_corrected_can_be_taken_back_later() -> None:
    sales = [sold(2, 10_000), sold(3, 10_000, prior=10_000, lifeline=10_000)]

    situation = price_changes(CHEAP, sales, now(21, prior_units=20_000))
    small = price_units(CHEAP[1].tariff, situation, 5_000)
    large = price_units(CHEAP[1].tariff, situation, 20_000)

    assert (small.lifeline_units, large.lifeline_units) == (25_000, 0)
    # 20 x 0.90 - 20 x 0.40 beside the -2.00 of the new prices
    crossing = [e.amount_minor for e in large.lines if e.kind == "correction"]
    assert crossing == [10_00, -2_00, -20]


def test_a_lifeline_of_last_month_is_not_taken_back_in_this_one() -> None:
    situation = price_changes(CHEAP, [sold(2, 10_000)], now(3, 4))

    assert situation.price_changes
    assert situation.repriced_lifeline_units == situation.prior_lifeline_units == 0


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 40))
def test_after_the_correction_all_has_cost_what_it_would_have_at_the_new_prices(
    amounts: list[int], last: int
) -> None:
    tariffs = [each.tariff for each in CHEAP]
    prior = lifeline = paid = 0
    sales = []
    for at, units in enumerate(amounts):
        sale = sold(2 + at, units * 1_000, prior=prior, lifeline=lifeline)
        priced = price_units(tariffs[0], sale.situation, units * 1_000)
        sales.append(sale)
        paid += priced.tender_minor
        prior += units * 1_000
        lifeline = max(0, lifeline + priced.lifeline_units)

    situation = price_changes(CHEAP, sales, now(21, prior_units=prior))
    paid += price_units(tariffs[1], situation, last * 1_000).tender_minor
    paid += -situation_left(situation, last)

    whole = sum(use_by_account(tariffs[1], now(21), prior + last * 1_000).values())
    assert abs(paid - whole) <= 2 * (len(amounts) + 2)


def situation_left(situation: Situation, last: int) -> int:
    """Return what a purchase of so many units keeps, where the corrections give back more."""
    return price_units(CHEAP[1].tariff, situation, last * 1_000).kept_minor


def test_a_situation_with_corrections_is_stored_and_read_alike() -> None:
    situation = price_changes(CHEAP, [sold(2, 10_000)], now(21, prior_units=10_000))

    assert Situation.from_dict(situation.to_dict()) == situation
    assert replace(situation, price_changes=()).to_dict().get("price_changes") is None
