"""Opens what checking the audit reads, for the database that the settings name."""

from __future__ import annotations

from functools import partial

from slotmeter.config import Config
from slotmeter.errors import ConfigError
from slotmeter.runtime.audit_verify import OpenReader
from slotmeter.storage.audit_sqlite import SqliteAuditReader
from slotmeter.storage.data_files import DATABASE_FILE
from slotmeter.storage.opening import is_there

__all__ = ["reader_of"]


def reader_of(config: Config) -> OpenReader:
    """Return what opens the database for reading; it can be called in other processes too.

    Raises:
        ConfigError: ``data_folder_empty``, or ``postgresql_not_installed``.
    """
    folder = config.data.folder
    if not is_there(config):
        raise ConfigError(
            "data_folder_empty",
            f"there is no {DATABASE_FILE} in {folder}; run `slotmeter init` first",
        )
    if not config.database.url:
        return partial(SqliteAuditReader, folder / DATABASE_FILE)
    try:
        from slotmeter.storage.audit_postgres import PostgresAuditReader
    except ModuleNotFoundError as error:
        raise ConfigError(
            "postgresql_not_installed",
            f"database.url names a PostgreSQL server, and {error.name} is not installed; install "
            "slotmeter[postgresql]",
            field="database.url",
        ) from error
    return partial(PostgresAuditReader, config.database)
