"""People, services and their keys, by the commands that an administrator types."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def with_a_utility(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a utility, made once and copied."""
    folder = tmp_path_factory.mktemp("utility") / "data"
    assert main(["init", "--utility-name", "Ukweli Power", "--data", str(folder)]) == EXIT_OK
    return folder


@pytest.fixture
def ready(tmp_path: Path, with_a_utility: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on a folder with a utility; returns exit code, output and errors."""
    folder = tmp_path / "data"
    shutil.copytree(with_a_utility, folder)
    capsys.readouterr()

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data", str(folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def key_count(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM api_key").fetchone()[0])


def test_a_key_is_shown_once_and_listed_without_its_text(ready: Run) -> None:
    ready("user", "add", "till-1", "--kind", "service", "--role", "vendor")
    _, out, _ = ready("user", "key", "till-1", "--rights", "sell,quote", "--json")
    key = json.loads(out)["key"]

    _, listing, _ = ready("user", "list", "--json")

    people = {each["name"]: each for each in json.loads(listing)}
    assert key not in listing
    assert people["till-1"]["keys"][0]["rights"] == ["quote", "sell"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("user", "add", "admin", "--role", "vendor"), EXIT_FAILED, "principal_exists"),
        (("user", "add", "x", "--role", "king"), EXIT_UNUSABLE, "unknown_role"),
        (
            ("user", "add", "x", "--role", "vendor", "--branch", "y"),
            EXIT_UNUSABLE,
            "unknown_branch",
        ),
        (("user", "key", "nobody"), EXIT_FAILED, "unknown_principal"),
        (("user", "key", "admin", "--rights", "fly"), EXIT_UNUSABLE, "unknown_right"),
        (("user", "key", "admin", "--expires", "2020-01-01"), EXIT_UNUSABLE, "expiry_in_the_past"),
        (("user", "key", "admin", "--utility", "other"), EXIT_FAILED, "unknown_utility"),
    ],
)
def test_what_cannot_be_done_for_people_says_why(
    ready: Run, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    got, _, err = ready(*arguments)

    assert got == exit_code
    assert code in err


def test_people_can_belong_to_a_branch_that_was_added(ready: Run) -> None:
    assert ready("utility", "add-branch", "west", "--name", "Westlands")[0] == EXIT_OK
    assert ready("user", "add", "till-2", "--role", "vendor", "--branch", "west")[0] == EXIT_OK

    code, _, err = ready("utility", "add-branch", "west", "--name", "Again")
    assert code == EXIT_FAILED
    assert "branch_exists" in err


def test_a_key_file_is_never_written_over(ready: Run, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("precious")
    keys_before = key_count(tmp_path / "data")

    code, _, err = ready("user", "key", "admin", "--key-file", str(path))

    assert code == EXIT_UNUSABLE
    assert "file_exists" in err
    assert path.read_text() == "precious"
    assert key_count(tmp_path / "data") == keys_before
