"""Files of debts, free units and classes that stop and go on: each row once, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Conflict, Unavailable
from slotmeter.services import account_file, debt_import
from slotmeter.services.account_file import FileDone, class_file, free_file
from slotmeter.services.classes import Classes
from slotmeter.services.debt_import import DebtImport
from slotmeter.services.free_units import FreeUnitsOffice
from slotmeter.services.import_jobs import FileJob, ImportJobs
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.testing.debt_office import DebtOffice, open_debt_office

pytestmark = pytest.mark.both_databases

ACCOUNTS = 12
BATCH_ROWS = 5
KINDS = ("debts", "free_units", "classes")
HEADINGS = {
    "debts": "number,account,kind,amount",
    "free_units": "account,code,from,evidence",
    "classes": "account,class,from",
}
WRITTEN = {
    "debts": "SELECT count(*) FROM debt",
    "free_units": "SELECT count(*) FROM free_registration",
    "classes": "SELECT count(*) FROM account_class",
}
JOB = "SELECT state, row_done, added, already_there, bad_rows FROM import_job ORDER BY id"


class Stopped(Exception):
    """Somebody pulled the plug."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (account_file, debt_import):
        monkeypatch.setattr(module, "BATCH_ROWS", BATCH_ROWS)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        for _ in range(ACCOUNTS):
            await opened.shop.utility.add_meter(online=False)
        shop = opened.shop
        boss = await shop.utility.add_principal("Boss")
        await Classes(shop.database, shop.clock).create(boss, "poor", "Poor", reason="test")
        yield opened


def text_of(kind: str, count: int = ACCOUNTS) -> str:
    accounts = [f"A{at:04d}" for at in range(1, count + 1)]
    rows = {
        "debts": [f"OLD-{each},{each},arrears,10.00" for each in accounts],
        "free_units": [f"{each},fbe,2026-12-01,list 7" for each in accounts],
        "classes": [f"{each},poor,2026-12-01" for each in accounts],
    }
    return "\n".join([HEADINGS[kind], *rows[kind], ""])


async def bring_in(
    office: DebtOffice,
    kind: str,
    text: str,
    *,
    progress: Callable[[int], None] = lambda _done: None,
    resumed: list[int] | None = None,
    accept_good: bool = False,
) -> FileDone:
    """Import as the commands do."""
    shop, books = office.shop, office.books
    caller = office.clerk
    job = FileJob(
        ImportJobs(shop.database, shop.clock, books.utility_id),
        office.origin,
        kind,
        "old.csv",
        reason="test",
        on_resumed=(resumed if resumed is not None else []).append,
    )
    parts = (shop.database, shop.clock)
    how: dict[str, Any] = {"accept_good": accept_good, "progress": progress, "job": job}
    content = text.encode()
    if kind == "debts":
        importing = DebtImport(*parts, office.origin, books)
        return await importing.run(content, reason="test", **how)
    if kind == "free_units":
        registering = free_file(shop.database, FreeUnitsOffice(*parts), caller, reason="test")
        return await registering.run(content, **how)
    today = shop.clock.now().date()
    classing = class_file(shop.database, Classes(*parts), caller, today=today, reason="test")
    return await classing.run(content, **how)


def stop_in_writing(office: DebtOffice, kind: str) -> Callable[[int], None]:
    """Stop as soon as anything is written."""

    def progress(_done: int) -> None:
        if office.shop.column(WRITTEN[kind]) != [0]:
            raise Stopped

    return progress


@pytest.mark.parametrize("kind", KINDS)
async def test_an_import_that_stopped_goes_on_where_it_was(office: DebtOffice, kind: str) -> None:
    with pytest.raises(Stopped):
        await bring_in(office, kind, text_of(kind), progress=stop_in_writing(office, kind))
    stopped = office.shop.column(WRITTEN[kind])
    job = [*office.shop.rows_of(JOB)]
    resumed: list[int] = []

    done = await bring_in(office, kind, text_of(kind), resumed=resumed)

    assert stopped == [BATCH_ROWS]
    assert [(row["state"], row["row_done"]) for row in job] == [("running", BATCH_ROWS + 1)]
    assert resumed == [BATCH_ROWS + 1]
    assert (done.rows, done.written, done.already_there) == (ACCOUNTS, ACCOUNTS - BATCH_ROWS, 0)
    assert office.shop.column(WRITTEN[kind]) == [ACCOUNTS]
    assert [tuple(row.values()) for row in office.shop.rows_of(JOB)] == [
        ("done", ACCOUNTS + 1, ACCOUNTS, 0, 0)
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_that_is_given_twice_is_one(office: DebtOffice, kind: str) -> None:
    await bring_in(office, kind, text_of(kind))

    again = await bring_in(office, kind, text_of(kind))

    assert (again.written, again.already_there, again.problems) == (0, ACCOUNTS, ())
    assert office.shop.column(WRITTEN[kind]) == [ACCOUNTS]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_cut_between_rows_is_made_whole_by_the_whole_file(
    office: DebtOffice, kind: str
) -> None:
    await bring_in(office, kind, text_of(kind, 7))

    whole = await bring_in(office, kind, text_of(kind))

    assert (whole.written, whole.already_there) == (ACCOUNTS - 7, 7)
    assert office.shop.column(WRITTEN[kind]) == [ACCOUNTS]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_cut_within_a_row_writes_nothing(office: DebtOffice, kind: str) -> None:
    cut = text_of(kind).rpartition(",")[0]

    done = await bring_in(office, kind, cut)

    assert [(each.row, each.field) for each in done.problems] == [(ACCOUNTS + 1, "row")]
    assert office.shop.column(WRITTEN[kind]) == [0]
    assert office.shop.rows_of(JOB) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_two_who_bring_in_one_file_at_once_write_each_row_once(
    office: DebtOffice, kind: str
) -> None:
    done = await asyncio.gather(
        *(bring_in(office, kind, text_of(kind)) for _ in range(2)), return_exceptions=True
    )
    refused = [each for each in done if isinstance(each, Conflict)]
    rest = await bring_in(office, kind, text_of(kind))

    assert [each.code for each in refused] in ([], ["changed_meanwhile"])
    assert rest.problems == ()
    assert office.shop.column(WRITTEN[kind]) == [ACCOUNTS]


@pytest.mark.parametrize("kind", ["free_units", "classes"])
async def test_a_row_that_a_busy_database_did_not_take_is_written_when_the_import_goes_on(
    office: DebtOffice, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Any = office.shop.database
    run, calls = database.run, iter(range(1_000))

    async def busy(*args: Any, **how: Any) -> Any:
        if next(calls) == BATCH_ROWS // 2:
            raise Unavailable("database_busy", "too many changes wait; try again")
        return await run(*args, **how)

    monkeypatch.setattr(database, "run", busy)
    with pytest.raises(Unavailable):
        await bring_in(office, kind, text_of(kind))
    monkeypatch.setattr(database, "run", run)

    done = await bring_in(office, kind, text_of(kind))

    assert done.problems == ()
    assert office.shop.column(WRITTEN[kind]) == [ACCOUNTS]


async def test_a_bad_row_is_kept_with_the_job(office: DebtOffice) -> None:
    text = text_of("debts") + "OLD-X,A9999,arrears,10.00\n"

    done = await bring_in(office, "debts", text, accept_good=True)

    [job] = await ImportJobs(
        office.shop.database, office.shop.clock, office.books.utility_id
    ).jobs()
    assert (done.written, done.bad_rows, job["bad_rows"]) == (ACCOUNTS, 1, 1)
    assert office.shop.column("SELECT code FROM import_problem") == ["account_unknown"]


async def test_the_books_hold_after_an_import_that_stopped(office: DebtOffice) -> None:
    progress = stop_in_writing(office, "debts")
    with pytest.raises(Stopped):
        await bring_in(office, "debts", text_of("debts"), progress=progress)
    await bring_in(office, "debts", text_of("debts"))

    utility = await Registry(office.shop.database, office.shop.clock).utility("small")
    verdict = await verify_ledger(office.shop.database, office.shop.clock, utility)
    assert [each.sentence for each in verdict.sentences if not each.holds] == []
    balances = "SELECT sum(balance_minor) FROM ledger_account WHERE code LIKE 'debt:%'"
    assert [int(each) for each in office.shop.column(balances)] == [ACCOUNTS * 10_00]
