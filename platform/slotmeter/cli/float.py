"""``slotmeter float``: what sellers owe, may owe, pay in and earn."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, caller_of
from slotmeter.cli.books import add_looking, desk_of, operation_document, operation_text
from slotmeter.cli.data_folder import open_folder
from slotmeter.cli.debt import day
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.ports import Right
from slotmeter.units import Money, iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Row
    from slotmeter.services.debt_terms import Books
    from slotmeter.services.ledger_desk import LedgerDesk
    from slotmeter.services.operations import Asked

__all__ = ["add_acting", "register"]


Acting = Callable[[argparse.Namespace, "LedgerDesk", "Asked"], Awaitable["Row | None"]]


def register(subparsers: Subparsers) -> None:
    """Add ``float``."""
    parser = subparsers.add_parser("float", help="the float of sellers, and their commission")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = add_looking(actions, "list", _list, "what each seller owes, and may still take in")
    add_page_options(listing, "--after", is_number=False)
    deposit = add_acting(actions, "deposit", _deposit, "book a deposit slip", Right.FLOAT_DEPOSIT)
    deposit.add_argument("branch", metavar="BRANCH")
    deposit.add_argument("--amount", required=True, help="major units")
    deposit.add_argument("--slip", required=True, metavar="REFERENCE", help="each counts once")
    limit = add_acting(actions, "limit", _limit, "how much a seller may owe", Right.FLOAT_LIMIT)
    limit.add_argument("branch", metavar="BRANCH")
    limit.add_argument("amount", metavar="AMOUNT", help="major units, or none")
    plan = add_acting(
        actions, "commission", _commission, "how a seller is paid", Right.COMMISSION_WRITE
    )
    plan.add_argument("branch", metavar="BRANCH")
    plan.add_argument("when", choices=("sale", "settlement", "none"), metavar="WHEN")
    plan.add_argument(
        "--percent",
        action="append",
        default=[],
        metavar="[FROM:]PERCENT",
        help="of the tender; repeated with FROM for a sliding scale, as 0:3 10000:2",
    )
    plan.add_argument(
        "--per-unit", action="append", default=[], metavar="COMMODITY=AMOUNT", help="each kWh or m³"
    )
    plan.add_argument("--per-sale", default="0", metavar="AMOUNT")
    plan.add_argument("--starts", type=day, metavar="YYYY-MM-DD", help="now if left out")
    settle = add_acting(
        actions, "settle", _settle, "book what a seller earned", Right.COMMISSION_WRITE
    )
    settle.add_argument("branch", metavar="BRANCH")
    settle.add_argument("--through", type=day, required=True, metavar="YYYY-MM-DD")
    add_page_options(add_looking(actions, "plans", _plans, "how sellers are and were paid"))


def add_acting(
    actions: Subparsers, name: str, action: Acting, help_text: str, right: Right
) -> argparse.ArgumentParser:
    """Add an action on the ledger."""
    parser = actions.add_parser(name, help=help_text)
    add_acting_options(parser)
    parser.add_argument(
        "--request-id",
        help="yours; the same one again is the same operation. Made up if left out",
    )
    parser.set_defaults(run=_run_acting, action=action, right=right)
    return parser


def _run_acting(options: argparse.Namespace) -> int:
    asyncio.run(_act(options))
    return EXIT_OK


async def _act(options: argparse.Namespace) -> None:
    from slotmeter.services.operations import Asked

    async with open_folder(options.data) as folder:
        caller = await caller_of(options, folder, options.right)
        request_id = options.request_id or f"cli-{secrets.token_hex(12)}"
        asked = Asked(caller, request_id, options.reason)
        row = await options.action(options, desk_of(folder), asked)
    if row is None:
        return
    if options.json:
        print(json.dumps(operation_document(row), indent=2))
    else:
        print(operation_text(row))


async def _deposit(options: argparse.Namespace, desk: LedgerDesk, asked: Asked) -> Row:
    row, _ = await desk.floats.pay_in(asked, options.branch, options.amount, options.slip)
    return row


async def _limit(options: argparse.Namespace, desk: LedgerDesk, asked: Asked) -> Row:
    wanted = None if options.amount == "none" else options.amount
    row, _ = await desk.floats.set_limit(asked, options.branch, wanted)
    return row


async def _commission(options: argparse.Namespace, desk: LedgerDesk, asked: Asked) -> None:
    from slotmeter.services.commission import PlanWish

    wish = None
    if options.when != "none":
        bands = [_band(text) for text in options.percent]
        per_unit = dict(_pair(text) for text in options.per_unit)
        wish = PlanWish(options.when, bands, per_unit, options.per_sale)
    await desk.commissions.set_plan(asked, options.branch, wish, starts=options.starts)
    print(f"{options.branch} is paid so from {options.starts or 'now'} on")


def _band(text: str) -> tuple[str, str]:
    start, colon, percent = text.partition(":")
    return (start, percent) if colon else ("0", text)


def _pair(text: str) -> tuple[str, str]:
    name, _, amount = text.partition("=")
    return name, amount


async def _settle(options: argparse.Namespace, desk: LedgerDesk, asked: Asked) -> Row:
    row, _ = await desk.commissions.settle(asked, options.branch, options.through)
    return row


async def _list(options: argparse.Namespace, desk: LedgerDesk, books: Books) -> int:
    from slotmeter.services.float_accounts import float_left

    page = await desk.floats.floats(books, after=options.after, limit=options.limit)
    say_more(options, page.next)

    def money(minor: int | None) -> str | None:
        return None if minor is None else str(Money(minor, books.currency))

    rows = [
        {
            "branch": row["branch"],
            "owes": money(row["balance_minor"] or 0),
            "reserved": money(row["reserved_minor"] or 0),
            "limit": money(row["limit_minor"]),
            "left": money(float_left(row)),
        }
        for row in page.rows
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return EXIT_OK
    print(f"{'branch':24} {'owes':>14} {'limit':>14} {'left':>14}")
    for row in rows:
        limit, left = row["limit"] or "none", row["left"] or ""
        print(f"{row['branch']:24} {row['owes']:>14} {limit:>14} {left:>14}")
    return EXIT_OK


async def _plans(options: argparse.Namespace, desk: LedgerDesk, books: Books) -> int:
    page = await desk.commissions.plans(books, before=options.before, limit=options.limit)
    say_more(options, page.next)
    rows = [
        {
            "branch": row["branch"],
            "starts_at": iso_utc(row["from_us"]),
            "plan": None if row["body"] is None else json.loads(row["body"]),
            "set_by": row["set_by"],
            "reason": row["reason"],
        }
        for row in page.rows
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return EXIT_OK
    for row in rows:
        plan = "no commission" if row["plan"] is None else json.dumps(row["plan"])
        print(f"{row['branch']:16} from {row['starts_at'][:19]}  {plan}  ({row['set_by']})")
    return EXIT_OK
