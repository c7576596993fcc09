"""``slotmeter debt``: debts, interest on them, and accounts that may not buy."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.ports import Right
from slotmeter.units import Money, instant

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Row
    from slotmeter.services.access import Origin
    from slotmeter.services.debt_desk import DebtDesk
    from slotmeter.services.debt_terms import Books, PlanWish

__all__ = ["day", "register"]


Looking = Callable[[argparse.Namespace, "DebtDesk", "Books"], Awaitable[None]]
Acting = Callable[[argparse.Namespace, "DebtDesk", "Origin", "Books"], Awaitable[None]]


def register(subparsers: Subparsers) -> None:
    """Add ``debt``."""
    parser = subparsers.add_parser("debt", help="debts of accounts, interest, and blocks")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _register_add(actions)
    _register_changes(actions)
    _register_blocks(actions)
    listing = _looking(actions, "list", _list, "list debts, the newest first")
    add_page_options(listing)
    listing.add_argument("--account", metavar="NUMBER")
    listing.add_argument("--kind")
    listing.add_argument("--state", choices=("open", "closed", "cancelled"))
    showing = _looking(actions, "show", _show, "show a debt with its history")
    showing.add_argument("number", metavar="DEBT")


def _register_add(actions: Subparsers) -> None:
    adding = _acting(actions, "add", _add, "make a debt")
    adding.add_argument("--account", required=True, metavar="NUMBER", help="who owes")
    adding.add_argument(
        "--kind", required=True, help="arrears, loan, fine, emergency_credit or another word"
    )
    adding.add_argument("--amount", required=True, help="major units")
    adding.add_argument(
        "--number", help="yours; the same number with the same facts is the same debt"
    )
    adding.add_argument("--label", default="", help="for receipts; made from the kind if left out")
    adding.add_argument("--priority", type=int, help="smaller is taken first; by kind if left out")
    adding.add_argument("--tax-percent", metavar="PERCENT", help="tax within the amount")
    adding.add_argument("--tax", metavar="CODE", help="which tax that is; vat if left out")
    adding.add_argument("--interest", metavar="PERCENT", help="simple interest")
    adding.add_argument("--interest-per", choices=("month", "year"), default="month")
    adding.add_argument(
        "--interest-from", type=day, metavar="YYYY-MM-DD", help="first day that bears"
    )
    adding.add_argument(
        "--source",
        choices=("billed", "taken_over", "credit"),
        help="earned now; owed from before; lent into the balance that the platform holds",
    )
    _add_plan(adding)


def _register_changes(actions: Subparsers) -> None:
    arranging = _acting(actions, "arrange", _arrange, "replace a debt's plan from a day on")
    _add_plan(arranging, needed=True)
    suspending = _acting(actions, "suspend", _suspend, "take nothing for some time")
    suspending.add_argument("--starts", type=day, metavar="YYYY-MM-DD", help="now if left out")
    suspending.add_argument(
        "--until", type=day, metavar="YYYY-MM-DD", help="first day on which it is taken again"
    )
    suspending.add_argument("--no-interest", action="store_true", help="its days bear none")
    resuming = _acting(actions, "resume", _resume, "take a suspended debt again, from now on")
    cancelling = _acting(actions, "cancel", _cancel, "write a debt off")
    cancelling.add_argument(
        "--mistake", action="store_true", help="take it back, as if it had never been made"
    )
    for parser in (arranging, suspending, resuming, cancelling):
        parser.add_argument("number", metavar="DEBT")
    posting = _acting(actions, "interest", _interest, "post interest of all open debts by date")
    posting.add_argument(
        "--through", type=day, metavar="YYYY-MM-DD", help="last day; yesterday if left out"
    )


def _register_blocks(actions: Subparsers) -> None:
    for name, action, help_text in (
        ("block", _block, "stop sales to an account"),
        ("release", _release, "let a blocked account buy again"),
    ):
        parser = _acting(actions, name, action, help_text, Right.ACCOUNTS_WRITE)
        parser.add_argument("account", metavar="ACCOUNT")
    blocks = _looking(actions, "blocks", _blocks, "list blocked accounts")
    add_page_options(blocks)
    blocks.add_argument("--all", action="store_true", help="also blocks that were released")


def _add_plan(parser: argparse.ArgumentParser, *, needed: bool = False) -> None:
    parser.add_argument(
        "--plan",
        choices=("once", "percent", "instalments"),
        default="once",
        required=needed,
        help="all at the next purchase, a share of each, or fixed amounts",
    )
    parser.add_argument("--percent", help="of each purchase")
    parser.add_argument("--instalment", metavar="AMOUNT", help="major units")
    parser.add_argument("--every", choices=("purchase", "day", "week", "month"))
    parser.add_argument(
        "--missed",
        choices=("accumulate", "one_at_a_time", "skip"),
        help="instalments by date that were missed: all due at once, one at each purchase, or "
        "moved to the end",
    )
    parser.add_argument("--first", type=day, metavar="YYYY-MM-DD", help="first instalment by date")
    parser.add_argument(
        "--starts", type=day, metavar="YYYY-MM-DD", help="from this day on; now if left out"
    )


def _acting(
    actions: Subparsers,
    name: str,
    action: Acting,
    help_text: str,
    right: Right = Right.DEBTS_WRITE,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help_text)
    add_acting_options(parser)
    parser.set_defaults(run=_run_acting, action=action, right=right)
    return parser


def _looking(
    actions: Subparsers, name: str, action: Looking, help_text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help_text)
    add_looking_options(parser)
    parser.set_defaults(run=_run_looking, action=action)
    return parser


def day(text: str) -> date:
    """Read a local day of the command line."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD, got {text!r}") from error


def _run_acting(options: argparse.Namespace) -> int:
    asyncio.run(_act(options))
    return EXIT_OK


async def _act(options: argparse.Namespace) -> None:
    from slotmeter.services.access import Origin
    from slotmeter.services.debt_terms import Books

    async with open_folder(options.data) as folder:
        caller = await caller_of(options, folder, options.right)
        books = Books.of(caller.principal)
        await options.action(options, _desk(folder), Origin.of(caller), books)


def _run_looking(options: argparse.Namespace) -> int:
    asyncio.run(_look(options))
    return EXIT_OK


async def _look(options: argparse.Namespace) -> None:
    from slotmeter.services.debt_terms import Books

    async with open_folder(options.data) as folder:
        books = Books.of(await folder.utility(options))
        await options.action(options, _desk(folder), books)


def _desk(folder: OpenFolder) -> DebtDesk:
    from slotmeter.services.debt_desk import DebtDesk

    return DebtDesk.of(folder.database, folder.clock)


# --- acts -----------------------------------------------------------------------------------------


async def _add(options: argparse.Namespace, desk: DebtDesk, origin: Origin, books: Books) -> None:
    from slotmeter.services.debt_terms import InterestWish, NewDebt

    interest = None
    if options.interest is not None:
        interest = InterestWish(options.interest, options.interest_per, options.interest_from)
    new = NewDebt(
        account=options.account,
        kind=options.kind,
        amount=options.amount,
        plan=_plan(options),
        label=options.label,
        priority=options.priority,
        tax_percent=options.tax_percent,
        tax=options.tax,
        interest=interest,
        source=options.source,
        number=options.number,
        starts=options.starts,
    )
    made, is_new = await desk.debts.add(origin, books, new, reason=options.reason)
    there = "" if is_new else ", which was there already"
    _answer(options, made, f"{_amount(made)} for account {made['account']}{there}")


async def _arrange(
    options: argparse.Namespace, desk: DebtDesk, origin: Origin, books: Books
) -> None:
    row = await desk.debts.arrange(
        origin,
        books,
        options.number,
        _plan(options),
        starts=options.starts,
        reason=options.reason,
    )
    _answer(options, row, "a new plan is agreed")


async def _suspend(
    options: argparse.Namespace, desk: DebtDesk, origin: Origin, books: Books
) -> None:
    row = await desk.debts.suspend(
        origin,
        books,
        options.number,
        starts=options.starts,
        until=options.until,
        interest=not options.no_interest,
        reason=options.reason,
    )
    until = f"until {options.until}" if options.until else "until it is resumed"
    _answer(options, row, f"suspended {until}")


async def _resume(
    options: argparse.Namespace, desk: DebtDesk, origin: Origin, books: Books
) -> None:
    row = await desk.debts.resume(origin, books, options.number, reason=options.reason)
    _answer(options, row, "taken again from now on")


async def _cancel(
    options: argparse.Namespace, desk: DebtDesk, origin: Origin, books: Books
) -> None:
    how = "mistake" if options.mistake else "write_off"
    row = await desk.debts.cancel(origin, books, options.number, how=how, reason=options.reason)
    _answer(options, row, "taken back" if options.mistake else "written off")


async def _interest(
    options: argparse.Namespace, desk: DebtDesk, origin: Origin, books: Books
) -> None:
    through = options.through or desk.interest.today(books) - timedelta(days=1)
    done = await desk.interest.post(origin, books, through, reason=options.reason)
    total = Money(done.total_minor, books.currency)
    if options.json:
        document = {
            "through": through.isoformat(),
            "debts": done.debts,
            "posted": done.bearing,
            "total": str(total),
            "currency": books.currency,
        }
        print(json.dumps(document))
        return
    print(f"interest through {through}: {done.bearing:,} debts, {total} {books.currency}")


async def _block(options: argparse.Namespace, desk: DebtDesk, origin: Origin, books: Books) -> None:
    row = await desk.blocks.block(origin, books, options.account, reason=options.reason)
    _show_block(options, row)


async def _release(
    options: argparse.Namespace, desk: DebtDesk, origin: Origin, books: Books
) -> None:
    row = await desk.blocks.release(origin, books, options.account, reason=options.reason)
    _show_block(options, row)


def _plan(options: argparse.Namespace) -> PlanWish:
    from slotmeter.services.debt_terms import PlanWish

    return PlanWish(
        options.plan,
        options.percent,
        options.instalment,
        options.every,
        options.missed,
        options.first,
    )


# --- looking --------------------------------------------------------------------------------------


async def _list(options: argparse.Namespace, desk: DebtDesk, books: Books) -> None:
    page = await desk.debts.debts(
        books,
        account=options.account,
        kind=options.kind,
        state=options.state,
        before=options.before,
        limit=options.limit,
    )
    say_more(options, page.next)
    if options.json:
        print(json.dumps([_document(row) for row in page.rows], indent=2, ensure_ascii=False))
        return
    for row in page.rows:
        print(_line(row))


async def _show(options: argparse.Namespace, desk: DebtDesk, books: Books) -> None:
    history = await desk.debts.history(books, options.number)
    debt = history.debt
    if options.json:
        document = _document(debt) | {
            "log": [_log_line(line) for line in history.log],
            "movements": [_movement(row, debt["currency"]) for row in history.movements],
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    print(_line(debt))
    for plan in _document(debt)["plans"]:
        print(f"    plan from {plan['starts_at'][:10]}: {_plan_words(plan)}")
    for line in history.log:
        done = _log_line(line)
        why = f": {done['reason']}" if done["reason"] else ""
        print(f"    {done['at']}  {done['what']:10} by {done['by'] or 'the machine'}{why}")
    for row in history.movements:
        moved = _movement(row, debt["currency"])
        print(f"    {moved['at']}  {moved['what']:10} {moved['amount']:>14}  {moved['reason']}")


async def _blocks(options: argparse.Namespace, desk: DebtDesk, books: Books) -> None:
    page = await desk.blocks.blocks(
        books, only_open=not options.all, before=options.before, limit=options.limit
    )
    say_more(options, page.next)
    if options.json:
        print(json.dumps([_block_document(row) for row in page.rows], indent=2))
        return
    for row in page.rows:
        print(_block_line(row))


# --- words ----------------------------------------------------------------------------------------


def _answer(options: argparse.Namespace, row: Row, sentence: str) -> None:
    if options.json:
        print(json.dumps(_document(row), ensure_ascii=False))
    else:
        print(f"{row['number']}: {sentence}")


def _document(row: Row) -> dict[str, Any]:
    """Return a debt as the API shows it."""
    from slotmeter.api.debts import debt_line

    return debt_line(row).model_dump(mode="json", by_alias=True)


def _amount(row: Row) -> str:
    return f"{row['kind']} of {Money(row['amount_minor'], row['currency'])} {row['currency']}"


def _line(row: Row) -> str:
    left = Money(row["balance_minor"] - row["pending_minor"], row["currency"])
    return (
        f"{row['number']:14} {row['state']:10} {row['account']:14} {row['label'][:24]:24} "
        f"{left!s:>14} of {Money(row['amount_minor'], row['currency'])} {row['currency']}"
    )


def _plan_words(plan: dict[str, Any]) -> str:
    if plan["shape"] == "once":
        return "all at the next purchase"
    if plan["shape"] == "percent":
        return f"{plan['percent']} % of each purchase"
    words = f"{plan['amount']} each {plan['every']}"
    return words if plan["first"] is None else f"{words} from {plan['first']} ({plan['missed']})"


def _log_line(line: Row) -> dict[str, Any]:
    return {
        "at": f"{instant(line['at_us']):%Y-%m-%d %H:%M} UTC",
        "what": line["what"],
        "by": line["principal"],
        "reason": json.loads(line["detail"]).get("reason"),
    }


def _movement(row: Row, currency: str) -> dict[str, Any]:
    return {
        "at": f"{instant(row['at_us']):%Y-%m-%d %H:%M} UTC",
        "what": row["kind"],
        "amount": str(Money(row["amount_minor"], currency)),
        "receipt_number": row["receipt_number"],
        "reason": row["reason"],
    }


def _show_block(options: argparse.Namespace, row: Row) -> None:
    print(json.dumps(_block_document(row)) if options.json else _block_line(row))


def _block_document(row: Row) -> dict[str, Any]:
    from slotmeter.api.debts import block_line

    return block_line(row).model_dump(mode="json")


def _block_line(row: Row) -> str:
    blocked = (
        f"{row['account']}: blocked {instant(row['from_us']):%Y-%m-%d %H:%M} UTC "
        f"by {row['blocked_by']}: {row['reason']}"
    )
    if row["released_us"] is None:
        return blocked
    return (
        f"{blocked}; released {instant(row['released_us']):%Y-%m-%d %H:%M} UTC "
        f"by {row['released_by']}: {row['release_reason']}"
    )
