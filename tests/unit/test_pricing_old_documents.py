"""Price lists of the first release: the same purchases come out as they did then, to the coin."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.units import CURRENCY_EXPONENTS, Commodity, commodity_quantity
from slotmeter.vending.pricing.engine import price_tender, use_cost
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.sts.amounts import UNITS_MAX, decode_units, encode_units
from slotmeter.vending.tariff.reader import parse_tariff

AT_US = 1_780_000_000_000_000


def text(low: int, high: int, places: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda number: f"{number / 10**places:.{places}f}")


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    currency = draw(st.sampled_from(["KES", "UGX", "KWD"]))
    places = CURRENCY_EXPONENTS.get(currency, 2)
    document: dict[str, Any] = {
        "tariff": "old",
        "title": "Old",
        "commodity": draw(st.sampled_from(["electricity", "water", "gas"])),
        "currency": currency,
        "price": draw(text(1, 40_000, 3)),
    }
    if draw(st.booleans()):
        document["tax"] = {"name": "VAT", "percent": draw(text(0, 2_500, 2))}
    if draw(st.booleans()):
        document["fixed_charge"] = {
            "code": "service",
            "label": "Service",
            "amount": draw(text(1, 20_000, places)),
            "taxed": draw(st.booleans()),
        }
    return document


@dataclass(frozen=True)
class Then:
    """A price list as the first release read it, in minor units and base units."""

    price: Fraction  # per base unit
    percent: Fraction | None
    charge: int
    is_charge_taxed: bool
    token_step: int

    @classmethod
    def of(cls, document: dict[str, Any]) -> Then:
        scale = 10 ** CURRENCY_EXPONENTS.get(document["currency"], 2)
        unit = commodity_quantity(Commodity(document["commodity"])).per_sold_unit
        tax, charge = document.get("tax"), document.get("fixed_charge")
        return cls(
            price=Fraction(document["price"]) * scale / unit,
            percent=None if tax is None else Fraction(tax["percent"]),
            charge=0 if charge is None else int(Fraction(charge["amount"]) * scale),
            is_charge_taxed=charge is not None and charge["taxed"],
            token_step=unit // 10,
        )


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


Figures = list[tuple[str, str, int, int]]


def sold_then(
    document: dict[str, Any], tender: int, taken: int | None, is_meter_credit: bool
) -> tuple[int, Figures] | None:
    """Return units and lines as the first release made them; None where it refused.

    The charge and its tax come first; the tax is divided out of the rest, units are cut to a tenth
    and to what a token can hold, and what is left of the money without tax is the rounding.
    """
    then = Then.of(document)
    lines: Figures = []
    left = tender
    if taken is not None and then.charge > taken:
        charge = then.charge - taken
        lines.append(("charge", "income:charge:service", charge, 0))
        tax = 0
        if then.percent is not None and then.is_charge_taxed:
            tax = half_up(charge * then.percent / 100)
            lines.append(("tax", "tax:VAT", tax, 0))
        left -= charge + tax
    if left <= 0:
        return None
    if not is_meter_credit:
        return 0, [line for line in [*lines, ("credit", "customer:A1", left, 0)] if line[2]]
    net = left if then.percent is None else half_up(left * 100 / (100 + then.percent))
    tenths = floor(Fraction(net) / then.price / then.token_step)
    if not 0 < tenths <= UNITS_MAX:
        return None
    units = decode_units(encode_units(tenths)) * then.token_step
    cost = half_up(units * then.price)
    lines.append(("energy", f"income:{document['commodity']}", cost, units))
    lines.append(("rounding", "rounding", net - cost, 0))
    lines.append(("tax", "tax:VAT", left - net, 0))
    return units, [line for line in lines if line[2] or line[3]]


@given(
    documents(),
    st.integers(1, 30_000_000),
    st.none() | st.integers(0, 5_000),
    st.booleans(),
)
def test_an_old_price_list_sells_what_it_sold(
    document: dict[str, Any], tender: int, taken: int | None, is_meter_credit: bool
) -> None:
    then = sold_then(document, tender, taken, is_meter_credit)
    charges = () if taken is None else (ChargeState("service", "2026-05", taken),)
    situation = Situation(
        AT_US,
        "Africa/Nairobi",
        charges=charges,
        account_number="A1",
        is_meter_credit=is_meter_credit,
    )

    if then is None:
        with pytest.raises(Refused):
            price_tender(parse_tariff(document), situation, tender)
        return
    now = price_tender(parse_tariff(document), situation, tender)
    moved = [
        (line.kind, line.account, line.amount_minor, line.quantity or 0)
        for line in now.lines
        if line.amount_minor or line.quantity
    ]
    assert (now.units, sorted(moved)) == (then[0], sorted(then[1]))


@given(documents(), st.integers(0, 10**9))
def test_use_is_charged_as_it_was(document: dict[str, Any], used: int) -> None:
    then = Then.of(document)
    situation = Situation(AT_US, "Africa/Nairobi", is_meter_credit=False)

    net, tax = use_cost(parse_tariff(document), situation, used)

    exact = then.price * used
    assert net == half_up(exact)
    assert tax == half_up(exact * (then.percent or 0) / 100)
