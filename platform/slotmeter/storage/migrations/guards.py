"""Triggers that keep what has happened: on a guarded table no row is changed nor removed."""

from __future__ import annotations

from typing import Any, Final, Protocol

from alembic.runtime.migration import MigrationContext

__all__ = ["FUNCTION", "Operations", "guard", "make_guard_function", "unguard"]

FUNCTION: Final = "slotmeter_append_only"
"""What the triggers of PostgreSQL call; its baseline makes it, by :func:`make_guard_function`."""

_ACTS: Final = ("UPDATE", "DELETE")


class Operations(Protocol):
    """What a guard needs of ``alembic.op``."""

    def execute(self, sqltext: str, /) -> Any:
        """Run a statement."""

    def get_context(self) -> MigrationContext:
        """Return what the migration runs in."""


def _on_postgresql(op: Operations) -> bool:
    return op.get_context().dialect.name == "postgresql"


def make_guard_function(op: Operations) -> None:
    """Make what the triggers of PostgreSQL call: it refuses, as a broken rule of the table."""
    op.execute(
        f"CREATE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only', "
        "ERRCODE = 'restrict_violation'; "
        "END $$"
    )


def guard(op: Operations, table: str) -> None:
    """Let rows only be added to a table, on the dialect that the migration runs on."""
    if _on_postgresql(op):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {FUNCTION}()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_append_only_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()"
        )
        return
    for act in _ACTS:
        op.execute(
            f"CREATE TRIGGER {table}_append_only_{act.lower()} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def unguard(op: Operations, table: str) -> None:
    """Take the triggers of a table away; a table that is dropped takes its own along."""
    if _on_postgresql(op):
        for name in (f"{table}_append_only", f"{table}_append_only_truncate"):
            op.execute(f"DROP TRIGGER {name} ON {table}")
        return
    for act in _ACTS:
        op.execute(f"DROP TRIGGER {table}_append_only_{act.lower()}")
