"""No process of ours writes a core file, whatever its user's limits allow: it would hold keys."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slotmeter.cli import COMMANDS

pytestmark = pytest.mark.e2e

PATIENCE_S = 60

COMMAND = """
import os, signal, sys
from slotmeter import cli
try:
    cli.main(sys.argv[1:])
finally:
    os.kill(os.getpid(), signal.SIGABRT)
"""

WORKER = """
import multiprocessing, resource, sys
from slotmeter import cli
cli.main(["--version"])
context = multiprocessing.get_context("spawn")
with context.Pool(1) as pool:
    print(pool.apply(resource.getrlimit, (resource.RLIMIT_CORE,)))
"""


def allow_core_files() -> None:
    """Let the process write core files, as far as whoever runs the tests may."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def _run(text: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        preexec_fn=allow_core_files,
        check=False,
    )


def test_any_other_program_does_leave_one_here(tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="ascii").strip()
    if os.getuid() != 0 or pattern.startswith(("|", "/")):
        pytest.skip(
            "only root raises a limit again, and this system keeps its core files elsewhere"
        )

    done = _run("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", tmp_path)

    assert done.returncode == -signal.SIGABRT
    assert [path.name.partition(".")[0] for path in tmp_path.iterdir()] == [pattern]


@pytest.mark.parametrize(
    "command", [("serve",), ("vending-key",), ("vault",), ("token",), ("sell",)]
)
def test_a_command_that_is_killed_by_a_fault_leaves_no_core_file(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert command[0] in COMMANDS

    done = _run(COMMAND, tmp_path, *command, "--help")

    assert done.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


def test_no_command_can_write_a_core_file_nor_a_process_that_it_starts(tmp_path: Path) -> None:
    done = _run(WORKER, tmp_path)

    assert done.stdout.splitlines()[-1] == "(0, 0)", done.stderr
