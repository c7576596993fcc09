"""A database as the sixth revision left it, in a file and on a server: upgraded, it keeps
everything, holds, and sells on.

``tests/fixtures/make_revision_0006.py`` says how the files came to be.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.config import DatabaseConfig
from slotmeter.errors import Conflict, Refused
from slotmeter.ports import KeyFacts
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import AuditVerdict, verify_audit
from slotmeter.runtime.examination import examine_folder
from slotmeter.runtime.restore import restore_backup
from slotmeter.security.site_tables import open_vault
from slotmeter.services.access import Origin
from slotmeter.services.audit_token_trace import TokenTraces
from slotmeter.services.audit_trace import AuditTrace
from slotmeter.services.coding_office import CodingOffice
from slotmeter.services.debt_terms import Books
from slotmeter.services.debts import Debts
from slotmeter.services.doctor import Finding
from slotmeter.services.float_accounts import FloatAccounts
from slotmeter.services.key_desk import KeyDesk
from slotmeter.services.operations import Asked, Operations
from slotmeter.services.period_close import Periods
from slotmeter.services.receipts import Receipts
from slotmeter.services.reversal import Reversals, ReversalWish
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.services.vending_keys import NewPart
from slotmeter.storage.data_files import DATABASE_FILE, make_private
from slotmeter.storage.migrate import HEAD
from slotmeter.storage.postgres_dumps import load_postgres
from slotmeter.storage.schema import METADATA
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import Behind, name_postgres, opened_in, settings_of
from slotmeter.testing.old_database import (
    REVISION,
    Upgraded,
    keep_master_key,
    migrate_to,
    open_old_folder,
    still_says,
)
from slotmeter.testing.postgres_server import PostgresServer, waited_for
from slotmeter.vending.receipts import explain, render_html, render_text

FIXTURES = Path(__file__).parents[1] / "fixtures"
FILE = FIXTURES / "revision_0006.sqlite3.gz"
BACKUP = FIXTURES / "revision_0006_postgresql"
SAID: dict[str, Any] = json.loads((FIXTURES / "revision_0006.json").read_text(encoding="utf-8"))
SOLD_BEFORE = tuple(sale_id for sale_id in SAID["sales"] if sale_id != "pending")
ORIGIN = Origin("local:test", "test")
OTHER_PART = bytes(range(20))


@pytest.fixture(scope="module")
def old_tables(postgres: PostgresServer) -> str:
    """The name of a database on PostgreSQL as the old release left it, to copy from."""
    name = postgres.make_database()
    config = DatabaseConfig(url=postgres.url(name), require_durable=False)
    waited_for(load_postgres(config, BACKUP / "database.dump"))
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
async def folder(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder with the old database, which nothing has opened yet."""
    keep_master_key(tmp_path, SAID)
    if request.param == "sqlite":
        path = tmp_path / DATABASE_FILE
        path.write_bytes(gzip.decompress(FILE.read_bytes()))
        make_private(path)
        yield tmp_path
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.make_database(template=request.getfixturevalue("old_tables"))
    name_postgres(tmp_path, server.url(name))
    yield tmp_path
    server.drop_database(name)


@pytest.fixture
async def old(folder: Path) -> AsyncIterator[Upgraded]:
    async with open_old_folder(folder, SAID) as opened:
        yield opened


def coding(old: Upgraded) -> CodingOffice:
    return CodingOffice.of(
        old.database,
        old.security,
        old.safe,
        old.clock,
        draw_rnd=lambda: 7,
        tids=ONE_LANE,
    )


def boss_asks(old: Upgraded, request_id: str) -> Asked:
    old.clock.advance(seconds=60)
    return Asked(old.caller("Boss", "supervisor"), request_id, "after the upgrade")


async def audited(folder: Path) -> AuditVerdict:
    return await asyncio.to_thread(verify_audit, reader_of(settings_of(folder)))


async def examined(old: Upgraded, *, repair: bool) -> dict[str, Finding]:
    config = settings_of(old.folder)
    findings = await examine_folder(config, old.database, old.clock, ORIGIN, repair=repair)
    return {finding.name: finding for finding in findings}


async def completed(old: Upgraded) -> None:
    """Complete what was between two commits, as a server that starts does."""
    await old.selling.recover()
    await coding(old).tokens.recover()


async def wrong_sentences(old: Upgraded) -> list[str]:
    return [each.name for each in (await old.verify()).sentences if not each.holds]


# --- the tables -----------------------------------------------------------------------------------


async def test_the_database_is_of_the_sixth_revision_and_is_brought_to_this_one(
    folder: Path,
) -> None:
    before = Behind(folder).values(REVISION)
    async with opened_in(folder):
        pass

    assert (SAID["revision"], before) == ("0006", ["0006"])
    assert Behind(folder).values(REVISION) == [HEAD]


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table that this release knows."""
    behind = Behind(folder)
    return {
        name: sorted(behind.rows(f'SELECT * FROM "{name}"'), key=repr)  # noqa: S608  our names
        for name in METADATA.tables
    }


async def test_going_back_to_the_old_tables_and_up_again_keeps_every_row(folder: Path) -> None:
    async with open_old_folder(folder, SAID) as old:
        await old.sell("kenya", "400.00", "n1")
    before = rows_of(folder)

    await asyncio.to_thread(migrate_to, folder, "0006")
    gone_back = Behind(folder).values(REVISION)
    await asyncio.to_thread(migrate_to, folder, HEAD)

    assert gone_back == ["0006"]
    assert rows_of(folder) == before
    assert (await audited(folder)).breaks == []
    async with open_old_folder(folder, SAID) as old:
        assert (await old.sell("kenya", "400.00", "n2")).token is not None


async def test_alarms_that_the_old_tables_cannot_hold_go_when_they_come_back(folder: Path) -> None:
    async with opened_in(folder):
        pass
    behind = Behind(folder)
    row = behind.rows("SELECT * FROM alarm")[0]
    behind.insert_alone("alarm", {**row, "id": 1, "meter_id": None, "subject": "vending_key:1"})

    await asyncio.to_thread(migrate_to, folder, "0006")

    assert behind.values("SELECT id FROM alarm") == [row["id"]]


# --- what was sold --------------------------------------------------------------------------------


async def prints_as_it_did(old: Upgraded, sale_id: str) -> bool:
    said = SAID["sales"][sale_id]
    sale = await old.selling.sale(old.till, sale_id)
    receipt = await old.selling.receipt(old.till, said["receipt_number"])
    found = {
        "receipt_number": sale.receipt_number,
        "state": sale.state,
        "token": sale.token,
        "tokens": [each.digits for each in sale.tokens],
        "quantity": sale.quantity,
        "document": receipt.document(),
        "text_58": render_text(receipt, 58),
        "html": render_html(receipt),
        "explained": list(explain(receipt)),
    }
    return still_says(found, said)


async def test_old_receipts_print_and_explain_themselves_as_they_did(old: Upgraded) -> None:
    different = [each for each in SOLD_BEFORE if not await prints_as_it_did(old, each)]

    assert different == []


async def test_the_sale_between_its_commits_is_completed_with_the_digits_it_was_to_have(
    old: Upgraded,
) -> None:
    recovered = await old.selling.recover()

    assert recovered.completed == 1
    assert await prints_as_it_did(old, "pending")


async def test_the_token_between_its_commits_is_completed_with_the_digits_it_was_to_have(
    old: Upgraded,
) -> None:
    office = coding(old)
    recovered = await office.tokens.recover()

    traces = TokenTraces(old.database, old.clock, old.safe)
    trace = await traces.of_digits(old.caller("Boss", "supervisor"), SAID["tokens"]["cut_off"])
    assert recovered.completed == 1
    assert (trace.token.state, trace.data["kind"]) == ("issued", "power_limit")


async def test_an_old_request_again_is_the_old_sale(old: Upgraded) -> None:
    sale = await old.sell("kenya", "330.00", "s2")

    assert sale.token == SAID["sales"]["s2"]["token"]


async def test_a_receipt_that_was_printed_is_a_reprint(old: Upgraded) -> None:
    receipts = Receipts(old.database, old.clock, old.safe)
    printed, fresh = (SAID["sales"][name]["receipt_number"] for name in ("s2", "s4"))

    again = await receipts.hand_out(old.till, printed, "text58")
    first = await receipts.hand_out(old.till, fresh, "text58")

    assert (again.is_reprint, first.is_reprint) == (True, False)


@pytest.mark.parametrize("sale_id", ["s1", "before_the_change", "taken_back", "for_the_wrong"])
async def test_an_old_token_is_traced_to_who_sold_it_and_for_how_much(
    old: Upgraded, sale_id: str
) -> None:
    said = SAID["sales"][sale_id]
    traces = AuditTrace(old.database, old.clock, old.safe)

    trace = await traces.of_token(old.caller("Boss", "supervisor"), said["token"])

    assert (trace.sale["receipt_number"], trace.sale["sold_by"]) == (
        said["receipt_number"],
        "Till 1",
    )
    assert [token.digits for token in trace.tokens] == said["tokens"]
    assert trace.entries


@pytest.mark.parametrize("name", ["managed", "again", "swapped"])
async def test_an_old_token_that_no_sale_made_is_traced_to_who_asked_for_it(
    old: Upgraded, name: str
) -> None:
    traces = TokenTraces(old.database, old.clock, old.safe)

    trace = await traces.of_digits(old.caller("Boss", "supervisor"), SAID["tokens"][name])

    assert trace.act is not None
    assert trace.act["by"] == "Boss"


# --- it holds, and goes on ------------------------------------------------------------------------


async def test_ledger_and_audit_hold_before_and_after_selling_on(old: Upgraded) -> None:
    as_it_was = await audited(old.folder)
    await completed(old)
    recovered = await old.verify()
    for at, meter in enumerate(("indebted", "kenya", "held", "water", "online", "right", "new")):
        await old.sell(meter, "400.00", f"n{at}")

    sold_on = await old.verify()
    assert [each.name for each in recovered.sentences if not each.holds] == []
    assert recovered.figures.items() >= SAID["figures"].items()
    assert [each.name for each in sold_on.sentences if not each.holds] == []
    assert sold_on.figures["sales_issued"] == SAID["figures"]["sales_issued"] + 7
    assert (as_it_was.breaks, as_it_was.checkpoints) == ([], 2)
    assert (await audited(old.folder)).breaks == []


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("posting", "UPDATE posting SET amount_minor = amount_minor + 1 WHERE id ="),
        ("token", "UPDATE token SET digits = 'x' || digits WHERE id ="),
        ("ledger_operation", "DELETE FROM ledger_operation WHERE id ="),
    ],
)
async def test_an_old_row_that_is_damaged_after_the_upgrade_is_named(
    folder: Path, table: str, text: str
) -> None:
    async with opened_in(folder):
        pass
    [row_id] = Behind(folder).values(f"SELECT min(id) FROM {table}")  # noqa: S608  named here

    await asyncio.to_thread(Behind(folder).damage, f"{text} {row_id}")

    found = [(each.table, each.row_id) for each in (await audited(folder)).breaks]
    assert found == [(table, row_id)]


async def test_the_doctor_finds_what_was_cut_off_and_nothing_else(old: Upgraded) -> None:
    findings = await examined(old, repair=False)

    left = {name for name, finding in findings.items() if not finding.holds}
    assert left == {"sales_between_commits", "tokens_between_commits"}


async def test_the_doctor_says_nothing_once_that_is_completed(old: Upgraded) -> None:
    await examined(old, repair=True)

    findings = await examined(old, repair=False)

    assert [name for name, finding in findings.items() if not finding.holds] == []
    assert SAID["tokens"]["cut_off"] in {
        old.safe.open(text) for text in old.column("SELECT digits FROM token")
    }


async def test_no_identifier_of_an_old_token_is_given_again(old: Upgraded) -> None:
    await completed(old)
    old.clock.set(old.clock.now() - timedelta(minutes=8))  # about when it bought last
    for at in range(3):
        await old.sell("indebted", "400.00", f"n{at}")

    rows = Behind(old.folder).rows(
        "SELECT token.tid_minute AS tid FROM token JOIN meter ON meter.id = token.meter_id"
        " WHERE meter.number = ?",
        SAID["meters"]["indebted"],
    )
    tids = [row["tid"] for row in rows]
    assert len(tids) == len(set(tids)) == 6


async def test_old_debts_are_owed_and_repaid_on(old: Upgraded) -> None:
    await completed(old)
    books, debts = Books.of(old.till.principal), Debts(old.database, old.clock)

    async def owed() -> dict[str, int]:
        return {
            number: (await debts.debt(books, number))["balance_minor"] for number in SAID["debts"]
        }

    before = await owed()
    await old.sell("indebted", "400.00", "n1")
    after = await owed()

    # A quarter of the purchase for the arrears; the instalment of November was paid before.
    assert before == SAID["debts"]
    assert {name: before[name] - after[name] for name in before} == {
        "D00000001": 10_000,
        "D00000002": 0,
    }


# --- the books ------------------------------------------------------------------------------------


async def test_an_old_sale_is_taken_back_into_the_open_period(old: Upgraded) -> None:
    await completed(old)
    receipt = SAID["sales"]["s2"]["receipt_number"]
    wish = ReversalWish(receipt, "the customer, at the counter")

    await Reversals(old.database, old.clock).reverse(boss_asks(old, "b1"), wish)

    assert (await old.selling.sale(old.till, "s2")).state == "reversed"
    assert await wrong_sentences(old) == []


async def test_old_operations_say_what_they_said(old: Upgraded) -> None:
    operations = Operations(old.database)
    utility_id = old.till.principal.utility_id
    for said in SAID["operations"].values():
        found = await operations.operation(utility_id, said["number"])
        assert {name: found[name] for name in said} == said


async def test_a_slip_that_was_paid_in_counts_no_more(old: Upgraded) -> None:
    with pytest.raises(Conflict) as caught:
        await FloatAccounts(old.database, old.clock).pay_in(
            boss_asks(old, "d1"), "head", "700.00", "SLIP 4711"
        )

    assert caught.value.code == "slip_used"


async def test_the_limit_of_the_float_holds(old: Upgraded) -> None:
    with pytest.raises(Refused) as caught:
        await old.sell("kenya", "20000.00", "n1")

    assert caught.value.code == "float_exhausted"


async def test_the_next_period_is_closed_behind_the_old_one(old: Upgraded) -> None:
    await completed(old)
    old.clock.set(old.clock.now() + timedelta(days=2))
    periods = Periods(old.database, old.clock)

    period, _ = await periods.close(boss_asks(old, "c1"), date(2026, 11, 22))

    assert old.column("SELECT digest FROM accounting_period ORDER BY to_us") == [
        SAID["period"]["digest"],
        period["digest"],
    ]
    assert await wrong_sentences(old) == []


# --- keys -----------------------------------------------------------------------------------------


async def test_the_officers_key_is_there_and_the_part_that_waited_makes_the_next_one(
    old: Upgraded,
) -> None:
    vault = await open_vault(settings_of(old.folder), old.database, old.clock)
    desk = KeyDesk.of(old.database, old.clock, vault.wrapping, vault.security.refresh)
    facts = KeyFacts("600727-3", "600727", 3, 2, "04", 2014, 255)
    second = old.caller("Second officer", "key_officer")

    kept = await vault.security.describe(SAID["vending_key"]["name"])
    made = await desk.vending.bring(second, NewPart(facts, 2, 2, OTHER_PART), reason="new")

    assert kept.check_value == SAID["vending_key"]["check_value"]
    # The same two parts, so the same key.
    assert made.key_check_value == SAID["vending_key"]["check_value"]
    await vault.close()


async def test_an_open_change_of_key_is_listed_by_the_next_sale_first(old: Upgraded) -> None:
    sale = await old.sell("changing", "116.00", "n1")

    assert [token.digits for token in sale.tokens][:2] == SAID["tokens"]["changing"]


async def test_a_change_of_key_that_waited_for_the_next_sale_is_made_by_it(old: Upgraded) -> None:
    first = await old.sell("to_change", "116.00", "n1")

    assert len(first.tokens) == 3


async def test_a_meter_on_base_date_1993_is_still_refused(old: Upgraded) -> None:
    with pytest.raises(Refused) as caught:
        await old.sell("of_1993", "116.00", "n1")

    assert caught.value.code == "key_change_needed"


async def test_an_old_alarm_stands_and_is_of_its_meter(old: Upgraded) -> None:
    rows = Behind(old.folder).rows(
        "SELECT alarm.kind, meter.number, alarm.subject FROM alarm"
        " JOIN meter ON meter.id = alarm.meter_id"
    )

    kinds = [row["kind"] for row in rows]
    assert kinds == SAID["alarms"]
    assert {(row["number"], row["subject"]) for row in rows} == {(SAID["meters"]["online"], None)}


# --- a backup of the old release ------------------------------------------------------------------


async def test_a_backup_that_the_old_release_made_is_restored_and_sells(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    name = postgres.make_database()
    keep_master_key(tmp_path, SAID)
    name_postgres(tmp_path, postgres.url(name))
    clock = FakeClock(datetime.fromisoformat(SAID["pending_at"]))

    restored = await restore_backup(
        BACKUP, settings_of(tmp_path), clock, ORIGIN, lambda *_told: None
    )

    async with open_old_folder(tmp_path, SAID) as old:
        await completed(old)
        sale = await old.sell("kenya", "400.00", "n1")
        assert restored.holds
        assert sale.token is not None
        assert await wrong_sentences(old) == []
    assert (await audited(tmp_path)).breaks == []
    postgres.drop_database(name)
