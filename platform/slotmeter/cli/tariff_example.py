"""``slotmeter tariff example``: published tariffs that come along, to start from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.errors import NotFound

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers

__all__ = ["register_example"]


def register_example(actions: Subparsers) -> None:
    """Add ``example`` to the actions of ``slotmeter tariff``."""
    parser = actions.add_parser(
        "example",
        help="list the published tariffs that come along, or print one",
        description="List the published tariffs that come along as examples, or print one as it "
        "is written. No data folder is needed. The language: docs/reference/tariffs.md.",
    )
    parser.add_argument("code", metavar="CODE", nargs="?", help="print this one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_example)


def _example(options: argparse.Namespace) -> int:
    from slotmeter.tariff_packs import pack_texts

    texts = pack_texts()
    if options.code is None:
        _list(texts, as_json=options.json)
        return EXIT_OK
    if options.code not in texts:
        raise NotFound(
            "example_unknown", f"there is no example {options.code}; see `slotmeter tariff example`"
        )
    text = texts[options.code]
    if options.json:
        print(json.dumps({"code": options.code, "source": text}, ensure_ascii=False))
    else:
        print(text, end="")
    return EXIT_OK


def _list(texts: Mapping[str, str], *, as_json: bool) -> None:
    from slotmeter.vending.tariff.reader import check_tariff

    titles = {code: check_tariff(text).tariff.title for code, text in texts.items()}
    if as_json:
        listed = [{"code": code, "title": title} for code, title in titles.items()]
        print(json.dumps(listed, ensure_ascii=False))
        return
    width = max(map(len, titles))
    for code, title in titles.items():
        print(f"{code:{width}}  {title}")
