"""``slotmeter correct``: sales taken back or replaced, and money given back."""

from __future__ import annotations

import argparse
import json
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from slotmeter.cli import EXIT_OK
from slotmeter.cli.float import add_acting
from slotmeter.ports import Right

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Row
    from slotmeter.services.ledger_desk import LedgerDesk
    from slotmeter.services.operations import Asked

__all__ = ["register"]


def register(subparsers: Subparsers) -> None:
    """Add ``correct``."""
    parser = subparsers.add_parser("correct", help="take sales back, replace them, refund")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    reverse = add_acting(actions, "reverse", _reverse, "take a sale back", Right.SALE_REVERSE)
    reverse.add_argument("receipt", metavar="RECEIPT")
    _add_declared(reverse)
    reverse.add_argument("--paid-by", choices=("till", "bank"), default="till")
    refund = add_acting(actions, "refund", _refund, "give back held money", Right.REFUND)
    refund.add_argument("account", metavar="ACCOUNT")
    refund.add_argument("amount", metavar="AMOUNT", help="major units")
    refund.add_argument(
        "--held-as",
        choices=("kept", "credit"),
        default="kept",
        help="kept from a purchase for the next, or credit that the platform holds",
    )
    refund.add_argument("--paid-by", choices=("till", "bank"), default="till")
    _register_replace(actions)


def _add_declared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--declared",
        default="",
        metavar="BY_WHOM",
        help="who says that the token was not used; left out where the meter's report shows it",
    )


def _register_replace(actions: Subparsers) -> None:
    from pathlib import Path

    from slotmeter.cli.sell import DEFAULT_API, api_url

    replace = actions.add_parser("replace", help="sell to the right meter instead")
    replace.add_argument("receipt", metavar="RECEIPT", help="of the sale for the wrong meter")
    replace.add_argument("--meter", required=True, help="the right one")
    _add_declared(replace)
    replace.add_argument("--reason", required=True, help="recorded with the act")
    replace.add_argument(
        "--request-id", help="yours; the same one again is the same operation. Made up if left out"
    )
    replace.add_argument(
        "--api",
        type=api_url,
        metavar="URL",
        default=DEFAULT_API,
        help=f"the server that makes the token; {DEFAULT_API}",
    )
    replace.add_argument("--key-file", type=Path, metavar="FILE", required=True)
    replace.add_argument("--json", action="store_true", help="print JSON")
    replace.set_defaults(run=_run_replace)


async def _reverse(options: argparse.Namespace, desk: LedgerDesk, asked: Asked) -> Row:
    from slotmeter.services.reversal import ReversalWish

    wish = ReversalWish(options.receipt, options.declared, options.paid_by)
    row, _ = await desk.reversals.reverse(asked, wish)
    return row


async def _refund(options: argparse.Namespace, desk: LedgerDesk, asked: Asked) -> Row:
    from slotmeter.services.refunds import RefundWish

    wish = RefundWish(options.account, options.amount, options.held_as, options.paid_by)
    row, _ = await desk.refunds.refund(asked, wish)
    return row


def _run_replace(options: argparse.Namespace) -> int:
    from slotmeter.cli.sell import Api, answer_of, read_key

    api = Api(options.api, read_key(options.key_file))
    request: dict[str, Any] = {
        "request_id": options.request_id or f"cli-{secrets.token_hex(12)}",
        "meter": options.meter,
        "declared": options.declared,
        "reason": options.reason,
    }
    path = f"/receipts/{quote(options.receipt, safe='')}/replacement"
    done = answer_of(*api.call("POST", path, request))
    if options.json:
        print(json.dumps(done, indent=2))
        return EXIT_OK
    sale = done["sale"]
    number = done["operation"]["number"]
    print(f"{number}: {options.receipt} is replaced by {sale['receipt_number']}")
    for token in sale["tokens"]:
        print(f"  {token['purpose']:10} {token['digits']}")
    return EXIT_OK
