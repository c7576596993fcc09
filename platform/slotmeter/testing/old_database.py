"""A database that an earlier release wrote, brought to this one: for tests of upgrades."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from slotmeter.ports import Caller, Principal
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.services.access import rights_of
from slotmeter.services.ledger_check import LedgerVerdict, verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SaleView, Selling, SellRequest
from slotmeter.storage.database import Database
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY

__all__ = ["Upgraded", "copy_old_database", "open_old_database"]


@dataclass
class Upgraded:
    """The old database under today's program; ``said`` is what the old program said of it."""

    path: Path
    database: Database
    selling: Selling
    clock: FakeClock
    till: Caller
    said: Mapping[str, Any]

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
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute(sql)]


def copy_old_database(fixture: Path, folder: Path) -> Path:
    """Put a copy of an old database into a data folder; return its path."""
    path = folder / "slotmeter.db"
    shutil.copy(fixture.with_suffix(".sqlite3"), path)
    return path


@asynccontextmanager
async def open_old_database(fixture: Path, folder: Path) -> AsyncIterator[Upgraded]:
    """Open a copy of an old database, with somebody at its till.

    Args:
        fixture: path of both files without their endings.
        folder: an empty one for the copy.
    """
    said = json.loads(fixture.with_suffix(".json").read_text(encoding="utf-8"))
    path = copy_old_database(fixture, folder)
    database = await Database.open(path)
    create_vault(folder)
    security = SoftwareSecurityModule.open(folder)
    await security.load(KEY_ID, VENDING_KEY)
    clock = FakeClock(datetime.fromisoformat(said["pending_at"]))

    async def after_payment(_meter_id: int) -> None:
        return None

    selling = Selling(
        database,
        security,
        clock,
        safe=sample_safe(),
        draw_rnd=lambda: 5,
        after_payment=after_payment,
        on_issued=lambda: None,
    )
    yield Upgraded(path, database, selling, clock, _till(path), said)
    await security.close()
    await database.close()


def _till(path: Path) -> Caller:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(
            "SELECT id, utility_id, branch_id, name, kind FROM principal WHERE name = 'Till 1'"
        ).fetchone()
    keys = ("id", "utility_id", "branch_id", "name", "kind")
    principal = Principal(
        **dict(zip(keys, row, strict=True)),
        rights=rights_of(["vendor"]),
        currency="KES",
        time_zone="Africa/Nairobi",
    )
    return Caller(principal, None, "127.0.0.1", "test")
