"""A child process ends with its parent, however the parent ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slotmeter.cli import main
from slotmeter.runtime.console import CHILD

PATIENCE_S = 60

PARENT = """\
import os, signal, sys
from pathlib import Path
from slotmeter.testing.server import Server
server = Server(Path(sys.argv[1]), port=int(sys.argv[2]), log=Path(sys.argv[3]))
server.launch()
server.wait_until_ready()
print(server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_ends_when_its_parent_lets_go_of_its_input() -> None:
    child = subprocess.Popen(
        [sys.executable, "-P", str(CHILD), "signal:pause"], stdin=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.poll() is None

    child.stdin.close()

    assert child.wait(PATIENCE_S) == -signal.SIGTERM


def test_a_child_gets_its_arguments_and_gives_its_exit_code() -> None:
    with subprocess.Popen(
        [sys.executable, "-P", str(CHILD), "slotmeter.cli:main", "sell", "--amount"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        code = child.wait(PATIENCE_S)
        assert child.stderr is not None
        said = child.stderr.read()

    assert code == 2
    assert "usage: slotmeter sell" in said


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_a_server_started_by_a_demo_ends_when_the_demo_is_killed(
    tmp_path: Path, free_ports: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    data, port = tmp_path / "data", str(free_ports())
    at = ("--http-port", port, "--nbiot-port", str(free_ports()), "--no-dashboards")
    key = ("--admin-key-file", str(tmp_path / "admin.key"))
    assert main(["init", "--data", str(data), "--utility-name", "Town", *at, *key]) == 0
    capsys.readouterr()
    arguments = (str(data / "slotmeter.toml"), port, str(tmp_path / "serve.log"))

    parent = subprocess.run(
        [sys.executable, "-c", PARENT, *arguments], capture_output=True, text=True, check=False
    )

    assert parent.returncode == -signal.SIGKILL, parent.stderr
    assert has_ended(int(parent.stdout)), (tmp_path / "serve.log").read_text()


def has_ended(pid: int) -> bool:
    """Wait until a process that is not our child is gone."""
    end_s = time.monotonic() + PATIENCE_S
    status = Path(f"/proc/{pid}/stat")
    while time.monotonic() < end_s:
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False
