"""The commands of the books, of float and of corrections, on a data folder made by commands."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.testing.office_folder import make_office_folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_office_folder(tmp_path)


def run(data: Path, *words: str, who: str | None = None) -> int:
    acting = () if who is None else ("--key-file", str(data / f"{who}.key"), "--reason", "test")
    return main([*words, *acting, "--data", str(data)])


def say(capsys: pytest.CaptureFixture[str], data: Path, *words: str, who: str | None = None) -> Any:
    """Return what a command prints as JSON."""
    capsys.readouterr()
    assert run(data, *words, "--json", who=who) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def test_a_deposit_shows_in_the_list_of_floats(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = say(
        capsys,
        data,
        "float",
        "deposit",
        "head-office",
        "--amount",
        "50",
        "--slip",
        "S1",
        who="boss",
    )
    say(capsys, data, "float", "limit", "head-office", "100", who="boss")

    [line] = say(capsys, data, "float", "list")

    assert done["number"] == "K00000001"
    assert (line["owes"], line["limit"], line["left"]) == ("-50.00", "100.00", "150.00")


def test_the_same_request_id_deposits_once(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("float", "deposit", "head-office", "--amount", "50", "--slip", "S1")

    first = say(capsys, data, *words, "--request-id", "r1", who="boss")
    again = say(capsys, data, *words, "--request-id", "r1", who="boss")

    assert again == first


def test_a_clerk_sets_no_limit(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "float", "limit", "head-office", "100", who="clerk") == EXIT_FAILED
    assert "float.limit" in capsys.readouterr().err


def test_commission_is_planned_and_listed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("float", "commission", "head-office", "sale", "--percent", "0:3", "--percent")
    assert run(data, *words, "1000:2", "--per-unit", "water=0.5", who="boss") == EXIT_OK

    [plan] = say(capsys, data, "float", "plans")

    assert plan["plan"]["bands"] == [[0, "3"], [100_000, "2"]]
    assert plan["plan"]["per_unit"] == {"water": "0.5"}


def test_the_balance_and_the_export_add_up(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("float", "deposit", "head-office", "--amount", "50", "--slip", "S1")
    assert run(data, *words, who="boss") == EXIT_OK
    today = datetime.now(UTC).date()
    days = ("--from", f"{today - timedelta(days=2)}", "--through", f"{today + timedelta(days=2)}")

    balance = say(capsys, data, "ledger", "balance")
    out = tmp_path / "journal.csv"
    assert run(data, "ledger", "export", *days, "--out", str(out)) == EXIT_OK
    said = capsys.readouterr().err
    assert run(data, "ledger", "export", *days, "--format", "json") == EXIT_OK
    document = json.loads(capsys.readouterr().out)

    assert balance["balanced"] is True
    assert {row["code"]: row["closing"] for row in balance["items"]} == {
        "bank": "50.00",
        "till:head-office": "-50.00",
    }
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["account"], row["debit"], row["credit"]) for row in rows] == [
        ("bank", "50.00", ""),
        ("till:head-office", "", "50.00"),
    ]
    assert "1 entries, 2 postings" in said
    assert document["totals"]["debits"] == document["totals"]["credits"]


def test_the_books_are_closed_through_a_day(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = f"{datetime.now(UTC).date() - timedelta(days=2)}"

    closed = say(capsys, data, "ledger", "close", "--through", day, who="boss")
    listed = say(capsys, data, "ledger", "periods")

    assert closed["through"] == day
    assert listed == [closed]
    assert run(data, "ledger", "verify") == EXIT_OK


def test_today_cannot_be_closed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = f"{datetime.now(UTC).date() + timedelta(days=1)}"

    assert run(data, "ledger", "close", "--through", day, who="boss") == EXIT_UNUSABLE
    assert "period_not_over" in capsys.readouterr().err


def test_a_receipt_that_is_not_there_cannot_be_taken_back(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, "correct", "reverse", "R1", who="boss") == EXIT_FAILED
    assert "receipt_unknown" in capsys.readouterr().err


def test_operations_are_listed_and_shown(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("float", "deposit", "head-office", "--amount", "50", "--slip", "S1")
    assert run(data, *words, who="boss") == EXIT_OK

    [line] = say(capsys, data, "ledger", "operations")
    shown = say(capsys, data, "ledger", "show", "K00000001")

    assert line == shown
    assert shown["subject"] == "S1"
    assert run(data, "ledger", "show", "K00000001") == EXIT_OK
    assert "done by" in capsys.readouterr().out
