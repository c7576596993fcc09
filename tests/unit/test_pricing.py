"""A flat tariff as it was before the tariff language: the lines, the units, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.testing.small_utility import tariff_document
from slotmeter.units import Commodity, epoch_us
from slotmeter.vending.accounts import CreditMode, Supply, check_may_buy, masked_name
from slotmeter.vending.ledger import Posting, account_kind, balanced, merge
from slotmeter.vending.pricing.engine import price_tender, use_by_account, use_cost
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.sales import currency_credit, sale_postings, units_credit
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import parse_tariff

AT_US = epoch_us(datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
SERVICE = {"code": "service", "label": "Service charge", "amount": "50.00", "taxed": True}
OPEN = (ChargeState("service", "2026-11"),)


def kes(text: str) -> int:
    return int(Decimal(text) * 100)


def flat(price: str = "20.00", commodity: str = "electricity", **changes: Any) -> Tariff:
    return parse_tariff(tariff_document(commodity, price=price, **changes))


def sell(tender: int, tariff: Tariff, **buyer: Any) -> Priced:
    situation = Situation(AT_US, "Africa/Nairobi", account_number="A7", **buyer)
    return price_tender(tariff, situation, tender)


def test_a_flat_price_without_tax_gives_tender_over_price() -> None:
    # domain rules, statement TC-01
    sale = sell(kes("57.75"), flat("1.155", tax=None))

    assert sale.units == 50_000
    assert [line.amount_minor for line in sale.lines] == [5775]


@given(
    tender=st.integers(1, 10**9),
    price=st.decimals("0.0001", "500", places=4),
    percent=st.decimals(0, 60, places=2),
    fixed=st.one_of(st.none(), st.integers(1, 20_000)),
    commodity=st.sampled_from(list(Commodity)),
    is_meter_credit=st.booleans(),
)
def test_the_lines_always_add_up_and_the_entry_always_balances(
    *,
    tender: int,
    price: Decimal,
    percent: Decimal,
    fixed: int | None,
    commodity: Commodity,
    is_meter_credit: bool,
) -> None:
    charge = None if fixed is None else {**SERVICE, "amount": f"{fixed / Decimal(100):.2f}"}
    tariff = flat(
        f"{price:f}",
        commodity,
        tax={"name": "VAT", "percent": f"{percent:f}"},
        fixed_charge=charge,
        purchase=None,
    )

    try:
        sale = sell(
            tender, tariff, is_meter_credit=is_meter_credit, charges=() if fixed is None else OPEN
        )
    except Refused as refused:
        assert refused.code in {"tender_too_small", "too_much_for_one_token"}  # noqa: PT017  both outcomes are legal
        return

    postings = sale_postings(
        "b", tender, [(line.account, line.amount_minor) for line in sale.lines]
    )
    assert sum(line.amount_minor for line in sale.lines) == tender
    assert sum(posting.amount_minor for posting in postings) == 0
    assert (sale.units > 0) == is_meter_credit


@given(tender=st.integers(1_000, 10**6), extra=st.integers(0, 10**6))
def test_more_money_never_buys_less(tender: int, extra: int) -> None:
    bought = [sell(minor, flat("0.37")).units for minor in (tender, tender + extra)]

    assert bought[0] <= bought[1]


def test_a_large_purchase_gives_what_the_token_can_carry_rounded_up() -> None:
    # 16385 tenths cannot be coded; the next value that can is 16394 (IEC 62055-41, amount).
    sale = sell(kes("1638.50"), flat("1.00", tax=None))

    assert sale.units == 1_639_400
    assert {line.kind: line.amount_minor for line in sale.lines} == {
        "energy": 163_940,
        "rounding": -90,
    }


def test_water_is_counted_in_millilitres() -> None:
    assert sell(kes("116.00"), flat("100.00", "water")).units == 1_000_000


def test_too_little_names_what_is_needed_and_that_is_enough() -> None:
    tariff = flat("20.00", fixed_charge=SERVICE)

    with pytest.raises(Refused) as caught:
        sell(kes("58.00"), tariff, charges=OPEN)
    needed = kes(str(caught.value.details["needed"]))

    assert sell(needed, tariff, charges=OPEN).units == 100
    with pytest.raises(Refused):
        sell(needed - 1, tariff, charges=OPEN)


def test_platform_held_credit_stays_money_but_pays_the_charge() -> None:
    tariff = flat("20.00", fixed_charge=SERVICE)

    sale = sell(kes("100.00"), tariff, is_meter_credit=False, charges=OPEN)

    assert [(line.account, line.amount_minor) for line in sale.lines] == [
        ("income:charge:service", 5000),
        ("tax:VAT", 800),
        ("customer:A7", 4200),
    ]


def test_one_token_has_a_largest_amount() -> None:
    with pytest.raises(Refused) as caught:
        sell(kes("9000000.00"), flat("0.001", tax=None, purchase=None))
    assert caught.value.code == "too_much_for_one_token"


def test_the_smaller_of_two_maxima_counts() -> None:
    tariff = flat(purchase={"maximum": "500.00"})

    with pytest.raises(Refused, match=r"200\.00"):
        sell(kes("201.00"), tariff, meter_max_minor=kes("200.00"))
    with pytest.raises(Refused, match=r"500\.00"):
        sell(kes("501.00"), tariff)
    assert sell(kes("200.00"), tariff, meter_max_minor=kes("200.00")).units > 0


@given(st.integers(0, 10**9), st.decimals("0.0001", "500", places=4), st.integers(0, 60))
def test_what_use_costs_is_the_sum_of_what_each_account_earns(
    used: int, price: Decimal, percent: int
) -> None:
    tariff = flat(f"{price:f}", tax={"name": "VAT", "percent": str(percent)})
    situation = Situation(AT_US, "UTC", is_meter_credit=False)

    net, tax = use_cost(tariff, situation, used)

    earned = use_by_account(tariff, situation, used)
    assert (earned.get("income:electricity", 0), earned.get("tax:VAT", 0)) == (net, tax)
    assert sum(earned.values()) == net + tax


def test_what_was_taken_is_not_due_again() -> None:
    tariff = flat(fixed_charge=SERVICE)

    def charged(taken: int) -> list[int]:
        sale = sell(kes("200.00"), tariff, charges=(ChargeState("service", "2026-11", taken),))
        return [line.amount_minor for line in sale.lines if line.kind == "charge"]

    assert charged(5000) == []
    assert charged(3000) == [2000]


def test_a_token_counts_tenths_of_what_is_sold() -> None:
    units = units_credit("water", 12_300_000, tid=7, rnd=3)

    assert (units.subclass, units.value) == (1, 123)
    with pytest.raises(AssertionError):
        units_credit("water", 12_345_678, tid=7, rnd=3)


def test_a_token_of_money_counts_hundred_thousandths() -> None:
    token = currency_credit("gas", 12_345_000, tid=7)

    assert (token.token_class, token.subclass, token.value) == (0, 6, 12_345_000)


def test_postings_to_one_account_are_joined_and_zeros_left_out() -> None:
    joined = merge([Posting("a", 5), Posting("b", -3), Posting("a", -2), Posting("c", 0)])

    assert joined == (Posting("a", 3), Posting("b", -3))


def test_an_entry_that_does_not_balance_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError):
        balanced([Posting("a", 1)])


def test_every_account_code_has_a_kind() -> None:
    codes = ["till:x", "income:gas", "tax:VAT", "rounding", "customer:A1"]

    assert [account_kind(code) for code in codes] == [
        "asset",
        "income",
        "liability",
        "income",
        "liability",
    ]


def test_a_name_is_masked_but_recognisable() -> None:
    assert masked_name("Amina Otieno") == "A**** O*****"


@pytest.mark.parametrize(
    ("state", "code"), [("blocked", "meter_blocked"), ("removed", "meter_removed")]
)
def test_only_an_active_meter_may_buy(state: str, code: str) -> None:
    supply = Supply("1", Commodity.GAS, CreditMode.METER, state, "A", "C", "N", "X", "Y")

    with pytest.raises(Refused) as caught:
        check_may_buy(supply)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price": "0"}, "price"),
        ({"price": "-1"}, "price"),
        ({"price": "x"}, "price"),
        ({"price": "NaN"}, "price"),
        ({"commodity": "steam"}, "commodity"),
        ({"currency": "kes"}, "currency"),
        ({"title": ""}, "title"),
        ({"title": "x" * 81}, "title"),
        ({"tax": "16"}, "tax"),
        ({"tax": {"name": "VAT"}}, "tax"),
        ({"tax": {"name": "VAT", "percent": "1", "rate": "2"}}, "tax.rate"),
        ({"fixed_charge": {"code": "a", "label": "b", "amount": "1.001"}}, "fixed_charge.amount"),
        ({"fixed_charge": {"code": "a", "label": "b", "amount": "-1"}}, "fixed_charge.amount"),
        (
            {"fixed_charge": {"code": "a", "label": "b", "amount": "1", "taxed": "yes"}},
            "fixed_charge.taxed",
        ),
        ({"purchase": {"minimum": "x"}}, "purchase.minimum"),
    ],
)
def test_a_tariff_with_a_mistake_names_the_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_tariff({**tariff_document("water"), **change})

    assert caught.value.field == field


def test_a_value_that_a_tariff_lacks_is_called_missing() -> None:
    document = {**tariff_document("water")}
    del document["currency"]

    with pytest.raises(Refused, match="currency"):
        parse_tariff(document)


def test_a_tariff_must_be_a_document() -> None:
    with pytest.raises(Refused) as caught:
        parse_tariff(["price"])
    assert caught.value.code == "tariff_invalid"


def test_an_untaxed_charge_bears_no_tax() -> None:
    untaxed = {**SERVICE, "taxed": False}

    sale = sell(kes("200.00"), flat(fixed_charge=untaxed), charges=OPEN)

    charge = [line for line in sale.lines if line.period == "2026-11"]
    assert [(line.kind, line.amount_minor) for line in charge] == [("charge", 5000)]
