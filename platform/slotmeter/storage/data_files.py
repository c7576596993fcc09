"""The files of a data folder that hold customers, tokens and readings: their owner's only."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from slotmeter.errors import ConfigError

__all__ = ["DATABASE_FILE", "READINGS_FILE", "make_private"]

DATABASE_FILE: Final = "slotmeter.db"
READINGS_FILE: Final = "readings.db"

_OWNER_ONLY: Final = 0o600
_OTHERS: Final = 0o077


def make_private(path: Path) -> None:
    """Let only its owner read and write a database file; make it, empty, if it is not there.

    SQLite gives the files that it adds (``-wal``, ``-shm``) the mode of their database.

    Raises:
        ConfigError: ``file_exposed``: others can read it, and it belongs to another user.
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY))
    for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        try:
            if stat.S_IMODE(each.stat().st_mode) & _OTHERS:
                each.chmod(_OWNER_ONLY)
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise ConfigError(
                "file_exposed",
                f"{each} can be read by others and belongs to another user; let its owner set its "
                "mode to 0600, or give the file to the user that runs slotmeter",
            ) from error
