"""What every proof program has in common: arguments, one seed, progress, a verdict and a report.

A proof is a seeded program with a size: small in the test suite, full under ``make prove``. It does
something many times, records what it found as *figures* (numbers worth keeping) and *checks*
(sentences that can be false), and this module turns them into an exit code and a page. To add one,
write ``tests/proofs/prove_NAME.py``::

    \"\"\"Kill the server at random moments while it sells, and count what is left.\"\"\"

    from proof import Proof, Trial, main

    PROOF = Proof(
        name="kill9",
        claim="kill -9 at any moment loses no sale and doubles none",
        sizes="sales",
        size_full=2_000,
        seed=20_240_607,
    )

    def run(trial: Trial) -> None:
        for number in range(trial.size):
            meter = trial.random.choice(meters)      # the only source of chance
            ...                                      # files go under trial.folder
            trial.progress(number + 1)
        trial.figure("times killed", killed)
        trial.check("money taken equals the ledger", taken == booked, f"{taken} and {booked}")

    if __name__ == "__main__":
        raise SystemExit(main(PROOF, run))

``make prove`` finds it by its name and passes ``--out docs/proofs``. A test runs the same program
small, as a process of its own (``sys.executable, "tests/proofs/prove_kill9.py", "--size", "50"``),
and reads its exit code: 0 when every check held, 1 when one did not or the program broke, 2 for bad
arguments. What it prints on failure names the seed, so the same run can be had again.

``--seed N`` chooses the seed, ``--new-seed`` draws one and prints it, ``--size N`` chooses the
size, ``--out FOLDER`` writes ``FOLDER/NAME.md``; without ``--out`` nothing is written. ``--page``
gives that page another name.

A proof that names ``databases`` is run on each of them, one after another, with a page each
(``NAME-DATABASE.md``); ``--database`` chooses one.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

__all__ = ["Check", "Proof", "Trial", "main"]

ROOT = Path(__file__).resolve().parents[2]
PROGRESS_EVERY_S = 5.0
PROGRESS_EVERY_ON_TERMINAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Proof:
    """What is claimed, and how much of it makes a full proof.

    Args:
        name: the report's file name without its ending.
        claim: one sentence that the checks can refute.
        sizes: what the size counts, a plural noun ("sales").
        size_full: the size that ``make prove`` runs.
        seed: the seed when none is given.
        databases: kinds of database that it is run on; none when that makes no difference.
    """

    name: str
    claim: str
    sizes: str
    size_full: int
    seed: int
    databases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One sentence, whether it held, and what was seen."""

    sentence: str
    held: bool
    seen: str


@dataclass(slots=True)
class Trial:
    """One run of a proof: what it is given, and where it puts what it found.

    Args:
        size: how much to do, in the proof's own unit.
        seed: for a child process that must draw the same.
        random: the only source of chance in this run, seeded with ``seed``.
        folder: an empty folder of this run, removed when it ends.
        sizes: what the size counts.
        database: the kind of database, of a proof that names some.
    """

    size: int
    seed: int
    random: Random
    folder: Path
    sizes: str
    database: str = ""
    figures: list[tuple[str, str]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    _started_s: float = field(default_factory=time.monotonic)
    _shown_s: float = field(default_factory=time.monotonic)

    def figure(self, name: str, value: object) -> None:
        """Record a number worth keeping; an integer is printed with its thousands apart."""
        is_count = isinstance(value, int) and not isinstance(value, bool)
        self.figures.append((name, f"{value:,}" if is_count else str(value)))

    def check(self, sentence: str, held: bool, seen: str = "") -> None:
        """Record a sentence that can be false, whether it held, and what was seen."""
        self.checks.append(Check(sentence=sentence, held=held, seen=seen))
        self._say(f"   {'held  ' if held else 'BROKEN'}  {sentence}{f': {seen}' if seen else ''}")

    def progress(self, done: int) -> None:
        """Say how much of the size is done; often enough to watch, however often it is called."""
        is_terminal = sys.stdout.isatty()
        every_s = PROGRESS_EVERY_ON_TERMINAL_S if is_terminal else PROGRESS_EVERY_S
        now_s = time.monotonic()
        if now_s - self._shown_s < every_s:
            return
        self._shown_s = now_s
        line = f"   {done:,} of {self.size:,} {self.sizes}, {now_s - self._started_s:.0f} s"
        if is_terminal:
            sys.stdout.write(f"\r\033[K{line}")
            sys.stdout.flush()
        else:
            self._say(line)

    def _say(self, line: str) -> None:
        sys.stdout.write(("\r\033[K" if sys.stdout.isatty() else "") + line + "\n")
        sys.stdout.flush()

    @property
    def holds(self) -> bool:
        """True when something was checked and every check held."""
        return bool(self.checks) and all(check.held for check in self.checks)


def main(proof: Proof, run: Callable[[Trial], None], arguments: Sequence[str] | None = None) -> int:
    """Run the proof as its arguments say, and return the exit code.

    Args:
        proof: what is claimed.
        run: does the work and records figures and checks; whatever it raises ends the program.
        arguments: the command line without the program's name; the process's own by default.
    """
    options = _parser(proof).parse_args(arguments)
    seed = secrets.randbelow(2**32) if options.new_seed else options.seed
    databases = [options.database] if options.database else proof.databases or [""]
    held = [_run_once(proof, run, options, seed, database) for database in databases]
    return 0 if all(held) else 1


def _run_once(
    proof: Proof,
    run: Callable[[Trial], None],
    options: argparse.Namespace,
    seed: int,
    database: str,
) -> bool:
    on = f" on {database}" if database else ""
    print(f"{proof.claim}\n   {options.size:,} {proof.sizes}{on}, seed {seed}", flush=True)

    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"slotmeter-{proof.name}-") as folder:
        trial = Trial(
            size=options.size,
            seed=seed,
            random=Random(seed),
            folder=Path(folder),
            sizes=proof.sizes,
            database=database,
        )
        run(trial)
    took_s = time.monotonic() - started_s

    for name, value in trial.figures:
        print(f"   {name}: {value}")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        page = options.out / f"{options.page or '-'.join(filter(None, (proof.name, database)))}.md"
        page.write_text(_report(proof, trial, took_s), encoding="utf-8")
        print(f"   written to {page}")
    if not trial.checks:
        print("   BROKEN  nothing was checked")
    again = f"--seed {seed} --size {trial.size}" + (f" --database {database}" if database else "")
    verdict = "holds" if trial.holds else f"BROKEN, seen with {again}"
    print(f"   {verdict}, {took_s:.1f} s", flush=True)
    return trial.holds


def _parser(proof: Proof) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=f"Proof: {proof.claim}.")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=proof.seed, help="default %(default)s")
    seeds.add_argument("--new-seed", action="store_true", help="draw a seed and print it")
    parser.add_argument(
        "--size",
        type=_size,
        default=proof.size_full,
        help=f"how many {proof.sizes}; default %(default)s, a full proof",
    )
    parser.add_argument("--database", choices=proof.databases, help="only on this one")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the report there")
    parser.add_argument("--page", metavar="NAME", help="name of the report, without its ending")
    return parser


def _size(text: str) -> int:
    size = int(text)
    if size < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {size}")
    return size


def _report(proof: Proof, trial: Trial, took_s: float) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"# Proof: {proof.claim}",
        "",
        f"**{'Holds' if trial.holds else 'Broken'}.** Written by"
        f" `tests/proofs/prove_{proof.name}.py`; `make prove` writes it anew.",
        "",
        "| run | |",
        "|---|---|",
        f"| commit | {_commit()} |",
        f"| seed | {trial.seed} |",
        f"| size | {trial.size:,} {proof.sizes} (full: {proof.size_full:,}) |",
        *([f"| database | {trial.database} |"] if trial.database else []),
        f"| took | {took_s:.1f} s, ended {now} |",
        f"| on | {os.cpu_count()} cores, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()} |",
    ]
    if trial.figures:
        lines += ["", "| figure | value |", "|---|---:|"]
        lines += [f"| {name} | {value} |" for name, value in trial.figures]
    lines += ["", "| check | held | seen |", "|---|---|---|"]
    lines += [
        f"| {check.sentence} | {'yes' if check.held else '**NO**'} | {check.seen} |"
        for check in trial.checks
    ]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    """The commit of the code that ran, and whether files differed from it, if git can tell."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"`{head}`" + (", with changes not committed" if changed else "")


def _git(*arguments: str) -> str:
    answer = subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return answer.stdout.strip()
