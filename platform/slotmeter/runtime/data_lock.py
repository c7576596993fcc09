"""One running server per data folder, by a lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from slotmeter.errors import ConfigError

__all__ = ["LOCK_FILE", "DataLock", "may_be_served"]

LOCK_FILE = "slotmeter.lock"


class DataLock:
    """A lock on a file of the data folder; the kernel lets go of it when the process ends."""

    def __init__(self, descriptor: int) -> None:
        """Hold an open, locked file; use :meth:`take`."""
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Lock a data folder.

        Raises:
            ConfigError: ``data_folder_missing``, ``data_folder_not_writable`` or
                ``data_folder_in_use``.
        """
        if not folder.is_dir():
            raise ConfigError(
                "data_folder_missing",
                f"there is no data folder {folder}; make one with: slotmeter init --data {folder}",
                field="data.folder",
            )
        try:
            descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                "data_folder_not_writable",
                f"the data folder {folder} cannot be written ({error.strerror}); give this user "
                "the right to write there",
                field="data.folder",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigError(
                "data_folder_in_use",
                f"another slotmeter server (process {holder}) runs on {folder}; stop it first",
                field="data.folder",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let the next server have the folder; the file stays."""
        os.close(self._descriptor)


def may_be_served(folder: Path) -> bool:
    """Say whether the process that last locked a data folder is still there.

    It looks without locking, which could keep a server from starting at this moment. False is
    certain on this machine; True may be another process that has the number of an old server.
    """
    try:
        holder = int((folder / LOCK_FILE).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return False
    return Path(f"/proc/{holder}").exists()
