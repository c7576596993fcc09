"""The server keeps to one core; what it starts may use all that it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slotmeter.runtime import child
from slotmeter.runtime.cores import CORES, keeping_to_one_core

SEEN = "import os\ndef main(): print(len(os.sched_getaffinity(0)), flush=True)\n"
pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="this machine gives one core only",
)


def test_a_server_runs_on_one_core_until_it_ends() -> None:
    given = os.sched_getaffinity(0)

    with keeping_to_one_core():
        within = os.sched_getaffinity(0)

    assert len(within) == 1
    assert within < given
    assert os.sched_getaffinity(0) == given


def test_a_child_of_a_server_has_all_cores_back(tmp_path: Path) -> None:
    given = len(os.sched_getaffinity(0))
    (tmp_path / "cores_seen.py").write_text(SEEN, encoding="utf-8")

    with (
        keeping_to_one_core(),
        subprocess.Popen(
            [sys.executable, child.__file__, "cores_seen:main"],
            stdin=subprocess.PIPE,  # a child ends when this does
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        ) as started,
    ):
        assert started.stdout is not None
        seen = started.stdout.read()

    assert int(seen) == given


def test_parent_and_child_name_the_cores_alike() -> None:
    assert child.CORES == CORES
