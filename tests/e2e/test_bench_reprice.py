"""The benchmark of repricing finds no difference in what it made, and a difference that is made."""

from __future__ import annotations

import importlib.util
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "bench_reprice.py"
pytestmark = pytest.mark.e2e


def load() -> Any:
    spec = importlib.util.spec_from_file_location("bench_reprice", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_a_small_run_holds() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--sales", "400"],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.returncode == 0, done.stdout
    assert "priced again" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("holds")


def test_a_sale_with_another_tax_is_found(tmp_path: Path) -> None:
    bench = load()
    path = tmp_path / "slotmeter.db"
    bench.make_database(path, 400)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE sale SET priced = replace(priced, 'tax:vat', 'tax:gst')")

    verified, _ = bench.measure(path, 1)

    assert verified.repriced.different == verified.repriced.sales == 400
    assert len(verified.repriced.differences) == 20


def test_the_sales_it_makes_have_debts_charges_and_blocks(tmp_path: Path) -> None:
    bench = load()
    path = tmp_path / "slotmeter.db"
    bench.make_database(path, 400)
    with closing(sqlite3.connect(path)) as connection:
        lines = "".join(row[0] for row in connection.execute("SELECT priced FROM sale"))

    for kind in ("debt", "charge", "levy", "tax", "block2"):
        assert f'"{kind}"' in lines
