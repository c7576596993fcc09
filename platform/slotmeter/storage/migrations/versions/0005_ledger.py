"""Corrections of sales, closed periods, float and commission."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from slotmeter.storage.migrations.guards import guard

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("ledger_operation", "accounting_period", "commission_plan", "meter_swap")
"""New tables; none of their rows is ever changed nor removed."""

CLOSED = "SELECT 1 FROM accounting_period WHERE utility_id = NEW.utility_id AND to_us > NEW.at_us"

BELOW_ZERO = "NEW.balance_minor < 0 AND substr(NEW.code, 1, 5) = 'debt:'"


def upgrade() -> None:
    """Apply."""
    _create_operation()
    _create_period()
    _create_plan()
    _create_swap()
    op.create_index(op.f("ix_journal_utility_id_at_us"), "journal", ["utility_id", "at_us"])
    for table in TABLES:
        guard(op, table)
    if op.get_context().dialect.name == "postgresql":
        _guard_postgresql()
    else:
        _guard_sqlite()


def downgrade() -> None:
    """Undo."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER journal_sums_to_zero ON journal")
        op.execute("DROP TRIGGER journal_period_open ON journal")
        op.execute("DROP TRIGGER ledger_account_debt_not_negative ON ledger_account")
        for function in ("journal_sums_to_zero", "journal_period_open", "debt_not_negative"):
            op.execute(f"DROP FUNCTION slotmeter_{function}()")
    else:
        op.execute("DROP TRIGGER journal_period_open")
        op.execute("DROP TRIGGER ledger_account_debt_not_negative")
    op.drop_index(op.f("ix_journal_utility_id_at_us"), table_name="journal")
    for table in reversed(TABLES):
        op.drop_table(table)


def _guard_sqlite() -> None:
    op.execute(
        f"CREATE TRIGGER journal_period_open BEFORE INSERT ON journal WHEN EXISTS ({CLOSED}) "
        "BEGIN SELECT RAISE(ABORT, 'the period of this journal is closed'); END"
    )
    op.execute(
        "CREATE TRIGGER ledger_account_debt_not_negative "
        f"BEFORE UPDATE OF balance_minor ON ledger_account WHEN {BELOW_ZERO} "
        "BEGIN SELECT RAISE(ABORT, 'a debt is never below zero'); END"
    )


def _function(name: str, condition: str, message: str, answer: str) -> None:
    op.execute(
        f"CREATE FUNCTION slotmeter_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {condition} THEN RAISE EXCEPTION '{message}' "
        f"USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN {answer}; END $$"
    )


def _guard_postgresql() -> None:
    _function(
        "journal_period_open", f"EXISTS ({CLOSED})", "the period of this journal is closed", "NEW"
    )
    op.execute(
        "CREATE TRIGGER journal_period_open BEFORE INSERT ON journal "
        "FOR EACH ROW EXECUTE FUNCTION slotmeter_journal_period_open()"
    )
    _function("debt_not_negative", BELOW_ZERO, "a debt is never below zero", "NEW")
    op.execute(
        "CREATE TRIGGER ledger_account_debt_not_negative BEFORE UPDATE OF balance_minor "
        "ON ledger_account FOR EACH ROW EXECUTE FUNCTION slotmeter_debt_not_negative()"
    )
    # SQLite has nothing that looks when a transaction ends; there `ledger verify` looks.
    unbalanced = (
        "EXISTS (SELECT 1 FROM posting WHERE journal_id = NEW.id "
        "GROUP BY currency HAVING sum(amount_minor) <> 0)"
    )
    _function("journal_sums_to_zero", unbalanced, "a journal does not sum to zero", "NULL")
    op.execute(
        "CREATE CONSTRAINT TRIGGER journal_sums_to_zero AFTER INSERT ON journal "
        "DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION slotmeter_journal_sums_to_zero()"
    )


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def _int(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _refers(table: str, *targets: tuple[str, str]) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))
        for column, target in targets
    ]


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _create_operation() -> None:
    table = "ledger_operation"
    op.create_table(
        table,
        _id(),
        _int("utility_id"),
        _int("principal_id"),
        *(_text(name) for name in ("request_id", "request_hash", "kind", "subject", "number")),
        _int("branch_id", nullable=True),
        _int("account_id", nullable=True),
        _int("sale_row_id", nullable=True),
        _int("new_sale_row_id", nullable=True),
        _int("amount_minor"),
        *(_text(name) for name in ("currency", "reason", "detail")),
        _int("at_us"),
        *_refers(
            table,
            ("utility_id", "utility"),
            ("principal_id", "principal"),
            ("branch_id", "branch"),
            ("account_id", "account"),
            ("sale_row_id", "sale"),
            ("new_sale_row_id", "sale"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        _unique(table, "principal_id", "request_id"),
        _unique(table, "utility_id", "kind", "subject"),
        _unique(table, "utility_id", "number"),
    )
    _index(table, "utility_id", "at_us")
    _index(table, "sale_row_id")
    _index(table, "new_sale_row_id")


def _create_period() -> None:
    table = "accounting_period"
    op.create_table(
        table,
        _id(),
        *(_int(name) for name in ("utility_id", "from_us", "to_us")),
        _text("through_day"),
        _int("journals"),
        _int("postings"),
        _text("sums"),
        _text("digest"),
        _int("principal_id"),
        _text("reason"),
        _int("closed_us"),
        *_refers(
            table,
            ("utility_id", "utility"),
            ("principal_id", "principal"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        _unique(table, "utility_id", "to_us"),
    )


def _create_plan() -> None:
    table = "commission_plan"
    op.create_table(
        table,
        _id(),
        *(_int(name) for name in ("utility_id", "branch_id", "from_us")),
        _text("body", nullable=True),
        _int("principal_id"),
        _text("reason"),
        _int("created_us"),
        *_refers(
            table,
            ("utility_id", "utility"),
            ("branch_id", "branch"),
            ("principal_id", "principal"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    _index(table, "branch_id", "from_us")


def _create_swap() -> None:
    table = "meter_swap"
    op.create_table(
        table,
        _id(),
        *(
            _int(name)
            for name in (
                "utility_id",
                "supply_point_id",
                "old_installation_id",
                "old_meter_id",
                "new_meter_id",
            )
        ),
        _int("old_register", nullable=True),
        _int("new_register", nullable=True),
        _int("credit"),
        _int("moved"),
        _int("token_id", nullable=True),
        _int("principal_id"),
        _text("reason"),
        _int("at_us"),
        *_refers(
            table,
            ("utility_id", "utility"),
            ("supply_point_id", "supply_point"),
            ("old_installation_id", "installation"),
            ("old_meter_id", "meter"),
            ("new_meter_id", "meter"),
            ("token_id", "token"),
            ("principal_id", "principal"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        _unique(table, "old_installation_id"),
    )
    _index(table, "new_meter_id")
    _index(table, "token_id")
