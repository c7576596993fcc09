"""Runs the migrations on one SQLite file, in one transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from slotmeter.storage.schema import METADATA


def run() -> None:
    """Upgrade the database named by the caller."""
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


run()
