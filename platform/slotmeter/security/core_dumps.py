"""No core file: whatever kills the process, the keys in its memory are not written to disk."""

from __future__ import annotations

import resource

__all__ = ["forbid_core_dumps"]


def forbid_core_dumps() -> None:
    """Set the limit of core files to zero, for this process and those it starts.

    The hard limit goes down as well, so that nobody without privileges raises it again.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
