"""``slotmeter vending-key``, ``supply-group`` and ``vault`` as officers type them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.vending.sts import vending_key_check_value

Run = Callable[..., tuple[int, str, str]]

ONE, OTHER = bytes(range(20)), bytes(range(100, 120))
WHOLE = bytes(a ^ b for a, b in zip(ONE, OTHER, strict=True))
OF_KEY = ("--sgc", "600727", "--krn", "2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a folder with a utility and two officers; exit code, output and errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data", str(folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert call("init", "--utility-name", "Town", "--no-dashboards")[0] == EXIT_OK
    for name in ("one", "two"):
        call("user", "add", name, "--kind", "person", "--role", "key_officer")
        call("user", "key", name, "--key-file", str(folder / f"{name}.key"))
    return call


@pytest.fixture
def acting(folder: Path) -> Callable[[str], tuple[str, ...]]:
    return lambda name: ("--key-file", str(folder / f"{name}.key"), "--reason", "new key")


def secret_file(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_text(content.hex())
    return str(path)


def bring(run: Run, folder: Path, acting: Any, who: str, part: int, material: bytes) -> Any:
    file = secret_file(folder, f"{who}.hex", material)
    component = ("--part", str(part), "--component-file", file)
    return run("vending-key", "component", *OF_KEY, *component, *acting(who), "--json")


def test_two_officers_make_a_key_by_their_components(run: Run, folder: Path, acting: Any) -> None:
    bring(run, folder, acting, "one", 1, ONE)
    code, out, _ = bring(run, folder, acting, "two", 2, OTHER)

    assert code == EXIT_OK
    assert json.loads(out)["key_check_value"] == vending_key_check_value(WHOLE, "04")
    [line] = json.loads(run("vending-key", "list", "--json")[1])
    assert (line["name"], line["officer"], line["second_officer"]) == ("600727-2", "one", "two")


def test_nothing_that_was_typed_or_brought_is_printed(run: Run, folder: Path, acting: Any) -> None:
    outputs = [bring(run, folder, acting, "one", 1, ONE), run("vending-key", "components")]
    outputs += [bring(run, folder, acting, "two", 2, OTHER), run("vending-key", "list")]
    bad = folder / "bad.hex"
    bad.write_text(ONE.hex() + "zz")
    component = ("--part", "1", "--component-file", str(bad))
    outputs.append(run("vending-key", "component", *OF_KEY, *component, *acting("one")))

    assert outputs[-1][0] == EXIT_UNUSABLE
    for _, out, err in outputs:
        for secret in (ONE, OTHER, WHOLE):
            assert secret.hex() not in (out + err).lower()


def test_one_officer_proposes_and_the_other_confirms(run: Run, folder: Path, acting: Any) -> None:
    file = secret_file(folder, "whole.hex", WHOLE)
    whole = ("--part", "1", "--parts", "1", "--component-file", file)
    run("vending-key", "component", *OF_KEY, *whole, *acting("one"))
    value = ("--check-value", vending_key_check_value(WHOLE, "04"))

    own = run("vending-key", "confirm", "600727-2", *value, *acting("one"))
    code, out, _ = run("vending-key", "confirm", "600727-2", *value, *acting("two"))

    assert own[0] == EXIT_FAILED
    assert "second_person_needed" in own[2] or "another officer" in own[2]
    assert code == EXIT_OK
    assert "600727-2" in out


def test_who_has_not_the_right_brings_no_component(run: Run, folder: Path, acting: Any) -> None:
    run("user", "add", "till", "--kind", "person", "--role", "vendor")
    run("user", "key", "till", "--key-file", str(folder / "till.key"))

    code, _, err = bring(run, folder, acting, "till", 1, ONE)

    assert code == EXIT_FAILED
    assert "keys.load" in err


def test_a_site_that_wants_two_officers_always_lets_nobody_add_a_key_alone(
    run: Run, folder: Path
) -> None:
    config = folder / "slotmeter.toml"
    config.write_text(config.read_text() + "\n[vault]\ntwo_officers = true\n")

    code, _, err = run("vending-key", "add", *OF_KEY, "--generate")

    assert code == EXIT_FAILED
    assert "two officers" in err


def test_keys_that_end_soon_are_listed_with_exit_code_1(run: Run, folder: Path) -> None:
    file = secret_file(folder, "whole.hex", WHOLE)
    old = ("--sgc", "600727", "--krn", "1", "--base-date", "1993", "--key-file", file)
    run("vending-key", "add", *old)
    run("vending-key", "add", *OF_KEY, "--generate")

    code, out, _ = run("vending-key", "list", "--expiring")

    assert code == EXIT_FAILED
    assert "600727-1" in out
    assert "600727-2" not in out


def test_a_supply_group_names_the_key_of_its_meters(run: Run, acting: Any) -> None:
    run("vending-key", "add", *OF_KEY, "--generate")

    named = ("600727", "--title", "Town", "--key", "600727-2")
    code, _, _ = run("supply-group", "set", *named, *acting("one"))

    assert code == EXIT_OK
    assert "600727-2" in run("supply-group", "list")[1]


def test_the_vault_goes_under_a_new_master_key(run: Run, folder: Path) -> None:
    run("vending-key", "add", *OF_KEY, "--generate")
    before = json.loads(run("vault", "show", "--json")[1])
    config = folder / "slotmeter.toml"
    config.write_text(config.read_text() + '\n[vault]\nmaster_key_file = "new.key"\n')
    run("vault", "create-key")

    refused = run("vending-key", "list")
    code, _, err = run("vault", "rewrap", "--old-key-file", str(folder / "master.key"))

    assert refused[0] == EXIT_UNUSABLE
    assert "another master key" in refused[2]
    assert code == EXIT_OK, err
    after = json.loads(run("vault", "show", "--json")[1])
    assert after["fingerprint"] != before["fingerprint"]
    assert after["signing_key"] == before["signing_key"]
    assert "600727-2" in run("vending-key", "list")[1]


def test_scrubbing_a_database_without_old_tokens_seals_none(run: Run, folder: Path) -> None:
    code, out, _ = run("vault", "scrub", "--json")

    assert code == EXIT_OK
    assert json.loads(out) == {"sealed": 0, "cleared": True}
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
