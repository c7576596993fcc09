"""Config entries joined to what they are set up with: media, contexts, secrets, and time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from slotmeter.api.metrics import MetricsBoard
from slotmeter.config import EntryConfig
from slotmeter.devices.entries import DRAW_MAX, Entry, EntryState, EntryStatus
from slotmeter.errors import ConfigError
from slotmeter.ports import Clock, Commands, EntryInfo, Medium, SecretBox, Secrets, UnitOfWork
from slotmeter.runtime.plugins import load_medium
from slotmeter.security.private_files import read_private
from slotmeter.services.belongings import run_outside
from slotmeter.services.entries import EntryDesk
from slotmeter.services.entry_files import EntryFile, FileEntry
from slotmeter.services.entry_keeper import SETUP_WITHIN_S, EntryParts, EntryTasks, EntryWorld
from slotmeter.services.integrations import FoundIntegrations, find_integrations
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.plugin_context import PluginContexts
from slotmeter.services.supervisor import Supervisor, pause_until

__all__ = ["EntrySide"]

SECRET_FILE: Final = "_file"  # noqa: S105  the end of an option's name, no secret
SETTLE_WITHIN_S: Final = SETUP_WITHIN_S + 5.0


class EntrySide:
    """The desk that changes entries, and the supervisor that keeps them.

    Args:
        database: holds them.
        clock: our time.
        box: seals their secrets.
        board: counts what media count, and shows entries by state.
        metrics: counts tasks that failed.
        contexts: builds what a medium is given.
        commands: returns the queue for a medium, by its key.
    """

    def __init__(
        self,
        database: UnitOfWork,
        clock: Clock,
        box: SecretBox,
        *,
        board: MetricsBoard,
        metrics: DeviceMetrics,
        contexts: PluginContexts,
        commands: Callable[[str], Commands],
    ) -> None:
        """Join the parts; nothing runs yet."""
        self._is_kept = False
        self._board = board
        self._contexts = contexts
        self._commands = commands
        self._integrations = find_integrations()
        self._file = EntryFile(database, clock, box)
        draws = random.Random()  # noqa: S311  spreads tries, protects nothing
        self.desk = EntryDesk(
            database,
            clock,
            box,
            self._integrations,
            on_change=self._wake,
            live=self._status,
            settle=self,
        )
        self.supervisor = Supervisor(
            EntryWorld(
                load=_load,
                parts=self._parts,
                open_secrets=self.desk.secrets_of,
                note=self.desk.note,
                clock=clock,
                task_failed=lambda name: metrics.task_failures.labels(name).inc(),
                draw=lambda: draws.randint(0, DRAW_MAX),
                pause=pause_until,
            )
        )

    async def start(self, tables: Sequence[EntryConfig], folder: Path) -> list[Entry]:
        """Take the file's entries over and keep all entries.

        Args:
            tables: what the configuration file says.
            folder: the data folder, which files with secrets are taken from.

        Returns:
            The entries of the file, each of which was tried once.

        Raises:
            ConfigError: an entry of the file cannot work as it stands there.
        """
        loaded = [_file_entry(table, self._integrations, folder) for table in tables]
        for each in loaded:
            load_medium(each.medium)  # one that cannot be loaded must not become a row
        self._is_kept = True
        from_file = await self._file.take_over(loaded)
        self._show_states()
        self.supervisor.apply(await self.desk.wanted())
        await asyncio.gather(
            *(
                self.supervisor.settled(entry.id, entry.changed_us, SETTLE_WITHIN_S)
                for entry in from_file
            )
        )
        for entry in from_file:
            refusal = self.supervisor.refusal(entry.id)
            if refusal is not None:
                raise refusal
        return from_file

    async def settled(self, entry_id: int, changed_us: int, within_s: float) -> EntryStatus | None:
        """Return how an entry does once a change was tried; at once where none are kept."""
        if not self._is_kept:
            return None
        return await self.supervisor.settled(entry_id, changed_us, within_s)

    async def gone(self, entry_id: int, within_s: float) -> bool:
        """Say whether an entry that was removed is unloaded; see ``Supervisor``."""
        return not self._is_kept or await self.supervisor.gone(entry_id, within_s)

    def _status(self, entry_id: int) -> EntryStatus | None:
        return self.supervisor.status(entry_id)

    def _wake(self) -> None:
        self.supervisor.wake()

    def _show_states(self) -> None:
        for state in EntryState:
            self._board.gauge(
                f"entries_{state.value}",
                f"Config entries that are {state.value.replace('_', ' ')}",
                partial(self._count, state),
            )

    def _count(self, state: EntryState) -> int:
        return self.supervisor.counts()[state]

    def _parts(self, entry: Entry, secrets: Mapping[str, str], tasks: EntryTasks) -> EntryParts:
        context = self._contexts.open(
            EntryInfo(entry.key, entry.title, entry.medium),
            commands=run_outside(self._commands(entry.medium)),
            tasks=tasks,
            metrics=self._board.plugin(entry.medium),
            secrets=Secrets(secrets),
        )
        # What the platform does for a medium is not the medium's: see ``belongings``.
        context = replace(
            context,
            frames=run_outside(context.frames),
            records=run_outside(context.records),
            device_keys=run_outside(context.device_keys),
        )
        return EntryParts(context, lambda: self._contexts.close(entry.key))


async def _load(key: str) -> Medium:
    # Importing reads files, and the rest of the server must not wait for a disk.
    return await asyncio.to_thread(load_medium, key)


def _file_entry(table: EntryConfig, known: FoundIntegrations, folder: Path) -> FileEntry:
    """Return a table of the file, with the secrets that it names files for."""
    options = dict(table.options)
    secrets: dict[str, str] = {}
    for name in known.secrets_of(table.medium):
        if name in options:
            raise ConfigError(
                "secret_in_file",
                f"{name} is a secret: write it to a file that only you can read, and name that as "
                f"{name}{SECRET_FILE}",
                field=f"entry.{name}",
            )
        path = options.pop(f"{name}{SECRET_FILE}", None)
        if path is None:
            continue
        if not isinstance(path, str) or not path:
            raise ConfigError(
                "bad_option", "expected the path of a file", field=f"entry.{name}{SECRET_FILE}"
            )
        content = read_private(folder / Path(path).expanduser(), f"secret {name}")
        secrets[name] = content.decode("utf-8", "replace").strip()
    return FileEntry(table.key, table.medium, table.title, options, secrets)
