"""The proof programs, small: the same programs that ``make prove`` runs at full size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROOFS = Path(__file__).parents[1] / "proofs"
TIMEOUT_S = 170


def run_proof(name: str, size: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(PROOFS / f"prove_{name}.py"), "--size", str(size)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_killing_the_server_while_it_sells_loses_and_doubles_nothing() -> None:
    code, said = run_proof("kill9", 60)

    assert code == 0, said


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_no_answer_leaves_before_its_sale_is_on_the_disk(
    require_program: Callable[[str], str],
) -> None:
    require_program("strace")

    code, said = run_proof("durability", 60)

    assert code == 0, said
