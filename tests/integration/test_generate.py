"""A generated utility: it holds together, it is priced as ever, its tokens work, it sells on."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.generate_progress import GenerateProgress
from slotmeter.errors import Unavailable
from slotmeter.ports import SealedDigits
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.runtime.generate import generate
from slotmeter.runtime.generate_plan import Plan, vending_key
from slotmeter.runtime.generate_sales import CHECK_EVERY, Past
from slotmeter.runtime.generate_setup import prepare
from slotmeter.runtime.repricing import verify_sales
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.storage.audit_sqlite import SqliteAuditReader
from slotmeter.storage.bulk import TableRows
from slotmeter.storage.bulk_moulds import Mould, Rows
from slotmeter.storage.bulk_sqlite import BulkFile
from slotmeter.storage.data_files import DATABASE_FILE
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.vending.sts import KeyParameters, Register, ResultCode, StsMeter, derive_decoder_key
from slotmeter.vending.sts.meter_state import MeterConfig

METERS, SALES, SEED = 40, 130, 5
EVER_US = 2**62


def make(folder: Path, *more: str) -> int:
    wanted = ("--meters", str(METERS), "--sales", str(SALES), "--seed", str(SEED))
    return main(["generate", "--data", str(folder), *wanted, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("generated") / "data"
    assert make(made) == EXIT_OK
    return made


@pytest.fixture
async def opened(folder: Path) -> AsyncIterator[OpenFolder]:
    async with open_folder(folder) as found:
        yield found


def rows_of(folder: Path, sql: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        return connection.execute(sql, values).fetchall()


async def test_there_are_as_many_meters_and_sales_as_wanted(folder: Path) -> None:
    assert rows_of(folder, "SELECT count(*) FROM meter") == [(METERS,)]
    assert rows_of(folder, "SELECT count(*) FROM sale WHERE state = 'issued'") == [(SALES,)]


async def test_the_ledger_holds(opened: OpenFolder) -> None:
    utility = await opened.registry.utility(None)

    verdict = await verify_ledger(opened.database, opened.clock, utility)

    assert [each for each in verdict.sentences if not each.holds] == []
    assert verdict.figures["sales_issued"] == SALES


def test_the_audit_holds_and_speaks_of_every_sale(folder: Path) -> None:
    verdict = verify_audit(partial(SqliteAuditReader, folder / DATABASE_FILE), processes=1)

    assert verdict.breaks == []
    assert verdict.rows > 10 * SALES


async def test_every_sale_is_priced_again_to_the_same(opened: OpenFolder) -> None:
    utility = await opened.registry.utility(None)

    verified = verify_sales(
        opened.path / DATABASE_FILE, utility.id, from_us=0, to_us=EVER_US, processes=1
    )

    assert (verified.repriced.sales, verified.repriced.different) == (SALES, 0)


async def test_the_tokens_of_a_meter_are_taken_by_it_in_their_order(opened: OpenFolder) -> None:
    [(meter_id, parameters_text)] = rows_of(
        opened.path, "SELECT id, parameters FROM meter ORDER BY id LIMIT 1"
    )
    parameters = KeyParameters.from_dict(json.loads(parameters_text))
    machine = StsMeter.made(
        MeterConfig(parameters.pan, frozenset({Register.ELECTRICITY})),
        parameters,
        derive_decoder_key(vending_key(SEED).key, parameters),
        made_tid=1,
    )
    sealed = rows_of(
        opened.path, "SELECT digits FROM token WHERE meter_id = ? ORDER BY id", meter_id
    )
    async with opened.vault() as vault:
        results = [machine.enter(vault.tokens.open(text)).code for (text,) in sealed]

    assert len(results) >= SALES // METERS
    assert set(results) == {ResultCode.ACCEPT}


async def test_households_are_found_by_their_words(folder: Path) -> None:
    found = rows_of(
        folder,
        "SELECT count(DISTINCT supply_point_id) FROM search_word WHERE word >= '2547'"
        " AND word < '2548'",
    )

    assert found == [(METERS,)]


def test_one_household_in_twenty_repays_two_debts(folder: Path) -> None:
    owing = "SELECT count(DISTINCT account_id), count(*) FROM debt"
    taking = "SELECT count(DISTINCT sale_row_id), count(DISTINCT debt_id) FROM debt_taken"

    assert rows_of(folder, owing) == [(2, 4)]
    [(sales, debts)] = rows_of(folder, taking)
    assert sales >= SALES // METERS
    assert debts == 4


def test_a_debt_that_was_repaid_is_closed_and_its_balance_zero(folder: Path) -> None:
    closed = rows_of(
        folder,
        "SELECT balance_minor FROM debt JOIN ledger_account ON ledger_account.id ="
        " debt.ledger_account_id WHERE state = 'closed'",
    )

    assert closed
    assert {balance for (balance,) in closed} == {0}


def test_one_meter_in_fifty_got_a_radio_when_its_past_was_over(folder: Path) -> None:
    found = rows_of(
        folder,
        "SELECT count(*), min(created_us) > (SELECT max(sold_us) FROM sale),"
        " (SELECT count(*) FROM sale WHERE delivery <> 'keypad') FROM device",
    )

    assert found == [(1, 1, 0)]


def test_the_indexes_are_those_of_a_new_database(folder: Path, tmp_path: Path) -> None:
    main(["init", "--data", str(tmp_path), "--utility-name", "G", "--no-dashboards"])
    sql = "SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') ORDER BY name"

    assert rows_of(folder, sql) == rows_of(tmp_path, sql)


def test_a_folder_with_a_database_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / DATABASE_FILE).stat().st_size

    assert make(folder) == EXIT_UNUSABLE
    assert "folder_in_use" in capsys.readouterr().err
    assert (folder / DATABASE_FILE).stat().st_size == before


def test_a_run_that_was_stopped_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_given: object, **_options: object) -> None:
        raise Unavailable("generator_stopped", "a process ended with -9")

    monkeypatch.setattr("slotmeter.runtime.generate.generate", stopped)
    made = tmp_path / "data"

    assert make(made) != EXIT_OK
    assert make(made) == EXIT_UNUSABLE
    assert "generate_unfinished" in capsys.readouterr().err
    assert main(["ledger", "verify", "--data", str(made)]) == EXIT_UNUSABLE
    assert "generate_unfinished" in capsys.readouterr().err


def test_without_a_terminal_lines_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter((0.0, 10.0, 40.0))
    monkeypatch.setattr("slotmeter.cli.generate_progress.time.monotonic", lambda: next(seconds))
    with GenerateProgress() as progress:
        for done in (0, 100, 400):
            progress.show("sales", done, 1_000)

    assert capsys.readouterr().err == "sales: 400 of 1,000, 10/s, 60 s left\n"


def test_no_sales_at_all_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make(tmp_path / "data", "--sales", "0") == EXIT_UNUSABLE
    assert "sales_out_of_range" in capsys.readouterr().err


# --- the same from one seed -----------------------------------------------------------------------


@dataclass(frozen=True)
class Prepared:
    """A folder that is prepared and not filled."""

    path: Path
    plan: Plan

    def past(self, share: int = 0, shares: int = 1, *, check_every: int = CHECK_EVERY) -> Past:
        with BulkFile(self.path) as file:
            seal = (file.layout, 1)
        return Past(self.plan, share, shares, sample_safe(), seal, check_every=check_every)


async def plan_of(folder: Path) -> Plan:
    async with open_folder(folder) as found, found.vault() as vault:
        return await prepare(
            found.database,
            found.clock,
            vault.security,
            found.origin,
            await found.registry.utility(None),
            meters=METERS,
            sales=SALES,
            seed=SEED,
        )


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    main(["init", "--data", str(tmp_path), "--utility-name", "G", "--no-dashboards"])
    return Prepared(tmp_path / DATABASE_FILE, asyncio.run(plan_of(tmp_path)))


def all_rows(slices: Sequence[Sequence[TableRows]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for part in slices:
        for rows in part:
            found.setdefault(rows.table, []).extend(
                dict(zip(rows.columns, values, strict=True)) for values in rows.values
            )
    return {table: sorted(rows, key=lambda row: row["id"]) for table, rows in found.items()}


def test_two_shares_make_the_rows_that_one_makes(prepared: Prepared) -> None:
    whole = all_rows(list(prepared.past().slices()))
    shares = [prepared.past(share, 2) for share in (0, 1)]

    split = all_rows([part for share in shares for part in share.slices()])

    assert split == whole


def test_every_sale_that_a_form_makes_is_the_one_that_would_be_decided(prepared: Prepared) -> None:
    past = prepared.past(check_every=1)

    sales = all_rows(list(past.slices()))["sale"]

    assert len(sales) == SALES


def test_a_form_that_makes_another_sale_is_found(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = Mould.fill

    def wrong(self: Mould, own: tuple[Any, ...], group_seq: int, into: Rows) -> None:
        fill(self, own, group_seq + 1, into)

    monkeypatch.setattr(Mould, "fill", wrong)

    with pytest.raises(AssertionError, match="audit_entry"):
        list(prepared.past(check_every=1).slices())


def test_what_is_debited_is_credited(prepared: Prepared) -> None:
    past = prepared.past()
    sales = all_rows(list(past.slices()))["sale"]

    tills = [
        past.moved[account_id]
        for code, account_id in prepared.plan.accounts.items()
        if code.startswith("till:") and account_id in past.moved
    ]

    assert sum(past.moved.values()) == 0
    assert sum(tills) == sum(row["tender_minor"] for row in sales)


SHUT = Unavailable("token_unreadable", "the safe is shut")


class ShutSafe:
    """Gives and takes nothing."""

    def seal(self, digits: str) -> SealedDigits:
        raise SHUT

    def open(self, text: str) -> str:
        raise SHUT

    def index(self, digits: str) -> str:
        raise SHUT


def test_what_a_process_could_not_do_is_said(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.runtime.generate.ALONE_SALES_MAX", 0)

    with pytest.raises(Unavailable, match="the safe is shut") as caught:
        generate(BulkFile(prepared.path), prepared.plan, ShutSafe())

    assert caught.value.code == "generator_stopped"
