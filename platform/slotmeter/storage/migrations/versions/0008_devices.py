"""Connections, places and lives of devices, and what commands and frames say more."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from slotmeter.storage.migrations.guards import guard, unguard

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

APPEND_ONLY: Final = ("entry_log", "meter_life")

DEVICE_REFERS: Final = {"entry_id": "integration_entry", "node_id": "device"}

DEVICE_NUMBERS: Final = (
    *("battery", "signal", "clock_offset_us", "clock_drift_ppb", "clock_seen_us"),
    *("expected_us", "interval_us", "offline_us"),
)

DEVICE_COUNTS: Final = ("contacts", "contacts_missed")

PARTS: Final = {"device": ("node_id", "serial"), "supply_point": ("area_id",)}
"""Columns that few rows have and that rows are found by."""


def upgrade() -> None:
    """Apply."""
    _create_connections()
    _create_plugins()
    _create_places()
    _widen_device()
    _create_dated()
    for table in APPEND_ONLY:
        guard(op, table)
    # Plain SQL since both dialects take the reference with the column, and only so.
    op.execute(
        "ALTER TABLE supply_point ADD COLUMN area_id BIGINT"
        " CONSTRAINT fk_supply_point_area_id REFERENCES area (id)"
    )
    for more in (_whole("value"), _text("text"), _whole("expected_us"), _text("cell")):
        op.add_column("command", more)
    op.add_column("quarantine", _whole("replayed_us"))
    op.add_column("quarantine", _count("replays"))
    op.add_column("frame", _whole("entry_id"))
    op.create_index(op.f("ix_quarantine_code_frame_id"), "quarantine", ["code", "frame_id"])
    for table, columns in PARTS.items():
        for column in columns:
            _part_index(table, column)


def downgrade() -> None:
    """Undo; nodes go, since the tables before know no device without a meter."""
    for table, columns in PARTS.items():
        for column in columns:
            op.drop_index(op.f(f"ix_{table}_{column}"), table_name=table)
    op.drop_index(op.f("ix_quarantine_code_frame_id"), table_name="quarantine")
    op.drop_column("frame", "entry_id")
    for column in ("replays", "replayed_us"):
        op.drop_column("quarantine", column)
    for column in ("cell", "expected_us", "text", "value"):
        op.drop_column("command", column)
    op.drop_column("supply_point", "area_id")
    for table in APPEND_ONLY:
        unguard(op, table)
    for table in ("bearer", "keypad", "binding"):
        op.drop_table(table)
    _narrow_device()
    for table in ("meter_life", "area", "plugin_counter", "plugin_record"):
        op.drop_table(table)
    for table in ("entry_log", "integration_entry"):
        op.drop_table(table)


# --- columns --------------------------------------------------------------------------------------


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def _whole(name: str, *, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def _text(name: str, *, nullable: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _wholes(*names: str) -> list[sa.Column[int]]:
    return [_whole(name, nullable=False) for name in names]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [_text(name, nullable=False) for name in names]


def _refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*(columns or ("id",)), name=op.f(f"pk_{table}"))


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f("_".join(("uq", table, *columns))))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f("_".join(("ix", table, *columns))), table, list(columns))


def _part_index(table: str, column: str) -> None:
    where = sa.text(f"{column} IS NOT NULL")
    op.create_index(
        op.f(f"ix_{table}_{column}"),
        table,
        [column],
        sqlite_where=where,
        postgresql_where=where,
    )


# --- tables ---------------------------------------------------------------------------------------


def _create_connections() -> None:
    table = "integration_entry"
    op.create_table(
        table,
        _id(),
        *_texts("key", "medium", "title", "options"),
        _text("secrets"),
        *_wholes("enabled"),
        *_texts("source"),
        *_wholes("created_us", "changed_us"),
        _whole("principal_id"),
        _refers(table, "principal_id", "principal"),
        _key(table),
        _unique(table, "key"),
    )
    table = "entry_log"
    op.create_table(
        table, _id(), *_wholes("entry_id", "at_us"), *_texts("state", "reason"), _key(table)
    )
    _index(table, "entry_id")


def _create_plugins() -> None:
    table, found_by = "plugin_record", ("i1", "i2", "i3")
    op.create_table(
        table,
        _id(),
        *_texts("entry_key", "kind", "name", "body"),
        *(_text(name) for name in found_by),
        *_wholes("at_us"),
        _key(table),
        _unique(table, "entry_key", "kind", "name"),
    )
    for name in found_by:
        _index(table, "entry_key", "kind", name)
    table = "plugin_counter"
    op.create_table(
        table,
        *_texts("entry_key", "name"),
        *_wholes("next_value"),
        _key(table, "entry_key", "name"),
    )


def _create_places() -> None:
    table = "area"
    op.create_table(
        table,
        _id(),
        *_wholes("utility_id"),
        _whole("parent_id"),
        *_texts("level", "code", "name"),
        *_wholes("created_us"),
        _refers(table, "utility_id", "utility"),
        _refers(table, "parent_id", "area"),
        _key(table),
        _unique(table, "utility_id", "level", "code"),
    )
    _index(table, "parent_id")
    table = "meter_life"
    op.create_table(
        table,
        _id(),
        *_wholes("utility_id", "meter_id"),
        *_texts("state"),
        *_wholes("at_us"),
        *_texts("place"),
        _whole("principal_id"),
        *_texts("reason"),
        _refers(table, "utility_id", "utility"),
        _refers(table, "meter_id", "meter"),
        _refers(table, "principal_id", "principal"),
        _key(table),
    )
    _index(table, "meter_id", "at_us")
    _index(table, "utility_id", "at_us")


def _create_dated() -> None:
    """Make the tables of what holds from one time to another."""
    dated: dict[str, tuple[list[sa.Column[Any]], dict[str, str], tuple[tuple[str, ...], ...]]] = {
        "binding": (
            [*_wholes("node_id", "slot", "meter_id")],
            {"node_id": "device", "meter_id": "meter"},
            (("node_id", "slot", "to_us"), ("meter_id", "to_us")),
        ),
        "keypad": (
            [*_wholes("meter_id"), *_texts("serial")],
            {"meter_id": "meter"},
            (("meter_id", "to_us"), ("utility_id", "serial", "to_us")),
        ),
        "bearer": (
            [*_wholes("device_id"), *_texts("medium", "address")],
            {"device_id": "device"},
            (("device_id", "to_us"), ("medium", "address")),
        ),
    }
    for table, (own, refers, found_by) in dated.items():
        op.create_table(
            table,
            _id(),
            *_wholes("utility_id"),
            *own,
            *_wholes("from_us"),
            _whole("to_us"),
            _refers(table, "utility_id", "utility"),
            *(_refers(table, column, target) for column, target in refers.items()),
            _key(table),
        )
        for columns in found_by:
            _index(table, *columns)


# --- devices --------------------------------------------------------------------------------------


def _widen_device() -> None:
    with op.batch_alter_table("device") as batch:
        batch.alter_column("meter_id", existing_type=sa.BigInteger(), nullable=True)
        for name in DEVICE_REFERS:
            batch.add_column(_whole(name))
        batch.add_column(_whole("slot"))
        batch.add_column(_text("serial"))
        for name in DEVICE_NUMBERS:
            batch.add_column(_whole(name))
        for name in DEVICE_COUNTS:
            batch.add_column(_count(name))
        for name, target in DEVICE_REFERS.items():
            batch.create_foreign_key(op.f(f"fk_device_{name}"), target, [name], ["id"])


def _narrow_device() -> None:
    with op.batch_alter_table("device") as batch:
        for name in DEVICE_REFERS:
            batch.drop_constraint(op.f(f"fk_device_{name}"), type_="foreignkey")
        for name in (*DEVICE_COUNTS, *DEVICE_NUMBERS, "serial", "slot", *DEVICE_REFERS):
            batch.drop_column(name)
    op.execute("DELETE FROM device WHERE meter_id IS NULL")
    with op.batch_alter_table("device") as batch:
        batch.alter_column("meter_id", existing_type=sa.BigInteger(), nullable=False)
