"""A new data folder without a medium's packages, and causes of frames that were set aside."""

from __future__ import annotations

import re
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_OK, main
from slotmeter.config import load
from slotmeter.services import integrations

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the test's data folder; returns exit code, output and errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data", str(folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_a_medium_whose_packages_are_missing_is_left_out_with_a_word_on_it(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = integrations._installed
    monkeypatch.setattr(integrations, "_installed", lambda name: name != "aiocoap" and there(name))
    code, _, errors = run("init", "--utility-name", "Town")
    text = (folder / "slotmeter.toml").read_text()
    config = load(folder / "slotmeter.toml")
    after = tomllib.loads(re.sub("(?m)^# ", "", text[text.index("# [[entry]]") :]))

    assert code == EXIT_OK
    assert "aiocoap is not installed; install slotmeter[nbiot]" in errors
    assert config.entries == ()
    assert 'pip install "slotmeter[nbiot]"' in text
    assert [each["medium"] for each in after["entry"]] == ["nbiot"]


def test_causes_of_which_no_frame_waits_are_counted_only_when_asked_for(
    run: Run, folder: Path
) -> None:
    run("init", "--utility-name", "Town")
    frames = [(1, "mended", 5), (2, "mended", 6), (3, "waits", None), (4, "waits", 7)]
    with closing(sqlite3.connect(folder / "slotmeter.db")) as database, database:
        for number, code, replayed_us in frames:
            database.execute(
                "INSERT INTO frame (id, medium, address, path, payload, received_us)"
                " VALUES (?, 'nbiot', 'a', 'm', x'00', 1)",
                [number],
            )
            database.execute(
                "INSERT INTO quarantine (frame_id, code, message, at_us, replayed_us, replays)"
                " VALUES (?, ?, '', 1, ?, 0)",
                [number, code, replayed_us],
            )
    _, waiting, _ = run("quarantine", "count")
    _, every, _ = run("quarantine", "count", "--all")

    shown = [line.split(",")[0].split() for line in waiting.splitlines()]
    assert shown == [["1", "waits"]]
    shown = [line.split(",")[0].split() for line in every.splitlines()]
    assert shown == [["0", "mended"], ["1", "waits"]]
    assert "2 handed in again" in every
