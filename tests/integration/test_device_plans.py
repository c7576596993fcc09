"""How the database finds what the device side asks: by meter or device, never through a utility.

A planner without statistics takes "all rows of a utility" for as selective as "all of a meter".
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from slotmeter.storage.dialect import Statements
from slotmeter.storage.migrate import migrate
from slotmeter.storage.statements import charging, control, ingest

ONE_BY_ONE = {
    "bindings_of_meter": "ix_binding_meter_id_to_us (meter_id=?)",
    "bindings_of_node": "ix_binding_node_id_slot_to_us (node_id=?)",
    "contacts_bearer_back": "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "contacts_subject_alarms": "ix_alarm_meter_id_kind_cleared_us (meter_id=? AND kind=?",
    "health_device": "meter_1 (utility_id=? AND number=?)",
    "life_rows": "ix_meter_life_meter_id_at_us (meter_id=?)",
    "look_meter_commands": "ix_command_meter_id_created_us (meter_id=?)",
    "node_by_serial": "ix_device_serial (serial=?)",
    "slot_alarms": "ix_alarm_meter_id_kind_cleared_us (meter_id=? AND kind=?",
}
IN_ORDER = [
    *("commissioning_strangers", "commissioning_strangers_after"),
    *("control_expecting", "control_expired", "control_leases_over", "control_overdue"),
    *("control_unproven", "media_newest", "media_queued"),
    *("look_commands", "look_commands_in"),
]

SMALL = {"accounting_period", "cursor", "tariff", "utility"}
SWEEPS = {
    "charging_to_control",  # all meters whose credit the platform holds, page by page
    "charging_utilities",
    *("control_leases_over", "control_expired", "control_held_due", "control_unproven"),
    *("ingest_drivers", "ingest_frames"),
}
NAMES = sorted(
    {*charging.READS, *control.READS, *ingest.READS}
    | {*charging.UPDATES, *control.UPDATES, *ingest.UPDATES}
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / "slotmeter.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def statements() -> Statements:
    return Statements()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SWEEPS])
def test_a_statement_about_one_meter_reads_the_rows_of_one_meter(
    name: str, connection: sqlite3.Connection, statements: Statements
) -> None:
    compiled = statements.reads.get(name) or statements.updates[name]
    params = (1,) * compiled.text.count("?")
    plan = [
        str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {compiled.text}", params)
    ]

    whole_tables = [
        step for step in plan if (found := re.match(r"SCAN (\w+)", step)) and found[1] not in SMALL
    ]
    whole_utilities = [
        step for step in plan if "(utility_id=?)" in step and step.split()[1] not in SMALL
    ]
    assert whole_tables + whole_utilities == []


@pytest.mark.parametrize("name", sorted(ONE_BY_ONE))
def test_a_statement_about_one_thing_goes_by_what_names_it(
    name: str, connection: sqlite3.Connection, statements: Statements
) -> None:
    compiled = statements.reads.get(name) or statements.updates[name]
    params = (1,) * compiled.text.count("?")
    plan = [
        str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {compiled.text}", params)
    ]

    assert ONE_BY_ONE[name] in "\n".join(plan)
    assert [step for step in plan if step.startswith("SCAN")] == []


@pytest.mark.parametrize("name", IN_ORDER)
def test_a_page_of_many_is_read_in_order_and_not_sorted(
    name: str, connection: sqlite3.Connection, statements: Statements
) -> None:
    compiled = statements.reads[name]
    params = (1,) * compiled.text.count("?")
    plan = [
        str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {compiled.text}", params)
    ]

    assert [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step] == []
