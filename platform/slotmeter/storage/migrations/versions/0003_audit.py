"""The chain of the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from slotmeter.storage.migrations.guards import guard, unguard

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = ("audit_layout", "audit_entry", "audit_group", "audit_checkpoint")


def upgrade() -> None:
    """Apply."""
    _create_layout()
    _create_entry()
    _create_group()
    _create_checkpoint()
    for table in _TABLES:
        guard(op, table)


def downgrade() -> None:
    """Undo; rows stay as they are, only no longer sealed."""
    for table in reversed(_TABLES):
        unguard(op, table)
        op.drop_table(table)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _key(name: str) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, autoincrement=False, nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _create_layout() -> None:
    op.create_table(
        "audit_layout",
        _key("number"),
        _whole("at_us"),
        sa.Column("body", sa.Text(), nullable=False),
        _bytes("digest"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_layout")),
    )


def _create_entry() -> None:
    op.create_table(
        "audit_entry",
        _key("id"),
        _whole("at_us"),
        _whole("layout"),
        _whole("group_seq"),
        _bytes("items"),
        _bytes("hash"),
        sa.ForeignKeyConstraint(
            ["layout"], ["audit_layout.number"], name=op.f("fk_audit_entry_layout")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )


def _create_group() -> None:
    op.create_table(
        "audit_group",
        _key("seq"),
        _whole("at_us"),
        _whole("first_entry_id"),
        _whole("last_entry_id"),
        _whole("entries"),
        _bytes("prev_hash"),
        _bytes("hash"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_group")),
    )


def _create_checkpoint() -> None:
    op.create_table(
        "audit_checkpoint",
        _key("id"),
        _whole("at_us"),
        _whole("seq"),
        _bytes("hash"),
        _bytes("public_key"),
        _bytes("signature"),
        sa.Column("principal_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_audit_checkpoint_principal_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_checkpoint")),
    )
