"""A database that an earlier release wrote, brought to this one: for tests of upgrades."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command

from slotmeter.ports import Caller, Principal, TokenSafe
from slotmeter.security.private_files import write_private
from slotmeter.security.site_tables import open_vault
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.services.access import rights_of
from slotmeter.services.ledger_check import LedgerVerdict, verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SaleView, Selling, SellRequest
from slotmeter.storage.data_files import DATABASE_FILE
from slotmeter.storage.database import Database
from slotmeter.storage.migrate import HEAD, migrations, script
from slotmeter.storage.opening import AnyDatabase
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import Behind, opened_in, settings_of
from slotmeter.testing.postgres_server import waited_for
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY

__all__ = [
    "REVISION",
    "Upgraded",
    "copy_old_database",
    "keep_master_key",
    "migrate_to",
    "open_old_database",
    "open_old_folder",
    "still_says",
]

REVISION = "SELECT version_num FROM alembic_version"
"""What asks a database of either kind for its revision."""

_TILL = "Till 1"
"""Who sold in the old databases."""


@dataclass
class Upgraded:
    """The old database under today's program; ``said`` is what the old program said of it."""

    folder: Path
    database: AnyDatabase
    security: SoftwareSecurityModule
    safe: TokenSafe
    selling: Selling
    clock: FakeClock
    till: Caller
    said: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Of the file, where there is one."""
        return self.folder / DATABASE_FILE

    async def sell(self, meter: str, tendered: str, sale_id: str) -> SaleView:
        """Sell to a meter by the name that it has in ``said``."""
        request = SellRequest(sale_id, self.said["meters"][meter], tendered)
        view, _ = await self.selling.sell(self.till, request)
        return view

    async def verify(self) -> LedgerVerdict:
        """Recompute the ledger."""
        utility = await Registry(self.database, self.clock).utility(None)
        return await verify_ledger(self.database, self.clock, utility)

    def column(self, sql: str) -> list[Any]:
        """Return the first column of what a query finds."""
        return Behind(self.folder).values(sql)

    def caller(self, name: str, role: str) -> Caller:
        """Return somebody whom the old database knows."""
        return _caller(self.folder, name, role)


def copy_old_database(fixture: Path, folder: Path) -> Path:
    """Put a copy of an old database into a data folder; return its path."""
    path = folder / DATABASE_FILE
    shutil.copy(fixture.with_suffix(".sqlite3"), path)
    return path


def keep_master_key(folder: Path, said: Mapping[str, Any]) -> None:
    """Put the master key of an old database into a data folder, as a utility has it there."""
    write_private(folder / "master.key", f"{said['master_key']}\n".encode())


@asynccontextmanager
async def open_old_database(fixture: Path, folder: Path) -> AsyncIterator[Upgraded]:
    """Open a copy of an old database whose vault was a file, with somebody at its till.

    Args:
        fixture: path of both files without their endings.
        folder: an empty one for the copy.
    """
    said = json.loads(fixture.with_suffix(".json").read_text(encoding="utf-8"))
    database = await Database.open(copy_old_database(fixture, folder))
    create_vault(folder)
    security = SoftwareSecurityModule.open(folder)
    await security.load(KEY_ID, VENDING_KEY)
    yield _upgraded(folder, said, database, security, sample_safe())
    await security.close()
    await database.close()


@asynccontextmanager
async def open_old_folder(folder: Path, said: Mapping[str, Any]) -> AsyncIterator[Upgraded]:
    """Open a data folder whose database, of either kind, has its vault in it.

    Args:
        folder: with the master key.
        said: what the old program said.
    """
    async with opened_in(folder) as database:
        clock = FakeClock(datetime.fromisoformat(said["pending_at"]))
        vault = await open_vault(settings_of(folder), database, clock)
        yield _upgraded(folder, said, database, vault.security, vault.tokens)
        await vault.close()


def migrate_to(folder: Path, revision: str) -> None:
    """Bring the tables of a data folder to another revision, an older one as well."""
    behind = Behind(folder)
    if behind.is_postgres:
        [at] = behind.values(REVISION)
        waited_for(_run_on(behind.url, script(at, revision)))
        return
    config = migrations("sqlite")
    config.attributes["database_path"] = folder / DATABASE_FILE
    (command.upgrade if revision == HEAD else command.downgrade)(config, revision)


async def _run_on(url: str, text: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(text)
    finally:
        await connection.close()


def still_says(document: Any, said: Any) -> bool:
    """Whether a document says all that it said; later programs may say more of it."""
    if isinstance(said, dict):
        return all(
            name in document and still_says(document[name], value) for name, value in said.items()
        )
    if isinstance(said, list):
        return len(document) == len(said) and all(map(still_says, document, said))
    return bool(document == said)


def _upgraded(
    folder: Path,
    said: Mapping[str, Any],
    database: AnyDatabase,
    security: SoftwareSecurityModule,
    safe: TokenSafe,
) -> Upgraded:
    clock = FakeClock(datetime.fromisoformat(said["pending_at"]))

    async def after_payment(_meter_id: int) -> None:
        return None

    selling = Selling(
        database,
        security,
        clock,
        safe=safe,
        draw_rnd=lambda: 5,
        after_payment=after_payment,
        on_issued=lambda: None,
    )
    till = _caller(folder, _TILL, "vendor")
    return Upgraded(folder, database, security, safe, selling, clock, till, said)


def _caller(folder: Path, name: str, role: str) -> Caller:
    text = "SELECT id, utility_id, branch_id, name, kind FROM principal WHERE name = ?"
    [row] = Behind(folder).rows(text, name)
    principal = Principal(
        **row,
        rights=rights_of([role]),
        currency="KES",
        time_zone="Africa/Nairobi",
    )
    return Caller(principal, None, "127.0.0.1", "test")
