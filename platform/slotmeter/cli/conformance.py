"""``slotmeter conformance``: published vectors against this installation."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotmeter.cli import conformance_tariffs
from slotmeter.errors import Refused

if TYPE_CHECKING:
    from slotmeter.vending.sts.conformance import Checked

__all__ = ["SUITES", "Suite", "register"]

EXIT_OK = 0
EXIT_FAILED = 1
FILE_BYTES_MAX = 64 * 1024 * 1024
SHOWN_DEFAULT = 10

_STS_DESCRIPTION = """\
Run every vector of a file and compare every expected field. A vector of an unknown kind, or one
that cannot be read, ends the run: nothing is skipped.

The file is a JSON object with a list "vectors"; each has "id", "kind", "inputs" and "expected".
"""

_EXIT_CODES = """\
exit codes: 0 all passed, 1 some failed, 2 the file or a vector cannot be used
"""

Check = Callable[[], "Checked"]
"""Runs one vector."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Vectors of one subject.

    Attributes:
        name: the word on the command line.
        help: what it checks, in half a line.
        description: what it does and what the file looks like.
        vectors: the name, kind and check of each vector of a document, in order; nothing of it
            runs before it is asked for.
        add_arguments: adds arguments of its own.
    """

    name: str
    help: str
    description: str
    vectors: Callable[[Mapping[str, object], argparse.Namespace], Iterable[tuple[str, str, Check]]]
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None


def _sts(
    document: Mapping[str, object], options: argparse.Namespace
) -> Iterator[tuple[str, str, Check]]:
    from slotmeter.vending.sts.conformance import KINDS, check_vector

    for number, entry in enumerate(_listed(document, options.vectors), start=1):
        vector, name, kind = _named(number, entry)
        if kind not in KINDS:
            raise Refused(
                "unknown_kind",
                f"vector {name}, kind: {kind!r} is not known; expected one of {', '.join(KINDS)}",
            )
        yield name, kind, partial(check_vector, vector)


SUITES: tuple[Suite, ...] = (
    Suite("sts", "prepayment tokens (IEC 62055-41)", _STS_DESCRIPTION, _sts),
    Suite(
        "tariffs",
        "published purchases and bills by published tariffs",
        conformance_tariffs.DESCRIPTION,
        conformance_tariffs.vectors,
        conformance_tariffs.add_arguments,
    ),
)
"""What comes with the platform."""


def register(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    suites: Sequence[Suite] = SUITES,
) -> None:
    """Add ``conformance`` with one sub-command for each suite."""
    parser = subparsers.add_parser("conformance", help="run published vectors")
    names = parser.add_subparsers(metavar="SUITE", required=True)
    for suite in suites:
        run = names.add_parser(
            suite.name,
            help=suite.help,
            description=suite.description,
            epilog=_EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        run.add_argument("--vectors", type=Path, required=True, metavar="FILE", help="JSON file")
        if suite.add_arguments is not None:
            suite.add_arguments(run)
        run.add_argument(
            "--show",
            type=int,
            default=SHOWN_DEFAULT,
            metavar="N",
            help=f"how many failed vectors to show (default {SHOWN_DEFAULT})",
        )
        run.add_argument("--json", action="store_true", help="write JSON for scripts")
        run.set_defaults(run=_run, suite=suite)


@dataclass(slots=True)
class _Tally:
    """What came out, by kind in order of appearance."""

    passed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def add(self, name: str, kind: str, checked: Checked) -> None:
        self.passed.setdefault(kind, 0)
        self.failed.setdefault(kind, 0)
        if checked.unused:
            self.unused.append(f"{name}: {', '.join(checked.unused)}")
        if not checked.differences:
            self.passed[kind] += 1
            return
        self.failed[kind] += 1
        self.failures.append(
            {
                "id": name,
                "kind": kind,
                "differences": [
                    {"field": d.name, "expected": d.expected, "got": d.got}
                    for d in checked.differences
                ],
            }
        )


def _run(options: argparse.Namespace) -> int:
    suite: Suite = options.suite
    tally = _Tally()
    for name, kind, check in suite.vectors(_document(options.vectors), options):
        try:
            tally.add(name, kind, check())
        except Refused as error:
            where = f", {error.field}" if error.field else ""
            raise Refused(error.code, f"vector {name}{where}: {error.message}") from error
    if options.json:
        print(json.dumps(_as_dict(suite, options.vectors, tally)))
    else:
        print(_as_text(tally, options.show))
    return EXIT_FAILED if tally.failures else EXIT_OK


def _document(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Refused("file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise Refused("file_too_large", f"{path} has more than {FILE_BYTES_MAX} bytes")
    try:
        document = json.loads(content, parse_float=str)  # each digit as published
    except (ValueError, RecursionError) as error:
        raise Refused("file_not_json", f"{path} is not JSON: {error}") from error
    return document if isinstance(document, dict) else {}


def _listed(document: Mapping[str, object], path: Path) -> list[object]:
    vectors = document.get("vectors")
    if not isinstance(vectors, list):
        raise Refused("no_vectors", f'{path} must be a JSON object with a list "vectors"')
    if not vectors:
        raise Refused("no_vectors", f"{path} holds no vectors, so nothing would be checked")
    return vectors


def _named(number: int, vector: object) -> tuple[Mapping[str, object], str, str]:
    """Return a vector with its id and kind; the checker reads the rest."""
    if not isinstance(vector, dict):
        raise Refused("bad_vector", f"vector number {number} is not an object")
    name, kind = vector.get("id"), vector.get("kind")
    if not isinstance(name, str) or not name:
        raise Refused("bad_vector", f"vector number {number} has no id")
    if not isinstance(kind, str):
        raise Refused("bad_vector", f"vector {name}, kind: expected a string, got {kind!r}")
    return vector, name, kind


def _as_dict(suite: Suite, path: Path, tally: _Tally) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "file": str(path),
        "passed": sum(tally.passed.values()),
        "failed": sum(tally.failed.values()),
        "kinds": {
            kind: {"passed": tally.passed[kind], "failed": tally.failed[kind]}
            for kind in tally.passed
        },
        "failures": tally.failures,
        "unused_inputs": tally.unused,
    }


def _as_text(tally: _Tally, shown: int) -> str:
    width = max(map(len, tally.passed))
    lines = [f"{'kind':<{width}}  passed  failed"]
    for kind in tally.passed:
        lines.append(f"{kind:<{width}}  {tally.passed[kind]:>6}  {tally.failed[kind]:>6}")
    for failure in tally.failures[:shown]:
        lines += ["", f"{failure['id']} ({failure['kind']})"]
        for difference in failure["differences"]:
            lines.append(f"  {difference['field']}: expected {difference['expected']}")
            lines.append(f"  {'got':>{len(difference['field']) + 10}} {difference['got']}")
    if len(tally.failures) > shown:
        lines += ["", f"and {len(tally.failures) - shown} more failed; --show N shows more"]
    if tally.unused:
        lines += ["", f"inputs that play no part in {len(tally.unused)} vectors, the first:"]
        lines += [f"  {unused}" for unused in tally.unused[:shown]]
    total_passed, total_failed = sum(tally.passed.values()), sum(tally.failed.values())
    return "\n".join([*lines, "", f"{total_passed} passed, {total_failed} failed"])
