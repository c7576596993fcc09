"""The command line's frame: help, version, exit codes, and what is imported for what."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from slotmeter import __version__
from slotmeter.cli import EXIT_UNUSABLE, main

SLOW = ("aiohttp", "alembic", "sqlalchemy", "pydantic", "numpy", "rich", "yaml")


def imported_by(*arguments: str) -> set[str]:
    """Return the top packages that a run of the command line imports."""
    program = (
        "import sys; from slotmeter.cli import main; main(sys.argv[1:]);"
        "print('modules:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return set(run.stdout.rpartition("modules: ")[2].split())


def test_the_version_is_printed_with_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"slotmeter {__version__}\n"


def test_the_version_loads_nothing_slow() -> None:
    assert imported_by("--version") & set(SLOW) == set()


def test_decoding_a_token_loads_no_server() -> None:
    heavy = {"aiohttp", "alembic", "sqlalchemy", "pydantic", "rich"}

    assert imported_by("token", "decode", "0" * 20) & heavy == set()


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    commands = ("demo", "init", "tariff", "user", "import", "serve", "sell", "ledger", "token")
    assert [name for name in commands if f"\n    {name} " not in text] == []


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["ledger"], ["sell", "1"], ["--wrong"]])
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "usage: slotmeter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["demo", "--wrong"], "usage: slotmeter demo "),
        (["tariff", "add", "x.yaml", "--wrong"], "usage: slotmeter tariff add "),
    ],
)
def test_a_wrong_option_shows_the_usage_of_its_command(
    arguments: list[str], usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == EXIT_UNUSABLE

    said = capsys.readouterr().err
    assert said.startswith(usage)
    assert "unrecognized arguments: --wrong" in said


def test_a_problem_is_one_sentence_with_its_code(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    code = main(["ledger", "verify", "--data", str(tmp_path)])

    captured = capsys.readouterr()
    assert code == EXIT_UNUSABLE
    assert captured.out == ""
    assert captured.err.startswith("slotmeter: there is no slotmeter.db")
    assert captured.err.endswith("(data_folder_empty)\n")
    assert captured.err.count("\n") == 1


def test_with_json_a_problem_is_an_object(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    main(["ledger", "verify", "--json", "--data", str(tmp_path)])

    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "data_folder_empty"
    assert "slotmeter init" in error["message"]
