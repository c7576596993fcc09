"""The vault's keys, sealed tokens, key changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _create_vault_key()
    _create_vault_component()
    _create_supply_group()
    # What is there is sealed by the server when it starts: that needs the vault, which is not open
    # while tables are made.
    op.add_column("token", sa.Column("digits_index", sa.Text(), nullable=True))
    op.create_index(op.f("ix_token_digits_index"), "token", ["digits_index"])


def downgrade() -> None:
    """Undo; tokens that were sealed stay sealed."""
    op.drop_index(op.f("ix_token_digits_index"), "token")
    op.drop_column("token", "digits_index")
    for table in ("supply_group", "vault_component", "vault_key"):
        op.drop_table(table)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def _refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))


def _create_vault_key() -> None:
    op.create_table(
        "vault_key",
        _id(),
        sa.Column("utility_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sgc", sa.Text(), nullable=True),
        sa.Column("krn", sa.BigInteger(), nullable=True),
        sa.Column("kt", sa.BigInteger(), nullable=True),
        sa.Column("dkga", sa.Text(), nullable=True),
        sa.Column("base_date", sa.BigInteger(), nullable=True),
        sa.Column("ken", sa.BigInteger(), nullable=True),
        sa.Column("check_value", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped_by", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("retired_us", sa.BigInteger(), nullable=True),
        sa.Column("officer_id", sa.BigInteger(), nullable=True),
        sa.Column("second_officer_id", sa.BigInteger(), nullable=True),
        _refers("vault_key", "utility_id", "utility"),
        _refers("vault_key", "officer_id", "principal"),
        _refers("vault_key", "second_officer_id", "principal"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vault_key")),
        sa.UniqueConstraint("name", name=op.f("uq_vault_key_name")),
    )
    op.create_index(op.f("ix_vault_key_kind"), "vault_key", ["kind"])


def _create_vault_component() -> None:
    op.create_table(
        "vault_component",
        _id(),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("sgc", sa.Text(), nullable=False),
        sa.Column("krn", sa.BigInteger(), nullable=False),
        sa.Column("kt", sa.BigInteger(), nullable=False),
        sa.Column("dkga", sa.Text(), nullable=False),
        sa.Column("base_date", sa.BigInteger(), nullable=False),
        sa.Column("ken", sa.BigInteger(), nullable=False),
        sa.Column("check_value", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("officer_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        _refers("vault_component", "utility_id", "utility"),
        _refers("vault_component", "officer_id", "principal"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vault_component")),
    )
    op.create_index(
        op.f("ix_vault_component_utility_id_name_state"),
        "vault_component",
        ["utility_id", "name", "state"],
    )


def _create_supply_group() -> None:
    op.create_table(
        "supply_group",
        _id(),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("sgc", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("key_name", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        _refers("supply_group", "utility_id", "utility"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supply_group")),
        sa.UniqueConstraint("utility_id", "sgc", name=op.f("uq_supply_group_utility_id_sgc")),
    )
