"""The proof programs, small: the same programs that ``make prove`` runs at full size."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slotmeter.testing.postgres_server import find_programs

PROOFS = Path(__file__).parents[1] / "proofs"
TIMEOUT_S = 170


def run_proof(name: str, size: int, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(PROOFS / f"prove_{name}.py"), "--size", str(size), *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def require_postgres(database: str) -> None:
    """Skip where PostgreSQL is wanted and not installed; in CI the proof fails without it."""
    if database == "postgresql" and find_programs() is None and os.environ.get("CI") != "true":
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")


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


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [("--seed", "20240607"), ("--new-seed",)], ids=["known", "new"])
def test_killing_a_server_on_sqlite_leaves_money_tokens_ledger_and_audit_equal(
    seed: tuple[str, ...],
) -> None:
    code, said = run_proof("crash", 200, "--database", "sqlite", *seed)

    assert code == 0, said


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [("--seed", "20240607"), ("--new-seed",)], ids=["known", "new"])
def test_killing_postgresql_or_its_client_leaves_money_tokens_ledger_and_audit_equal(
    seed: tuple[str, ...],
) -> None:
    require_postgres("postgresql")

    code, said = run_proof("crash", 200, "--database", "postgresql", *seed)

    assert code == 0, said


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [("--seed", "20261122"), ("--new-seed",)], ids=["known", "new"])
def test_commands_end_once_and_meters_are_as_they_were_last_asked_to_be(
    seed: tuple[str, ...],
) -> None:
    code, said = run_proof("commands", 300, *seed)

    assert code == 0, said


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("seed", "size"),
    [(7, 200)],
    ids=["a token doubled on its way left credit that nobody could explain"],
)
def test_a_seed_that_showed_a_mistake_shows_it_no_more(seed: int, size: int) -> None:
    code, said = run_proof("commands", size, "--seed", str(seed))

    assert code == 0, said


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_backup_made_under_load_is_restored_and_repeats_no_token(database: str) -> None:
    require_postgres(database)

    code, said = run_proof("restore", 160, "--database", database)

    assert code == 0, said
