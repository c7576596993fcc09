"""A device that asks for commands costs as much as its own commands, however many others have."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy.dialects import sqlite

from slotmeter.storage.statements import catalogue
from slotmeter.testing.device_side import DeviceTown


def plan_of(town: DeviceTown, name: str) -> str:
    """Return the plan of a read on a file without statistics: what a new utility has."""
    made = catalogue().reads[name].compile(dialect=sqlite.dialect())
    with closing(sqlite3.connect(town.path)) as connection:
        values = [1 for _ in made.positiontup or ()]
        return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {made}", values))


@pytest.mark.parametrize("read", ["control_due", "control_behind"])
async def test_what_is_due_for_a_device_is_found_by_device_and_not_by_state(
    town: DeviceTown, read: str
) -> None:
    plan = plan_of(town, read)

    assert "ix_command_device_id_state (device_id=? AND state=?)" in plan
    assert "ix_command_state" not in plan
    assert "SCAN" not in plan
