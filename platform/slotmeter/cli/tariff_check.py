"""``slotmeter tariff check``: read tariff files and say all that is wrong with them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK, EXIT_UNUSABLE
from slotmeter.errors import ConfigError, Refused

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.vending.tariff.model import Tariff

__all__ = ["read_tariff_file", "register_check"]

FILE_BYTES_MAX = 1 << 20


def register_check(actions: Subparsers) -> None:
    """Add ``check`` to the actions of ``slotmeter tariff``."""
    parser = actions.add_parser(
        "check",
        help="say all that is wrong with tariff files, by line and column",
        description="Read tariff files (YAML or JSON) and say all that is wrong with them, each "
        "with line and column. Nothing is stored, and no data folder is needed. The language: "
        "docs/reference/tariffs.md.",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_check)


def read_tariff_file(path: Path) -> str:
    """Return the text of a tariff file.

    Raises:
        ConfigError: ``file_unreadable``.
        Refused: ``file_too_large`` or ``not_utf8``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise Refused("file_too_large", f"{path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Refused("not_utf8", f"{path} is not UTF-8 text: see line {line}") from error


@dataclass(frozen=True, slots=True)
class _Report:
    """What is to be said of one file."""

    file: str
    tariff: Tariff | None
    problems: tuple[Mapping[str, object], ...]
    warnings: tuple[Mapping[str, object], ...]

    def as_dict(self) -> dict[str, object]:
        document: dict[str, object] = {"file": self.file, "tariff": None}
        if self.tariff is not None:
            document["tariff"] = self.tariff.code
            document["commodity"] = self.tariff.commodity.value
            document["currency"] = self.tariff.currency
        return {**document, "problems": list(self.problems), "warnings": list(self.warnings)}


def _check(options: argparse.Namespace) -> int:
    reports = [_report(path) for path in options.files]
    if options.json:
        print(json.dumps([report.as_dict() for report in reports], indent=2, ensure_ascii=False))
    else:
        for report in reports:
            _show(report)
    return EXIT_UNUSABLE if any(report.problems for report in reports) else EXIT_OK


def _report(path: Path) -> _Report:
    from slotmeter.vending.tariff.problems import TariffProblems
    from slotmeter.vending.tariff.reader import check_tariff

    try:
        reading = check_tariff(read_tariff_file(path))
    except TariffProblems as error:
        return _Report(str(path), None, error.problems, ())
    warnings = tuple(warning.as_dict() for warning in reading.warnings)
    return _Report(str(path), reading.tariff, (), warnings)


def _show(report: _Report) -> None:
    for problem in report.problems:
        _say(report.file, problem, "")
    for warning in report.warnings:
        _say(report.file, warning, "warning: ")
    tariff = report.tariff
    if tariff is not None:
        print(f"{report.file}: {tariff.code}, {tariff.commodity} in {tariff.currency}, is sound")


def _say(file: str, found: Mapping[str, object], note: str) -> None:
    place = f"{file}:{found['line']}:{found['column']}" if found["line"] else file
    path = f"{found['path']}: " if found["path"] else ""
    print(f"{place}: {note}{path}{found['message']}")
