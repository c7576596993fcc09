"""Files that hold a secret: nobody but their owner may read them, and none is ever half written."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO, Final

from slotmeter.errors import ConfigError

__all__ = ["read_private", "write_private"]

FILE_BYTES_MAX: Final = 16 * 1024 * 1024

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def _open_without_waiting(path: Path) -> BinaryIO:
    # A pipe in the file's place must not keep us waiting for a writer.
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def read_private(path: Path, what: str) -> bytes:
    """Read a regular file that nobody but its owner can read.

    Raises:
        ConfigError: ``vault_unreadable`` or ``vault_not_private``.
    """
    try:
        file = _open_without_waiting(path)
    except OSError as error:
        raise ConfigError(
            "vault_unreadable", f"the {what} {path} cannot be read: {error.strerror}"
        ) from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError("vault_unreadable", f"the {what} {path} is not a regular file")
        if status.st_mode & _OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise ConfigError(
                "vault_not_private",
                f"the {what} {path} has mode {mode:04o}, which lets others at it;"
                f" expected 0600: run chmod 600 {path}",
            )
        if status.st_size > FILE_BYTES_MAX:
            raise ConfigError("vault_unreadable", f"the {what} {path} is too large")
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Replace a file: after a crash at any moment, either the old or the new one is there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
