"""Actions of ``slotmeter ledger`` beside the check: balances, periods, the journal, operations."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of, one_line
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.debt import day
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.ports import Right
from slotmeter.units import Money, iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Row
    from slotmeter.ports.looking import Looks
    from slotmeter.services.debt_terms import Books
    from slotmeter.services.journal_export import JournalExport, Totals
    from slotmeter.services.ledger_desk import LedgerDesk

__all__ = [
    "add_looking",
    "desk_of",
    "operation_document",
    "operation_text",
    "register_books",
]

COLUMNS = (
    *("journal", "at", "kind", "reason", "receipt_number", "by"),
    *("account", "title", "debit", "credit", "currency"),
)

Looking = Callable[[argparse.Namespace, "LedgerDesk", "Books"], Awaitable[int]]


def register_books(actions: Subparsers) -> None:
    """Add the actions."""
    balance = add_looking(actions, "balance", _balance, "the trial balance")
    balance.add_argument("--from", dest="first", type=day, metavar="YYYY-MM-DD", help="local day")
    balance.add_argument(
        "--through", type=day, metavar="YYYY-MM-DD", help="last local day; now if left out"
    )
    accounts = add_looking(actions, "accounts", _accounts, "ledger accounts as they stand now")
    accounts.add_argument("--family", default="", help="till, debt, income, customer, ...")
    add_page_options(accounts, "--after", is_number=False)
    add_page_options(add_looking(actions, "periods", _periods, "closed periods, the newest first"))
    listing = add_looking(actions, "operations", _operations, "corrections, deposits, refunds, ...")
    listing.add_argument("--kind", help="reversal, replacement, pay_in, limit, refund, ...")
    add_page_options(listing)
    showing = add_looking(actions, "show", _show, "one operation")
    showing.add_argument("number", metavar="NUMBER")
    export = add_looking(actions, "export", _export, "the journal of a time, with its totals")
    export.add_argument("--from", dest="first", type=day, required=True, metavar="YYYY-MM-DD")
    export.add_argument("--through", type=day, required=True, metavar="YYYY-MM-DD")
    export.add_argument("--format", choices=("csv", "json"), default="csv")
    export.add_argument("--out", type=Path, metavar="FILE", help="the standard output if left out")
    closing = actions.add_parser("close", help="close the books through a day")
    add_acting_options(closing)
    closing.add_argument("--through", type=day, required=True, metavar="YYYY-MM-DD")
    closing.set_defaults(run=_run_close)


def add_looking(
    actions: Subparsers, name: str, action: Looking, help_text: str
) -> argparse.ArgumentParser:
    """Add an action that only looks."""
    parser = actions.add_parser(name, help=help_text)
    add_looking_options(parser)
    parser.set_defaults(run=_run_looking, action=action)
    return parser


def desk_of(folder: OpenFolder, looks: Looks | None = None) -> LedgerDesk:
    """Return the services of the ledger, with what reports are read by if that is not the folder's
    database."""
    from slotmeter.services.ledger_desk import LedgerDesk

    return LedgerDesk.of(folder.database, folder.clock, looks=looks)


def _run_looking(options: argparse.Namespace) -> int:
    return asyncio.run(_look(options))


async def _look(options: argparse.Namespace) -> int:
    from slotmeter.services.debt_terms import Books

    async with open_folder(options.data) as folder, folder.looks() as looks:
        books = Books.of(await folder.utility(options))
        done: int = await options.action(options, desk_of(folder, looks), books)
        return done


def _run_close(options: argparse.Namespace) -> int:
    asyncio.run(_close(options))
    return EXIT_OK


async def _close(options: argparse.Namespace) -> None:
    from slotmeter.services.operations import Asked

    async with open_folder(options.data) as folder:
        caller = await caller_of(options, folder, Right.LEDGER_CLOSE)
        asked = Asked(caller, f"close:{options.through}", options.reason)
        row, is_new = await desk_of(folder).periods.close(asked, options.through)
    if options.json:
        print(json.dumps(_period_document(row), indent=2))
        return
    what = "closed" if is_new else "were closed already"
    print(f"the books {what} through {row['through_day']}: {row['journals']} entries")
    print(f"digest {row['digest']}")


# --- looking --------------------------------------------------------------------------------------


def _times(options: argparse.Namespace, books: Books) -> tuple[int | None, int | None]:
    """Return the instants of the local days asked for."""
    from datetime import timedelta

    from slotmeter.vending.debt_plans import day_start_us

    first, through = options.first, options.through
    from_us = None if first is None else day_start_us(first, books.zone)
    to_us = None if through is None else day_start_us(through + timedelta(days=1), books.zone)
    return from_us, to_us


async def _balance(options: argparse.Namespace, desk: LedgerDesk, books: Books) -> int:
    from_us, to_us = _times(options, books)
    found = await desk.balances.balance(books, from_us=from_us, to_us=to_us)
    rows = [
        {
            "code": line.code,
            "title": line.title,
            "kind": line.kind,
            "currency": line.currency,
            "opening": str(Money(line.opening_minor, line.currency)),
            "debits": str(Money(line.debits_minor, line.currency)),
            "credits": str(Money(line.credits_minor, line.currency)),
            "closing": str(Money(line.closing_minor, line.currency)),
        }
        for line in found.lines
    ]
    balanced = not found.differences
    if options.json:
        print(json.dumps({"items": rows, "balanced": balanced}, indent=2))
    else:
        columns = ("opening", "debits", "credits", "closing")
        print(f"{'':32} {'':28}" + "".join(f"{name:>16}" for name in columns))
        for row in rows:
            amounts = "".join(f"{row[name]:>16}" for name in columns)
            print(f"{row['code']:32} {one_line(row['title'], 28):28}{amounts}")
        print("the books balance" if balanced else f"the books do NOT balance: {found.differences}")
    return EXIT_OK if balanced else EXIT_FAILED


async def _accounts(options: argparse.Namespace, desk: LedgerDesk, books: Books) -> int:
    page = await desk.balances.accounts(
        books, family=options.family, after=options.after, limit=options.limit
    )
    rows = [
        {"code": row["code"], "balance": str(Money(row["balance_minor"], row["currency"]))}
        for row in page.rows
    ]
    if options.json:
        print(json.dumps({"items": rows, "next": page.next}, indent=2))
        return EXIT_OK
    for row in rows:
        print(f"{row['code']:40} {row['balance']:>16}")
    say_more(options, page.next)
    return EXIT_OK


async def _periods(options: argparse.Namespace, desk: LedgerDesk, books: Books) -> int:
    page = await desk.periods.periods(books, before_us=options.before, limit=options.limit)
    say_more(options, page.next)
    if options.json:
        print(json.dumps([_period_document(row) for row in page.rows], indent=2))
        return EXIT_OK
    for row in page.rows:
        print(
            f"through {row['through_day']}  {row['journals']:>8} entries  {row['digest'][:16]}  "
            f"{row['closed_by']}: {one_line(row['reason'])}"
        )
    return EXIT_OK


def _period_document(row: Row) -> dict[str, Any]:
    return {
        "through": row["through_day"],
        "to_at": iso_utc(row["to_us"]),
        "journals": row["journals"],
        "postings": row["postings"],
        "digest": row["digest"],
        "closed_at": iso_utc(row["closed_us"]),
        "closed_by": row["closed_by"],
        "reason": row["reason"],
    }


async def _operations(options: argparse.Namespace, desk: LedgerDesk, books: Books) -> int:
    page = await desk.operations.operations(
        books.utility_id, kind=options.kind, before=options.before, limit=options.limit
    )
    say_more(options, page.next)
    if options.json:
        print(json.dumps([operation_document(row) for row in page.rows], indent=2))
        return EXIT_OK
    for row in page.rows:
        amount = Money(row["amount_minor"], row["currency"])
        print(
            f"{row['number']}  {iso_utc(row['at_us'])[:19]}  {row['kind']:12} "
            f"{one_line(row['subject'], 24):24} {amount!s:>14}  {row['done_by']}: "
            f"{one_line(row['reason'], 40)}"
        )
    return EXIT_OK


async def _show(options: argparse.Namespace, desk: LedgerDesk, books: Books) -> int:
    row = await desk.operations.operation(books.utility_id, options.number)
    if options.json:
        print(json.dumps(operation_document(row), indent=2))
    else:
        print(operation_text(row))
    return EXIT_OK


def operation_document(row: Row) -> dict[str, Any]:
    """Return an operation as a JSON document."""
    names = ("number", "kind", "subject", "request_id", "branch", "account", "receipt_number")
    return {
        **{name: row[name] for name in names},
        "new_receipt_number": row["new_receipt_number"],
        "amount": str(Money(row["amount_minor"], row["currency"])),
        "currency": row["currency"],
        "reason": row["reason"],
        "detail": json.loads(row["detail"]),
        "done_at": iso_utc(row["at_us"]),
        "done_by": row["done_by"],
    }


def operation_text(row: Row) -> str:
    """Return an operation as a slip for the file."""
    document = operation_document(row)
    detail = document.pop("detail")
    postings = detail.pop("postings", [])
    facts = {**document, **{name: value for name, value in detail.items() if value != ""}}
    lines = [
        f"{name.replace('_', ' '):20} {value}"
        for name, value in facts.items()
        if value is not None and not isinstance(value, list | dict)
    ]
    for code, minor in postings:
        lines.append(f"  {code:32} {Money(minor, row['currency'])!s:>16}")
    return "\n".join(lines)


# --- the journal ----------------------------------------------------------------------------------


async def _export(options: argparse.Namespace, desk: LedgerDesk, books: Books) -> int:
    from slotmeter.services.journal_export import Totals

    from_us, to_us = _times(options, books)
    if from_us is None or to_us is None:
        raise AssertionError("both days are needed")
    totals = Totals()
    write = _write_json if options.format == "json" else _write_csv
    with _opened(options.out) as file:
        await write(file, desk.journal, books, (from_us, to_us), totals)
    debits = ", ".join(
        f"{Money(minor, currency)} {currency}" for currency, minor in totals.debits.items()
    )
    balanced = totals.debits == totals.credits
    print(
        f"{totals.journals} entries, {totals.postings} postings, debits {debits or '0'}"
        f"{'' if balanced else ', and the credits are NOT the same'}",
        file=sys.stderr,
    )
    return EXIT_OK if balanced else EXIT_FAILED


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        yield file


def _cells(row: Row) -> dict[str, Any]:
    from slotmeter.vending.ledger import account_title

    amount = row["amount_minor"]
    text = str(Money(abs(amount), row["currency"]))
    return {
        "journal": row["journal_id"],
        "at": iso_utc(row["at_us"]),
        "kind": row["kind"],
        "reason": row["reason"],
        "receipt_number": row["receipt_number"],
        "by": row["principal"],
        "account": row["code"],
        "title": account_title(row["code"]),
        "debit": text if amount > 0 else "",
        "credit": text if amount < 0 else "",
        "currency": row["currency"],
    }


async def _write_csv(
    file: IO[str], journal: JournalExport, books: Books, times: tuple[int, int], totals: Totals
) -> None:
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    async for row in journal.rows(books, *times, totals):
        cells = _cells(row)
        writer.writerow({name: _plain(value) for name, value in cells.items()})


def _plain(value: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@"} else value


async def _write_json(
    file: IO[str], journal: JournalExport, books: Books, times: tuple[int, int], totals: Totals
) -> None:
    file.write('{"postings": [')
    comma = "\n"
    async for row in journal.rows(books, *times, totals):
        file.write(f"{comma}{json.dumps(_cells(row), ensure_ascii=False)}")
        comma = ",\n"

    def text(sums: dict[str, int]) -> dict[str, str]:
        return {currency: str(Money(minor, currency)) for currency, minor in sums.items()}

    document = {
        "journals": totals.journals,
        "postings": totals.postings,
        "debits": text(totals.debits),
        "credits": text(totals.credits),
    }
    file.write(f'\n], "totals": {json.dumps(document)}}}\n')
