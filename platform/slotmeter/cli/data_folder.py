"""The data folder as the commands see it: opened for one command, closed after it."""

from __future__ import annotations

import argparse
import getpass
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.errors import ConfigError
from slotmeter.storage.data_files import DATABASE_FILE

if TYPE_CHECKING:
    from slotmeter.config import Config
    from slotmeter.ports import SecurityModule
    from slotmeter.ports.looking import Looks
    from slotmeter.security.vault import Vault
    from slotmeter.services.access import Origin
    from slotmeter.services.principals import Principals
    from slotmeter.services.registry import Registry, UtilityInfo
    from slotmeter.services.system_clock import SystemClock
    from slotmeter.storage.opening import AnyDatabase

__all__ = [
    "CONFIG_FILE",
    "UNFINISHED",
    "OpenFolder",
    "add_folder_options",
    "config_of",
    "make_folder",
    "open_folder",
    "origin_here",
    "write_secret",
]

CONFIG_FILE = "slotmeter.toml"
UNFINISHED = f"{DATABASE_FILE}.generating"
"""A database while ``slotmeter generate`` fills it: it is worth nothing before it is whole."""

DEFAULT_FOLDER = Path("slotmeter-data")
PATIENT_S = 3_600.0


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """A data folder with its database open.

    Args:
        path: the folder.
        config: its settings.
        database: open; closed with the folder.
        clock: real time.
        origin: who runs the command, for the acts it records.
    """

    path: Path
    config: Config
    database: AnyDatabase
    clock: SystemClock
    origin: Origin

    @property
    def registry(self) -> Registry:
        """Utilities and tariffs."""
        from slotmeter.services.registry import Registry

        return Registry(self.database, self.clock)

    @property
    def principals(self) -> Principals:
        """Who may act."""
        from slotmeter.services.principals import Principals

        return Principals(self.database, self.clock)

    @asynccontextmanager
    async def vault(self) -> AsyncIterator[Vault]:
        """Open the vault."""
        from slotmeter.security.site_tables import open_vault

        vault = await open_vault(self.config, self.database, self.clock)
        try:
            yield vault
        finally:
            await vault.close()

    @asynccontextmanager
    async def keys(self) -> AsyncIterator[SecurityModule]:
        """Open the vault for its vending keys alone."""
        async with self.vault() as vault:
            yield vault.security

    @asynccontextmanager
    async def looks(self) -> AsyncIterator[Looks]:
        """Open what reports are read by: the standby that the settings name, or the database."""
        from slotmeter.storage.opening import open_looks

        async with open_looks(self.config, self.database) as (looks, _):
            yield looks

    async def utility(self, options: argparse.Namespace) -> UtilityInfo:
        """Return the utility that the command names, or the only one."""
        return await self.registry.utility(options.utility)


def add_folder_options(parser: argparse.ArgumentParser, *, utility: bool = True) -> None:
    """Add the options that say which data folder, and which utility in it."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=DEFAULT_FOLDER,
        help="the data folder; default %(default)s",
    )
    if utility:
        parser.add_argument(
            "--utility", metavar="CODE", help="which utility, when the folder has several"
        )


def make_folder(path: Path) -> None:
    """Make a data folder that only its owner can read, and see that it can be written.

    A folder that is there already keeps its mode, which others may rely on: what is secret in it is
    in files that are their owner's only.

    Raises:
        ConfigError: ``data_folder_not_writable``.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".writable-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            "data_folder_not_writable",
            f"the data folder {path} cannot be written ({error.strerror}); choose another with "
            "--data, or give this user the right to write there",
        ) from error


def config_of(path: Path) -> Config:
    """Return the settings of a data folder, whatever folder the file in it names."""
    from slotmeter.config import Config, load

    file = path / CONFIG_FILE
    if not file.exists():
        return Config.default(path)
    config = load(file)
    return config.model_copy(update={"data": config.data.model_copy(update={"folder": path})})


@asynccontextmanager
async def open_folder(path: Path, *, patient: bool = False) -> AsyncIterator[OpenFolder]:
    """Open the database of a data folder that ``slotmeter init`` made.

    Args:
        path: the folder.
        patient: we read through years of sales, each statement as long as it takes.

    Raises:
        ConfigError: ``data_folder_empty``, ``generate_unfinished``, ``file_exposed``, or what
            opening the database raises.
    """
    from slotmeter.services.system_clock import SystemClock
    from slotmeter.storage.opening import is_there, open_database

    config = config_of(path)
    if (path / UNFINISHED).exists():
        raise ConfigError(
            "generate_unfinished",
            f"{path} is being generated, or that was stopped; then remove the folder",
        )
    if not is_there(config):
        raise ConfigError(
            "data_folder_empty",
            f"there is no {DATABASE_FILE} in {path}; run `slotmeter init` first",
        )
    if patient:
        longer = config.database.model_copy(update={"statement_timeout_s": PATIENT_S})
        config = config.model_copy(update={"database": longer})
    database = await open_database(config)
    try:
        yield OpenFolder(path, config, database, SystemClock(), origin_here())
    finally:
        await database.close()


def origin_here() -> Origin:
    """Return who runs the command, for the acts that it records."""
    from slotmeter.services.access import Origin

    return Origin(address=f"local:{_user()}", request_id=f"cli-{secrets.token_hex(8)}")


def _user() -> str:
    """Return the operating system's name for whoever runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return f"uid-{os.getuid()}"


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read.

    Raises:
        ConfigError: ``file_exists``: a secret is never written over another.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(
            "file_exists", f"{path} is there already; move it away or choose another name"
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
