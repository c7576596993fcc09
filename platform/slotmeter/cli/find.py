"""``slotmeter find``: a meter or a sale by what somebody has in hand."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.data_folder import add_folder_options, open_folder

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.search import Found, Hit

__all__ = ["register"]

STANDARD_INPUT = "-"
HITS_MAX = 500


def register(subparsers: Subparsers) -> None:
    """Add ``find``."""
    parser = subparsers.add_parser(
        "find",
        help="find a meter or a sale by number, name, address, receipt or token",
        description="Find meters by how their number, or that of their account or customer, "
        "begins, or by words of a name or an address; a sale by its receipt or the 20 digits of "
        "its token. Give - to read what to look for from standard input, as a token ought to be: "
        "others see the arguments of commands.",
    )
    parser.add_argument("text", nargs="+", metavar="TEXT", help="what to look for, or -")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="default %(default)s")
    parser.add_argument("--after", metavar="NEXT", help="the page after one that said so")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_folder_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    text = " ".join(options.text)
    if text == STANDARD_INPUT:
        text = sys.stdin.readline()
    found = asyncio.run(_find(options, text.strip()))
    if options.json:
        items = [_as_document(hit) for hit in found.hits]
        print(json.dumps({"items": items, "next": found.next}, indent=2, ensure_ascii=False))
    else:
        for hit in found.hits:
            print(_line(hit))
        if found.next is not None:
            print(f"there is more: --after '{found.next}'")
        if not found.hits:
            print("nothing was found")
    return EXIT_OK if found.hits else EXIT_FAILED


async def _find(options: argparse.Namespace, text: str) -> Found:
    from slotmeter.ports import Principal, Right
    from slotmeter.services.search import Search

    async with (
        open_folder(options.data) as folder,
        folder.vault() as vault,
        folder.looks() as looks,
    ):
        utility = await folder.utility(options)
        anybody = Principal(
            id=0,
            utility_id=utility.id,
            branch_id=0,
            name=folder.origin.address,
            kind="person",
            rights=frozenset(Right),
            currency=utility.currency,
            time_zone=utility.time_zone,
        )
        limit = max(1, min(options.limit, HITS_MAX))
        return await Search(looks, vault.tokens).find(
            anybody, text, after=options.after, limit=limit
        )


def _as_document(hit: Hit) -> dict[str, object]:
    from slotmeter.units import Money, iso_utc

    row = hit.row
    document = {
        "by": hit.by,
        **{name: row[name] for name in ("meter", "commodity", "area", "address")},
        **{name: row[name] for name in ("account", "customer_number", "customer")},
    }
    if "receipt_number" in row:
        document |= {
            "receipt_number": row["receipt_number"],
            "sold_at": iso_utc(row["sold_us"]),
            "tendered": str(Money(row["tender_minor"], row["currency"])),
            "sold_by": row["sold_by"],
            "state": row["state"],
        }
    return document


def _line(hit: Hit) -> str:
    said = _as_document(hit)
    place = ", ".join(
        str(said[name])
        for name in ("customer", "account", "address", "area")
        if said[name] is not None
    )
    meter = said["meter"] or "no meter"
    if "receipt_number" not in said:
        return f"{meter}  {place}  (by {hit.by})"
    return (
        f"{said['receipt_number']}  {said['sold_at']}  {said['tendered']} by {said['sold_by']}, "
        f"{said['state']}: {meter}  {place}"
    )
