"""The shared runner of the proof programs: verdict, exit code, seed and report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROOFS = Path(__file__).parents[1] / "proofs"

PROGRAM = """
from proof import Proof, Trial, main

PROOF = Proof(name="dice", claim="a die shows 1 to 6", sizes="throws", size_full=100, seed=7)


def run(trial: Trial) -> None:
    throws = [trial.random.randint(1, SIDES) for _ in range(trial.size)]
    (trial.folder / "throws").write_text(str(throws))
    trial.progress(trial.size)
    trial.figure("sum of 10,000 such throws", sum(throws) * 10_000)
    CHECK


raise SystemExit(main(PROOF, run))
"""


def run_program(
    folder: Path, *arguments: str, sides: int = 6, checked: bool = True
) -> tuple[int, str]:
    check = 'trial.check("no throw is above 6", max(throws) <= 6, f"highest {max(throws)}")'
    program = folder / "prove_dice.py"
    program.write_text(
        PROGRAM.replace("SIDES", str(sides)).replace("CHECK", check if checked else "")
    )
    done = subprocess.run(
        [sys.executable, program, *arguments],
        env={**os.environ, "PYTHONPATH": str(PROOFS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_proof_whose_checks_hold_exits_0_and_writes_its_report(tmp_path: Path) -> None:
    code, _ = run_program(tmp_path, "--size", "10", "--out", str(tmp_path / "out"))

    report = (tmp_path / "out" / "dice.md").read_text()
    assert code == 0
    assert "**Holds.**" in report
    assert "| size | 10 throws (full: 100) |" in report
    assert "| seed | 7 |" in report
    assert "| no throw is above 6 | yes | highest 6 |" in report


def test_a_broken_check_exits_1_and_tells_the_seed_that_shows_it_again(tmp_path: Path) -> None:
    code, said = run_program(tmp_path, "--seed", "3", "--out", str(tmp_path), sides=20)

    assert code == 1
    assert "--seed 3 --size 100" in said
    assert "**Broken.**" in (tmp_path / "dice.md").read_text()


def test_a_proof_that_checks_nothing_is_broken(tmp_path: Path) -> None:
    code, said = run_program(tmp_path, checked=False)

    assert code == 1
    assert "nothing was checked" in said


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    _, first = run_program(tmp_path, "--seed", "11")
    _, again = run_program(tmp_path, "--seed", "11")
    _, other = run_program(tmp_path, "--seed", "12")

    def figures(said: str) -> list[str]:
        return [line for line in said.splitlines() if "sum of" in line]

    assert figures(first) == figures(again) != figures(other)


def test_without_out_nothing_is_written(tmp_path: Path) -> None:
    run_program(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["prove_dice.py"]


@pytest.mark.parametrize("arguments", [("--size", "0"), ("--seed", "1", "--new-seed"), ("--much",)])
def test_bad_arguments_exit_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, _ = run_program(tmp_path, *arguments)

    assert code == 2
