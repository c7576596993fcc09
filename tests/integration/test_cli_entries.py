"""``slotmeter entry`` and ``slotmeter integration``, beside a server that runs and without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, HttpConfig
from slotmeter.runtime import Runtime

PATIENCE_S = 60
CLEAR = "open sesame"
ROOT = Path(__file__).parents[2]


class Desk:
    """Runs commands on a data folder as its administrator."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.key = folder.parent / "admin.key"
        self._capsys = capsys

    def look(self, *words: str) -> Any:
        assert main(["entry", *words, "--data", str(self.folder), "--json"]) == 0
        return json.loads(self._capsys.readouterr().out)

    def act(self, *words: str, code: int = 0) -> str:
        whose = ["--data", str(self.folder), "--key-file", str(self.key), "--reason", "test"]
        assert main(["entry", *words, *whose]) == code
        said = self._capsys.readouterr()
        return said.out + said.err


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    made = Desk(tmp_path / "data", capsys)
    arguments = ["--data", str(made.folder), "--utility-name", "Town"]
    assert main(["init", *arguments, "--admin-key-file", str(made.key)]) == 0
    capsys.readouterr()
    return made


def test_an_entry_is_made_changed_and_removed_without_a_server(desk: Desk, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{CLEAR}\n")
    secret.chmod(0o600)
    words = ["--medium", "ip", "--set", "mqtt_host=broker", "--set", "mqtt_port=1883"]
    words += ["--set", "mqtt_tls=false", "--secret", f"mqtt_password={secret}"]
    desk.act("add", "town", *words)
    made = desk.look("show", "town")
    desk.act("change", "town", "--unset", "mqtt_tls", "--title", "Town", "--disable")
    changed = desk.look("show", "town")
    log = desk.look("log", "town")
    desk.act("remove", "town")

    assert (made["state"], made["reason"]) == ("not_loaded", "no server runs")
    assert made["since"] is None  # never yet
    assert made["options"] == {"mqtt_host": "broker", "mqtt_port": 1883, "mqtt_tls": False}
    assert (made["secrets"], made["source"]) == (["mqtt_password"], "cli")
    assert (changed["enabled"], changed["title"]) == (False, "Town")
    assert "mqtt_tls" not in changed["options"]
    assert (log, desk.look("list")) == ([], [])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["add", "town", "--medium", "pigeon"], "unknown_medium"),
        (["add", "town", "--medium", "ip", "--set", "port"], "bad_pair"),
        (["add", "town", "--medium", "ip", "--set", "mqtt_hots=broker"], "unknown_option"),
        (["change", "town", "--enable", "--disable"], "contradiction"),
    ],
)
def test_what_cannot_be_ends_with_its_code(desk: Desk, words: list[str], code: str) -> None:
    assert f"({code})" in desk.act(*words, code=2)


def test_an_option_that_the_medium_does_not_know_is_refused_without_a_server(desk: Desk) -> None:
    desk.act("add", "town", "--medium", "nbiot")
    said = desk.act("change", "town", "--set", "prot=5684", code=2)
    desk.act("change", "town", "--unset", "prot", "--set", "port=5684")

    assert "the medium nbiot has no option 'prot'; it has host, " in said
    assert desk.look("show", "town")["options"] == {"port": 5684}


def test_a_secret_that_others_can_read_is_refused(desk: Desk, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(CLEAR)
    secret.chmod(0o644)

    said = desk.act("add", "t", "--medium", "ip", "--secret", f"mqtt_password={secret}", code=2)

    assert "chmod 600" in said
    assert CLEAR not in said


@pytest.mark.timeout(300)
async def test_a_running_server_follows_the_command_line(
    desk: Desk, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"http": HttpConfig(port=0), "dashboards": DashboardsConfig(enabled=False)}
    runtime = await Runtime.started(Config.default(desk.folder).model_copy(update=parts))
    try:
        await asyncio.to_thread(
            desk.act, "add", "town", "--medium", "nbiot", "--set", f"port={free_port}"
        )
        loaded = await eventually(lambda: desk.look("list"), state="loaded")
        await asyncio.to_thread(desk.act, "change", "town", "--set", "port=70000")
        failed = await eventually(lambda: desk.look("list"), state="failed")
        await asyncio.to_thread(desk.act, "remove", "town")
    finally:
        await runtime.stop()

    assert loaded["key"] == "town"
    assert failed["reason"].startswith("bad_option: port: ")


async def eventually(look: Callable[[], Any], state: str) -> Any:
    """Look until the only entry is in a state."""
    for _ in range(PATIENCE_S * 2):
        found = await asyncio.to_thread(look)
        if found and found[0]["state"] == state:
            return found[0]
        await asyncio.sleep(0.5)
    raise AssertionError(f"it never was {state}")


def test_integrations_are_listed_and_what_they_say_holds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["integration", "list"]) == 0
    listed = capsys.readouterr().out
    assert main(["integration", "check", "nbiot", "--tree", str(ROOT)]) == 0
    checked = capsys.readouterr().out

    assert "nbiot" in listed
    assert checked == "nbiot: holds\n"


def test_an_integration_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["integration", "check", "pigeon"]) == 2
    assert "integration_unknown" in capsys.readouterr().err
