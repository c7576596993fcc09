"""Lists on the command line: a page at a time, and where the next one starts."""

from __future__ import annotations

import argparse
import sys
from typing import Final

__all__ = ["LIST_ROWS_MAX", "add_page_options", "say_more"]

LIST_ROWS_MAX: Final = 500
"""The longest page, and the one that is shown when none is asked for."""


def add_page_options(
    parser: argparse.ArgumentParser, cursor: str = "--before", *, is_number: bool = True
) -> None:
    """Add ``--limit`` and where a page starts; :func:`say_more` says what to give there."""
    parser.add_argument(
        "--limit",
        type=_rows,
        default=LIST_ROWS_MAX,
        metavar="N",
        help=f"rows at most, 1 to {LIST_ROWS_MAX}; default %(default)s",
    )
    parser.add_argument(
        cursor,
        type=_place if is_number else str,
        default=None if is_number else "",
        metavar="NEXT",
        help="the page after one that said so",
    )
    parser.set_defaults(page_cursor=cursor)


def say_more(options: argparse.Namespace, following: object | None) -> None:
    """Say where the next page starts, if there is one; on standard error, beside the list."""
    if following is not None:
        print(f"... and more: {options.page_cursor} {following}", file=sys.stderr)


def _rows(text: str) -> int:
    rows = int(text)
    if not 1 <= rows <= LIST_ROWS_MAX:
        raise argparse.ArgumentTypeError(f"expected 1 to {LIST_ROWS_MAX}, got {rows}")
    return rows


def _place(text: str) -> int:
    place = int(text)
    if not 0 <= place < 2**63:
        raise argparse.ArgumentTypeError(f"expected what the page before said, got {text}")
    return place
