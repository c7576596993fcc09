"""Receipts for tests and for pages of the documentation; their sums are right to the cent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from slotmeter.units import epoch_us
from slotmeter.vending.receipts import (
    FORMAT,
    Receipt,
    ReceiptDebt,
    ReceiptFree,
    ReceiptLine,
    ReceiptOutlook,
    ReceiptToken,
)

__all__ = [
    "CREDIT_DIGITS",
    "FREE_DIGITS",
    "KEY_CHANGE_DIGITS",
    "SAMPLES",
    "credit_to_the_account",
    "full_receipt",
    "gas_by_energy",
    "money_on_the_token",
    "short_receipt",
]

CREDIT_DIGITS: Final = "49071844690749970132"
FREE_DIGITS: Final = "11112222333344445555"
KEY_CHANGE_DIGITS: Final = ("00001111222233334444", "99998888777766665555")

_SOLD_US: Final = epoch_us(datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
_SINCE_US: Final = epoch_us(datetime(2026, 6, 30, 21, tzinfo=UTC))


def short_receipt() -> Receipt:
    """Sell water at one price, typed on a keypad; the utility has no tax number."""
    return Receipt(
        receipt_number="R00000007",
        sale_id="till-7:000007",
        sold_us=_SOLD_US,
        time_zone="Africa/Nairobi",
        utility_name="Lake Town Utilities",
        utility_address="1 Main Street, Lake Town",
        tax_number="",
        branch="Harbour shop",
        operator="Amina Otieno",
        channel="till",
        customer_number="C0001",
        customer_name="Peter Mwangi",
        customer_address="12 Lake Road",
        account_number="A0001",
        meter_number="07000000013",
        commodity="water",
        supply_group_code="123457",
        key_revision=1,
        tariff_index=1,
        tariff_code="lake-water",
        tariff_title="Water",
        tariff_version=2,
        currency="KES",
        tendered_minor=10_000,
        lines=(
            _line("energy", "Water", 9_984, "block1", quantity=1_600_000, rate="62.40"),
            _line("rounding", "Rounding", 16, "rounding"),
        ),
        quantity=1_600_000,
        token=CREDIT_DIGITS,
        delivery="keypad",
        format=FORMAT,
        vendor="Harbour Traders",
        terminal="Till 7",
        tariff_since_us=_SINCE_US,
        prior_units=0,
        outlook=ReceiptOutlook(next_price="62.40"),
    )


def full_receipt() -> Receipt:
    """Sell electricity with everything that a receipt can hold."""
    return replace(
        short_receipt(),
        receipt_number="R00000123",
        sale_id="till-7:000123",
        tax_number="P051234567X",
        commodity="electricity",
        tariff_code="lake-domestic",
        tariff_title="Domestic",
        tariff_version=3,
        tendered_minor=200_000,
        lines=(
            _line("debt", "Old arrears", 30_000, "arrears", left_minor=120_000),
            _line("charge", "Fixed charge", 15_000, "fixed", period="2026-11"),
            _line("energy", "Energy", 2_500, "block1", quantity=10_000, rate="2.50"),
            _line("energy", "Energy", 94_802, "block2", quantity=69_300, rate="13.68"),
            _line("levy", "Fuel levy", 30_055, "fuel", quantity=79_300, rate="3.79"),
            _line("levy", "Rural levy", 4_865, "rural", rate="5", base_minor=97_302),
            _line("tax", "VAT", 22_777, "vat", rate="16", base_minor=142_357),
            _line("rounding", "Rounding", 1, "rounding"),
        ),
        quantity=79_300,
        delivery="pending",
        tokens=(
            ReceiptToken("credit", CREDIT_DIGITS, quantity=79_300, token_class=0, subclass=0),
            ReceiptToken(
                "free",
                FREE_DIGITS,
                quantity=50_000,
                label="Free basic electricity",
                period="2026-11",
                token_class=0,
                subclass=0,
            ),
            *(
                ReceiptToken("key_change", digits, token_class=2, subclass=subclass)
                for digits, subclass in zip(KEY_CHANGE_DIGITS, (3, 4), strict=True)
            ),
        ),
        free=(ReceiptFree("fbe", "Free basic electricity", "2026-11", 50_000),),
        debts=(
            ReceiptDebt("arrears", "Old arrears", 30_000, 120_000),
            ReceiptDebt("loan", "Meter loan", 0, 50_000),
        ),
        prior_units=40_000,
        outlook=ReceiptOutlook(2, 1_380_700, "20.9492", 105_100),
    )


def money_on_the_token() -> Receipt:
    """Sell to a meter that counts money."""
    return replace(
        short_receipt(),
        commodity="electricity",
        tariff_title="Domestic",
        tariff_code="lake-domestic",
        lines=(
            _line("charge", "Service charge", 5_000, "service", period="2026-11"),
            _line("tax", "VAT", 800, "vat", rate="16", base_minor=5_000),
            _line("energy", "Energy", 3_620, "block1", base_minor=3_621),
            _line("tax", "VAT", 579, "vat", rate="16", base_minor=3_621),
            _line("rounding", "Rounding of the token", 1, "token", base_minor=3_621),
        ),
        quantity=0,
        transfer="currency",
        transfer_minor=3_620,
        outlook=None,
    )


def credit_to_the_account() -> Receipt:
    """Take money for a meter whose credit the platform holds: there is no token."""
    label = "Credit to your account"
    return replace(
        short_receipt(),
        supply_group_code=None,
        key_revision=None,
        tariff_index=None,
        lines=(_line("credit", label, 10_000, "credit"),),
        quantity=0,
        token=None,
        delivery="none",
        outlook=None,
    )


def gas_by_energy() -> Receipt:
    """Sell gas that the meter counts in m³ and the tariff prices in kWh."""
    return replace(
        short_receipt(),
        commodity="gas",
        currency="GBP",
        time_zone="Europe/London",
        tariff_code="gas-by-energy",
        tariff_title="Gas",
        tendered_minor=1_000,
        lines=(
            _line("energy", "Gas", 949, "block1", quantity=158_211, rate="0.0600"),
            _line("tax", "VAT", 47, "vat", rate="5", base_minor=949),
            _line("rounding", "Rounding", 4, "rounding"),
        ),
        quantity=14_100_000,
        calorific_value="39.5",
        outlook=ReceiptOutlook(next_price="0.063"),
    )


def _line(kind: str, label: str, amount_minor: int, code: str, **more: Any) -> ReceiptLine:
    return ReceiptLine(kind, label, f"test:{code}", amount_minor, code=code, **more)


SAMPLES: Final = {
    made.__name__: made
    for made in (
        short_receipt,
        full_receipt,
        money_on_the_token,
        credit_to_the_account,
        gas_by_energy,
    )
}
"""Each sample by its name."""
