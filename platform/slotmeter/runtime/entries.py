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
from slotmeter.devices.entries import DRAW_MAX, Entry, EntrySource, EntryState, EntryStatus
from slotmeter.errors import ConfigError
from slotmeter.ports import (
    Clock,
    Commands,
    EntryInfo,
    Frames,
    Medium,
    SecretBox,
    Secrets,
    UnitOfWork,
)
from slotmeter.runtime.plugins import load_medium
from slotmeter.security.private_files import read_private
from slotmeter.services.belongings import run_outside
from slotmeter.services.entries import EntryDesk
from slotmeter.services.entry_files import EntryFile, FileEntry, named
from slotmeter.services.entry_keeper import SETUP_WITHIN_S, EntryParts, EntryTasks, EntryWorld
from slotmeter.services.integrations import FoundIntegrations, find_integrations
from slotmeter.services.metrics import DeviceMetrics, FewNames
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
        frames: returns the frame log for an entry, by its id.
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
        frames: Callable[[int], Frames],
    ) -> None:
        """Join the parts; nothing runs yet."""
        self._is_kept = False
        self._from_file: Sequence[Entry] = ()
        self._unread: dict[str, Callable[[], dict[str, str]]] = {}
        self._board = board
        self._contexts = contexts
        self._commands = commands
        self._frames = frames
        self._integrations = find_integrations()
        self._file = EntryFile(database, clock, box)
        names = FewNames()
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
                open_secrets=self._open_secrets,
                note=self.desk.note,
                clock=clock,
                task_failed=lambda name: metrics.task_failures.labels(*names.of(name)).inc(),
                draw=lambda: draws.randint(0, DRAW_MAX),
                pause=pause_until,
                count_failure=lambda key, state: metrics.entry_failures.labels(key, state).inc(),
            )
        )

    async def start(self, tables: Sequence[EntryConfig], folder: Path) -> None:
        """Take the file's entries over and keep all entries; see :meth:`tried`.

        Args:
            tables: what the configuration file says.
            folder: the data folder, which files with secrets are taken from.

        Raises:
            ConfigError: the file itself is wrong: ``secret_in_file``, ``entry_key_doubled`` or
                ``entry_key_taken``.
        """
        found = [_file_entry(table, self._integrations, folder) for table in tables]
        for key, each in named(found).items():
            if each.secrets is None:
                at = next(at for at, one in enumerate(found) if one is each)
                self._unread[key] = partial(_secrets, tables[at], self._integrations, folder)
        self._is_kept = True
        self._from_file = await self._file.take_over(found)
        self._show_states()
        self.supervisor.apply(await self.desk.wanted())

    async def tried(self) -> Sequence[Entry]:
        """Return the entries of the file once each was tried; some may be failed or retried."""
        await asyncio.gather(
            *(
                self.supervisor.settled(entry.id, entry.changed_us, SETTLE_WITHIN_S)
                for entry in self._from_file
            )
        )
        return self._from_file

    def not_running(self) -> list[str]:
        """Return a line for each entry that should run and does not; texts of media stay out."""
        return [
            f"entry {entry.key} is {status.state.value}: {status.reason.partition(':')[0]}"
            for entry, status in self.supervisor.broken
        ]

    async def settled(self, entry_id: int, changed_us: int, within_s: float) -> EntryStatus | None:
        """Return how an entry does once a change was tried; at once where none are kept."""
        if not self._is_kept:
            return None
        return await self.supervisor.settled(entry_id, changed_us, within_s)

    async def gone(self, entry_id: int, within_s: float) -> bool:
        """Say whether an entry that was removed is unloaded; see ``Supervisor``."""
        return not self._is_kept or await self.supervisor.gone(entry_id, within_s)

    async def _open_secrets(self, entry: Entry) -> Mapping[str, str]:
        """Return the secrets of an entry; files that could not be read are tried again."""
        read = self._unread.get(entry.key)
        if read is None or entry.source is not EntrySource.FILE:
            return await self.desk.secrets_of(entry)
        return await asyncio.to_thread(read)

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
            frames=self._frames(entry.id),
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
    """Return a table of the file, with the secrets that it names files for.

    Raises:
        ConfigError: ``secret_in_file``.
    """
    options = dict(table.options)
    if table.medium not in known.media:
        # Nobody can say which of them are secret, and none is kept in clear.
        return FileEntry(table.key, table.medium, table.title, {}, None)
    for name in known.secrets_of(table.medium):
        if name in options:
            raise ConfigError(
                "secret_in_file",
                f"{name} is a secret: write it to a file that only you can read, and name that as "
                f"{name}{SECRET_FILE}",
                field=f"entry.{name}",
            )
        options.pop(f"{name}{SECRET_FILE}", None)
    secrets: dict[str, str] | None
    try:
        secrets = _secrets(table, known, folder)
    except ConfigError:
        secrets = None  # it is read again when the entry is set up, which then says why
    return FileEntry(table.key, table.medium, table.title, options, secrets)


def _secrets(table: EntryConfig, known: FoundIntegrations, folder: Path) -> dict[str, str]:
    """Read the files with secrets that a table names.

    Raises:
        ConfigError: ``bad_option`` or ``secret_file_unusable``.
    """
    secrets: dict[str, str] = {}
    for name in known.secrets_of(table.medium):
        path = table.options.get(f"{name}{SECRET_FILE}")
        if path is None:
            continue
        if not isinstance(path, str) or not path:
            raise ConfigError(
                "bad_option", "expected the path of a file", field=f"entry.{name}{SECRET_FILE}"
            )
        try:
            content = read_private(folder / Path(path).expanduser(), f"secret {name}")
        except ConfigError as error:
            raise ConfigError(
                "secret_file_unusable", error.message, field=f"entry.{name}{SECRET_FILE}"
            ) from error
        secrets[name] = content.decode("utf-8", "replace").strip()
    return secrets
