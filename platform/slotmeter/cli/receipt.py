"""``slotmeter receipt``: print, look at or explain a receipt, through the HTTP API."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from slotmeter.cli import EXIT_OK
from slotmeter.cli.sell import DEFAULT_API, Api, answer_of, api_url, read_key
from slotmeter.errors import Unavailable
from slotmeter.i18n import LANGUAGES

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers

__all__ = ["print_receipt", "register"]

FORMS = ("text58", "text80", "html", "message", "json")


def register(subparsers: Subparsers) -> None:
    """Add ``receipt``."""
    parser = subparsers.add_parser(
        "receipt",
        help="print a receipt, or explain it",
        description="Print a receipt through the HTTP API. The seller's first of each form is the "
        "original; every later one says REPRINT. --format json and --explain only look at it.",
    )
    parser.add_argument("number", metavar="NUMBER", help="the receipt's number, as R00000001")
    parser.add_argument("--api", default=DEFAULT_API, type=api_url, metavar="URL", help=DEFAULT_API)
    parser.add_argument(
        "--key-file", type=Path, required=True, metavar="FILE", help="file with the API key"
    )
    parser.add_argument(
        "--format",
        choices=FORMS,
        default="text80",
        help="paper of 58 or 80 mm, a page, a short message, or the document; text80 if not given",
    )
    parser.add_argument("--language", choices=LANGUAGES, help="the utility's if not given")
    parser.add_argument(
        "--ascii", action="store_true", help="plain letters, for printers without a code page"
    )
    parser.add_argument(
        "--explain", action="store_true", help="say step by step why it was so many units"
    )
    parser.set_defaults(run=_run)


def print_receipt(
    api: Api, number: str, form: str, language: str | None = None, *, ascii_letters: bool = False
) -> dict[str, Any]:
    """Hand a receipt out and return the answer, with its ``text``.

    Raises:
        Unavailable: ``no_answer``; printed again, the receipt may say that it is a copy.
        SlotmeterError: the server refused; the code is the server's.
    """
    letters = "ascii" if ascii_letters else "all"
    body = {"form": form, "letters": letters}
    if language is not None:
        body["language"] = language
    return answer_of(*_asked(api, "POST", f"{_path(number)}/prints", body))


def _path(number: str) -> str:
    return f"/receipts/{quote(number, safe='')}"


def _asked(
    api: Api, method: str, path: str, body: dict[str, str] | None = None
) -> tuple[int, bytes]:
    try:
        return api.call(method, path, body)
    except OSError as error:
        raise Unavailable(
            "no_answer",
            f"no answer from {api.url.netloc} ({error.strerror or error}); is the server running?",
        ) from error


def _run(options: argparse.Namespace) -> int:
    api = Api(options.api, read_key(options.key_file))
    if options.explain:
        asked = f"?language={options.language}" if options.language else ""
        path = f"{_path(options.number)}/explanation{asked}"
        for sentence in answer_of(*_asked(api, "GET", path))["sentences"]:
            print(sentence)
        return EXIT_OK
    if options.format == "json":
        document = answer_of(*_asked(api, "GET", _path(options.number)))
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return EXIT_OK
    made = print_receipt(
        api, options.number, options.format, options.language, ascii_letters=options.ascii
    )
    print(made["text"].rstrip("\n"))
    if options.format == "message":
        print(
            f"slotmeter: {made['characters']} characters in {made['encoding']}, "
            f"messages: {made['parts']}",
            file=sys.stderr,
        )
    return EXIT_OK
