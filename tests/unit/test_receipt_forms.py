"""Receipts on paper and as pages: nothing too wide, nothing torn, and it all adds up."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotmeter.i18n import LANGUAGES
from slotmeter.testing.sample_receipts import (
    CREDIT_DIGITS,
    FREE_DIGITS,
    KEY_CHANGE_DIGITS,
    SAMPLES,
    full_receipt,
    short_receipt,
)
from slotmeter.units import CURRENCY_EXPONENTS, parse_money
from slotmeter.vending.receipts import (
    COLUMNS,
    Receipt,
    ReceiptLine,
    group_digits,
    render_html,
    render_text,
)

ALL_DIGITS = (CREDIT_DIGITS, FREE_DIGITS, *KEY_CHANGE_DIGITS)


class Page(HTMLParser):
    """Finds what a page loads and what its first table says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.language: str | None = None
        self.amounts: list[str] = []
        self.tags: list[str] = []
        self.tables = 0
        self._in_amount = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "action")
        ]
        if tag == "html":
            self.language = dict(attrs).get("lang")
        if tag == "caption":
            self.tables += 1
        self._in_amount = tag == "td" and self.tables == 1 and "tfoot" not in self.tags

    def handle_data(self, data: str) -> None:
        if self._in_amount:
            self.amounts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_amount = False


def amounts_on_paper(text: str) -> list[str]:
    """Read the amounts of the lines between the second rule and the third."""
    rows = re.split(r"^-+\n", text, flags=re.MULTILINE)[2].splitlines()
    width = max(map(len, rows))
    return [
        found[0]
        for row in rows
        if len(row) == width and (found := re.search(r"-?\d+(?:\.\d+)?$", row))
    ]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("paper_mm", COLUMNS)
def test_no_row_is_wider_than_the_paper(paper_mm: int, sample: str, language: str) -> None:
    text = render_text(SAMPLES[sample](), paper_mm, language=language, reprint=True)

    assert max(map(len, text.splitlines())) <= COLUMNS[paper_mm]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("paper_mm", COLUMNS)
def test_every_token_stands_whole_on_one_row(paper_mm: int, language: str) -> None:
    rows = render_text(full_receipt(), paper_mm, language=language).splitlines()

    for digits in ALL_DIGITS:
        assert sum(group_digits(digits) in row for row in rows) == 1


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("paper_mm", COLUMNS)
def test_a_printer_without_a_code_page_gets_ascii_only(
    paper_mm: int, sample: str, language: str
) -> None:
    receipt = replace(SAMPLES[sample](), customer_name="Åsa Núñez-Œuvre “Wéré”")

    text = render_text(receipt, paper_mm, language=language, ascii_letters=True)

    assert text.isascii()
    assert "Asa Nunez-OEuvre" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= COLUMNS[paper_mm]


def test_another_script_becomes_question_marks_where_only_ascii_prints() -> None:
    receipt = replace(short_receipt(), customer_name="محمد")

    assert "Customer: ???? (C0001)" in render_text(receipt, ascii_letters=True)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_page_names_its_language_and_loads_nothing(sample: str, language: str) -> None:
    page = Page(render_html(SAMPLES[sample](), language=language))

    assert page.language == language
    assert page.loads == []
    assert not {"script", "img", "link", "iframe"} & set(page.tags)


def test_what_people_wrote_cannot_become_markup() -> None:
    receipt = replace(
        full_receipt(),
        customer_name="<script>alert(1)</script>",
        tariff_title='"><b>',
        branch="&lt;",
    )

    page = render_html(receipt)

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert '"><b>' not in page
    assert "&amp;lt;" in page


LABELS = st.text("abcdefgh ÉÑç", min_size=1, max_size=60).filter(str.strip)


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    """Draw a receipt of any currency whose lines add up to what was tendered."""
    currency = draw(st.sampled_from(["KES", "BHD", *list(CURRENCY_EXPONENTS)[:2]]))
    kinds = ("debt", "charge", "energy", "levy", "tax", "correction", "rounding", "kept")
    lines = draw(
        st.lists(
            st.builds(
                ReceiptLine,
                kind=st.sampled_from(kinds),
                label=LABELS,
                account=st.just("test:line"),
                amount_minor=st.integers(-(10**9), 10**9),
                quantity=st.none() | st.integers(0, 10**9),
                rate=st.none() | st.sampled_from(["2.50", "16", "16 %"]),
                code=st.none() | st.sampled_from(["block1", "block2", "vat"]),
                base_minor=st.none() | st.integers(0, 10**7),
                left_minor=st.none() | st.integers(0, 10**7),
            ),
            min_size=1,
            max_size=8,
        )
    )
    return replace(
        full_receipt(),
        currency=currency,
        lines=tuple(lines),
        tendered_minor=sum(line.amount_minor for line in lines),
    )


@settings(deadline=None, max_examples=150)
@given(receipts(), st.sampled_from(LANGUAGES))
def test_the_amounts_in_each_form_add_up_to_the_tender(receipt: Receipt, language: str) -> None:
    document = receipt.document()
    lines = document["lines"]
    assert isinstance(lines, list)
    forms = {
        "html": Page(render_html(receipt, language=language)).amounts,
        "json": [line["amount"] for line in lines],
    }

    for form, amounts in forms.items():
        total = sum(parse_money(amount, receipt.currency).minor for amount in amounts)
        assert total == receipt.tendered_minor, form


@settings(deadline=None, max_examples=150)
@given(receipts(), st.sampled_from(LANGUAGES), st.sampled_from(sorted(COLUMNS)))
def test_the_amounts_on_paper_add_up_to_the_tender(
    receipt: Receipt, language: str, paper_mm: int
) -> None:
    # Without numbers in texts and notes, whatever stands at the right edge is an amount.
    bare = tuple(
        replace(line, quantity=None, rate=None, left_minor=None, code=None)
        for line in receipt.lines
    )
    text = render_text(replace(receipt, lines=bare), paper_mm, language=language)

    amounts = amounts_on_paper(text)

    assert sum(parse_money(each, receipt.currency).minor for each in amounts) == (
        receipt.tendered_minor
    )
    assert len(amounts) == len(receipt.lines)


@settings(deadline=None, max_examples=100)
@given(receipts(), st.sampled_from(LANGUAGES), st.sampled_from(sorted(COLUMNS)))
def test_any_receipt_fits_its_paper_and_keeps_its_tokens_whole(
    receipt: Receipt, language: str, paper_mm: int
) -> None:
    text = render_text(receipt, paper_mm, language=language)

    assert max(map(len, text.splitlines())) <= COLUMNS[paper_mm]
    assert all(text.count(group_digits(digits)) == 1 for digits in ALL_DIGITS)
