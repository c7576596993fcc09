"""``slotmeter driver``: list, check and new, as an author of a driver meets them."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slotmeter.cli import main

FIXTURES = Path(__file__).parents[1] / "fixtures"
MERIDIAN, SLOPPY = FIXTURES / "meridian", FIXTURES / "sloppy"
DRIVER_LINES_MAX = 40


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forgets the packs that a test imports from a folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "_drivers" in name:
            del sys.modules[name]


def test_the_list_names_key_maker_media_and_pack(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["driver", "list"]) == 0

    (line,) = [row for row in capsys.readouterr().out.splitlines() if "slotmeter_virtual" in row]
    assert "Slotmeter virtual meter" in line
    assert "nbiot" in line
    assert line.endswith("slotmeter_drivers")


def test_the_list_for_programs_has_registers_and_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["driver", "list", "--json"]) == 0

    listed = {each["key"]: each for each in json.loads(capsys.readouterr().out)["drivers"]}
    assert "energy_import" in listed["slotmeter_virtual"]["registers"]
    assert "load_token" in listed["slotmeter_virtual"]["commands"]
    assert listed["slotmeter_virtual"]["module"] == "slotmeter_drivers.slotmeter_virtual"


@pytest.mark.parametrize(
    "pack",
    ["slotmeter_drivers", MERIDIAN, MERIDIAN / "meridian_drivers"],
    ids=["installed", "project", "package"],
)
def test_a_good_pack_passes_wherever_it_lies(
    pack: str | Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["driver", "check", str(pack)]) == 0

    out = capsys.readouterr().out
    assert "keeps the contract" in out
    assert "refused" not in out


def test_one_module_is_checked_alone(capsys: pytest.CaptureFixture[str]) -> None:
    module = MERIDIAN / "meridian_drivers" / "meridian_e7.py"

    assert main(["driver", "check", str(module)]) == 0

    assert capsys.readouterr().out.count("keeps the contract") == 1


def test_a_sloppy_pack_fails_with_the_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["driver", "check", str(SLOPPY)]) == 1

    out = capsys.readouterr().out
    assert "sloppy_drivers.empty_frame: refused" in out
    assert "decode: an empty frame: decode raised IndexError" in out
    assert "declaration: energy_import is counted in Wh, and '0.01 m³' is mL" in out
    assert "commands: close_valve (id 1): encoded, it reads as open_valve (id 0)" in out


def test_the_reasons_can_be_read_by_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["driver", "check", str(SLOPPY), "--json"]) == 1

    refused = {each["module"]: each for each in json.loads(capsys.readouterr().out)["refused"]}
    assert refused["sloppy_drivers.empty_frame"]["problems"][0]["rule"] == "decode"


def test_a_module_that_cannot_be_imported_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn_drivers").mkdir()
    (tmp_path / "torn_drivers" / "__init__.py").touch()
    (tmp_path / "torn_drivers" / "torn.py").write_text("import no_such_thing")

    assert main(["driver", "check", str(tmp_path / "torn_drivers")]) == 1

    assert "torn_drivers.torn: cannot be used: ModuleNotFoundError" in capsys.readouterr().out


def test_a_pack_without_a_driver_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bare_drivers").mkdir()
    (tmp_path / "bare_drivers" / "__init__.py").touch()

    assert main(["driver", "check", str(tmp_path / "bare_drivers")]) == 1

    assert "no module has a DRIVER" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pack", "code"),
    [("no_such_pack", "pack_unknown"), ("no_such.py", "pack_unknown"), (".", "pack_unusable")],
)
def test_what_is_no_pack_is_wrong_usage(
    pack: str,
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["driver", "check", pack]) == 2

    assert code in capsys.readouterr().err


# --- new ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("commodity", ["electricity", "water", "gas"])
def test_a_new_pack_keeps_the_contract_at_once(
    commodity: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pack"
    new = ["driver", "new", f"fresh_{commodity}", "--commodity", commodity, "--folder", str(folder)]

    assert main(new) == 0
    assert main(["driver", "check", str(folder)]) == 0

    written = (folder / "fresh_drivers" / f"fresh_{commodity}.py").read_text()
    assert len(written.splitlines()) <= DRIVER_LINES_MAX
    assert f"fresh_{commodity} keeps the contract" in capsys.readouterr().out


def test_a_new_pack_can_be_read_by_everybody(tmp_path: Path) -> None:
    assert main(["driver", "new", "open_e1", "--folder", str(tmp_path / "pack")]) == 0

    module = tmp_path / "pack" / "open_drivers" / "open_e1.py"
    assert stat.S_IMODE(module.stat().st_mode) == 0o644
    assert stat.S_IMODE(module.parent.stat().st_mode) == 0o755


def test_a_new_driver_joins_a_package_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "joined_drivers"
    package.mkdir()
    (package / "__init__.py").touch()

    for key in ("joined_a", "joined_b"):
        assert main(["driver", "new", key, "--into", str(package), "--maker", "Joined"]) == 0
    assert main(["driver", "check", str(package)]) == 0

    assert capsys.readouterr().out.count("keeps the contract") == 2


def test_what_is_there_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = ["driver", "new", "twice_e1", "--folder", str(tmp_path / "pack")]
    assert main(new) == 0
    module = tmp_path / "pack" / "twice_drivers" / "twice_e1.py"
    module.write_text("my own work")

    assert main(new) == 2

    assert module.read_text() == "my own work"
    assert "file_exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["Acme-W1"], "key_malformed"),
        (["acme_w1", "--medium", "NB IoT"], "medium_malformed"),
        (["acme_w1", "--maker", 'Acme"'], "maker_malformed"),
        (["acme_w1", "--into", "nowhere"], "package_missing"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is(
    arguments: list[str],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["driver", "new", *arguments]) == 2

    assert code in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
