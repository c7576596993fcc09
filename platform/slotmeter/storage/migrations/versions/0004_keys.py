"""The vault's keys, sealed tokens, key changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from slotmeter.storage.migrations.guards import guard, unguard

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
    _create_key_changes()


def downgrade() -> None:
    """Undo; tokens that were sealed stay sealed."""
    _drop_key_changes()
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
        sa.Column("warned_us", sa.BigInteger(), nullable=True),
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


# --- changes of the keys of meters, and training -------------------------------------------------


def _create_key_changes() -> None:
    op.add_column("meter", sa.Column("wanted", sa.Text(), nullable=True))
    training = sa.Column("training", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("utility", training)
    _create_key_campaign()
    _create_key_change()
    _create_key_change_token()
    _create_key_campaign_meter()
    _create_key_replacement()
    _create_management_token()
    for table in ("key_change_token", "key_replacement", "management_token"):
        guard(op, table)


def _drop_key_changes() -> None:
    for table in ("management_token", "key_replacement", "key_change_token"):
        unguard(op, table)
        op.drop_table(table)
    for table in ("key_campaign_meter", "key_change", "key_campaign"):
        op.drop_table(table)
    op.drop_column("utility", "training")
    op.drop_column("meter", "wanted")


def _int(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _key(table: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}"))


def _once(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _create_key_campaign() -> None:
    op.create_table(
        "key_campaign",
        _id(),
        _int("utility_id"),
        _text("code"),
        _text("key_id"),
        _int("tariff_index", nullable=True),
        _int("three_tokens"),
        _text("how"),
        _text("state"),
        _text("reason"),
        _int("principal_id"),
        _int("created_us"),
        _int("closed_us", nullable=True),
        _refers("key_campaign", "utility_id", "utility"),
        _refers("key_campaign", "principal_id", "principal"),
        _key("key_campaign"),
        _once("key_campaign", "utility_id", "code"),
    )


def _create_key_change() -> None:
    op.create_table(
        "key_change",
        _id(),
        _int("utility_id"),
        _int("meter_id"),
        _int("campaign_id", nullable=True),
        _text("state"),
        _text("from_key_id"),
        _text("from_parameters"),
        _text("to_key_id"),
        _text("to_parameters"),
        _int("three_tokens"),
        _text("proof", nullable=True),
        _text("unused"),
        _text("reason"),
        _int("principal_id", nullable=True),
        _int("created_us"),
        _int("ended_us", nullable=True),
        _text("end_reason", nullable=True),
        _int("end_principal_id", nullable=True),
        _refers("key_change", "utility_id", "utility"),
        _refers("key_change", "meter_id", "meter"),
        _refers("key_change", "campaign_id", "key_campaign"),
        _refers("key_change", "principal_id", "principal"),
        _refers("key_change", "end_principal_id", "principal"),
        _key("key_change"),
    )
    _index("key_change", "meter_id", "state")
    _index("key_change", "campaign_id")
    _index("key_change", "utility_id", "created_us")


def _create_key_change_token() -> None:
    op.create_table(
        "key_change_token",
        _id(),
        _int("utility_id"),
        _int("key_change_id"),
        _int("place"),
        _int("token_id"),
        _refers("key_change_token", "utility_id", "utility"),
        _refers("key_change_token", "key_change_id", "key_change"),
        _refers("key_change_token", "token_id", "token"),
        _key("key_change_token"),
        _once("key_change_token", "key_change_id", "place"),
    )
    _index("key_change_token", "token_id")


def _create_key_campaign_meter() -> None:
    op.create_table(
        "key_campaign_meter",
        _id(),
        _int("utility_id"),
        _int("campaign_id"),
        _int("meter_id"),
        _text("state"),
        _text("problem", nullable=True),
        _int("key_change_id", nullable=True),
        _int("printed_us", nullable=True),
        _refers("key_campaign_meter", "utility_id", "utility"),
        _refers("key_campaign_meter", "campaign_id", "key_campaign"),
        _refers("key_campaign_meter", "meter_id", "meter"),
        _refers("key_campaign_meter", "key_change_id", "key_change"),
        _key("key_campaign_meter"),
        _once("key_campaign_meter", "campaign_id", "meter_id"),
    )
    _index("key_campaign_meter", "campaign_id", "state")


def _create_management_token() -> None:
    op.create_table(
        "management_token",
        _id(),
        _int("utility_id"),
        _int("meter_id"),
        _int("token_id"),
        _int("principal_id"),
        _text("request_id"),
        _text("request_hash"),
        _text("kind"),
        _int("value", nullable=True),
        _text("reason"),
        _int("at_us"),
        _refers("management_token", "utility_id", "utility"),
        _refers("management_token", "meter_id", "meter"),
        _refers("management_token", "token_id", "token"),
        _refers("management_token", "principal_id", "principal"),
        _key("management_token"),
        _once("management_token", "principal_id", "request_id"),
    )
    _index("management_token", "meter_id", "id")
    _index("management_token", "token_id")


def _create_key_replacement() -> None:
    op.create_table(
        "key_replacement",
        _id(),
        _int("utility_id"),
        _int("key_change_id"),
        _int("old_token_id"),
        _int("new_token_id"),
        _text("reason"),
        _int("principal_id"),
        _int("at_us"),
        _refers("key_replacement", "utility_id", "utility"),
        _refers("key_replacement", "key_change_id", "key_change"),
        _refers("key_replacement", "old_token_id", "token"),
        _refers("key_replacement", "new_token_id", "token"),
        _refers("key_replacement", "principal_id", "principal"),
        _key("key_replacement"),
        _once("key_replacement", "old_token_id"),
    )
    _index("key_replacement", "key_change_id")
