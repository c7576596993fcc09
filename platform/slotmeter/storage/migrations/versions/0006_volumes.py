"""What is searched and imported."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from slotmeter.storage.migrations.guards import guard

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 5_000
INDEXES = {"account": ("customer_id",), "sale": ("principal_id", "sold_us")}
"""What customers are found by, and the sales of a till."""


def upgrade() -> None:
    """Apply."""
    _create_search_word()
    _fill_search_word()
    _create_imports()
    guard(op, "import_problem")
    for table, columns in INDEXES.items():
        op.create_index(op.f("_".join(("ix", table, *columns))), table, list(columns))


def downgrade() -> None:
    """Undo."""
    for table, columns in INDEXES.items():
        op.drop_index(op.f("_".join(("ix", table, *columns))), table)
    for table in ("import_problem", "import_job", "search_word"):
        op.drop_table(table)


def _refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))


def _create_search_word() -> None:
    word = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "search_word",
        sa.Column("utility_id", sa.BigInteger(), nullable=False),
        sa.Column("word", word, nullable=False),
        sa.Column("supply_point_id", sa.BigInteger(), nullable=False),
        _refers("search_word", "utility_id", "utility"),
        _refers("search_word", "supply_point_id", "supply_point"),
        sa.PrimaryKeyConstraint(
            "utility_id", "word", "supply_point_id", name=op.f("pk_search_word")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_search_word_supply_point_id_word"), "search_word", ["supply_point_id", "word"]
    )


def _words(*texts: str) -> Iterator[str]:
    """Yield each word once, folded, as the program of this revision folds them."""
    folded = unicodedata.normalize("NFKD", " ".join(texts).casefold())
    kept = "".join(
        each if each.isalnum() else "" if unicodedata.combining(each) else " " for each in folded
    )
    yield from dict.fromkeys(word[:40] for word in kept.split())


def _fill_search_word() -> None:
    """Make the words of what is there; PostgreSQL came with this revision and has nothing yet."""
    if op.get_context().as_sql:
        return
    connection = op.get_bind()
    found = connection.execute(
        sa.text(
            "SELECT p.utility_id, p.id, p.address, p.area, c.name, c.address, c.phone"
            " FROM supply_point p JOIN account a ON a.id = p.account_id"
            " JOIN customer c ON c.id = a.customer_id ORDER BY p.id"
        )
    )
    target = sa.table(
        "search_word", sa.column("utility_id"), sa.column("word"), sa.column("supply_point_id")
    )
    while rows := found.fetchmany(ROWS_AT_ONCE):
        words = [
            {"utility_id": utility_id, "word": word, "supply_point_id": point_id}
            for utility_id, point_id, *texts in rows
            for word in _words(*texts)
        ]
        if words:
            connection.execute(target.insert(), words)


def _create_imports() -> None:
    def whole(name: str, *, nullable: bool = False) -> sa.Column[int]:
        return sa.Column(name, sa.BigInteger(), nullable=nullable)

    def text(name: str) -> sa.Column[str]:
        return sa.Column(name, sa.Text(), nullable=False)

    def own_id() -> sa.Column[int]:
        kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
        return sa.Column("id", kind, nullable=False)

    op.create_table(
        "import_job",
        own_id(),
        whole("utility_id"),
        *(text(name) for name in ("kind", "sha256", "file_name")),
        *(whole(name) for name in ("rows", "row_done", "added", "already_there", "bad_rows")),
        text("state"),
        whole("principal_id", nullable=True),
        *(text(name) for name in ("address", "reason")),
        *(whole(name) for name in ("created_us", "updated_us")),
        whole("ended_us", nullable=True),
        _refers("import_job", "utility_id", "utility"),
        _refers("import_job", "principal_id", "principal"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_job")),
    )
    op.create_index(
        op.f("ix_import_job_utility_id_kind_sha256"), "import_job", ["utility_id", "kind", "sha256"]
    )
    op.create_table(
        "import_problem",
        own_id(),
        *(whole(name) for name in ("utility_id", "import_job_id", "row")),
        *(text(name) for name in ("field", "code", "reason")),
        _refers("import_problem", "utility_id", "utility"),
        _refers("import_problem", "import_job_id", "import_job"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_problem")),
    )
    op.create_index(
        op.f("ix_import_problem_import_job_id_row"), "import_problem", ["import_job_id", "row"]
    )
