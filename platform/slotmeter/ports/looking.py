"""Reads of whoever only looks: lists, sums, searches and reports."""

from __future__ import annotations

from typing import Protocol

from slotmeter.ports.unit_of_work import Reads, Rows

__all__ = ["Looks"]


class Looks(Protocol):
    """Reads that nothing is decided by; what they see may be some seconds old.

    A unit of work is one, and sees the present. Whoever decides, sells, or answers for one thing
    that was just made needs a unit of work.
    """

    async def read(self, reads: Reads) -> Rows:
        """Make reads that see one committed state; of now, or of a moment ago.

        Raises:
            Unavailable: ``database_unavailable`` or ``database_slow``.
        """
        ...
