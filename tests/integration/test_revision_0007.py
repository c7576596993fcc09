"""A database as the seventh revision left it, in a file and on a server: upgraded, its devices
and what was on its way to them are as they were, and it sells on.

``tests/fixtures/make_revision_0007.py`` says how the files came to be.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from slotmeter.config import DatabaseConfig
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import AuditVerdict, verify_audit
from slotmeter.storage.data_files import DATABASE_FILE, make_private
from slotmeter.storage.migrate import HEAD
from slotmeter.storage.postgres_dumps import load_postgres
from slotmeter.storage.schema import METADATA
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
from slotmeter.vending.receipts import explain, render_text

FIXTURES = Path(__file__).parents[1] / "fixtures"
FILE = FIXTURES / "revision_0007.sqlite3.gz"
BACKUP = FIXTURES / "revision_0007_postgresql"
SAID: dict[str, Any] = json.loads((FIXTURES / "revision_0007.json").read_text(encoding="utf-8"))
SOLD_BEFORE = tuple(sale_id for sale_id in SAID["sales"] if sale_id != "pending")

DEVICES = (
    "SELECT meter.number, device.medium, device.address, device.driver, device.register,"
    " device.credit_total, device.last_contact_us, device.tamper FROM device"
    " JOIN meter ON meter.id = device.meter_id ORDER BY meter.number"
)
COMMANDS = (
    "SELECT meter.number, command.kind, command.state, command.attempts, command.expires_us"
    " FROM command JOIN meter ON meter.id = command.meter_id ORDER BY command.id"
)
NEW_DEVICE_COLUMNS = (
    *("entry_id", "node_id", "slot", "serial", "battery", "signal", "clock_offset_us"),
    *("clock_drift_ppb", "clock_seen_us", "expected_us", "interval_us", "offline_us"),
)


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


async def audited(folder: Path) -> AuditVerdict:
    return await asyncio.to_thread(verify_audit, reader_of(settings_of(folder)))


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table that this release knows."""
    behind = Behind(folder)
    return {
        name: sorted(behind.rows(f'SELECT * FROM "{name}"'), key=repr)  # noqa: S608  our names
        for name in METADATA.tables
    }


async def opened(folder: Path) -> Behind:
    async with opened_in(folder):
        pass
    return Behind(folder)


# --- the tables -----------------------------------------------------------------------------------


async def test_the_database_is_of_the_seventh_revision_and_is_brought_to_this_one(
    folder: Path,
) -> None:
    before = Behind(folder).values(REVISION)
    behind = await opened(folder)

    assert (SAID["revision"], before) == ("0007", ["0007"])
    assert behind.values(REVISION) == [HEAD]


async def test_going_back_to_the_old_tables_and_up_again_keeps_every_row(folder: Path) -> None:
    async with open_old_folder(folder, SAID) as old:
        await old.sell("kenya", "400.00", "n1")
    before = rows_of(folder)

    await asyncio.to_thread(migrate_to, folder, "0007")
    gone_back = Behind(folder).values(REVISION)
    await asyncio.to_thread(migrate_to, folder, HEAD)

    assert gone_back == ["0007"]
    assert rows_of(folder) == before
    assert (await audited(folder)).breaks == []


async def test_nodes_that_the_old_tables_cannot_hold_go_when_they_come_back(folder: Path) -> None:
    behind = await opened(folder)
    device = behind.rows("SELECT * FROM device ORDER BY id")[0]
    node = {**device, "id": 1, "meter_id": None, "address": "a box", "serial": "BOX-1"}
    behind.insert_alone("device", node)
    behind.rows("UPDATE device SET node_id = 1, slot = 3 WHERE id = ?", device["id"])

    await asyncio.to_thread(migrate_to, folder, "0007")

    assert 1 not in behind.values("SELECT id FROM device")
    assert device["id"] in behind.values("SELECT id FROM device")


# --- devices and what is on its way to them -------------------------------------------------------


async def test_devices_are_as_they_were_and_nothing_is_invented_about_them(folder: Path) -> None:
    behind = await opened(folder)

    fresh = behind.rows("SELECT * FROM device")
    assert behind.rows(DEVICES) == SAID["devices"]
    assert {row[name] for row in fresh for name in NEW_DEVICE_COLUMNS} == {None}
    assert {row[name] for row in fresh for name in ("contacts", "contacts_missed")} == {0}


async def test_commands_wait_are_sent_and_are_held_as_before(folder: Path) -> None:
    behind = await opened(folder)

    assert behind.rows(COMMANDS) == SAID["commands"]
    assert {row["state"] for row in SAID["commands"]} >= {"queued", "sent"}


async def test_what_was_in_quarantine_is_there_still_and_was_never_replayed(folder: Path) -> None:
    behind = await opened(folder)

    rows = behind.rows("SELECT code, replayed_us, replays FROM quarantine ORDER BY frame_id")
    assert [row["code"] for row in rows] == SAID["quarantine"]
    assert {(row["replayed_us"], row["replays"]) for row in rows} == {(None, 0)}


async def test_an_alarm_that_is_of_no_meter_stays(folder: Path) -> None:
    behind = await opened(folder)

    assert behind.values("SELECT subject FROM alarm WHERE meter_id IS NULL") == ["vending_key:1"]


# --- it holds, and goes on ------------------------------------------------------------------------


async def test_old_receipts_print_and_explain_themselves_as_they_did(old: Upgraded) -> None:
    for sale_id in SOLD_BEFORE:
        said = SAID["sales"][sale_id]
        receipt = await old.selling.receipt(old.till, said["receipt_number"])
        found = {
            "document": receipt.document(),
            "text_58": render_text(receipt, 58),
            "explained": list(explain(receipt)),
        }
        assert still_says(found, {name: said[name] for name in found}), sale_id


async def test_ledger_and_audit_hold_before_and_after_selling_on(old: Upgraded) -> None:
    as_it_was = await audited(old.folder)
    await old.selling.recover()
    recovered = await old.verify()
    for at, meter in enumerate(("indebted", "kenya", "held", "water", "online", "waiting")):
        await old.sell(meter, "400.00", f"n{at}")

    sold_on = await old.verify()
    assert (as_it_was.breaks, as_it_was.checkpoints) == ([], 2)
    assert [each.name for each in recovered.sentences if not each.holds] == []
    assert [each.name for each in sold_on.sentences if not each.holds] == []
    assert sold_on.figures["sales_issued"] == recovered.figures["sales_issued"] + 6
    assert (await audited(old.folder)).breaks == []
