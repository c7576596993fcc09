"""The short message: what it holds, in which order, and how long it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.i18n import LANGUAGES
from slotmeter.testing.sample_receipts import (
    CREDIT_DIGITS,
    SAMPLES,
    full_receipt,
    gas_by_energy,
    money_on_the_token,
    short_receipt,
)
from slotmeter.vending.receipts import ReceiptDebt, group_digits, render_message
from slotmeter.vending.receipts.message import measured


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_message_holds_token_units_amount_and_debt_in_this_order(language: str) -> None:
    receipt = replace(short_receipt(), debts=(ReceiptDebt("loan", "Loan", 0, 50_000),))

    text = render_message(receipt, language=language).text

    wanted = [group_digits(CREDIT_DIGITS), "1.6 m3", "KES 100.00", "KES 500.00", "07000000013"]
    places = [text.index(each) for each in wanted]
    assert places == sorted(places)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_common_purchase_with_a_debt_fits_one_message(language: str) -> None:
    receipt = replace(short_receipt(), debts=(ReceiptDebt("loan", "Loan", 0, 50_000),))

    message = render_message(receipt, language=language, reprint=True)

    assert (message.encoding, message.parts) == ("gsm7", 1)
    assert message.characters <= 160


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_accents_never_make_a_message_dearer(sample: str, language: str) -> None:
    assert render_message(SAMPLES[sample](), language=language).encoding == "gsm7"


def test_the_debt_left_is_the_sum_of_all_debts() -> None:
    assert "Debt left KES 1700.00" in render_message(full_receipt()).text


def test_without_debts_a_message_says_nothing_of_them() -> None:
    assert "Debt" not in render_message(short_receipt()).text


def test_several_tokens_are_numbered_in_typing_order() -> None:
    text = render_message(full_receipt()).text

    assert text.startswith("Token 1 of 4: 0000 1111 2222 3333 4444. Token 2 of 4: 9999")
    assert "Token 3 of 4: 4907" in text
    assert "Token 4 of 4: 1111" in text


def test_what_is_not_needed_falls_away_before_a_second_message_is_sent() -> None:
    receipt = replace(
        short_receipt(),
        meter_number="0" * 60,
        debts=(ReceiptDebt("loan", "Loan", 0, 50_000),),
    )

    message = render_message(receipt)

    assert message.parts == 1
    assert "0" * 60 in message.text
    assert "R00000007" not in message.text


def test_a_token_of_money_says_how_much_it_carries() -> None:
    assert "Credit KES 36.20. Paid KES 100.00" in render_message(money_on_the_token()).text


def test_gas_is_named_in_what_the_meter_counts() -> None:
    assert "14.1 m3" in render_message(gas_by_energy()).text


@pytest.mark.parametrize(
    ("text", "encoding", "characters", "parts"),
    [
        ("", "gsm7", 0, 1),
        ("a" * 160, "gsm7", 160, 1),
        ("a" * 161, "gsm7", 161, 2),
        ("a" * 306, "gsm7", 306, 2),
        ("a" * 307, "gsm7", 307, 3),
        ("€" * 80, "gsm7", 160, 1),
        # An extended letter is not torn: 153 septets hold 76 of them.
        ("€" * 153, "gsm7", 306, 3),
        ("í" * 70, "ucs2", 70, 1),
        ("í" * 71, "ucs2", 71, 2),
        ("😀" * 35, "ucs2", 70, 1),
        ("😀" * 36, "ucs2", 72, 2),
        # 67 units hold 33 pairs.
        ("😀" * 67, "ucs2", 134, 3),
    ],
)
def test_a_text_is_counted_as_the_network_counts_it(
    text: str, encoding: str, characters: int, parts: int
) -> None:
    message = measured(text)

    assert (message.encoding, message.characters, message.parts) == (encoding, characters, parts)


@given(st.text(max_size=500))
def test_a_longer_text_never_takes_fewer_parts(text: str) -> None:
    assert measured(text + "a").parts >= measured(text).parts
