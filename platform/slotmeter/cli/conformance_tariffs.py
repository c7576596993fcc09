"""``slotmeter conformance tariffs``: published cases through the path of a sale."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotmeter.errors import Refused

if TYPE_CHECKING:
    from slotmeter.vending.sts.conformance import Checked
    from slotmeter.vending.tariff.model import Tariff

__all__ = ["DESCRIPTION", "add_arguments", "vectors"]

TARIFF_BYTES_MAX = 1024 * 1024

DESCRIPTION = """\
Price every case of a file with the tariff of the same code, as a sale would be, and compare every
expected amount. A case of an unknown kind, with an input or an expectation that is not known, or
without its tariff, ends the run: nothing is skipped.

The file is a JSON object with a list "tariffs"; each has an "id" and "cases". The tariffs come with
slotmeter, or from YAML files given by --tariffs; a given one wins over one that comes along.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where tariffs come from."""
    parser.add_argument(
        "--tariffs",
        type=Path,
        action="append",
        nargs="+",
        default=[],
        metavar="PATH",
        help="YAML tariff, or folder of them",
    )


def vectors(
    document: Mapping[str, object], options: argparse.Namespace
) -> Iterator[tuple[str, str, Callable[[], Checked]]]:
    """Return the name, kind and check of every case of a document.

    Raises:
        Refused: the document has no tariffs, a tariff or case cannot be used, or has no YAML.
    """
    from slotmeter.vending.pricing.conformance import Published, check_case

    published = _published(document, options.vectors)
    tariffs = _tariffs([path for paths in options.tariffs for path in paths])
    missing = [each for each in published if each not in tariffs]
    if missing:
        raise Refused(
            "tariff_missing",
            f"no tariff has the code of {', '.join(missing)}; give its YAML with --tariffs",
        )
    for code, entry in published.items():
        group = Published(tariffs[code], entry)
        for number, case in enumerate(_cases(code, entry), start=1):
            name = f"{code} case {number}"
            if not isinstance(case, dict):
                raise Refused("bad_vector", f"vector {name} is not an object")
            yield name, str(case.get("kind")), partial(check_case, group, case)


def _published(document: Mapping[str, object], path: Path) -> dict[str, dict[str, Any]]:
    listed = document.get("tariffs")
    if not isinstance(listed, list):
        raise Refused("no_vectors", f'{path} must be a JSON object with a list "tariffs"')
    published: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(listed, start=1):
        code = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(code, str) or not code:
            raise Refused("bad_vector", f"tariff number {number} is not an object with an id")
        if code in published:
            raise Refused("bad_vector", f"tariff number {number} has the id {code} once more")
        published[code] = entry
    if not any(_cases(code, entry) for code, entry in published.items()):
        raise Refused("no_vectors", f"{path} holds no cases, so nothing would be checked")
    return published


def _cases(code: str, entry: Mapping[str, Any]) -> list[object]:
    cases = entry.get("cases")
    if not isinstance(cases, list):
        raise Refused("bad_vector", f'tariff {code} has no list "cases"')
    return cases


def _tariffs(paths: list[Path]) -> dict[str, Tariff]:
    """Return the tariffs that come along and those given, by code; those given win."""
    from slotmeter.tariff_packs import pack_texts

    tariffs = {code: _read(text, f"pack {code}") for code, text in pack_texts().items()}
    given: dict[str, Path] = {}
    for path in _files(paths):
        tariff = _read(_text(path), str(path))
        if tariff.code in given:
            raise Refused(
                "tariff_twice", f"{given[tariff.code]} and {path} both are tariff {tariff.code}"
            )
        given[tariff.code] = path
        tariffs[tariff.code] = tariff
    return tariffs


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml"))
            if not found:
                raise Refused("file_unreadable", f"{path} holds no YAML files")
            yield from found
        else:
            yield path


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(TARIFF_BYTES_MAX + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise Refused("file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refused("file_unreadable", f"{path} is not text in UTF-8") from error
    if len(content) > TARIFF_BYTES_MAX:
        raise Refused("file_too_large", f"{path} has more than {TARIFF_BYTES_MAX} bytes")
    return text


def _read(text: str, name: str) -> Tariff:
    from slotmeter.vending.tariff.reader import read_tariff

    try:
        return read_tariff(text)[1]
    except Refused as error:
        raise Refused(error.code, f"{name}: {error.message}", field=error.field) from error
