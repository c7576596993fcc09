"""Debts on the command line: made by somebody, brought in from files, added up."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.testing.office_folder import make_office_folder

Run = Callable[..., tuple[int, str, str]]
LOAN = ("debt", "add", "--account", "C-1", "--kind", "loan", "--amount", "240.00")
PLAN = ("--plan", "instalments", "--instalment", "20.00", "--every", "month")


@pytest.fixture(scope="session")
def debt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An office's folder, made once and copied."""
    return make_office_folder(tmp_path_factory.mktemp("debts"))


@pytest.fixture
def run(debt_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, as somebody if ``who`` is given; returns exit code, output and errors."""
    folder = tmp_path / "data"
    shutil.copytree(debt_folder, folder)
    capsys.readouterr()

    def command(*arguments: str, who: str = "") -> tuple[int, str, str]:
        acting = ("--key-file", str(folder / f"{who}.key"), "--reason", "test") if who else ()
        code = main([*arguments, *acting, "--data", str(folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def shown(run: Run, number: str) -> dict[str, Any]:
    """A debt as ``debt show --json`` gives it."""
    _, out, _ = run("debt", "show", number, "--json")
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_debt_made_twice_is_made_once_and_says_so(run: Run) -> None:
    first = run(*LOAN, *PLAN, "--number", "L-1", who="clerk")
    again = run(*LOAN, *PLAN, "--number", "L-1", who="clerk")

    assert first == (EXIT_OK, "L-1: loan of 240.00 KES for account C-1\n", "")
    assert again[1] == "L-1: loan of 240.00 KES for account C-1, which was there already\n"
    assert shown(run, "L-1")["left"] == "240.00"


def test_a_debt_is_arranged_suspended_resumed_and_written_off(run: Run) -> None:
    run(*LOAN, *PLAN, "--number", "L-1", who="clerk")

    codes = [
        run("debt", "arrange", "L-1", "--plan", "percent", "--percent", "25", who="clerk")[0],
        run("debt", "suspend", "L-1", "--no-interest", who="clerk")[0],
        run("debt", "resume", "L-1", who="clerk")[0],
        run("debt", "cancel", "L-1", who="clerk")[0],
    ]

    debt = shown(run, "L-1")
    assert codes == [EXIT_OK] * 4
    assert (debt["state"], debt["left"], debt["plans"][0]["percent"]) == ("cancelled", "0.00", "25")
    assert [(line["what"], line["by"]) for line in debt["log"]] == [
        ("cancelled", "clerk"),
        ("resumed", "clerk"),
        ("suspended", "clerk"),
        ("arranged", "clerk"),
        ("created", "clerk"),
    ]


def test_a_debt_taken_back_leaves_no_expense(run: Run) -> None:
    run(*LOAN, "--number", "L-1", who="clerk")

    code, out, _ = run("debt", "cancel", "L-1", "--mistake", who="clerk")

    assert (code, out) == (EXIT_OK, "L-1: taken back\n")


def test_who_may_not_make_debts_is_told_so_and_makes_none(run: Run) -> None:
    code, _, err = run(*LOAN, who="till")

    assert (code, "right_missing" in err) == (EXIT_FAILED, True)
    assert run("debt", "list") == (EXIT_OK, "", "")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--plan", "percent"), "bad_percent"),
        (("--plan", "percent", "--percent", "30", "--instalment", "5"), "bad_plan"),
        (("--priority", "200"), "bad_priority"),
        (("--number", "D00000001"), "bad_number"),
        (("--starts", "2020-01-01"), "bad_date"),
    ],
)
def test_what_a_debt_cannot_be_ends_with_2(run: Run, more: tuple[str, ...], code: str) -> None:
    ended, _, err = run(*LOAN, *more, who="clerk")

    assert (ended, f"({code})" in err) == (EXIT_UNUSABLE, True)


def test_debts_are_listed_with_what_is_left(run: Run) -> None:
    run(*LOAN, "--label", "Cooker", who="clerk")
    run(*LOAN[:2], "--account", "C-2", "--kind", "fine", "--amount", "5", who="clerk")

    _, everything, _ = run("debt", "list")
    _, fines, _ = run("debt", "list", "--kind", "fine", "--json")

    assert [line.split()[0] for line in everything.splitlines()] == ["D00000002", "D00000001"]
    assert "Cooker" in everything
    assert [each["account"] for each in json.loads(fines)] == ["C-2"]


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ((), "all at the next purchase"),
        (("--plan", "percent", "--percent", "30"), "30 % of each purchase"),
        (PLAN[:4], "20.00 each purchase"),
        ((*PLAN, "--first", "2030-01-31"), "20.00 each month from 2030-01-31 (accumulate)"),
    ],
)
def test_a_debt_shows_its_plan_in_words(run: Run, plan: tuple[str, ...], words: str) -> None:
    run(*LOAN, *plan, "--number", "L-1", who="clerk")

    _, out, _ = run("debt", "show", "L-1")

    assert f": {words}\n" in out
    assert "created    by clerk: test\n" in out


def test_interest_is_posted_through_yesterday(run: Run) -> None:
    run(*LOAN, "--interest", "2", who="clerk")

    code, out, _ = run("debt", "interest", "--json", who="clerk")

    assert code == EXIT_OK
    posted = json.loads(out)
    assert (posted["debts"], posted["total"], posted["currency"]) == (1, "0.00", "KES")


def test_an_account_is_blocked_and_released_by_a_person(run: Run) -> None:
    blocked = run("debt", "block", "C-1", who="clerk")
    twice = run("debt", "block", "C-1", who="clerk")
    _, listed, _ = run("debt", "blocks", "--json")
    released = run("debt", "release", "C-1", who="boss")
    after = run("debt", "blocks")

    assert "by clerk: test" in blocked[1]
    assert twice[0] == EXIT_FAILED
    assert [each["account"] for each in json.loads(listed)] == ["C-1"]
    assert "released" in released[1]
    assert after == (EXIT_OK, "", "")


def test_a_file_of_debts_comes_in_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    good = "number,account,kind,amount\nA-1,C-1,arrears,300.00\n"
    file = tmp_path / "debts.csv"
    file.write_text(good + "A-2,C-9,arrears,1.00\n")
    refused = run("import", "debts", str(file), who="clerk")
    file.write_text(good)
    taken = run("import", "debts", str(file), who="clerk")
    again = run("import", "debts", str(file), "--json", who="clerk")

    assert (refused[0], refused[1]) == (EXIT_UNUSABLE, "rows: 2, 1 bad; nothing was written\n")
    assert "row 3, account: there is no account 'C-9' here (account_unknown)" in refused[2]
    assert taken[:2] == (EXIT_OK, "rows: 1; written: 1\n")
    assert json.loads(again[1])["already_there"] == 1


def test_the_template_of_a_file_of_debts_needs_no_key(run: Run) -> None:
    code, out, _ = run("import", "debts", "--template")

    assert (code, out.partition(",")[0]) == (EXIT_OK, "number")


def test_arrears_are_told_to_people_spreadsheets_and_programs(run: Run) -> None:
    run(*LOAN, who="clerk")
    run(*LOAN[:2], "--account", "C-2", "--kind", "fine", "--amount", "5.50", who="clerk")

    _, for_people, _ = run("report", "arrears", "--level", "1")
    _, as_csv, _ = run("report", "arrears", "--csv", "--by-kind")
    _, as_json, _ = run("report", "arrears", "--json", "--level", "0")

    assert [line.split()[0] for line in for_people.splitlines()[2:]] == ["North", "South", "total"]
    rows = list(csv.DictReader(io.StringIO(as_csv)))
    assert [(row["area"], row["kind"], row["outstanding"]) for row in rows] == [
        ("North/A", "loan", "240.00"),
        ("South/B", "fine", "5.50"),
        ("total", "", "245.50"),
    ]
    assert json.loads(as_json)["total"]["billed"] == "245.50"
