"""Writes of units on PostgreSQL, before a server: what is remembered, and whose rows came back."""

from __future__ import annotations

from typing import Any, cast

import asyncpg
import pytest

from slotmeter.ports import Update
from slotmeter.storage.postgres_writes import PostgresWrites, UnitWrites
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.layout import layout_of, next_layout

LAYOUT = layout_of(*next_layout(None, METADATA), METADATA)


class Server:
    """A session that fails as long as it is told to, and answers with given rows."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self.fails = False
        self.made: list[str] = []
        self._rows = rows

    async def execute(self, text: str) -> None:
        if self.fails:
            raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")
        self.made.append(text.split()[1])

    async def fetch(self, _text: str, *_values: object) -> list[tuple[Any, ...]]:
        return self._rows


def void(token_id: int) -> Update:
    return Update("token_void", {"token_id": token_id})


def writes_on(server: Server) -> UnitWrites:
    return UnitWrites(cast("asyncpg.Connection[Any]", server), PostgresWrites(LAYOUT))


async def test_a_type_that_could_not_be_made_is_made_the_next_time() -> None:
    server = Server([])
    writes = writes_on(server)
    server.fails = True
    with pytest.raises(asyncpg.QueryCanceledError):
        await writes.write([void(1)])
    writes.rolled_back()
    server.fails = False

    await writes.write([void(1)])

    assert server.made == ["TYPE", "FUNCTION"]


async def test_rows_that_come_back_in_another_order_go_to_the_units_that_changed_them() -> None:
    rows = [(0, at, [token_id] * 9, ["void"] * 9, [b""] * 9) for at, token_id in ((1, 31), (0, 32))]

    first, second = await writes_on(Server(rows)).write_together([[void(32)], [void(31)]])

    assert [[row[0] for _, found in unit for row in found] for unit in (first, second)] == [
        [32],
        [31],
    ]
