"""Price lists of the first release: the same purchases come out as they did then, to the coin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.units import CURRENCY_EXPONENTS, Money
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.charges import ChargeDue
from slotmeter.vending.pricing.engine import price_tender, use_cost
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.sales import PricedSale, price_sale
from slotmeter.vending.tariff.reader import parse_tariff as parse_now
from slotmeter.vending.tariffs import parse_tariff as parse_then

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


def sold_then(
    document: dict[str, Any], tender: int, taken: int | None, mode: CreditMode
) -> PricedSale | None:
    tariff = parse_then(document)
    charge = None
    if tariff.fixed_charge is not None and taken is not None:
        net = Money(tariff.fixed_charge.amount.minor - taken, tariff.currency)
        taxed = tariff.fixed_charge.taxed and tariff.tax is not None
        tax = tariff.tax.on(net) if taxed and tariff.tax else Money(0, tariff.currency)
        charge = ChargeDue("service", "Service", "2026-05", net, tax) if net.minor > 0 else None
    try:
        return price_sale(
            Money(tender, tariff.currency),
            tariff,
            credit_mode=mode,
            account_number="A1",
            charge=charge,
        )
    except Refused:
        return None


@given(
    documents(),
    st.integers(1, 30_000_000),
    st.none() | st.integers(0, 5_000),
    st.sampled_from(list(CreditMode)),
)
def test_an_old_price_list_sells_what_it_sold(
    document: dict[str, Any], tender: int, taken: int | None, mode: CreditMode
) -> None:
    then = sold_then(document, tender, taken, mode)
    charges = () if taken is None else (ChargeState("service", "2026-05", taken),)
    situation = Situation(
        AT_US,
        "Africa/Nairobi",
        charges=charges,
        account_number="A1",
        is_meter_credit=mode is CreditMode.METER,
    )

    if then is None:
        with pytest.raises(Refused):
            price_tender(parse_now(document), situation, tender)
        return
    now = price_tender(parse_now(document), situation, tender)
    assert now.units == then.quantity.amount
    assert figures(now.lines) == figures(then.lines)


def figures(lines: Any) -> list[tuple[object, ...]]:
    """Return what moves money or units, in an order of its own; lines of nothing move nothing."""
    return sorted(
        (line.kind, line.account, line.amount_minor, line.quantity or 0)
        for line in lines
        if line.amount_minor or line.quantity
    )


@given(documents(), st.integers(0, 10**9))
def test_use_is_charged_as_it_was(document: dict[str, Any], used: int) -> None:
    from slotmeter.services.charging import due_for

    then = due_for(parse_then(document), used)

    situation = Situation(AT_US, "Africa/Nairobi", is_meter_credit=False)
    assert use_cost(parse_now(document), situation, used) == (then.net_minor, then.tax_minor)
