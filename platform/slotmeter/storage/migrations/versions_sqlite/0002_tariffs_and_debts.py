"""Tariffs that are approved, debts, classes, terms, free units, and what a sale knew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


APPEND_ONLY = ("account_terms", "debt_log", "receipt_print")
"""New tables whose rows are never changed nor removed."""

ADDED = (
    ("meter", sa.Column("transfer", sa.Text(), server_default="units", nullable=False)),
    ("meter_charge", sa.Column("situation", sa.Text(), nullable=True)),
    ("sale", sa.Column("situation", sa.Text(), nullable=True)),
    ("sale", sa.Column("counted_units", sa.BigInteger(), server_default="0", nullable=False)),
    ("sale", sa.Column("lifeline_units", sa.BigInteger(), server_default="0", nullable=False)),
    ("sale", sa.Column("kept_minor", sa.BigInteger(), server_default="0", nullable=False)),
    ("sale", sa.Column("transfer", sa.Text(), server_default="units", nullable=False)),
    ("sale", sa.Column("transfer_minor", sa.BigInteger(), nullable=True)),
    ("supply_point", sa.Column("connection", sa.Text(), nullable=True)),
    ("supply_point", sa.Column("load_w", sa.BigInteger(), nullable=True)),
    ("tariff_version", sa.Column("source", sa.Text(), nullable=True)),
    ("tariff_version", sa.Column("approved_us", sa.BigInteger(), nullable=True)),
    ("tariff_version", sa.Column("withdrawn_us", sa.BigInteger(), nullable=True)),
    ("token", sa.Column("purpose", sa.Text(), server_default="credit", nullable=False)),
)
"""Columns of tables that were there, by table."""

PEOPLE = ("author_id", "approver_id")
"""Columns of tariff_version that name a principal. SQLite takes the reference with the column or
not at all, and Alembic would write it apart."""


def _guard(table: str) -> None:
    for act in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only_{act.lower()} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def upgrade() -> None:
    """Apply."""
    _add_columns()
    _create_tables_of_accounts()
    _create_tables_of_sales()
    for table in APPEND_ONLY:
        _guard(table)


def _add_columns() -> None:
    for table, column in ADDED:
        op.add_column(table, column)
    for name in PEOPLE:
        op.execute(
            f"ALTER TABLE tariff_version ADD COLUMN {name} BIGINT "
            f"CONSTRAINT fk_tariff_version_{name} REFERENCES principal (id)"
        )
    op.create_index(op.f("ix_sale_supply_point_id_sold_us"), "sale", ["supply_point_id", "sold_us"])
    # The tariffs of these sales had no block counter, so that all that was sold counts.
    op.execute("UPDATE sale SET counted_units = units")


def _create_tables_of_accounts() -> None:
    op.create_table(
        "customer_class",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_customer_class_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_class")),
        sa.UniqueConstraint("utility_id", "code", name=op.f("uq_customer_class_utility_id_code")),
    )
    op.create_table(
        "account_block",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("released_us", sa.BigInteger(), nullable=True),
        sa.Column("released_by", sa.BigInteger(), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_account_block_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_account_block_principal_id")
        ),
        sa.ForeignKeyConstraint(
            ["released_by"], ["principal.id"], name=op.f("fk_account_block_released_by")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_account_block_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_block")),
    )
    op.create_index(
        op.f("ix_account_block_account_id_released_us"),
        "account_block",
        ["account_id", "released_us"],
    )
    op.create_table(
        "account_class",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("class_code", sa.Text(), nullable=True),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_account_class_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_account_class_principal_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_account_class_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_class")),
    )
    op.create_index(
        op.f("ix_account_class_account_id_from_us"), "account_class", ["account_id", "from_us"]
    )
    op.create_table(
        "account_terms",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=True),
        sa.Column("register", sa.BigInteger(), nullable=True),
        sa.Column("settlement", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_account_terms_account_id")
        ),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_account_terms_meter_id")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_account_terms_principal_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_account_terms_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_terms")),
    )
    op.create_index(
        op.f("ix_account_terms_account_id_from_us"), "account_terms", ["account_id", "from_us"]
    )
    op.create_table(
        "debt",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_percent", sa.Text(), nullable=True),
        sa.Column("interest", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("starts_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("ledger_account_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_debt_account_id")),
        sa.ForeignKeyConstraint(
            ["ledger_account_id"], ["ledger_account.id"], name=op.f("fk_debt_ledger_account_id")
        ),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_debt_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_debt")),
        sa.UniqueConstraint("ledger_account_id", name=op.f("uq_debt_ledger_account_id")),
        sa.UniqueConstraint("utility_id", "number", name=op.f("uq_debt_utility_id_number")),
    )
    op.create_index(op.f("ix_debt_account_id_state"), "debt", ["account_id", "state"])
    op.create_index(op.f("ix_debt_utility_id_state"), "debt", ["utility_id", "state"])


def _create_tables_of_sales() -> None:
    op.create_table(
        "free_registration",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_free_registration_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_free_registration_principal_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_free_registration_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_free_registration")),
    )
    op.create_index(
        op.f("ix_free_registration_account_id_code"), "free_registration", ["account_id", "code"]
    )
    op.create_table(
        "debt_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("debt_id", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["debt_id"], ["debt.id"], name=op.f("fk_debt_log_debt_id")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_debt_log_principal_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_debt_log_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_debt_log")),
    )
    op.create_index(op.f("ix_debt_log_debt_id"), "debt_log", ["debt_id"])
    op.create_table(
        "tariff_draft",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("author_id", sa.BigInteger(), nullable=False),
        sa.Column("authors", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("submitter_id", sa.BigInteger(), nullable=True),
        sa.Column("submitted_us", sa.BigInteger(), nullable=True),
        sa.Column("decided_us", sa.BigInteger(), nullable=True),
        sa.Column("decider_id", sa.BigInteger(), nullable=True),
        sa.Column("valid_from_us", sa.BigInteger(), nullable=True),
        sa.Column("tariff_version_id", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("preview", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["author_id"], ["principal.id"], name=op.f("fk_tariff_draft_author_id")
        ),
        sa.ForeignKeyConstraint(
            ["decider_id"], ["principal.id"], name=op.f("fk_tariff_draft_decider_id")
        ),
        sa.ForeignKeyConstraint(
            ["submitter_id"], ["principal.id"], name=op.f("fk_tariff_draft_submitter_id")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_version_id"],
            ["tariff_version.id"],
            name=op.f("fk_tariff_draft_tariff_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_tariff_draft_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff_draft")),
    )
    op.create_index(op.f("ix_tariff_draft_utility_id_code"), "tariff_draft", ["utility_id", "code"])
    op.create_table(
        "debt_taken",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("debt_id", sa.BigInteger(), nullable=False),
        sa.Column("sale_row_id", sa.BigInteger(), nullable=False),
        sa.Column("minor", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["debt_id"], ["debt.id"], name=op.f("fk_debt_taken_debt_id")),
        sa.ForeignKeyConstraint(
            ["sale_row_id"], ["sale.id"], name=op.f("fk_debt_taken_sale_row_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_debt_taken_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_debt_taken")),
        sa.UniqueConstraint(
            "sale_row_id", "debt_id", name=op.f("uq_debt_taken_sale_row_id_debt_id")
        ),
    )
    op.create_index(op.f("ix_debt_taken_debt_id_at_us"), "debt_taken", ["debt_id", "at_us"])
    op.create_table(
        "free_claim",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("supply_point_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("sale_row_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sale_row_id"], ["sale.id"], name=op.f("fk_free_claim_sale_row_id")
        ),
        sa.ForeignKeyConstraint(
            ["supply_point_id"], ["supply_point.id"], name=op.f("fk_free_claim_supply_point_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_free_claim_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_free_claim")),
        sa.UniqueConstraint(
            "supply_point_id",
            "code",
            "period",
            name=op.f("uq_free_claim_supply_point_id_code_period"),
        ),
    )
    op.create_index(op.f("ix_free_claim_sale_row_id"), "free_claim", ["sale_row_id"])
    op.create_table(
        "receipt_print",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("sale_row_id", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_receipt_print_principal_id")
        ),
        sa.ForeignKeyConstraint(
            ["sale_row_id"], ["sale.id"], name=op.f("fk_receipt_print_sale_row_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_receipt_print_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt_print")),
    )
    op.create_index(op.f("ix_receipt_print_sale_row_id"), "receipt_print", ["sale_row_id"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_receipt_print_sale_row_id"), table_name="receipt_print")
    op.drop_table("receipt_print")
    op.drop_index(op.f("ix_free_claim_sale_row_id"), table_name="free_claim")
    op.drop_table("free_claim")
    op.drop_index(op.f("ix_debt_taken_debt_id_at_us"), table_name="debt_taken")
    op.drop_table("debt_taken")
    op.drop_index(op.f("ix_tariff_draft_utility_id_code"), table_name="tariff_draft")
    op.drop_table("tariff_draft")
    op.drop_index(op.f("ix_debt_log_debt_id"), table_name="debt_log")
    op.drop_table("debt_log")
    op.drop_index(op.f("ix_free_registration_account_id_code"), table_name="free_registration")
    op.drop_table("free_registration")
    op.drop_index(op.f("ix_debt_utility_id_state"), table_name="debt")
    op.drop_index(op.f("ix_debt_account_id_state"), table_name="debt")
    op.drop_table("debt")
    op.drop_index(op.f("ix_account_terms_account_id_from_us"), table_name="account_terms")
    op.drop_table("account_terms")
    op.drop_index(op.f("ix_account_class_account_id_from_us"), table_name="account_class")
    op.drop_table("account_class")
    op.drop_index(op.f("ix_account_block_account_id_released_us"), table_name="account_block")
    op.drop_table("account_block")
    op.drop_table("customer_class")
    op.drop_index(op.f("ix_sale_supply_point_id_sold_us"), table_name="sale")
    with op.batch_alter_table("tariff_version") as batch:
        for name in PEOPLE:
            batch.drop_column(name)
    for table, column in reversed(ADDED):
        op.drop_column(table, column.name)
