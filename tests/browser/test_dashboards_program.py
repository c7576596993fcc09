"""The console as a program: how it stops, and what it answers to whoever is not a browser."""

from __future__ import annotations

import csv
import io
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

RUN_S_MAX = 30


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "viewer.key"
    path.write_text("smk_of_a_viewer\n")
    return path


def fetch(url: str) -> tuple[int, Message, str]:
    try:
        with urllib.request.urlopen(url, timeout=RUN_S_MAX) as response:  # noqa: S310  our own port
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_told_to_stop_it_ends_with_0(
    started: Callable[..., Any], platform_of_paper: Any, key_file: Path
) -> None:
    console = started(
        "slotmeter_dashboards", "--api", platform_of_paper.url, "--key-file", key_file
    )

    assert fetch(f"{console.url}/")[0] == 200
    assert console.stop() == 0


@pytest.mark.parametrize("path", ["/meters/14000316764", "/events"])
def test_a_page_that_is_the_first_to_be_asked_for_comes_with_its_assets(
    started: Callable[..., Any], platform_of_paper: Any, key_file: Path, path: str
) -> None:
    console = started(
        "slotmeter_dashboards", "--api", platform_of_paper.url, "--key-file", key_file
    )

    _, _, page = fetch(console.url + path)
    console.stop()

    assert "assets/live.js" in page
    assert "assets/style.css" in page


@pytest.fixture
def mounted(started: Callable[..., Any], platform_of_paper: Any, key_file: Path) -> Iterator[str]:
    """The address of a console that a proxy would show under ``/console/``."""
    at = ["--api", platform_of_paper.url, "--key-file", key_file, "--prefix", "console"]
    console = started("slotmeter_dashboards", *at)
    yield console.url
    console.stop()


def test_under_a_prefix_everything_is_under_it(mounted: str) -> None:
    status, _, page = fetch(f"{mounted}/console/")

    assert status == 200
    assert '"requests_pathname_prefix":"\\u002fconsole\\u002f"' in page
    for asset in ("favicon.svg", "scheme.js", "style.css", "fonts/inter-latin.woff2"):
        with urllib.request.urlopen(f"{mounted}/console/assets/{asset}", timeout=5) as answer:  # noqa: S310  our own port
            assert answer.status == 200
    assert fetch(f"{mounted}/console/csv/meters")[0] == 200
    assert fetch(f"{mounted}/csv/meters")[2].startswith("<!DOCTYPE html>")


def test_every_answer_forbids_reaching_out(console: Any) -> None:
    for path in ("/", "/assets/style.css", "/csv/meters", "/_dash-layout"):
        _, headers, _ = fetch(console.url + path)

        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_the_frameworks_own_pages_are_not_served(console: Any, path: str) -> None:
    _, _, page = fetch(console.url + path)

    assert "swagger" not in page.lower()
    assert "redoc" not in page.lower()
    assert "openapi" not in page.lower()


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_a_file_holds_the_whole_list_and_not_only_a_page_of_it(
    console: Any, platform_of_paper: Any
) -> None:
    _, headers, text = fetch(f"{console.url}/csv/sales?day=today")

    asked = urllib.request.Request(f"{platform_of_paper.url}/api/v1/overview")  # noqa: S310  our own port
    with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310  our own port
        overview = answer.read().decode()
    assert f'"count": {len(rows(text))}, "tendered"' in overview
    assert text.startswith("\ufeff")
    assert headers["Content-Disposition"].startswith('attachment; filename="sales-')


def test_times_in_a_file_carry_the_utilitys_offset(console: Any) -> None:
    _, _, text = fetch(f"{console.url}/csv/events")

    offsets = {datetime.fromisoformat(row["At"]).utcoffset() for row in rows(text)}
    assert [str(offset) for offset in offsets] == ["2:00:00"]


def test_a_file_is_narrowed_as_the_screen_is(console: Any) -> None:
    _, _, text = fetch(f"{console.url}/csv/meters?supply=off&commodity=electricity")

    assert {(row["Supply"], row["Commodity"]) for row in rows(text)} == {("off", "electricity")}


@pytest.mark.parametrize("path", ["/csv/secrets", "/csv/meters/1/secrets", "/csv/meters/1/tokens"])
def test_a_file_that_is_not_there_is_not_found(console: Any, path: str) -> None:
    assert fetch(console.url + path)[0] == 404


def test_a_receipt_comes_through_the_console_with_its_token_covered(console: Any) -> None:
    number = rows(fetch(f"{console.url}/csv/sales")[2])[0]["Receipt"]

    status, headers, text = fetch(f"{console.url}/receipts/{number}")

    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert number in text
    assert "**** **** **** ****" in text
    assert "1234 5678" not in text


@pytest.mark.parametrize("number", ["R99999999", "%2E%2E", "%20"])
def test_a_receipt_that_is_not_there_is_not_found(console: Any, number: str) -> None:
    assert fetch(f"{console.url}/receipts/{number}")[0] == 404


@pytest.mark.parametrize(
    ("query", "column", "only"),
    [
        ("sales?commodity=gas", "Commodity", "gas"),
        ("events?severity=alarm", "Severity", "alarm"),
        ("commands?kind=load_token", "Kind", "load_token"),
    ],
)
def test_a_file_keeps_to_the_filter_of_its_list(
    console: Any, query: str, column: str, only: str
) -> None:
    assert {row[column] for row in rows(fetch(f"{console.url}/csv/{query}")[2])} == {only}


def test_the_file_of_all_alarms_holds_those_that_are_over_too(console: Any) -> None:
    open_ones = rows(fetch(f"{console.url}/csv/alarms")[2])
    every_one = rows(fetch(f"{console.url}/csv/alarms?show=all")[2])

    assert {row["Cleared"] for row in open_ones} == {""}
    assert len(every_one) == len(open_ones) + 1


def test_without_the_platform_a_file_is_an_error_and_never_an_empty_file(
    started: Callable[..., Any], key_file: Path
) -> None:
    console = started("slotmeter_dashboards", "--api", "http://127.0.0.1:9", "--key-file", key_file)

    status, _, text = fetch(f"{console.url}/csv/sales")
    console.stop()

    assert (status, text) == (502, "the platform does not answer at http://127.0.0.1:9")
