"""Log lines: what each says, and what none may say."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from slotmeter.api.logs import REQUEST_ID, mask, set_up_logging

TOKEN = "1234567890" * 2
KEY = "smk_" + "Ab0-_" * 8 + "xyz"


@pytest.fixture
def lines() -> Iterator[Callable[[str], io.StringIO]]:
    """Call it with a format: everything logged then goes into what it returns."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def start(style: str) -> io.StringIO:
        stream = io.StringIO()
        set_up_logging("info", style, stream)
        return stream

    yield start
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def in_request() -> Iterator[None]:
    """The work of a request named till-7."""
    token = REQUEST_ID.set("till-7")
    yield
    REQUEST_ID.reset(token)


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"token={TOKEN};",
        "1234 5678 9012 3456 7890",
        "1234-5678-9012-3456-7890",
        f'{{"token": "{TOKEN}"}}',
        KEY,
        f"Authorization: Bearer {KEY}",
    ],
)
def test_a_token_and_a_key_are_masked_wherever_they_stand(text: str) -> None:
    masked = mask(f"before {text} after")

    assert "[masked]" in masked
    assert "5678" not in masked
    assert "Ab0" not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@pytest.mark.parametrize(
    "text", ["07000000013", "1234567890123456789", "123456789012345678901", "1795292092154936"]
)
def test_a_number_that_is_no_token_is_left_alone(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_token_never_reaches_the_log_as_argument_extra_field_or_traceback(
    style: str, lines: Callable[[str], io.StringIO]
) -> None:
    written = lines(style)
    log = logging.getLogger("slotmeter.test")
    try:
        raise ValueError(f"bad token {TOKEN}")
    except ValueError:
        log.exception("token %s", TOKEN, extra={"token": TOKEN, "digits": int(TOKEN)})

    assert written.getvalue().count("[masked]") >= 3
    assert TOKEN not in written.getvalue()


def test_a_json_line_says_when_what_and_for_which_request(
    lines: Callable[[str], io.StringIO], in_request: None
) -> None:
    written = lines("json")

    logging.getLogger("slotmeter.test").warning("queue of %s", 3, extra={"medium": "nbiot"})

    line = json.loads(written.getvalue())
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "slotmeter.test",
        "request_id": "till-7",
        "message": "queue of 3",
        "medium": "nbiot",
    }


def test_a_json_line_is_one_line_whatever_it_says(lines: Callable[[str], io.StringIO]) -> None:
    written = lines("json")

    logging.getLogger("slotmeter.test").info("two\nlines")

    assert len(written.getvalue().splitlines()) == 1


def test_a_text_line_names_the_request_it_belongs_to(
    lines: Callable[[str], io.StringIO], in_request: None
) -> None:
    written = lines("text")

    logging.getLogger("slotmeter.test").info("sold", extra={"count": 2})

    assert "slotmeter.test [till-7] sold count=2" in written.getvalue()


def test_what_is_below_the_level_is_not_written(lines: Callable[[str], io.StringIO]) -> None:
    written = lines("text")

    logging.getLogger("slotmeter.test").debug("detail")

    assert written.getvalue() == ""
