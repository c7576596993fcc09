"""Runs the migrations in one transaction: on a SQLite file, or as a script for PostgreSQL."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from slotmeter.storage.schema import METADATA


def write() -> None:
    """Write what PostgreSQL has to run; whoever asked opens the transaction."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=METADATA,
        literal_binds=True,
        transactional_ddl=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def run() -> None:
    """Upgrade the SQLite file named by the caller."""
    path = context.config.attributes["database_path"]
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=METADATA, transaction_per_migration=False
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    engine.dispose()


if context.is_offline_mode():
    write()
else:
    run()
