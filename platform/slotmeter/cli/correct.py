"""``slotmeter correct``: sales taken back or replaced, and money given back."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Mapping
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
    _register_swap(actions)


def _add_declared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--declared",
        default="",
        metavar="BY_WHOM",
        help="who says that the token was not used; left out where the meter's report shows it",
    )


def _over_api(actions: Subparsers, name: str, help_text: str) -> argparse.ArgumentParser:
    """Add an action that a running server does, since it needs its keys."""
    from pathlib import Path

    from slotmeter.cli.sell import DEFAULT_API, api_url

    parser = actions.add_parser(name, help=help_text)
    parser.add_argument("--reason", required=True, help="recorded with the act")
    parser.add_argument(
        "--request-id", help="yours; the same one again is the same operation. Made up if left out"
    )
    parser.add_argument(
        "--api", type=api_url, metavar="URL", default=DEFAULT_API, help=f"{DEFAULT_API}"
    )
    parser.add_argument("--key-file", type=Path, metavar="FILE", required=True)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _register_replace(actions: Subparsers) -> None:
    replace = _over_api(actions, "replace", "sell to the right meter instead")
    replace.add_argument("receipt", metavar="RECEIPT", help="of the sale for the wrong meter")
    replace.add_argument("--meter", required=True, help="the right one")
    _add_declared(replace)
    replace.set_defaults(run=_run_replace)


def _register_swap(actions: Subparsers) -> None:
    swap = _over_api(actions, "swap", "another meter at the same place; its credit moves once")
    swap.add_argument("old", metavar="METER", help="the meter that is taken off")
    swap.add_argument("--new", required=True, metavar="METER", help="the one that is put on")
    swap.add_argument(
        "--credit", default="0", help="kWh or m³ (or money) that the old one still held"
    )
    swap.add_argument("--old-register", metavar="READING", help="kWh or m³ on its counter")
    swap.add_argument("--new-register", metavar="READING")
    swap.add_argument(
        "--coding",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="of the meter file, for a meter that is not known yet: its key where it is not the "
        "old one's, and its device",
    )
    swap.set_defaults(run=_run_swap)


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


def _posted(options: argparse.Namespace, path: str, **request: Any) -> dict[str, Any]:
    from slotmeter.cli.sell import Api, answer_of, read_key

    api = Api(options.api, read_key(options.key_file))
    body = {
        "request_id": options.request_id or f"cli-{secrets.token_hex(12)}",
        "reason": options.reason,
        **request,
    }
    return answer_of(*api.call("POST", path, body))


def _run_replace(options: argparse.Namespace) -> int:
    path = f"/receipts/{quote(options.receipt, safe='')}/replacement"
    done = _posted(options, path, meter=options.meter, declared=options.declared)
    if options.json:
        print(json.dumps(done, indent=2))
        return EXIT_OK
    sale = done["sale"]
    number = done["operation"]["number"]
    mark = _mark(sale)
    print(f"{mark}{number}: {options.receipt} is replaced by {sale['receipt_number']}")
    for token in sale["tokens"]:
        print(f"  {token['purpose']:10} {token['digits']}")
    return EXIT_OK


def _mark(answer: Mapping[str, Any]) -> str:
    return "*** TRAINING *** " if answer["mark"] else ""


def _run_swap(options: argparse.Namespace) -> int:
    coding = dict(text.split("=", 1) if "=" in text else (text, "") for text in options.coding)
    done = _posted(
        options,
        f"/meters/{quote(options.old, safe='')}/swap",
        new=options.new,
        credit=options.credit,
        old_register=options.old_register,
        new_register=options.new_register,
        coding=coding,
    )
    if options.json:
        print(json.dumps(done, indent=2))
        return EXIT_OK
    mark = _mark(done)
    print(f"{mark}{done['operation']['number']}: {options.old} is swapped for {options.new}")
    if done["token"] is not None:
        print(f"  token for what was left: {done['token']}")
    for receipt in done["operation"]["detail"]["unused_receipts"]:
        print(f"  bought for the old meter and never typed: {receipt}")
    return EXIT_OK
