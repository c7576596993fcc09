"""The folder that a server keeps the checkpoints of the audit in."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from slotmeter.errors import Unavailable
from slotmeter.security.private_files import write_private
from slotmeter.services.audit_checkpoints import Checkpoint
from slotmeter.units import instant

__all__ = ["PATTERN", "CheckpointFolder"]

PATTERN: Final = "checkpoint-*.json"


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """Keeps each checkpoint as a file of its own, and never changes one.

    Args:
        folder: where; made when it is missing, but not its parents.
    """

    folder: Path

    async def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, unless its file is there.

        Raises:
            Unavailable: ``checkpoint_not_kept``.
        """
        try:
            await asyncio.to_thread(self._keep, checkpoint)
        except OSError as error:
            raise Unavailable(
                "checkpoint_not_kept",
                f"the checkpoint of group {checkpoint.seq} is in the database but cannot be "
                f"written to {self.folder}: {error.strerror}; see audit.checkpoint_folder",
            ) from error

    def _keep(self, checkpoint: Checkpoint) -> None:
        path = self.folder / name_of(checkpoint)
        if path.exists():
            return
        self.folder.mkdir(mode=0o700, exist_ok=True)
        write_private(path, (json.dumps(checkpoint.to_dict(), indent=2) + "\n").encode())


def name_of(checkpoint: Checkpoint) -> str:
    """Return the name of a checkpoint's file; names in order are in the order of time."""
    at = instant(checkpoint.at_us)
    return f"checkpoint-{at:%Y%m%dT%H%M%SZ}-{checkpoint.seq}.json"
