"""``slotmeter tariff check`` says all that is wrong, where editors and scripts look for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_OK, EXIT_UNUSABLE, main

GOOD = """\
tariff: domestic
title: Domestic
commodity: electricity
currency: KES
energy:
  price: 21.50
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace("21.50", "21,50").replace("title", "titel"))
    return path


def test_a_sound_file_is_said_to_be_sound(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tariff", "check", str(good)]) == EXIT_OK

    assert capsys.readouterr().out == f"{good}: domestic, electricity in KES, is sound\n"


def test_each_problem_is_a_line_with_file_line_and_column(
    bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tariff", "check", str(bad)]) == EXIT_UNUSABLE

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        f"{bad}:1:1:",
        f"{bad}:2:1:",
        f"{bad}:6:3:",
    ]
    assert 'did you mean "title"?' in lines[1]
    assert "energy.price: expected a price such as 21.50" in lines[2]


def test_one_bad_file_among_good_ones_fails_and_the_others_are_read(
    good: Path, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tariff", "check", "--json", str(bad), str(good)]) == EXIT_UNUSABLE

    first, second = json.loads(capsys.readouterr().out)
    assert first["tariff"] is None
    assert first["problems"][2]["path"] == "energy.price"
    assert first["problems"][2]["line"] == 6
    assert second == {
        "file": str(good),
        "tariff": "domestic",
        "commodity": "electricity",
        "currency": "KES",
        "problems": [],
        "warnings": [],
    }


def test_a_warning_is_said_and_does_not_fail(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good.write_text(GOOD + "fixed: {fee: {by_connection: {15 mm: 2}}}\n")

    assert main(["tariff", "check", str(good)]) == EXIT_OK

    assert f"{good}:7:9: warning: fixed.fee: connections" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "file_unreadable"), (b"\n\n\xff", "not_utf8"), (b" " * (1 << 21), "file_too_large")],
)
def test_a_file_that_cannot_be_read_is_refused(
    content: bytes | None, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tariff.yaml"
    if content is not None:
        path.write_bytes(content)

    assert main(["tariff", "check", str(path)]) == EXIT_UNUSABLE

    assert f"({code})" in capsys.readouterr().err


def test_a_byte_order_mark_does_no_harm(good: Path) -> None:
    good.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())

    assert main(["tariff", "check", str(good)]) == EXIT_OK
