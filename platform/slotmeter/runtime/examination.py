"""Examines a data folder: its files, its database, its books."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from slotmeter.config import Config
from slotmeter.errors import ConfigError
from slotmeter.ports import Clock
from slotmeter.runtime.data_lock import DataLock
from slotmeter.runtime.nibbles import RandomNibbles
from slotmeter.security.site_tables import open_vault
from slotmeter.security.vault import Vault
from slotmeter.services.access import Origin
from slotmeter.services.coding_office import CodingOffice
from slotmeter.services.doctor import Doctor, Finding
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.restored import tid_allocator
from slotmeter.services.selling import Recovered, Selling
from slotmeter.storage.data_files import DATABASE_FILE, READINGS_FILE
from slotmeter.storage.opening import AnyDatabase
from slotmeter.storage.snapshots import damage_of

__all__ = ["examine_folder"]

LEFTOVERS: Final = (".*.json.*", ".writable-*", "*.partial")
"""What an interrupted write of a file leaves beside it."""

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


async def examine_folder(
    config: Config, database: AnyDatabase, clock: Clock, origin: Origin, *, repair: bool
) -> list[Finding]:
    """Look at everything and put right what can be.

    Args:
        config: of the folder.
        database: open.
        clock: our time.
        origin: recorded with each repair.
        repair: put right what can be; what a running server does itself is left to it.

    Raises:
        ConfigError: why the folder cannot be examined.
    """
    folder = config.data.folder
    lock = _lock(folder)
    try:
        findings = [
            _leftovers(folder, repair=repair and lock is not None),
            _exposed(folder, repair=repair),
            *await _damage(config),
        ]
        recovery = _Recovery(config, database, clock)
        doctor = Doctor(database, clock, origin, recovery.sales, recovery.tokens)
        findings += await doctor.examine(repair=repair, serving=lock is None)
        return [*findings, *await _books(database, clock)]
    finally:
        if lock is not None:
            lock.release()


def _lock(folder: Path) -> DataLock | None:
    """Take the folder, or None when a server has it."""
    try:
        return DataLock.take(folder)
    except ConfigError as error:
        if error.code != "data_folder_in_use":
            raise
        return None


def _leftovers(folder: Path, *, repair: bool) -> Finding:
    found = sorted(path for pattern in LEFTOVERS for path in folder.glob(pattern) if path.is_file())
    if repair:
        for path in found:
            path.unlink(missing_ok=True)
    return Finding(
        "files_left_over",
        "no file is left of a write that was cut off",
        len(found),
        len(found) if repair else 0,
        ", ".join(path.name for path in found),
    )


def _exposed(folder: Path, *, repair: bool) -> Finding:
    secret = [*folder.glob("*.key"), *folder.glob("*.db"), *folder.glob("vault.json")]
    found = sorted(path for path in secret if stat.S_IMODE(path.stat().st_mode) & _OTHERS)
    if repair:
        for path in found:
            path.chmod(0o600)
    return Finding(
        "files_exposed",
        "keys and databases are for their owner only",
        len(found),
        len(found) if repair else 0,
        ", ".join(path.name for path in found),
    )


async def _damage(config: Config) -> list[Finding]:
    names = [READINGS_FILE] if config.database.url else [DATABASE_FILE, READINGS_FILE]
    findings = []
    for name in names:
        path = config.data.folder / name
        if path.exists():
            damage = await asyncio.to_thread(damage_of, path)
            sentence = f"{name} is undamaged"
            findings.append(Finding("file_damaged", sentence, len(damage), 0, "; ".join(damage)))
    return findings


class _Recovery:
    """Completes what is between two commits, as a server that starts does."""

    def __init__(self, config: Config, database: AnyDatabase, clock: Clock) -> None:
        """Open nothing yet: mostly there is nothing to complete."""
        self._config = config
        self._database = database
        self._clock = clock

    async def sales(self) -> Recovered:
        """Complete sales."""
        async with self._vault() as vault:
            selling = Selling(
                self._database,
                vault.security,
                self._clock,
                safe=vault.tokens,
                draw_rnd=RandomNibbles().draw,
                after_payment=_nothing_for_meter,
                on_issued=_nothing,
            )
            return await selling.recover()

    async def tokens(self) -> Recovered:
        """Complete tokens that no sale makes."""
        async with self._vault() as vault:
            office = CodingOffice.of(
                self._database,
                vault.security,
                vault.tokens,
                self._clock,
                draw_rnd=RandomNibbles().draw,
                tids=await tid_allocator(self._database),
            )
            return await office.tokens.recover()

    @asynccontextmanager
    async def _vault(self) -> AsyncIterator[Vault]:
        vault = await open_vault(self._config, self._database, self._clock)
        try:
            yield vault
        finally:
            await vault.close()


async def _nothing_for_meter(_meter_id: int) -> None:
    """A server that starts looks at the credit of every meter itself."""


def _nothing() -> None:
    """Nobody follows events here."""


async def _books(database: AnyDatabase, clock: Clock) -> list[Finding]:
    findings = []
    for utility in await Registry(database, clock).utilities():
        verdict = await verify_ledger(database, clock, utility)
        broken = [sentence for sentence in verdict.sentences if not sentence.holds]
        findings.append(
            Finding(
                "books_disagree",
                f"the ledger of {utility.code} agrees with its sales",
                len(broken),
                0,
                "; ".join(f"{each.sentence}: {each.differences[0].subject}" for each in broken),
            )
        )
    return findings
