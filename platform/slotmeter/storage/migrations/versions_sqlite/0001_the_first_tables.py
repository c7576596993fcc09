"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


APPEND_ONLY = ("act", "command_log", "event", "journal", "notice", "posting")
"""Tables whose rows are never changed nor removed."""


def _guard(table: str) -> None:
    for act in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only_{act.lower()} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "cursor",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursor")),
    )
    op.create_table(
        "frame",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("medium", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frame")),
    )
    op.create_table(
        "id_block",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_id_block")),
    )
    op.create_table(
        "utility",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("tax_number", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_utility")),
        sa.UniqueConstraint("code", name=op.f("uq_utility_code")),
    )
    op.create_table(
        "act",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=True),
        sa.Column("api_key_id", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_act_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_act")),
    )
    op.create_index(op.f("ix_act_utility_id_at_us"), "act", ["utility_id", "at_us"], unique=False)
    op.create_table(
        "branch",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_branch_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_branch")),
        sa.UniqueConstraint("utility_id", "code", name=op.f("uq_branch_utility_id_code")),
    )
    op.create_table(
        "customer",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_customer_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer")),
        sa.UniqueConstraint("utility_id", "number", name=op.f("uq_customer_utility_id_number")),
    )
    op.create_table(
        "ledger_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("balance_minor", sa.BigInteger(), nullable=False),
        sa.Column("reserved_minor", sa.BigInteger(), nullable=False),
        sa.Column("limit_minor", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_ledger_account_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_account")),
        sa.UniqueConstraint("utility_id", "code", name=op.f("uq_ledger_account_utility_id_code")),
    )
    op.create_table(
        "meter",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("commodity", sa.Text(), nullable=False),
        sa.Column("credit_mode", sa.Text(), nullable=False),
        sa.Column("purchase_max_minor", sa.BigInteger(), nullable=True),
        sa.Column("parameters", sa.Text(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_meter_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter")),
        sa.UniqueConstraint("utility_id", "number", name=op.f("uq_meter_utility_id_number")),
    )
    op.create_table(
        "quarantine",
        sa.Column("frame_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["frame_id"], ["frame.id"], name=op.f("fk_quarantine_frame_id")),
        sa.PrimaryKeyConstraint("frame_id", name=op.f("pk_quarantine")),
    )
    op.create_table(
        "sequence",
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_value", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_sequence_utility_id")
        ),
        sa.PrimaryKeyConstraint("utility_id", "name", name=op.f("pk_sequence")),
    )
    op.create_table(
        "tariff",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("commodity", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_tariff_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff")),
        sa.UniqueConstraint("utility_id", "code", name=op.f("uq_tariff_utility_id_code")),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("critical_until_us", sa.BigInteger(), nullable=True),
        sa.Column("critical_reason", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_account_customer_id")
        ),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_account_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("utility_id", "number", name=op.f("uq_account_utility_id_number")),
    )
    op.create_table(
        "alarm",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("raised_us", sa.BigInteger(), nullable=False),
        sa.Column("cleared_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_alarm_meter_id")),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_alarm_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
    )
    op.create_index(
        op.f("ix_alarm_meter_id_kind_cleared_us"),
        "alarm",
        ["meter_id", "kind", "cleared_us"],
        unique=False,
    )
    op.create_index(
        op.f("ix_alarm_utility_id_cleared_us"), "alarm", ["utility_id", "cleared_us"], unique=False
    )
    op.create_table(
        "device",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("medium", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("driver", sa.Text(), nullable=False),
        sa.Column("last_contact_us", sa.BigInteger(), nullable=True),
        sa.Column("measured_us", sa.BigInteger(), nullable=True),
        sa.Column("received_us", sa.BigInteger(), nullable=True),
        sa.Column("supply", sa.Text(), nullable=False),
        sa.Column("register", sa.BigInteger(), nullable=True),
        sa.Column("credit_balance", sa.BigInteger(), nullable=True),
        sa.Column("credit_total", sa.BigInteger(), nullable=True),
        sa.Column("credit_proven", sa.BigInteger(), nullable=True),
        sa.Column("credit_baseline_us", sa.BigInteger(), nullable=True),
        sa.Column("tamper", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_device_meter_id")),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_device_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("medium", "address", name=op.f("uq_device_medium_address")),
        sa.UniqueConstraint("meter_id", name=op.f("uq_device_meter_id")),
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_notice_meter_id")),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_notice_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index(op.f("ix_notice_meter_id_at_us"), "notice", ["meter_id", "at_us"], unique=False)
    op.create_table(
        "principal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("branch_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("disabled_us", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name=op.f("fk_principal_branch_id")),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_principal_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principal")),
        sa.UniqueConstraint("utility_id", "name", name=op.f("uq_principal_utility_id_name")),
    )
    op.create_table(
        "tariff_version",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("tariff_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("valid_from_us", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tariff_id"], ["tariff.id"], name=op.f("fk_tariff_version_tariff_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_tariff_version_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff_version")),
        sa.UniqueConstraint(
            "tariff_id", "version", name=op.f("uq_tariff_version_tariff_id_version")
        ),
    )
    op.create_index(
        op.f("ix_tariff_version_tariff_id_valid_from_us"),
        "tariff_version",
        ["tariff_id", "valid_from_us"],
        unique=False,
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("rights", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_api_key_principal_id")
        ),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_api_key_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_key_sha256")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=True),
        sa.Column("principal_id", sa.BigInteger(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_event_meter_id")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_event_principal_id")
        ),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_event_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_meter_id_id"), "event", ["meter_id", "id"], unique=False)
    op.create_index(op.f("ix_event_utility_id_id"), "event", ["utility_id", "id"], unique=False)
    op.create_table(
        "meter_charge",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("tariff_version_id", sa.BigInteger(), nullable=False),
        sa.Column("start_register", sa.BigInteger(), nullable=False),
        sa.Column("register", sa.BigInteger(), nullable=False),
        sa.Column("charged_minor", sa.BigInteger(), nullable=False),
        sa.Column("taxed_minor", sa.BigInteger(), nullable=False),
        sa.Column("charged_us", sa.BigInteger(), nullable=False),
        sa.Column("measured_us", sa.BigInteger(), nullable=False),
        sa.Column("doubted_register", sa.BigInteger(), nullable=True),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("to_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_meter_charge_account_id")
        ),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_meter_charge_meter_id")),
        sa.ForeignKeyConstraint(
            ["tariff_version_id"],
            ["tariff_version.id"],
            name=op.f("fk_meter_charge_tariff_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_meter_charge_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_charge")),
    )
    op.create_index(
        op.f("ix_meter_charge_meter_id_to_us"), "meter_charge", ["meter_id", "to_us"], unique=False
    )
    op.create_table(
        "supply_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("tariff_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("commodity", sa.Text(), nullable=False),
        sa.Column("area", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_supply_point_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_id"], ["tariff.id"], name=op.f("fk_supply_point_tariff_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_supply_point_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supply_point")),
        sa.UniqueConstraint("utility_id", "number", name=op.f("uq_supply_point_utility_id_number")),
    )
    op.create_index(
        op.f("ix_supply_point_account_id"), "supply_point", ["account_id"], unique=False
    )
    op.create_table(
        "charge",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("supply_point_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("due_minor", sa.BigInteger(), nullable=False),
        sa.Column("taken_minor", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["supply_point_id"], ["supply_point.id"], name=op.f("fk_charge_supply_point_id")
        ),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_charge_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge")),
        sa.UniqueConstraint(
            "supply_point_id", "code", "period", name=op.f("uq_charge_supply_point_id_code_period")
        ),
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("supply_point_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("to_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_installation_meter_id")),
        sa.ForeignKeyConstraint(
            ["supply_point_id"], ["supply_point.id"], name=op.f("fk_installation_supply_point_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_installation_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_index(
        op.f("ix_installation_meter_id_from_us"),
        "installation",
        ["meter_id", "from_us"],
        unique=False,
    )
    op.create_index(
        op.f("ix_installation_supply_point_id_from_us"),
        "installation",
        ["supply_point_id", "from_us"],
        unique=False,
    )
    op.create_table(
        "sale",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("principal_id", sa.BigInteger(), nullable=False),
        sa.Column("branch_id", sa.BigInteger(), nullable=False),
        sa.Column("sale_id", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("voided", sa.Text(), nullable=True),
        sa.Column("receipt_number", sa.Text(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("supply_point_id", sa.BigInteger(), nullable=False),
        sa.Column("tariff_version_id", sa.BigInteger(), nullable=False),
        sa.Column("tender_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("credit_mode", sa.Text(), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=True),
        sa.Column("priced", sa.Text(), nullable=False),
        sa.Column("particulars", sa.Text(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("sold_us", sa.BigInteger(), nullable=False),
        sa.Column("issued_us", sa.BigInteger(), nullable=True),
        sa.Column("sent_us", sa.BigInteger(), nullable=True),
        sa.Column("accepted_us", sa.BigInteger(), nullable=True),
        sa.Column("verified_us", sa.BigInteger(), nullable=True),
        sa.Column("act", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sale_account_id")),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name=op.f("fk_sale_branch_id")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_sale_device_id")),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_sale_meter_id")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_sale_principal_id")
        ),
        sa.ForeignKeyConstraint(
            ["supply_point_id"], ["supply_point.id"], name=op.f("fk_sale_supply_point_id")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_version_id"], ["tariff_version.id"], name=op.f("fk_sale_tariff_version_id")
        ),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_sale_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sale")),
        sa.UniqueConstraint("principal_id", "sale_id", name=op.f("uq_sale_principal_id_sale_id")),
        sa.UniqueConstraint(
            "utility_id", "receipt_number", name=op.f("uq_sale_utility_id_receipt_number")
        ),
    )
    op.create_index(op.f("ix_sale_meter_id_sold_us"), "sale", ["meter_id", "sold_us"], unique=False)
    op.create_index(op.f("ix_sale_state"), "sale", ["state"], unique=False)
    op.create_index(
        op.f("ix_sale_utility_id_sold_us"), "sale", ["utility_id", "sold_us"], unique=False
    )
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("sale_row_id", sa.BigInteger(), nullable=True),
        sa.Column("frame_id", sa.BigInteger(), nullable=True),
        sa.Column("principal_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_journal_principal_id")
        ),
        sa.ForeignKeyConstraint(["sale_row_id"], ["sale.id"], name=op.f("fk_journal_sale_row_id")),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_journal_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
    )
    op.create_index(op.f("ix_journal_sale_row_id"), "journal", ["sale_row_id"], unique=False)
    op.create_table(
        "token",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("sale_row_id", sa.BigInteger(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("tid_minute", sa.BigInteger(), nullable=False),
        sa.Column("tid", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("digits", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("accepted_by", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("issued_us", sa.BigInteger(), nullable=True),
        sa.Column("accepted_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_token_meter_id")),
        sa.ForeignKeyConstraint(["sale_row_id"], ["sale.id"], name=op.f("fk_token_sale_row_id")),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_token_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("meter_id", "tid_minute", name=op.f("uq_token_meter_id_tid_minute")),
    )
    op.create_index(op.f("ix_token_sale_row_id"), "token", ["sale_row_id"], unique=False)
    op.create_table(
        "command",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=True),
        sa.Column("sale_row_id", sa.BigInteger(), nullable=True),
        sa.Column("principal_id", sa.BigInteger(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("hold", sa.Text(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("lease_us", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("sent_us", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_command_device_id")),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_command_meter_id")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_command_principal_id")
        ),
        sa.ForeignKeyConstraint(["sale_row_id"], ["sale.id"], name=op.f("fk_command_sale_row_id")),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name=op.f("fk_command_token_id")),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_command_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command")),
    )
    op.create_index(
        op.f("ix_command_device_id_state"), "command", ["device_id", "state"], unique=False
    )
    op.create_index(
        op.f("ix_command_meter_id_created_us"), "command", ["meter_id", "created_us"], unique=False
    )
    op.create_index(op.f("ix_command_state"), "command", ["state"], unique=False)
    op.create_index(
        op.f("ix_command_utility_id_created_us"),
        "command",
        ["utility_id", "created_us"],
        unique=False,
    )
    op.create_index(
        op.f("ix_command_utility_id_kind_created_us"),
        "command",
        ["utility_id", "kind", "created_us"],
        unique=False,
    )
    op.create_table(
        "posting",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("journal_id", sa.BigInteger(), nullable=False),
        sa.Column("ledger_account_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["journal_id"], ["journal.id"], name=op.f("fk_posting_journal_id")),
        sa.ForeignKeyConstraint(
            ["ledger_account_id"], ["ledger_account.id"], name=op.f("fk_posting_ledger_account_id")
        ),
        sa.ForeignKeyConstraint(["utility_id"], ["utility.id"], name=op.f("fk_posting_utility_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posting")),
    )
    op.create_index(op.f("ix_posting_journal_id"), "posting", ["journal_id"], unique=False)
    op.create_index(
        op.f("ix_posting_ledger_account_id"), "posting", ["ledger_account_id"], unique=False
    )
    op.create_table(
        "command_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("command_id", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["command_id"], ["command.id"], name=op.f("fk_command_log_command_id")
        ),
        sa.ForeignKeyConstraint(
            ["utility_id"], ["utility.id"], name=op.f("fk_command_log_utility_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command_log")),
    )
    op.create_index(op.f("ix_command_log_command_id"), "command_log", ["command_id"], unique=False)

    op.execute("INSERT INTO id_block (name, next_id) VALUES ('id', 1)")
    for table in APPEND_ONLY:
        _guard(table)


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_command_log_command_id"), table_name="command_log")
    op.drop_table("command_log")
    op.drop_index(op.f("ix_posting_ledger_account_id"), table_name="posting")
    op.drop_index(op.f("ix_posting_journal_id"), table_name="posting")
    op.drop_table("posting")
    op.drop_index(op.f("ix_command_utility_id_kind_created_us"), table_name="command")
    op.drop_index(op.f("ix_command_utility_id_created_us"), table_name="command")
    op.drop_index(op.f("ix_command_state"), table_name="command")
    op.drop_index(op.f("ix_command_meter_id_created_us"), table_name="command")
    op.drop_index(op.f("ix_command_device_id_state"), table_name="command")
    op.drop_table("command")
    op.drop_index(op.f("ix_token_sale_row_id"), table_name="token")
    op.drop_table("token")
    op.drop_index(op.f("ix_journal_sale_row_id"), table_name="journal")
    op.drop_table("journal")
    op.drop_index(op.f("ix_sale_utility_id_sold_us"), table_name="sale")
    op.drop_index(op.f("ix_sale_state"), table_name="sale")
    op.drop_index(op.f("ix_sale_meter_id_sold_us"), table_name="sale")
    op.drop_table("sale")
    op.drop_index(op.f("ix_installation_supply_point_id_from_us"), table_name="installation")
    op.drop_index(op.f("ix_installation_meter_id_from_us"), table_name="installation")
    op.drop_table("installation")
    op.drop_table("charge")
    op.drop_index(op.f("ix_supply_point_account_id"), table_name="supply_point")
    op.drop_table("supply_point")
    op.drop_index(op.f("ix_meter_charge_meter_id_to_us"), table_name="meter_charge")
    op.drop_table("meter_charge")
    op.drop_index(op.f("ix_event_utility_id_id"), table_name="event")
    op.drop_index(op.f("ix_event_meter_id_id"), table_name="event")
    op.drop_table("event")
    op.drop_table("api_key")
    op.drop_index(op.f("ix_tariff_version_tariff_id_valid_from_us"), table_name="tariff_version")
    op.drop_table("tariff_version")
    op.drop_table("principal")
    op.drop_index(op.f("ix_notice_meter_id_at_us"), table_name="notice")
    op.drop_table("notice")
    op.drop_table("device")
    op.drop_index(op.f("ix_alarm_utility_id_cleared_us"), table_name="alarm")
    op.drop_index(op.f("ix_alarm_meter_id_kind_cleared_us"), table_name="alarm")
    op.drop_table("alarm")
    op.drop_table("account")
    op.drop_table("tariff")
    op.drop_table("sequence")
    op.drop_table("quarantine")
    op.drop_table("meter")
    op.drop_table("ledger_account")
    op.drop_table("customer")
    op.drop_table("branch")
    op.drop_index(op.f("ix_act_utility_id_at_us"), table_name="act")
    op.drop_table("act")
    op.drop_table("utility")
    op.drop_table("id_block")
    op.drop_table("frame")
    op.drop_table("cursor")
