"""The dashboards in headless Chromium: every page on wide and narrow screens, light and dark.

The platform behind them is one of paper (``fake_api.py``), so that any state can be made to happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.browser, pytest.mark.timeout(90)]

WAIT_S = 8
METER = "14000316764"
PAGES = [
    *("/", "/meters", f"/meters/{METER}", "/devices", "/commissioning", "/sales?day=today"),
    *("/commands", "/alarms", "/events"),
]
WIDE, NARROW = (1400, 1000), (360, 740)
CONTRAST_MIN = 4.5
SCREENS = [(WIDE, "light"), (NARROW, "light"), (NARROW, "dark"), (WIDE, "dark")]

PAGE_FAULTS = (Path(__file__).parent / "page_faults.js").read_text()


@pytest.fixture
def visit(
    chromium: Chrome, console: Any, window: Callable[[int, int, str], None]
) -> Iterator[Callable[..., None]]:
    """Call it with a path for that page, drawn and live; ends by failing on console errors."""
    window(*WIDE, "light")

    def go(path: str) -> None:
        chromium.get(console.url + path)
        until(chromium, "return !!document.querySelector('.badge.live')")
        until(chromium, "return !document.querySelector('.waiting')")

    yield go
    said = browser_log(chromium)
    chromium.get("about:blank")
    assert said == []


def browser_log(chromium: Chrome) -> list[dict[str, Any]]:
    """What the browser complained of since the last look."""
    log: Any = chromium.get_log
    return [entry for entry in log("browser") if entry["level"] != "DEBUG"]


def until(chromium: Chrome, truth: str | Callable[[], bool], *arguments: object) -> None:
    """Wait until the page itself, or a look at it, says that something is so."""
    WebDriverWait(chromium, WAIT_S, poll_frequency=0.05).until(
        lambda driver: truth() if callable(truth) else driver.execute_script(truth, *arguments)
    )


def faults(chromium: Chrome) -> dict[str, list[str]]:
    """What the browser itself finds wrong with the page it shows, by rule."""
    found = chromium.execute_script(PAGE_FAULTS, CONTRAST_MIN)
    return {rule: places for rule, places in found.items() if places}


def text(chromium: Chrome, css: str) -> str:
    return chromium.find_element(By.CSS_SELECTOR, css).text


def sales_count(chromium: Chrome) -> int:
    return int(text(chromium, ".tile .under a").split()[0])


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_readable_and_keeps_to_itself_on_every_screen(
    chromium: Chrome,
    visit: Callable[[str], None],
    window: Callable[[int, int, str], None],
    path: str,
) -> None:
    visit(path)

    for size, scheme in SCREENS:
        window(*size, scheme)
        until(chromium, "return document.documentElement.dataset.scheme === arguments[0]", scheme)
        with suppress(TimeoutException):  # charts take a moment to follow the new size
            until(chromium, lambda: not faults(chromium))
        assert faults(chromium) == {}, (size, scheme)
    assert chromium.title.endswith("· Slotmeter")


def test_the_narrowest_screen_shows_every_link_of_the_menu_whole(
    chromium: Chrome, visit: Callable[[str], None], window: Callable[[int, int, str], None]
) -> None:
    visit("/")

    window(*NARROW, "light")

    until(chromium, "return innerWidth === arguments[0]", NARROW[0])
    right_edges = chromium.execute_script(
        "return [...document.querySelectorAll('.nav-link')]"
        ".map((e) => e.getBoundingClientRect().right)"
    )
    assert len(right_edges) == 8
    assert max(right_edges) <= NARROW[0]
    assert chromium.execute_script(
        "const nav = document.querySelector('.nav'); return nav.scrollWidth <= nav.clientWidth"
    )


def test_charts_are_drawn_and_offer_nothing_that_leaves_the_page(
    chromium: Chrome, visit: Callable[[str], None]
) -> None:
    visit(f"/meters/{METER}")
    until(chromium, "return document.querySelectorAll('.js-plotly-plot .main-svg').length >= 2")

    assert chromium.find_elements(By.CSS_SELECTOR, ".modebar-btn") == []
    assert chromium.find_elements(By.CSS_SELECTOR, ".barlayer .point path")


def test_a_sale_appears_without_a_reload_and_leaves_open_what_was_open(
    chromium: Chrome, visit: Callable[[str], None], platform_of_paper: Any
) -> None:
    visit("/")
    before = sales_count(chromium)
    chromium.execute_script("window.still = true")
    chromium.find_element(By.CSS_SELECTOR, ".as-table summary").click()

    platform_of_paper.tell("/fake/sell")

    until(
        chromium,
        "return document.querySelector('.tile .under a').textContent.startsWith(arguments[0])",
        str(before + 1),
    )
    assert chromium.execute_script("return window.still")
    assert chromium.execute_script("return document.querySelector('.as-table').open")
    until(chromium, "return document.querySelector('#page').innerText.includes('old for ZAR')")


def test_the_keyboard_keeps_its_place_when_a_part_is_drawn_anew(
    chromium: Chrome, visit: Callable[[str], None], platform_of_paper: Any
) -> None:
    visit("/")
    link = chromium.find_element(By.CSS_SELECTOR, ".tile a.big")
    before = link.text
    chromium.execute_script("arguments[0].focus()", link)

    platform_of_paper.tell("/fake/sell")

    focused = "return document.activeElement.matches('.tile a.big')"
    until(chromium, "return document.querySelector('.tile a.big').textContent !== arguments[0]",
          before)  # fmt: skip
    until(chromium, focused)


def test_ages_count_on_by_themselves(chromium: Chrome, visit: Callable[[str], None]) -> None:
    visit(f"/meters/{METER}")
    ages = "return document.querySelector('.facts .ago').textContent"
    until(chromium, ages)

    shown = chromium.execute_script(ages)

    assert shown.endswith("ago")
    until(chromium, f"{ages} !== arguments[0]", shown)


def test_the_search_narrows_the_list_and_the_address_keeps_it(
    chromium: Chrome, visit: Callable[[str], None]
) -> None:
    visit("/meters")
    field = chromium.find_element(By.CSS_SELECTOR, "input[type=search]")

    field.send_keys("acacia")

    until(chromium, "return location.search === '?q=acacia'")
    until(chromium, "return document.querySelectorAll('tbody tr').length === 5")
    assert chromium.switch_to.active_element == field
    chromium.refresh()
    until(chromium, "return document.querySelectorAll('tbody tr').length === 5")
    value = chromium.find_element(By.CSS_SELECTOR, "input[type=search]").get_attribute("value")
    assert value == "acacia"


def test_a_filter_of_the_overview_leads_to_exactly_those_meters(
    chromium: Chrome, visit: Callable[[str], None]
) -> None:
    visit("/")
    link = chromium.find_element(By.CSS_SELECTOR, ".tile .legend a[href$='supply=off']")
    count = int(link.text.split()[-1])

    link.click()

    until(chromium, "return document.querySelectorAll('tbody tr').length === arguments[0]", count)
    assert text(chromium, "h1") == "Meters"
    assert set(chromium.execute_script(
        "return [...document.querySelectorAll('td[data-label=Supply] .badge:first-child')]"
        ".map((e) => e.textContent)"
    )) == {"Off"}  # fmt: skip


def test_a_state_of_devices_is_chosen_with_the_keyboard_alone(
    chromium: Chrome, visit: Callable[[str], None]
) -> None:
    visit("/devices")
    chip = chromium.find_element(By.CSS_SELECTOR, ".chip[href$='state=offline']")
    count = int(chip.text.split()[-1])
    chromium.execute_script("arguments[0].focus()", chip)

    chromium.switch_to.active_element.send_keys(Keys.ENTER)

    until(chromium, "return document.querySelectorAll('tbody tr').length === arguments[0]", count)
    assert chromium.current_url.endswith("/devices?state=offline")
    assert text(chromium, ".chip.is-chosen") == f"Offline {count}"


def test_a_meter_that_waits_says_what_is_missing(
    chromium: Chrome, visit: Callable[[str], None]
) -> None:
    visit("/commissioning")

    shown = text(chromium, "#page")
    assert "2 devices say that they are this meter" in shown
    assert "Its first contact: it does the rest" in shown
    assert "no driver" in shown


def test_the_choice_of_colours_is_kept_and_reaches_the_charts(
    chromium: Chrome, visit: Callable[[str], None]
) -> None:
    bar = "return getComputedStyle(document.querySelector('.barlayer .point path')).fill"
    visit("/")
    until(chromium, "return !!document.querySelector('.barlayer .point path')")
    before = chromium.execute_script(bar)

    chromium.find_element(By.ID, "scheme-button").click()

    until(chromium, f"{bar} !== arguments[0]", before)
    assert chromium.execute_script("return document.documentElement.dataset.scheme") == "dark"
    chromium.refresh()
    assert chromium.execute_script("return document.documentElement.dataset.scheme") == "dark"
    chromium.execute_script("localStorage.clear()")


def test_the_keyboard_reaches_the_content_first_and_shows_where_it_is(
    chromium: Chrome, visit: Callable[[str], None]
) -> None:
    visit("/")
    outline = "return getComputedStyle(document.activeElement).outlineStyle"

    chromium.switch_to.active_element.send_keys(Keys.TAB)
    first = chromium.switch_to.active_element.text
    chromium.switch_to.active_element.send_keys(Keys.TAB, Keys.TAB)

    assert first == "Skip to the content"
    assert chromium.execute_script(outline) == "solid"


def test_a_page_without_the_platform_says_so_and_recovers_by_itself(
    chromium: Chrome, visit: Callable[[str], None], troubled_platform: Any
) -> None:
    visit("/")
    chromium.execute_script("window.still = true")

    troubled_platform.stop()

    until(chromium, "return document.querySelector('#banner').textContent.includes('not answer')")
    assert text(chromium, "#status") == "Not live"
    assert sales_count(chromium) > 0
    troubled_platform.start()
    until(chromium, "return !!document.querySelector('.badge.live')")
    assert text(chromium, "#banner") == ""
    assert chromium.execute_script("return window.still")


def test_a_page_that_hears_nothing_from_the_console_does_not_go_on_as_live(
    chromium: Chrome, visit: Callable[[str], None], blocked: Callable[..., None]
) -> None:
    visit("/")
    stale = "return !document.querySelector('#stale').hidden"
    assert not chromium.execute_script(stale)

    blocked("*_dash-update-component*")
    chromium.execute_script(
        "const now = performance.now.bind(performance); performance.now = () => now() + 60000"
    )

    until(chromium, stale)
    blocked()
    until(chromium, stale.replace("!", ""))
    browser_log(chromium)


@pytest.mark.parametrize("path", ["/meters/00000000000", "/no/such/page"])
def test_what_is_not_there_is_said_to_be_so(
    chromium: Chrome, visit: Callable[[str], None], path: str
) -> None:
    visit(path)

    until(chromium, "return document.querySelector('h1').textContent === 'Not found'")


def test_an_empty_town_says_what_to_do_next(
    chromium: Chrome, visit: Callable[[str], None], troubled_platform: Any
) -> None:
    troubled_platform.tell("/fake/empty")
    for path, hint in (
        ("/", "slotmeter sell"),
        ("/meters", "slotmeter import meters"),
        ("/devices", "slotmeter import meters"),
        ("/commissioning", "slotmeter commission scan"),
    ):
        visit(path)

        until(chromium, "return document.body.innerText.includes(arguments[0])", hint)
        assert faults(chromium) == {}
