"""What is printed can be checked with a pocket calculator, for every tariff that is shipped."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.sample_receipts import full_receipt
from slotmeter.units import epoch_us
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.situation import DebtState, Situation
from slotmeter.vending.receipts import Receipt, explain, render_text
from slotmeter.vending.receipts.assembly import line_dicts, particulars_of
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import read_tariff

NUMBER = r"-?\d+(?:\.\d+)?"
BY_RATE = re.compile(
    rf"(?P<quantity>{NUMBER}) (?:kWh|m³) x (?P<rate>{NUMBER}) (?:= )?(?P<amount>{NUMBER})"
)
BY_PERCENT = re.compile(rf"(?P<percent>{NUMBER}) % of (?P<base>{NUMBER}) (?P<amount>{NUMBER})")
DAYS = {  # a day on which each tariff had prices, where it is not today
    "za-capetown-domestic-2010-11": datetime(2011, 5, 20, 9, tzinfo=UTC),
    "za-capetown-water-level6b-2018": datetime(2018, 5, 20, 9, tzinfo=UTC),
    "za-citypower-prepaid-2023-24": datetime(2024, 5, 20, 9, tzinfo=UTC),
    "za-thornhill-prepaid-2018-19": datetime(2019, 5, 20, 9, tzinfo=UTC),
    "za-umhlathuze-2024-25": datetime(2025, 5, 20, 9, tzinfo=UTC),
}
TODAY = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@cache
def tariff_of(pack: str) -> Tariff:
    return read_tariff(pack_texts()[pack])[1]


@st.composite
def purchases(draw: st.DrawFn) -> Receipt:
    """Draw a purchase by one of the shipped tariffs, and make its receipt."""
    pack = draw(st.sampled_from(sorted(pack_texts())))
    tariff = tariff_of(pack)
    tender_minor = draw(st.integers(1, 2_000_000))
    per_unit = 1_000_000 if tariff.commodity.value == "water" else 1_000
    debts = (DebtState(1, "arrears", "Old arrears", 1, 50_000, percent="30", number="D00000001"),)
    situation = Situation(
        at_us=epoch_us(DAYS.get(pack, TODAY)),
        time_zone=tariff.time_zone or "UTC",
        prior_units=draw(st.integers(0, 900)) * per_unit,
        connection=draw(st.sampled_from([None, "15 mm", "20 mm", "1 phase"])),
        load_w=2_000,
        debts=draw(st.sampled_from([(), debts])),
        sts_grid=draw(st.booleans()),
    )
    try:
        priced = price_tender(tariff, situation, tender_minor)
    except Refused:
        assume(False)
        raise
    frame = replace(full_receipt(), tokens=(), free=(), debts=(), outlook=None)
    body = frame.to_dict() | particulars_of(priced, situation)
    body |= {
        "lines": line_dicts(priced.lines),
        "quantity": priced.units,
        "currency": tariff.currency,
        "commodity": tariff.commodity.value,
        "tendered_minor": tender_minor,
        "tariff_title": tariff.title,
    }
    return Receipt.from_dict(body)


def found(pattern: re.Pattern[str], receipt: Receipt) -> list[dict[str, Decimal]]:
    """Read what paper says between the second rule and the third."""
    lines = re.split(r"^-+\n", render_text(receipt, 80), flags=re.MULTILINE)[2]
    return [
        {name: Decimal(text) for name, text in match.groupdict().items()}
        for match in pattern.finditer(" ".join(lines.split()))
    ]


def coin(receipt: Receipt) -> Decimal:
    return Decimal(receipt.money(1))


@settings(deadline=None, max_examples=200)
@given(purchases())
def test_units_times_rate_is_the_amount_to_the_coin(receipt: Receipt) -> None:
    products = found(BY_RATE, receipt)

    expected = [line for line in receipt.lines if line.quantity is not None and line.rate]
    published = [line for line in receipt.lines if line.gross_rate is not None]
    assert len(products) == len(expected) + len(published)
    for line in products:
        exact = line["quantity"] * line["rate"]
        assert abs(exact - line["amount"]) <= coin(receipt), line


@settings(deadline=None, max_examples=200)
@given(purchases())
def test_percent_of_the_printed_base_is_the_amount_to_the_coin(receipt: Receipt) -> None:
    shares = found(BY_PERCENT, receipt)

    assert len(shares) == len([line for line in receipt.lines if line.base_minor is not None])
    for line in shares:
        if line["percent"] == 30:
            continue  # a debt: what is owed, or the cap, may be less
        exact = line["percent"] * line["base"] / 100
        assert abs(exact - line["amount"]) <= coin(receipt), line


@settings(deadline=None, max_examples=200)
@given(purchases())
def test_the_units_of_the_blocks_are_the_units_on_the_token(receipt: Receipt) -> None:
    assume(receipt.calorific_value is None)

    blocks = sum(line.quantity or 0 for line in receipt.lines if line.kind == "energy")

    assert blocks == receipt.quantity


@settings(deadline=None, max_examples=100)
@given(purchases(), st.sampled_from(["en", "fr", "es", "pt"]))
def test_every_real_purchase_can_be_told_in_every_language(receipt: Receipt, language: str) -> None:
    told = " ".join(explain(receipt, language))

    assert "None" not in told
    assert "{" not in told
    for line in receipt.lines:
        assert f"{receipt.currency} {receipt.money(abs(line.amount_minor))}" in told
