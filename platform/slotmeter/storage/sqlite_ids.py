"""Ids on SQLite."""

from __future__ import annotations

import sqlite3

__all__ = ["Ids"]


class Ids:
    """Ids that grow with time, taken from one counter inside the writer's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Prepare; nothing is read before a transaction begins."""
        self._connection = connection
        self._next = 0
        self._stored = 0

    def begin(self) -> None:
        """Read the counter, at the start of a transaction."""
        row = self._connection.execute("SELECT next_id FROM id_block WHERE name = 'id'").fetchone()
        self._next = self._stored = row[0]

    def take(self) -> int:
        """Return the next id."""
        self._next += 1
        return self._next - 1

    def store(self) -> None:
        """Write the counter, before the transaction's commit."""
        if self._next != self._stored:
            self._connection.execute(
                "UPDATE id_block SET next_id = ? WHERE name = 'id'", (self._next,)
            )
