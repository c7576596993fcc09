"""``slotmeter device-key``: made, taken in, listed, withdrawn; each an act, no key in the clear."""

from __future__ import annotations

import hmac
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.testing.databases import Behind

GIVEN = "0123456789abcdef0123456789abcdef"


class Desk:
    """Somebody at the command line of a data folder with one entry."""

    def __init__(self, folder: Path, key_file: Path) -> None:
        self.folder = folder
        self.key_file = key_file

    def act(self, *arguments: str) -> int:
        by = ("--key-file", str(self.key_file), "--reason", "a test")
        return main([*arguments, "--data", str(self.folder), *by])

    def look(self, *arguments: str) -> int:
        return main([*arguments, "--data", str(self.folder), "--json"])


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data folder that has an entry, and a key; copied for every test."""
    home = tmp_path_factory.mktemp("made")
    desk = Desk(home / "data", home / "admin.key")
    arguments = ["init", "--data", str(desk.folder), "--utility-name", "Town"]
    assert main([*arguments, "--admin-key-file", str(desk.key_file)]) == EXIT_OK
    assert desk.act("entry", "add", "town", "--medium", "ip") == EXIT_OK
    return home


@pytest.fixture
def desk(made_once: Path, tmp_path: Path) -> Desk:
    shutil.copytree(made_once, tmp_path / "home")
    return Desk(tmp_path / "home" / "data", tmp_path / "home" / "admin.key")


def listed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert desk.look("device-key", "list", "town") == EXIT_OK
    lines: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return lines


def file_of(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    path = tmp_path / "keys.csv"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_key_that_was_made_is_printed_and_nowhere_else(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert desk.act("device-key", "make", "town", "m-1") == EXIT_OK
    key = capsys.readouterr().out.strip()

    assert re.fullmatch(r"smd_[A-Za-z0-9_-]{43}", key)
    assert [line["device"] for line in listed(desk, capsys)] == ["m-1"]
    everything = b"".join(path.read_bytes() for path in desk.folder.iterdir() if path.is_file())
    assert key.encode() not in everything
    assert hmac.digest(key.encode(), b"", "sha256") not in everything


def test_each_change_of_a_key_is_an_act(desk: Desk) -> None:
    desk.act("device-key", "make", "town", "m-1")
    desk.act("device-key", "withdraw", "town", "m-1")

    acts = Behind(desk.folder).rows(
        "SELECT what, subject, reason FROM act WHERE what LIKE 'device_key.%' ORDER BY id"
    )

    assert [tuple(act.values()) for act in acts] == [
        ("device_key.made", "town m-1", "a test"),
        ("device_key.withdraw", "town m-1", "a test"),
    ]


def test_keys_of_a_factory_come_from_a_file(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(tmp_path, f"device,key\nm-1,{GIVEN}\nm-2,{GIVEN}\n")

    assert desk.act("device-key", "take-in", "town", "--file", path) == EXIT_OK

    found = [(line["device"], line["source"]) for line in listed(desk, capsys)]
    assert found == [("m-1", "given"), ("m-2", "given")]


@pytest.mark.parametrize(
    ("text", "mode", "code"),
    [
        (f"device;key\nm-1;{GIVEN}\n", 0o600, "bad_file"),
        (f"device,key\nm-1,{GIVEN}\nm-1,{GIVEN}\n", 0o600, "bad_file"),
        ("device,key\nm-1,\n", 0o600, "bad_file"),
        ("device,key\nm-1,short\n", 0o600, "bad_device_key"),
        (f"device,key\nm 1,{GIVEN}\n", 0o600, "bad_device"),
        (f"device,key\nm-1,{GIVEN}\n", 0o644, "vault_not_private"),
    ],
)
def test_a_file_that_cannot_be_taken_in_changes_nothing_and_is_not_repeated(
    desk: Desk,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    mode: int,
    code: str,
) -> None:
    path = file_of(tmp_path, text, mode)

    ended = desk.act("device-key", "take-in", "town", "--file", path, "--json")
    said = capsys.readouterr()

    assert (ended, listed(desk, capsys)) == (EXIT_UNUSABLE, [])
    assert code in said.out + said.err
    assert GIVEN not in said.out + said.err


def test_a_key_for_an_entry_that_is_not_there_is_refused(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.act("device-key", "make", "twon", "m-1") == EXIT_FAILED
    assert "there is no entry 'twon'" in capsys.readouterr().err


def test_a_key_that_is_not_there_cannot_be_withdrawn(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.act("device-key", "withdraw", "town", "m-1") == EXIT_FAILED
    assert "has no key" in capsys.readouterr().err
