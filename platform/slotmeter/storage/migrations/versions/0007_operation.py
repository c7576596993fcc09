"""Alarms that are not of a meter, and tokens without a sale that wait to be made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WAITING = sa.text("state = 'reserved' AND (sale_row_id + 0) IS NULL")
"""Tokens that no sale makes, between their two commits: mostly none."""

PENDING = sa.text("state = 'pending'")
"""Sales between their two commits: as few as requests in work. PostgreSQL began with this index."""


def upgrade() -> None:
    """Apply."""
    _free_alarms_of_meters()
    op.create_index(
        op.f("ix_token_waiting"),
        "token",
        ["id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index(op.f("ix_sale_state"), table_name="sale")
        op.create_index(op.f("ix_sale_state"), "sale", ["account_id"], sqlite_where=PENDING)


def downgrade() -> None:
    """Undo."""
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index(op.f("ix_sale_state"), table_name="sale")
        op.create_index(op.f("ix_sale_state"), "sale", ["state"])
    op.drop_index(op.f("ix_token_waiting"), table_name="token")
    op.execute("DELETE FROM alarm WHERE meter_id IS NULL")
    with op.batch_alter_table("alarm") as batch:
        batch.drop_column("subject")
        batch.alter_column("meter_id", existing_type=sa.BigInteger(), nullable=False)


def _free_alarms_of_meters() -> None:
    with op.batch_alter_table("alarm") as batch:
        batch.alter_column("meter_id", existing_type=sa.BigInteger(), nullable=True)
        batch.add_column(sa.Column("subject", sa.Text(), nullable=True))
