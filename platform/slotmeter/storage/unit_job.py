"""A unit of work on its way through a writer, whichever the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slotmeter.ports import Apart, Changes, NewId, Reads, Rows

__all__ = ["UnitJob"]


@dataclass(slots=True, eq=False)
class UnitJob:
    """A unit of work on its way.

    Args:
        reads: what it reads.
        decide: see ``ports.UnitOfWork``.
        apart: what lets it go together with others, where the back end uses that.
        future: of who waits for it.
        result: once it is decided.
        error: what it ended with instead.
    """

    reads: Reads
    decide: Callable[[Rows, NewId], Changes[Any]]
    apart: Apart | None
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Tell who waits how it ended, if anybody still does; call it on the future's own loop."""
        if self.future.done():
            return
        if isinstance(self.error, StopIteration):
            # A future refuses it: its caller would wait for ever, and a writer might end.
            self.error = RuntimeError("a unit of work looked for a row that is not there")
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)
