"""Taxes within their own base, as Brazil's: what is paid is the net over one less the taxes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import BUYER, line_of, small_tariff
from slotmeter.vending.pricing.engine import price_tender, price_units
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.tariff.model import (
    Collection,
    Condition,
    FixedItem,
    PercentItem,
    PercentOf,
    RoundingRules,
    SplitBy,
    Tariff,
)

KWH = 1_000


def tax(code: str, percent: str, *on: str, **more: object) -> PercentItem:
    item = PercentItem(code, code, Decimal(percent), on or ("energy",), is_tax=True, of_gross=True)
    return replace(item, **more)  # type: ignore[arg-type]  # any field of a percentage


def taxes_of(priced: Priced) -> dict[str, tuple[int, int | None]]:
    """Return amount and base of each tax."""
    return {e.code: (e.amount_minor, e.base_minor) for e in priced.lines if e.kind == "tax"}


# A bill of CPFL Piratininga: 222.32 without tax, 30.78 % inside, 321.18 with it.
OLD_LAW = small_tariff(
    (None, "0.5558"),
    currency="BRL",
    percent_items=(tax("pis", "1.03"), tax("cofins", "4.75"), tax("icms", "25")),
)
# Since 2021 PIS and COFINS are not taken of ICMS: net / ((1 - PIS - COFINS) (1 - ICMS)).
NEW_LAW = small_tariff(
    (None, "0.80"),
    currency="BRL",
    percent_items=(
        tax("pis", "0.82"),
        tax("cofins", "3.77"),
        tax("icms", "18", "energy", "pis", "cofins"),
    ),
)


def test_taxes_of_one_gross_are_taken_of_what_is_paid() -> None:
    priced = price_units(OLD_LAW, BUYER, 400 * KWH)

    assert line_of(priced, "energy").amount_minor == 222_32
    assert taxes_of(priced) == {
        "pis": (3_31, 321_18),
        "cofins": (15_26, 321_18),
        "icms": (80_29, 321_18),
    }
    assert priced.tender_minor == 321_18
    assert recompute(OLD_LAW, priced) == []


def test_a_gross_may_lie_on_taxes_of_another_gross() -> None:
    priced = price_units(NEW_LAW, BUYER, 100 * KWH)

    assert taxes_of(priced) == {
        "pis": (69, 83_85),
        "cofins": (3_16, 83_85),
        "icms": (18_41, 102_26),
    }
    assert priced.tender_minor == 102_26
    assert recompute(NEW_LAW, priced) == []


@pytest.mark.parametrize("percent_of", PercentOf)
def test_money_buys_the_units_that_cost_it(percent_of: PercentOf) -> None:
    sold = replace(OLD_LAW, rounding=RoundingRules(percent_of=percent_of))

    priced = price_tender(sold, BUYER, 321_18)

    assert priced.units == 400 * KWH
    assert recompute(sold, priced) == []


def test_a_tax_that_does_not_apply_is_not_in_the_gross() -> None:
    exempt = replace(
        OLD_LAW,
        percent_items=(
            tax("pis", "1.03"),
            tax("cofins", "4.75"),
            tax("icms", "25", when=Condition(not_classes=frozenset({"exempt"}))),
        ),
    )

    priced = price_units(exempt, replace(BUYER, customer_class="exempt"), 400 * KWH)

    assert priced.tender_minor == 222_32 + 2_43 + 11_21
    assert recompute(exempt, priced) == []


def test_a_charge_has_the_same_taxes_in_its_gross() -> None:
    fee = FixedItem("fee", "Fee", Decimal(82), collect=Collection.PURCHASE)
    sold = small_tariff(
        (None, "1"), fixed_items=(fee,), percent_items=(tax("icms", "18", "energy", "fixed"),)
    )

    priced = price_units(sold, BUYER, 82 * KWH)

    assert taxes_of(priced) == {"icms": (36_00, 200_00)}
    assert price_tender(sold, BUYER, 200_00).units == 82 * KWH


def test_a_published_price_may_have_its_gross_taxes_in_it() -> None:
    sold = small_tariff((None, "1.00"), percent_items=(tax("icms", "18", included=True),))

    priced = price_units(sold, BUYER, 100 * KWH)

    assert line_of(priced, "energy").amount_minor == 82_00
    assert taxes_of(priced) == {"icms": (18_00, 100_00)}
    assert priced.tender_minor == 100_00


def test_a_tender_that_is_divided_pays_its_share_of_the_gross() -> None:
    sold = replace(OLD_LAW, rounding=RoundingRules(split_by=SplitBy.TENDER))

    priced = price_tender(sold, BUYER, 1_000_00)

    taxes = {code: amount for code, (amount, _) in taxes_of(priced).items()}
    assert taxes == {"pis": 10_30, "cofins": 47_50, "icms": 250_00}
    assert recompute(sold, priced) == []


def test_taxes_that_leave_nothing_of_the_gross_are_refused() -> None:
    sold: Tariff = small_tariff(
        (None, "1"),
        percent_items=(
            tax("one", "60", when=Condition(classes=frozenset({"a", "b"}))),
            tax("other", "40", when=Condition(classes=frozenset({"b"}))),
        ),
    )

    assert price_units(sold, replace(BUYER, customer_class="a"), 4 * KWH).tender_minor == 10_00
    with pytest.raises(Refused) as refused:
        price_units(sold, replace(BUYER, customer_class="b"), 4 * KWH)
    assert refused.value.code == "tariff_invalid"
