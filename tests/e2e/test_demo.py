"""The demo as a user runs it: the whole product with virtual meters, checked by itself."""

from __future__ import annotations

import fcntl
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.cli.demo import MARK, _usable
from slotmeter.runtime.data_lock import LOCK_FILE

STOP_S = 90


def demo(folder: Path, ports: Callable[[], int], *options: str) -> subprocess.Popen[str]:
    addresses = ("--http-port", str(ports()), "--nbiot-port", str(ports()))
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "slotmeter", "demo", "--data", str(folder / "town")),
            *("--meters", "12", "--no-dashboards", *addresses, *options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_a_town_lives_and_everything_at_its_end_is_true(
    tmp_path: Path, free_ports: Callable[[], int]
) -> None:
    process = demo(tmp_path, free_ports, "--for", "25s")

    said, _ = process.communicate(timeout=170)

    assert process.returncode == EXIT_OK, said
    assert "BROKEN" not in said
    assert "all of this is true" in said
    found = re.search(
        r"(\d+) sales?, .* (\d+) cuts?, (\d+) reconnections?", said.partition("to rest")[2]
    )
    assert found is not None, said
    sales, cuts, reconnections = (int(count) for count in found.groups())
    checked = re.search(r"every cut and reconnection has its cause: (.*)", said)
    assert checked is not None, said
    assert cuts == sum(int(count) for count in re.findall(r"(\d+) cut by", checked[1]))
    assert sales >= 5
    assert cuts >= 2
    assert reconnections >= 1


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_ctrl_c_ends_the_demo_with_the_same_report(
    tmp_path: Path, free_ports: Callable[[], int]
) -> None:
    process = demo(tmp_path, free_ports)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if " sales, " in line:
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=STOP_S)

    said = "".join(lines) + rest
    assert process.returncode == EXIT_OK, said
    assert "all of this is true" in said


def test_a_folder_that_no_demo_made_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters").write_text("keep me")

    code = main(["demo", "--data", str(tmp_path), "--for", "1s"])

    assert code == EXIT_UNUSABLE
    assert "folder_not_empty" in capsys.readouterr().err
    assert (tmp_path / "letters").read_text() == "keep me"


def demo_in_use(folder: Path, lock: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a demo in a folder with customers' data whose lock somebody holds."""
    (folder / MARK).touch()
    (folder / "slotmeter.db").write_text("customers")
    with lock.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code = main(["demo", "--data", str(folder), "--for", "1s"])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("lock", [MARK, LOCK_FILE], ids=["another demo", "a server"])
def test_a_folder_in_which_somebody_runs_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lock: str
) -> None:
    code, said = demo_in_use(tmp_path, tmp_path / lock, capsys)

    assert code == EXIT_UNUSABLE
    assert "(data_folder_in_use)" in said
    assert "--data" in said
    assert (tmp_path / "slotmeter.db").read_text() == "customers"


def test_a_port_that_is_taken_is_named_with_the_one_used_instead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        used = _usable(port)

    assert used != port
    assert f"{port} is taken, using {used}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ("--for", "soon"),
        ("--for", "0s"),
        ("--speed", "0"),
        ("--speed", "fast"),
        ("--meters", "0"),
        ("--meters", "-3"),
        ("--http-port", "70000"),
    ],
)
def test_options_that_cannot_be_are_wrong_usage(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *options]) == EXIT_UNUSABLE
    assert "usage:" in capsys.readouterr().err


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_two_demos_that_start_at_once_run_side_by_side(tmp_path: Path) -> None:
    shape = ("--meters", "4", "--no-dashboards", "--for", "3s")
    command = (sys.executable, "-m", "slotmeter", "demo", *shape)
    towns = [
        subprocess.Popen(
            [*command, "--data", str(tmp_path / name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("east", "west")
    ]

    said = [town.communicate(timeout=170)[0] for town in towns]

    assert [town.returncode for town in towns] == [EXIT_OK, EXIT_OK], said
