"""The benchmark of generating measures what it says, and misses limits that are missed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "bench_generate.py"

pytestmark = pytest.mark.e2e


def measured(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    size = ("--meters", "20", "--sales", "40", "--folder", str(folder))
    return subprocess.run(
        [sys.executable, str(PROGRAM), "--database", "sqlite", *size, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_small_run_shows_its_figures_and_that_it_holds(tmp_path: Path) -> None:
    done = measured(tmp_path, "--verify", "--no-limits")

    assert done.returncode == 0, done.stderr
    assert re.search(r"\d\.\d{3} ms of processor time", done.stdout)
    assert "the ledger balances" in done.stdout
    assert "the audit holds" in done.stdout
    assert list(tmp_path.iterdir()) == []
