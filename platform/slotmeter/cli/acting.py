"""Commands that act as somebody: who it is, by an API key, and whether they may."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli.data_folder import OpenFolder, add_folder_options
from slotmeter.errors import ConfigError, NotAllowed, Refused

if TYPE_CHECKING:
    from slotmeter.ports import Caller, Right

__all__ = ["add_acting_options", "add_looking_options", "caller_of", "one_line"]

KEY_BYTES_MAX = 4096


def add_looking_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that only looks."""
    add_folder_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_acting_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that acts as a principal, with a reason."""
    add_looking_options(parser)
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        required=True,
        help="whose act this is: a file with their API key, from `slotmeter user key`",
    )
    parser.add_argument("--reason", required=True, help="recorded with the act")


async def caller_of(options: argparse.Namespace, folder: OpenFolder, right: Right) -> Caller:
    """Return whom the key of ``--key-file`` belongs to.

    Raises:
        ConfigError: ``file_unreadable``.
        NotSignedIn: the key is not good.
        NotAllowed: ``right_missing``.
        Refused: ``reason_missing``.
    """
    from slotmeter.ports import Caller
    from slotmeter.services.access import Access

    if not options.reason.strip():
        raise Refused("reason_missing", "say why: --reason must not be empty", field="reason")
    key = _key(options.key_file)
    signed_in = await Access(folder.database, folder.clock).principal_of(f"Bearer {key}")
    if right not in signed_in.principal.rights:
        raise NotAllowed("right_missing", f"this needs the right {right.value}")
    origin = folder.origin
    return Caller(signed_in.principal, signed_in.api_key_id, origin.address, origin.request_id)


def _key(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(KEY_BYTES_MAX).strip()
    except OSError as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read: {error.strerror}") from error


def one_line(text: str, length_max: int = 60) -> str:
    """Shorten a text for a list."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length_max else f"{flat[: length_max - 1]}…"
