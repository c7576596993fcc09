"""Money to units: the lines add up, the units are right, and what cannot be sold is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.testing.small_utility import tariff_document
from slotmeter.units import Commodity, Energy, Money, Volume
from slotmeter.vending.accounts import CreditMode, Supply, check_may_buy, masked_name
from slotmeter.vending.charges import ChargeDue, period_of, still_due
from slotmeter.vending.ledger import Posting, account_kind, balanced, merge
from slotmeter.vending.sales import check_tender, price_sale, sale_postings
from slotmeter.vending.tariffs import Tariff, Tax, parse_tariff


def kes(text: str) -> Money:
    return Money(int(Decimal(text) * 100), "KES")


def flat(price: str = "20.00", commodity: str = "electricity", **changes: Any) -> Tariff:
    return parse_tariff(tariff_document(commodity, price=price, **changes))


def charge(net: str, tax: str = "0.00") -> ChargeDue:
    return ChargeDue("service", "Service charge", "2026-11", kes(net), kes(tax))


def test_a_flat_price_without_tax_gives_tender_over_price() -> None:
    # domain rules, statement TC-01
    sale = price_sale(
        kes("57.75"),
        flat("1.155", tax=None),
        credit_mode=CreditMode.METER,
        account_number="A1",
        charge=None,
    )

    assert sale.quantity == Energy(50_000)
    assert [line.amount_minor for line in sale.lines] == [5775]


@given(
    tender=st.integers(1, 10**9),
    price=st.decimals("0.0001", "500", places=4),
    percent=st.decimals(0, 60, places=2),
    fixed=st.one_of(st.none(), st.integers(1, 20_000)),
    commodity=st.sampled_from(list(Commodity)),
    mode=st.sampled_from(list(CreditMode)),
)
def test_the_lines_always_add_up_and_the_entry_always_balances(
    *,
    tender: int,
    price: Decimal,
    percent: Decimal,
    fixed: int | None,
    commodity: Commodity,
    mode: CreditMode,
) -> None:
    tariff = flat(f"{price:f}", commodity, tax={"name": "VAT", "percent": f"{percent:f}"})
    assert tariff.tax is not None
    net = None if fixed is None else Money(fixed, "KES")
    due = None if net is None else ChargeDue("c", "C", "2026-11", net, tariff.tax.on(net))

    try:
        sale = price_sale(
            Money(tender, "KES"), tariff, credit_mode=mode, account_number="A1", charge=due
        )
    except Refused as refused:
        assert refused.code in {"tender_too_small", "too_much_for_one_token"}  # noqa: PT017  both outcomes are legal
        return

    assert sum(line.amount_minor for line in sale.lines) == tender
    assert sum(posting.amount_minor for posting in sale_postings("b", tender, sale.lines)) == 0
    assert (sale.token_units > 0) == (mode is CreditMode.METER)


@given(tender=st.integers(100, 10**7), extra=st.integers(0, 10**6))
def test_more_money_never_buys_less(tender: int, extra: int) -> None:
    bought = [
        price_sale(
            Money(minor, "KES"),
            flat("0.37"),
            credit_mode=CreditMode.METER,
            account_number="A1",
            charge=None,
        ).quantity.amount
        for minor in (tender, tender + extra)
    ]

    assert bought[0] <= bought[1]


def test_a_large_purchase_gives_what_the_token_can_carry_rounded_up() -> None:
    # 16385 tenths cannot be coded; the next value that can is 16394 (IEC 62055-41, amount).
    sale = price_sale(
        kes("1638.50"),
        flat("1.00", tax=None),
        credit_mode=CreditMode.METER,
        account_number="A1",
        charge=None,
    )

    assert sale.token_units == 16394
    assert sale.quantity == Energy(1_639_400)
    assert {line.kind: line.amount_minor for line in sale.lines} == {
        "energy": 163_940,
        "rounding": -90,
    }


def test_water_is_counted_in_millilitres() -> None:
    sale = price_sale(
        kes("116.00"),
        flat("100.00", "water"),
        credit_mode=CreditMode.METER,
        account_number="A1",
        charge=None,
    )

    assert sale.quantity == Volume(1_000_000)


def test_too_little_names_what_is_needed_and_that_is_enough() -> None:
    tariff = flat("20.00")
    due = charge("50.00", "8.00")

    def buy(tender: Money) -> int:
        return price_sale(
            tender, tariff, credit_mode=CreditMode.METER, account_number="A1", charge=due
        ).token_units

    with pytest.raises(Refused) as caught:
        buy(kes("58.00"))
    needed = kes(str(caught.value.details["needed"]))

    assert buy(needed) == 1
    with pytest.raises(Refused):
        buy(needed - Money(1, "KES"))


def test_platform_held_credit_stays_money_but_pays_the_charge() -> None:
    sale = price_sale(
        kes("100.00"),
        flat("20.00"),
        credit_mode=CreditMode.PLATFORM,
        account_number="A7",
        charge=charge("50.00", "8.00"),
    )

    assert [(line.account, line.amount_minor) for line in sale.lines] == [
        ("income:charge:service", 5000),
        ("tax:VAT", 800),
        ("customer:A7", 4200),
    ]


def test_one_token_has_a_largest_amount() -> None:
    with pytest.raises(Refused) as caught:
        price_sale(
            kes("9000000.00"),
            flat("0.001", tax=None),
            credit_mode=CreditMode.METER,
            account_number="A1",
            charge=None,
        )
    assert caught.value.code == "too_much_for_one_token"


def test_the_smaller_of_two_maxima_counts() -> None:
    tariff = flat(purchase={"maximum": "500.00"})

    with pytest.raises(Refused, match=r"200\.00"):
        check_tender(kes("201.00"), tariff, kes("200.00"))
    with pytest.raises(Refused, match=r"500\.00"):
        check_tender(kes("501.00"), tariff, None)
    check_tender(kes("200.00"), tariff, kes("200.00"))


@given(st.integers(0, 10**9), st.decimals(0, 100, places=2))
def test_net_and_tax_of_a_gross_amount_add_up(gross: int, percent: Decimal) -> None:
    net, tax = Tax("VAT", percent).split(Money(gross, "KES"))

    assert net + tax == Money(gross, "KES")
    assert tax.minor >= 0


def test_a_month_starts_at_local_midnight() -> None:
    at = datetime(2026, 11, 30, 21, 30, tzinfo=UTC)

    assert period_of(at, "Africa/Nairobi") == "2026-12"
    assert period_of(at, "UTC") == "2026-11"


def test_what_was_taken_is_not_due_again() -> None:
    def due(taken: int) -> ChargeDue | None:
        return still_due(
            code="c",
            label="C",
            period="2026-11",
            amount=kes("50.00"),
            taken_minor=taken,
            tax_on=lambda net: net - net,
        )

    assert due(5000) is None
    part = due(3000)
    assert part is not None
    assert part.gross == kes("20.00")


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
        ({"price": 20}, "price"),
        ({"commodity": "steam"}, "commodity"),
        ({"currency": "kes"}, "currency"),
        ({"title": ""}, "title"),
        ({"title": "x" * 81}, "title"),
        ({"tax": "16"}, "tax"),
        ({"tax": {"name": "VAT"}}, "tax.percent"),
        ({"tax": {"name": "VAT", "percent": "1", "rate": "2"}}, "tax.rate"),
        ({"fixed_charge": {"code": "a", "label": "b", "amount": "1.001"}}, "fixed_charge.amount"),
        ({"fixed_charge": {"code": "a", "label": "b", "amount": "-1"}}, "fixed_charge.amount"),
        (
            {"fixed_charge": {"code": "a", "label": "b", "amount": "1", "taxed": "yes"}},
            "fixed_charge.taxed",
        ),
        ({"purchase": {"minimum": "x"}}, "purchase.minimum"),
        ({"discount": "1"}, "discount"),
    ],
)
def test_a_tariff_with_a_mistake_names_the_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_tariff({**tariff_document("water"), **change})

    assert caught.value.field == field


def test_a_value_that_a_tariff_lacks_is_called_missing() -> None:
    document = {**tariff_document("water")}
    del document["currency"]

    with pytest.raises(Refused, match="currency is missing"):
        parse_tariff(document)


def test_a_tariff_must_be_a_document() -> None:
    with pytest.raises(Refused) as caught:
        parse_tariff(["price"])
    assert caught.value.code == "tariff_invalid"


def test_an_untaxed_charge_is_read_as_such() -> None:
    section = {"code": "a", "label": "b", "amount": "5.00", "taxed": False}
    tariff = flat(fixed_charge=section)

    assert tariff.fixed_charge is not None
    assert not tariff.fixed_charge.taxed
    assert tariff.currency == "KES"
