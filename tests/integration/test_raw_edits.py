"""One byte changed, a row removed, the chain written anew: each is caught, on both databases."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import pytest

from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import AuditVerdict, NamedBreak, verify_audit
from slotmeter.security.signing import VaultSigner
from slotmeter.services.access import Origin
from slotmeter.services.audit_checkpoints import make_checkpoint
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.chain import read_layouts
from slotmeter.storage.seal.faces import UNSEALED
from slotmeter.storage.seal.items import read_items
from slotmeter.storage.seal.layout import layout_of, next_layout
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import settings_of
from slotmeter.testing.tampering import Tampering, changed, fill_empty_tables

pytestmark = pytest.mark.both_databases

LAYOUT = layout_of(*next_layout(None, METADATA), METADATA)
SEALED = sorted(LAYOUT.tables)
SOLD = frozenset({"sale", "token", "posting", "journal", "tariff", "tariff_version", "act"})
CHAIN = {"audit_entry": "id", "audit_group": "seq"}
SALES = "/api/v1/sales"


async def verify(api: ApiTown) -> AuditVerdict:
    return await asyncio.to_thread(verify_audit, reader_of(settings_of(api.path.parent)))


@pytest.fixture
async def town(api: ApiTown) -> ApiTown:
    """Two sales, a checkpoint, and a row in every sealed table that these do not use."""
    await api.join("till", "vendor")
    meter = await api.utility.add_meter("electricity")
    for at in range(2):
        body = {"sale_id": f"s{at}", "meter": meter.number, "tendered": "116.00"}
        assert (await api.post(SALES, "till", json=body)).status == 201
    tables = [*SEALED, *UNSEALED & METADATA.tables.keys()]
    made = {
        table: row_id
        for table in tables
        if "id" in METADATA.tables[table].c
        for row_id in api.behind.values(f'SELECT max(id) FROM "{table}"')  # noqa: S608  ours
        if row_id is not None
    }
    assert made.keys() >= SOLD
    await fill_empty_tables(api.database, made, UNSEALED | {"audit_checkpoint"})
    origin = Origin("127.0.0.1", "test")
    await make_checkpoint(
        api.database, VaultSigner(bytes(32)), FakeClock(), origin, made["utility"]
    )
    return api


def newest_row(api: ApiTown, table: str) -> dict[str, Any]:
    [row] = api.behind.rows(f'SELECT * FROM "{table}" ORDER BY id DESC LIMIT 1')  # noqa: S608  ours
    return row


def speaks_of(api: ApiTown, found: NamedBreak) -> bool:
    """Tell whether the entry that is named has the row that is named."""
    with closing(reader_of(settings_of(api.path.parent))()) as reader:
        layouts, _ = read_layouts(reader)
        entry_id = found.entry_id or 0
        [[entry]] = reader.entries_down(entry_id, entry_id)
        return any(
            item.table == found.table and found.row_id in item.ids
            for item in read_items(entry, layouts)
        )


async def test_a_database_that_nobody_touched_holds(town: ApiTown) -> None:
    verdict = await verify(town)

    assert verdict.breaks == []
    assert verdict.checkpoints == 1


async def test_a_byte_changed_in_a_row_of_any_table_names_the_row_and_its_entry(
    town: ApiTown,
) -> None:
    tampering, wrong = Tampering(town.behind), []
    for table in SEALED:
        row = newest_row(town, table)
        for face in LAYOUT.tables[table].faces:
            name = face.columns[-1]
            new = changed(row[name], METADATA.tables[table].c[name])
            tampering.set(table, ("id", row["id"]), {name: new})
            first = (await verify(town)).breaks[:1]
            named = [(each.table, each.row_id) for each in first] == [(table, row["id"])]
            if named and table != "audit_checkpoint":  # of which no entry is named, it is signed
                named = await asyncio.to_thread(speaks_of, town, first[0])
            if not named:
                wrong.append((table, name, first))
            tampering.set(table, ("id", row["id"]), {name: row[name]})

    assert wrong == []
    assert (await verify(town)).holds


async def test_a_row_removed_from_any_table_is_named(town: ApiTown) -> None:
    tampering, wrong = Tampering(town.behind), []
    for table in SEALED:
        row = newest_row(town, table)
        tampering.remove(table, row["id"])
        first = (await verify(town)).breaks[:1]
        if [(each.table, each.row_id) for each in first] != [(table, row["id"])]:
            wrong.append((table, first))
        tampering.put_back(table, row)

    assert wrong == []
    assert (await verify(town)).holds


@pytest.mark.parametrize("table", CHAIN)
async def test_a_byte_changed_in_the_chain_names_the_entry_or_its_group(
    table: str, town: ApiTown
) -> None:
    tampering, wrong = Tampering(town.behind), []
    key = CHAIN[table]
    rows = town.behind.rows(f"SELECT * FROM {table} ORDER BY 1")  # noqa: S608  ours
    row = rows[len(rows) // 2]
    for name in row.keys() - {key}:
        new = changed(row[name], METADATA.tables[table].c[name])
        tampering.set(table, (key, row[key]), {name: new})
        first = (await verify(town)).breaks[:1]
        if not first or first[0].table not in CHAIN:
            wrong.append((name, first))
        tampering.set(table, (key, row[key]), {name: row[name]})

    assert wrong == []


async def test_a_chain_written_anew_is_caught_by_the_checkpoint(town: ApiTown) -> None:
    tampering = Tampering(town.behind)
    [entry] = town.behind.rows("SELECT * FROM audit_entry ORDER BY id LIMIT 1")
    tampering.set("audit_entry", ("id", entry["id"]), {"at_us": entry["at_us"] - 1})
    tampering.write_chain_anew(entry["group_seq"])

    [only] = (await verify(town)).breaks

    assert only.problem == "a checkpoint vouches for another chain up to here: it was written anew"
