"""The benchmark of sales measures what it says, and refuses what it must."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import EXIT_OK, main
from slotmeter.testing.site import free_ports

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAM = BENCHMARKS / "bench_sales.py"
HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 1"
SALE = b'{"meter": "07", "token": "12345678901234567890"}'


def load() -> Any:
    spec = importlib.util.spec_from_file_location("bench_sales", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    sys.path.insert(0, str(BENCHMARKS))  # where a program finds the modules beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


bench = load()
sale_load = sys.modules["sale_load"]


def test_a_right_answer_is_taken() -> None:
    sale_load.check_answer(HEAD, SALE, "07")


@pytest.mark.parametrize(
    ("head", "body", "meter"),
    [
        (HEAD.replace(b"201", b"200"), SALE, "07"),
        (HEAD.replace(b"201 Created", b"503 Busy"), b"{}", "07"),
        (HEAD, SALE, "08"),
        (HEAD, SALE.replace(b"1234567890", b"123456789", 1), "07"),
        (HEAD, SALE.replace(b'"12345678901234567890"', b"null"), "07"),
        (HEAD, b"not JSON", "07"),
    ],
)
def test_any_other_answer_ends_the_run(head: bytes, body: bytes, meter: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  JSON's own error is one of them
        sale_load.check_answer(head, body, meter)


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL", "unknown"])
def test_without_durability_no_sale_figure_is_printed(
    synchronous: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def server(*_: object, **__: object) -> Iterator[Any]:
        yield bench.Serving("", 0, synchronous, 0)

    monkeypatch.setattr(bench, "running_server", server)
    options = argparse.Namespace(
        **{"clients": 1, "meters": 1, "warm_up": 0.0, "measure": 1.0, "runs": 1},
        **{"devices": True, "tariff": "kenya", "debts": 2, "no_limits": True},
        folder=None,
    )

    code = bench.measure(options, tmp_path)

    said = capsys.readouterr().out
    assert code == 1
    assert f"synchronous = {synchronous}" in said
    assert re.search(r"\d/s", said) is None


def test_the_processor_time_of_a_process_is_that_of_all_its_threads() -> None:
    before_s = sale_load.cpu_s_of(os.getpid())
    end_s = time.process_time() + 0.05
    while time.process_time() < end_s:
        pass

    used_s = sale_load.cpu_s_of(os.getpid()) - before_s

    assert 0.03 <= used_s <= 1.0


@pytest.mark.e2e
def test_a_short_run_measures_sales_and_the_peer() -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(PROGRAM), "--clients", "4", "--meters", "20", "--runs", "1"),
            *("--warm-up", "0.2", "--measure", "1", "--no-limits"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "synchronous = FULL" in done.stdout
    figures = re.findall(r"HTTP +([\d,]+)/s .* p50 +[\d.]+ ms +p99 +[\d.]+ ms", done.stdout)
    assert len(figures) == 2
    assert all(int(figure.replace(",", "")) > 0 for figure in figures)
    processor = re.findall(r"CPU +([\d.]+) ms each$", done.stdout, flags=re.MULTILINE)
    assert len(processor) == 4  # each run, and both summaries
    assert all(float(figure) > 0 for figure in processor)


@pytest.mark.e2e
def test_a_generated_folder_sells_on_and_is_compared_with_a_small_one(tmp_path: Path) -> None:
    folder, [port] = tmp_path / "data", free_ports(1)
    made = main(
        [
            *("generate", "--meters", "30", "--sales", "60", "--data", str(folder)),
            *("--http-port", str(port)),
        ]
    )

    done = subprocess.run(
        [
            *(sys.executable, str(PROGRAM), "--clients", "4", "--folder", str(folder)),
            *("--runs", "1", "--warm-up", "0.2", "--measure", "1", "--no-limits"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert made == EXIT_OK
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 meters" in done.stdout
    assert re.search(r"^large to small: \d+\.\d\d$", done.stdout, flags=re.MULTILINE)
    assert main(["ledger", "verify", "--data", str(folder)]) == EXIT_OK
