"""A database on PostgreSQL filled in bulk: rows by COPY, all in one transaction.

Keys, references, indexes and triggers are taken away in that transaction and put back at its end,
where the server checks every row against them. Whatever cuts it short, the database is as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import asyncpg

from slotmeter.config import DatabaseConfig
from slotmeter.errors import Unavailable
from slotmeter.storage.bulk import BulkChain, Values
from slotmeter.storage.postgres_chain import open_layout
from slotmeter.storage.postgres_database import WRITER_LOCK
from slotmeter.storage.postgres_session import FAILURES, LONG_S, connect, meaning_of
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.unit_seal import Head, SealedEntry

__all__ = ["BulkServer"]

T = TypeVar("T")

# The writer's own settings are for few rows at a time.
SETTINGS: Final = """
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET enable_seqscan = on;
SET plan_cache_mode = auto;
SET maintenance_work_mem = '512MB';
SET work_mem = '256MB'
"""

CONSTRAINTS: Final = """
SELECT quote_ident(conrelid::regclass::text) AS of, quote_ident(conname) AS name,
       pg_get_constraintdef(oid) AS text, contype = 'f' AS is_reference
FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND contype IN ('p', 'u', 'f')
ORDER BY contype = 'f' DESC, conname
"""

INDEXES: Final = """
SELECT quote_ident(indexname) AS name, indexdef AS text FROM pg_indexes
WHERE schemaname = current_schema() AND tablename <> 'alembic_version' ORDER BY indexname
"""

TRIGGERS: Final = """
SELECT quote_ident(tgrelid::regclass::text) AS of, quote_ident(tgname) AS name
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal AND tgenabled <> 'D'
ORDER BY 1, 2
"""

UNBALANCED: Final = """
SELECT journal_id FROM posting GROUP BY journal_id, currency HAVING sum(amount_minor) <> 0 LIMIT 1
"""


class BulkServer:
    """A database on PostgreSQL while it is filled: a ``bulk.BulkTarget``.

    Args:
        config: of the database.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        """Begin the transaction, and take away what is made again at its end.

        Raises:
            Unavailable: the database cannot be reached or written.
        """
        self._loop = asyncio.new_event_loop()
        try:
            self._connection: asyncpg.Connection[Any] = self._wait(connect(config, writes=True))
        except BaseException:
            self._loop.close()
            raise
        try:
            self._wait(self._begin())
        except BaseException:
            self._wait(self._close())
            self._loop.close()
            raise

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run_until_complete(work)
        except FAILURES as error:
            raise meaning_of(error) from error

    async def _begin(self) -> None:
        connection = self._connection
        await connection.execute(SETTINGS, timeout=LONG_S)
        await connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK})")
        self.layout = await open_layout(connection)
        """What is sealed in this database."""
        row = await connection.fetchrow(
            "SELECT seq, hash FROM audit_group ORDER BY seq DESC LIMIT 1"
        )
        self._chain = BulkChain(Head(*row) if row else Head())
        constraints = await connection.fetch(CONSTRAINTS)
        triggers = await connection.fetch(TRIGGERS)
        for row in constraints:
            await connection.execute(f"ALTER TABLE {row['of']} DROP CONSTRAINT {row['name']}")
        indexes = await connection.fetch(INDEXES)
        for row in indexes:
            await connection.execute(f"DROP INDEX {row['name']}")
        for row in triggers:
            await connection.execute(f"ALTER TABLE {row['of']} DISABLE TRIGGER {row['name']}")
        # Keys come before the references to them; in the order of dropping references came first.
        self._again = [
            *(_add(row) for row in constraints if not row["is_reference"]),
            *(row["text"] for row in indexes),
            *(_add(row) for row in constraints if row["is_reference"]),
            *(f"ALTER TABLE {row['of']} ENABLE TRIGGER {row['name']}" for row in triggers),
        ]

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of the database; without :meth:`finish` nothing was written."""
        self._wait(self._close())
        self._loop.close()

    async def _close(self) -> None:
        self._connection.terminate()
        await asyncio.sleep(0)  # the loop drops the socket in its next round

    @property
    def next_group(self) -> int:
        """The number of the next group of the audit."""
        return self._chain.next_group

    def write(self, table: str, columns: Sequence[str], values: Iterable[Values]) -> None:
        """Add rows of one table, each with its values in the order of the columns."""
        target = METADATA.tables[table]
        names = [target.c[name].name for name in columns]
        self._wait(
            self._connection.copy_records_to_table(
                target.name, records=values, columns=names, timeout=LONG_S
            )
        )

    def seal_group(self, entries: Sequence[SealedEntry], at_us: int) -> None:
        """Close a group of the audit over entries that are written, in the order of their ids."""
        step = self._chain.group(entries, at_us)
        if step is not None:
            self.write(step.table, tuple(step.row), [tuple(step.row.values())])

    def add_to_balances(self, moved: Mapping[int, int]) -> None:
        """Add to the balances of ledger accounts, by id; minor units, debit positive."""
        self._execute(
            "UPDATE ledger_account SET balance_minor = balance_minor + minor "
            "FROM unnest($1::BIGINT[], $2::BIGINT[]) AS moved (of, minor) WHERE id = of",
            list(moved),
            list(moved.values()),
        )

    def close_debts(self, debt_ids: Sequence[int]) -> None:
        """Close debts that were repaid."""
        self._execute(
            "UPDATE debt SET state = 'closed' FROM unnest($1::BIGINT[]) AS repaid (of) "
            "WHERE id = of",
            list(debt_ids),
        )

    def count_on(self, utility_id: int, next_id: int, sequences: Mapping[str, int]) -> None:
        """Let ids and numbers go on behind those that were given."""
        self._execute("UPDATE id_block SET next_id = $1 WHERE name = 'id'", next_id)
        for name, value in sequences.items():
            delete = "DELETE FROM sequence WHERE utility_id = $1 AND name = $2"
            self._execute(delete, utility_id, name)
            self._execute("INSERT INTO sequence VALUES ($1, $2, $3)", utility_id, name, value)

    def _execute(self, text: str, *values: Any) -> None:
        self._wait(self._connection.execute(text, *values, timeout=LONG_S))

    def make_indexes(self) -> Iterator[tuple[int, int]]:
        """Make what was taken away; yield how much of it is made, and of how much, as it goes.

        Raises:
            Unavailable: ``generator_stopped``: the postings of a journal do not sum to zero.
        """
        whole = len(self._again) + 1
        for made, statement in enumerate(self._again):
            yield made, whole
            self._execute(statement)
        yield whole - 1, whole
        found = self._wait(self._connection.fetchval(UNBALANCED, timeout=LONG_S))
        if found is not None:
            raise Unavailable(
                "generator_stopped", f"the postings of journal {found} do not sum to zero"
            )
        yield whole, whole

    def finish(self) -> None:
        """Commit, and let the server count what is there: it plans by that."""
        self._execute("COMMIT")
        self._execute("ANALYZE")


def _add(row: Mapping[str, Any]) -> str:
    return f"ALTER TABLE {row['of']} ADD CONSTRAINT {row['name']} {row['text']}"
