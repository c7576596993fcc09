"""Tokens of money: what they carry of what was paid, and what is too little for one."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.testing.small_tariff import VAT_15, small_tariff
from slotmeter.units import CURRENCY_EXPONENTS
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.limits import money_carried_e5
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.recomputed import recompute
from slotmeter.vending.pricing.situation import Situation, Transfer
from slotmeter.vending.sts.amounts import decode_currency, encode_currency
from slotmeter.vending.tariff.model import RoundingRules, SplitBy

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


def by_account(priced: Priced) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in priced.lines:
        sums[line.account] = sums.get(line.account, 0) + line.amount_minor
    return sums


@given(
    st.sampled_from(["KES", "UGX", "KWD"]), st.integers(1, 10**6), st.sampled_from(list(SplitBy))
)
def test_money_on_the_token_books_what_units_do_and_names_what_its_grid_leaves(
    currency: str, tender: int, split_by: SplitBy
) -> None:
    sold = small_tariff(
        (100_000, "0.5"),
        (None, "0.7"),
        currency=currency,
        percent_items=(replace(VAT_15, on=("energy",)),),
        rounding=RoundingRules(split_by=split_by),
    )
    try:
        in_money = price_tender(sold, MONEY, tender)
    except Refused:
        return

    in_units = price_tender(sold, UNITS, tender)
    rounding = [line for line in in_money.lines if line.code == "token"]
    energy = [line for line in in_money.lines if line.kind == "energy"]
    assert by_account(in_money) == by_account(in_units)
    assert sum(line.amount_minor for line in in_money.lines) == tender
    assert recompute(sold, in_money) == recompute(sold, in_units) == []
    assert (in_money.transfer_e5 or 0) * scale_of(currency) <= tender * 100_000
    # What is neither on the token nor in its line of rounding is what units gained by theirs.
    gained = sum(line.amount_minor for line in energy) - (in_money.transfer_minor or 0)
    assert gained == max(
        0, sum(line.amount_minor for line in in_units.lines if line.kind == "energy") - tender
    )
    assert all(line.amount_minor > 0 for line in rounding)


def test_what_the_grid_of_a_token_leaves_is_a_named_line_of_rounding() -> None:
    priced = price_tender(small_tariff(), MONEY, 10_000)

    energy, rounding = priced.lines
    assert (rounding.kind, rounding.code, rounding.label) == (
        "rounding",
        "token",
        "Rounding of the token",
    )
    assert (energy.amount_minor, rounding.amount_minor) == (9_999, 1)
    assert (energy.base_minor, energy.account) == (10_000, rounding.account)
    assert priced.transfer_minor == 9_999


def test_less_than_a_coin_of_energy_is_refused_with_what_is_needed() -> None:
    sold = small_tariff((None, "3"), currency="UGX")  # 0.1 kWh is 0.3, which no token can carry

    with pytest.raises(Refused) as refused:
        price_tender(sold, MONEY, 1)

    assert refused.value.code == "tender_too_small"
    needed = int(Decimal(str(refused.value.details["needed"])))
    assert (price_tender(sold, MONEY, needed).transfer_minor or 0) >= 1
    with pytest.raises(Refused):
        price_tender(sold, MONEY, needed - 1)
