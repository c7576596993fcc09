"""Areas, assets, nodes and devices on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.testing.office_folder import make_office_folder
from slotmeter.testing.small_utility import meter_number

Run = Callable[..., tuple[int, str, str]]
ONE, TWO, THREE = (meter_number(serial) for serial in (1, 2, 3))


@pytest.fixture(scope="module")
def office_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two meters and keys of a boss and a clerk, made once and copied."""
    return make_office_folder(tmp_path_factory.mktemp("office"))


@pytest.fixture
def run(office_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, as somebody if ``who`` is given; returns exit code, output and errors."""
    folder = tmp_path / "data"
    shutil.copytree(office_folder, folder)
    capsys.readouterr()

    def command(*arguments: str, who: str = "") -> tuple[int, str, str]:
        acting = ("--key-file", str(folder / f"{who}.key"), "--reason", "test") if who else ()
        code = main([*arguments, *acting, "--data", str(folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_areas_hold_supply_points(run: Run) -> None:
    assert run("area", "set", "region/north", "--name", "North", who="boss")[0] == EXIT_OK
    made = run("area", "set", "dma/D1", "--name", "D1", "--above", "region/north", who="boss")
    moved = run("area", "take-in", "dma/D1", ONE, who="boss")
    shown = json.loads(run("area", "show", "dma/D1", "--json")[1])
    listed = run("area", "list", "--limit", "1")
    bad = run("area", "set", "north", "--name", "x", who="boss")
    not_allowed = run("area", "remove", "dma/D1", who="clerk")

    assert made[1] == "dma/D1: D1, in region/north\n"
    assert moved[1] == "1 of 1 moved to dma/D1\n"
    assert [each["number"] for each in shown["items"]] == [ONE]
    assert listed[1].startswith("dma/D1")
    assert listed[2] == "... and more: --after dma/D1\n"
    assert (bad[0], not_allowed[0]) == (EXIT_UNUSABLE, EXIT_FAILED)


def test_a_meter_arrives_is_stored_and_shown_at_any_time(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "arrived.csv"
    heading = "meter,commodity,credit_mode,place,medium,address_on_medium,driver\n"
    file.write_text(heading + f"{THREE},electricity,platform,Depot,nbiot,ep-3,slotmeter_virtual\n")
    checked = run("asset", "receive", str(file), "--check-only", who="boss")
    received = run("asset", "receive", str(file), who="boss")
    stored = run("asset", "record", THREE, "stored", "--place", "Shelf 4", who="boss")
    counted = json.loads(run("asset", "count", "--json")[1])
    shown = run("asset", "show", THREE)
    taken = run("asset", "take-off", ONE, "--place", "van", who="boss")
    naive = run("asset", "list", "--at", "2026-01-01T00:00")
    template = run_template()

    assert checked[1] == "rows: 1; nothing was written\n"
    assert received[1] == "rows: 1; written: 1\n"
    assert "stored" in stored[1]
    assert counted == {"installed": 2, "stored": 1}
    assert [line.split()[1] for line in shown[1].splitlines()[1:]] == ["stored", "received"]
    assert "swapped" in taken[1]
    assert naive[0] == EXIT_UNUSABLE
    assert template.startswith("meter,commodity,place")


def run_template() -> str:
    from slotmeter.services.meter_arrival import arrival_template

    return arrival_template()


def test_a_box_of_meters_with_keypads(run: Run) -> None:
    reached = ("--medium", "nbiot", "--address", "box-1")
    added = run("node", "add", "BOX-1", *reached, "--driver", "slotmeter_virtual", who="boss")
    bound = run("node", "bind", "BOX-1", f"3={ONE}", f"7={TWO}", who="boss")
    swapped = run("node", "bind", "BOX-1", f"3={TWO}", f"7={ONE}", "--json", who="boss")
    history = run("node", "history", "BOX-1")
    moved = run("node", "move", "BOX-1", "--medium", "nbiot", "--address", "b9", who="boss")
    given = run("device", "keypad", ONE, "KP-1", who="boss")
    keypads = json.loads(run("device", "keypads", ONE, "--json")[1])
    behind = run("device", "move", ONE, "--medium", "nbiot", "--address", "x", who="boss")
    malformed = run("node", "bind", "BOX-1", "three", who="boss")

    assert added[1] == "node BOX-1: nbiot box-1, driver slotmeter_virtual\n"
    assert bound[1].splitlines()[1:] == [f"  slot   3  {ONE}", f"  slot   7  {TWO}"]
    assert json.loads(swapped[1])["slots"] == {"3": TWO, "7": ONE}
    assert len(history[1].splitlines()) == 4
    assert moved[1].startswith("node BOX-1: nbiot b9")
    assert given[1] == f"meter {ONE} has keypad KP-1 from now on\n"
    assert [each["serial"] for each in keypads["items"]] == ["KP-1"]
    assert (behind[0], malformed[0]) == (EXIT_FAILED, EXIT_UNUSABLE)
    assert "behind node BOX-1" in behind[2]
