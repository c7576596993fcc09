"""The answer to "why this many units?", step by step."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from slotmeter.i18n import LANGUAGES
from slotmeter.testing.sample_receipts import (
    SAMPLES,
    credit_to_the_account,
    full_receipt,
    gas_by_energy,
    money_on_the_token,
    short_receipt,
)
from slotmeter.units import parse_money
from slotmeter.vending.receipts import ReceiptDebt, ReceiptLine, ReceiptOutlook, explain

FULL = """\
On 2026-11-21 12:30:00 EAT you paid KES 2000.00 for meter 07000000013.
KES 300.00 went to your debt "Old arrears"; KES 1200.00 of it is left.
KES 150.00 is "Fixed charge 2026-11".
That leaves KES 1550.00 for electricity, with its levies and taxes.
You had already bought 40.0 kWh in this period, and the blocks count on from there.
KES 25.00 bought 10.0 kWh in block 1, at KES 2.50 for each kWh.
KES 948.02 bought 69.3 kWh in block 2, at KES 13.68 for each kWh.
KES 300.55 is "Fuel levy": 79.3 kWh, at KES 3.79 for each kWh.
KES 48.65 is "Rural levy": 5 % of KES 973.02.
KES 227.77 is "VAT": 16 % of KES 1423.57.
KES 0.01 is lost to rounding, because units are sold in whole steps.
All these amounts together make KES 2000.00, exactly what you paid.
So you got 79.3 kWh.
You get 50.0 kWh free: "Free basic electricity" for 2026-11.
1380.7 kWh are left in block 2.
The next kWh costs KES 20.9492 with everything on it.
On the 1st of next month the same money buys 105.1 kWh, if it is the first purchase of that month \
and its charges are paid then.
The tariff was Domestic (lake-domestic, version 3), in force since 2026-07-01."""


def test_a_purchase_with_everything_is_told_step_by_step() -> None:
    assert explain(full_receipt()) == tuple(FULL.splitlines())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_every_line_of_the_receipt_has_its_sentence_with_its_amount(
    sample: str, language: str
) -> None:
    receipt = SAMPLES[sample]()

    told = " ".join(explain(receipt, language))

    for line in receipt.lines:
        assert f"{receipt.currency} {receipt.money(line.amount_minor)}" in told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_no_placeholder_is_left_in_a_sentence(sample: str, language: str) -> None:
    assert not re.search(r"[{}]|None", " ".join(explain(SAMPLES[sample](), language)))


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_a_sentence_in_another_language_has_the_numbers_of_the_english_one(language: str) -> None:
    def numbers(sentence: str) -> list[str]:
        # "the 1st" is written in many ways
        return sorted(re.findall(r"\d+\.\d+|\d{4}-\d\d(?:-\d\d)?|\d{3,}", sentence))

    english = [numbers(sentence) for sentence in explain(full_receipt())]
    other = [numbers(sentence) for sentence in explain(full_receipt(), language)]

    assert other == english


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_amounts_that_are_told_one_by_one_make_what_was_paid(sample: str) -> None:
    receipt = SAMPLES[sample]()
    whole = f"{receipt.currency} {receipt.money(receipt.tendered_minor)}"
    sentences = explain(receipt)
    steps = sentences[1 : next(at for at, each in enumerate(sentences) if "All these" in each)]

    amounts = [
        parse_money(found[1], receipt.currency).minor
        for sentence in steps
        if (found := re.match(r"[A-Z]{3} (\d+\.\d+)", sentence))
    ]

    assert sum(amounts) == receipt.tendered_minor
    assert any(whole in sentence and "exactly what you paid" in sentence for sentence in sentences)


def line(kind: str, amount_minor: int, **more: Any) -> ReceiptLine:
    return ReceiptLine(kind, "Thing", "test:x", amount_minor, **more)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            line("debt", 500, left_minor=0),
            'KES 5.00 went to your debt "Thing", which is now paid off.',
        ),
        (line("debt", 500), 'KES 5.00 went to your debt "Thing".'),
        (
            line("charge", 500, period="2026-11", left_minor=200),
            'KES 5.00 is "Thing 2026-11"; KES 2.00 of it is still to be paid.',
        ),
        (line("levy", -500), 'You get KES 5.00 back as "Thing".'),
        (
            line("levy", -500, rate="-0.5", base_minor=100_000),
            'You get KES 5.00 back as "Thing": 0.5 % of KES 1000.00.',
        ),
        (line("tax", 500, rate="16 %"), 'KES 5.00 is "Thing", 16 %.'),
        (
            line("correction", 500),
            "KES 5.00 corrects the price of units that you bought earlier in this period, "
            "because your total has now passed a limit.",
        ),
        (line("kept", 500), "KES 5.00 is kept for your next purchase."),
        (line("kept", -500), "KES 5.00 kept from your earlier purchase was used as well."),
        (
            line("rounding", -500),
            "KES 5.00 is gained by rounding, because units are sold in whole steps.",
        ),
    ],
)
def test_a_line_of_each_kind_has_its_own_sentence(given: ReceiptLine, told: str) -> None:
    assert told in explain(replace(short_receipt(), lines=(given,)))


def test_a_published_price_with_taxes_in_it_is_named_beside_the_price_without() -> None:
    energy = line(
        "energy", 862, quantity=10_000, rate="0.862", gross_minor=1_000, gross_rate="1.00"
    )

    told = explain(replace(short_receipt(), commodity="electricity", lines=(energy,)))

    assert (
        "KES 8.62 bought 10.0 kWh, at KES 0.862 for each kWh. The published price is KES 1.00, "
        "which makes KES 10.00; the levies and taxes in it are listed below."
    ) in told


def test_a_purchase_that_only_pays_charges_says_that_nothing_was_left() -> None:
    told = explain(
        replace(short_receipt(), lines=(line("charge", 10_000),), quantity=0, token=None)
    )

    assert "Nothing was left to buy units with." in told


def test_money_on_a_token_and_in_an_account_are_told_as_money() -> None:
    assert "So the token carries KES 36.20." in explain(money_on_the_token())
    assert "KES 100.00 was added to your account; what you use is paid from it." in explain(
        credit_to_the_account()
    )


def test_gas_names_its_energy() -> None:
    assert (
        "Gas is measured in m³ and priced by its energy: at 39.5 MJ/m³ your gas holds 158.211 kWh."
        in explain(gas_by_energy())
    )


def test_a_quote_never_says_that_something_was_paid() -> None:
    told = explain(full_receipt().as_trial())

    assert told[0] == (
        "On 2026-11-21 12:30:00 EAT you asked what KES 2000.00 would buy for meter 07000000013."
    )
    assert "All these amounts together make KES 2000.00." in told
    assert "So you would get 79.3 kWh." in told
    assert not any("paid KES" in sentence or "you paid" in sentence for sentence in told)


def test_change_is_told() -> None:
    assert "KES 5.00 was given back as change." in explain(
        replace(short_receipt(), change_minor=500)
    )


def test_labels_of_the_utility_stay_and_common_words_are_translated() -> None:
    receipt = replace(
        full_receipt(), debts=(ReceiptDebt("arrears", "Matatu Road arrears", 0, 100),)
    )
    told = " ".join(explain(receipt, "fr"))

    assert "TVA" in told
    assert "Redevance combustible" in told
    assert "Rural levy" in told


def test_a_debt_says_its_share_and_the_tax_in_it() -> None:
    debt = line(
        "debt", 3_000, rate="30", base_minor=10_000, left_minor=0, tax_minor=414, code="loan"
    )

    told = explain(replace(short_receipt(), lines=(debt,)))

    assert (
        'KES 30.00 went to your debt "Thing", which is now paid off. '
        "That is 30 % of the KES 100.00 that you paid. KES 4.14 of what was repaid is tax."
    ) in told


def test_a_charge_by_the_day_names_its_days_and_its_price_a_day() -> None:
    charge = line("charge", 4_000, rate="4.00", period="2026-11-12/2026-11-21", left_minor=0)

    told = explain(replace(short_receipt(), lines=(charge,)))

    assert 'KES 40.00 is "Thing 2026-11-12/2026-11-21", KES 4.00 for each day.' in told


def test_units_at_a_low_price_say_why() -> None:
    energy = line("energy", 615, quantity=15_000, rate="0.41", code="lifeline")
    receipt = replace(
        short_receipt(),
        commodity="electricity",
        lines=(energy,),
        outlook=ReceiptOutlook(block=1, left_in_block=15_000, next_price="0.41"),
    )

    told = explain(receipt)

    assert (
        "KES 6.15 bought 15.0 kWh at the low price of KES 0.41 for each kWh, "
        "because your total is still small."
    ) in told
    assert "15.0 kWh are left at this price." in told


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "The 30.0 kWh of before had cost KES 12.00; now they cost KES 27.00."),
        ("fr", "Les 30.0 kWh d'avant avaient coûté KES 12.00 ; ils coûtent maintenant KES 27.00."),
        ("es", "Los 30.0 kWh de antes habían costado KES 12.00; ahora cuestan KES 27.00."),
        ("pt", "Os 30.0 kWh de antes tinham custado KES 12.00; agora custam KES 27.00."),
    ],
)
def test_a_correction_says_what_its_units_had_cost_and_cost_now(language: str, said: str) -> None:
    corrected = line("correction", 1_500, code="energy", quantity=30_000, cost_minor=1_200)

    told = explain(replace(full_receipt(), lines=(corrected,)), language)

    assert any(sentence.endswith(said) for sentence in told)


def test_what_a_token_of_money_cannot_carry_is_told_as_rounding() -> None:
    energy = line(
        "energy", 214_900, code="block1", quantity=100_000, rate="21.50", base_minor=215_000
    )
    rounding = line("rounding", 100, code="token", base_minor=215_000)

    told = explain(replace(money_on_the_token(), lines=(energy, rounding)))

    assert (
        "KES 2150.00 bought 100.0 kWh, at KES 21.50 for each kWh. "
        "KES 2149.00 of it is on the token."
    ) in told
    assert "KES 1.00 is lost to rounding, because a token carries money in whole steps." in told


def test_a_correction_that_gives_money_back_says_the_smaller_cost() -> None:
    corrected = line("correction", -4_000, code="energy", quantity=40_000, cost_minor=16_000)

    told = " ".join(explain(replace(full_receipt(), lines=(corrected,))))

    assert "had cost KES 160.00; now they cost KES 120.00." in told


def test_a_correction_of_a_levy_names_the_levy() -> None:
    levy = replace(line("correction", 500, code="fuel", quantity=30_000), label="Fuel levy")

    told = explain(replace(short_receipt(), lines=(levy,)))

    assert any(sentence.startswith("Fuel levy: KES 5.00 corrects the price") for sentence in told)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_collection_of_free_units_speaks_of_no_money(language: str) -> None:
    receipt = replace(full_receipt(), lines=(), tendered_minor=0, quantity=0, outlook=None)

    told = explain(receipt, language)

    assert "50.0 kWh" in told[1]
    assert not any("0.00" in sentence for sentence in told)


def test_a_correction_to_prices_of_an_earlier_day_says_which() -> None:
    change = replace(
        line("correction", -2_000, code="price_change", quantity=100_000, cost_minor=10_000),
        label="Energy",
        period="2026-03-15",
    )
    receipt = replace(full_receipt(), lines=(change,))

    told = next(sentence for sentence in explain(receipt) if "2026-03-15" in sentence)

    assert told == (
        "Energy: KES 20.00 is given back for units that you bought since 2026-03-15, because the "
        "new prices count from that day on. The 100.0 kWh of before had cost KES 100.00; now they "
        "cost KES 80.00."
    )
