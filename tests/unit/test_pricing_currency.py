"""Tokens of money: what they carry of what was paid, and what is too little for one."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import small_tariff
from slotmeter.units import CURRENCY_EXPONENTS
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.limits import money_carried_e5
from slotmeter.vending.pricing.situation import Situation, Transfer
from slotmeter.vending.sts.amounts import decode_currency, encode_currency

MONEY = Situation(1_542_844_800_000_000, "Africa/Nairobi", transfer=Transfer.CURRENCY)
UNITS = Situation(1_542_844_800_000_000, "Africa/Nairobi")


def scale_of(currency: str) -> int:
    scale: int = 10 ** CURRENCY_EXPONENTS.get(currency, 2)
    return scale


@pytest.mark.parametrize(
    ("currency", "tender", "carried_minor", "carried_e5"),
    [
        # 18.18624 + 0.01 x 8181, and 182.02624 + 0.1 x 8179: the grid does not lie on the coins.
        ("ZAR", 10_000, 9_999, 9_999_624),
        ("ZAR", 100_000, 99_992, 99_992_624),
        # 1820.42624 + 1 x 8179; as units it would have gained a coin.
        ("UGX", 10_000, 9_999, 999_942_624),
        # 0.16384 + 0.0001 x 16361.
        ("KWD", 1_800, 1_799, 179_994),
    ],
)
def test_what_a_token_of_money_carries_is_said_as_its_grid_has_it(
    currency: str, tender: int, carried_minor: int, carried_e5: int
) -> None:
    priced = price_tender(small_tariff(currency=currency), MONEY, tender)

    assert (priced.transfer_minor, priced.transfer_e5) == (carried_minor, carried_e5)


@given(st.sampled_from(["KES", "UGX", "KWD"]), st.integers(1, 10**9))
def test_a_token_of_money_never_carries_more_than_was_paid_and_the_next_step_would(
    currency: str, minor: int
) -> None:
    carried = money_carried_e5(minor, scale_of(currency))

    paid = Fraction(minor * 100_000, scale_of(currency))
    assert carried <= paid
    assert decode_currency(encode_currency(carried)) == carried
    assert decode_currency(encode_currency(carried + 1)) > paid


@given(st.sampled_from(["KES", "UGX", "KWD"]), st.integers(1, 10**6))
def test_money_on_the_token_changes_no_line_of_the_sale(currency: str, tender: int) -> None:
    sold = small_tariff((None, "0.5"), currency=currency)
    try:
        in_money = price_tender(sold, MONEY, tender)
    except Refused:
        return

    assert in_money.lines == price_tender(sold, UNITS, tender).lines
    assert (in_money.transfer_e5 or 0) * scale_of(currency) <= tender * 100_000


def test_less_than_a_coin_of_energy_is_refused_with_what_is_needed() -> None:
    sold = small_tariff((None, "3"), currency="UGX")  # 0.1 kWh is 0.3, which no token can carry

    with pytest.raises(Refused) as refused:
        price_tender(sold, MONEY, 1)

    assert refused.value.code == "tender_too_small"
    needed = int(Decimal(str(refused.value.details["needed"])))
    assert (price_tender(sold, MONEY, needed).transfer_minor or 0) >= 1
    with pytest.raises(Refused):
        price_tender(sold, MONEY, needed - 1)
