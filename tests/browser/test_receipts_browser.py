"""The page of a receipt in a real browser: on a phone, and for those who listen to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from slotmeter.i18n import LANGUAGES
from slotmeter.testing.sample_receipts import full_receipt
from slotmeter.vending.receipts import group_digits, render_html

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [320, 360, 1000])
def test_a_page_needs_no_sideways_scrolling_and_keeps_each_token_on_one_row(
    chromium: Chrome,
    window: Callable[[int, int, str], None],
    tmp_path: Path,
    language: str,
    width: int,
) -> None:
    page = tmp_path / "receipt.html"
    page.write_text(render_html(full_receipt(), language=language, reprint=True))
    window(width, 800, "light")

    chromium.get(page.as_uri())

    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    rows = chromium.execute_script(
        "return [...document.querySelectorAll('.token')].map("
        "each => each.getClientRects().length * Math.round("
        "each.getBoundingClientRect().height / parseFloat(getComputedStyle(each).lineHeight)))"
    )
    assert rows == [1, 1, 1, 1]


def test_a_page_in_the_dark_stays_dark_on_white_as_on_paper(
    chromium: Chrome, window: Callable[[int, int, str], None], tmp_path: Path
) -> None:
    page = tmp_path / "receipt.html"
    page.write_text(render_html(full_receipt()))
    window(400, 800, "dark")

    chromium.get(page.as_uri())

    colour = "return getComputedStyle(document.body).backgroundColor"
    assert chromium.execute_script(colour) == "rgb(255, 255, 255)"


def test_what_is_read_aloud_has_names_for_every_part(chromium: Chrome, tmp_path: Path) -> None:
    page = tmp_path / "receipt.html"
    page.write_text(render_html(full_receipt()))

    chromium.get(page.as_uri())

    tree = chromium.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"]
    ]
    roles = {role for role, _ in named}
    assert {"main", "heading", "table", "rowheader", "list"} <= roles
    assert ("table", "What your money was used for") in named
    assert ("heading", "Why this many units?") in named
    for token in full_receipt().typing_order:
        assert any(group_digits(token.digits) in name for _, name in named)
