"""A PostgreSQL server in trouble, for real: a disk that is full, no more sessions, statements that
take too long. Each is told by its code, and the next sale is made when the trouble is over."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from slotmeter.config import DatabaseConfig
from slotmeter.errors import ConfigError, SlotmeterError, Unavailable
from slotmeter.ports import Read
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.storage import postgres_session
from slotmeter.storage.audit_postgres import PostgresAuditReader
from slotmeter.storage.bulk_postgres import BulkServer
from slotmeter.storage.postgres_database import PostgresDatabase
from slotmeter.storage.postgres_pool import ReadPool
from slotmeter.storage.postgres_reads import ReadRuns
from slotmeter.storage.postgres_source import PostgresSource
from slotmeter.testing.databases import name_postgres, settings_of
from slotmeter.testing.postgres_server import PostgresServer, find_programs, server_user, waited_for
from slotmeter.testing.shop import Shop, open_shop

pytestmark = pytest.mark.timeout(120)

T = TypeVar("T")

SALES_MAX = 2_000
DISK_BYTES = 256 * 1024


@pytest.fixture
def server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server of one's own, which may be brought into trouble."""
    programs = find_programs()
    assert programs is not None  # ``postgres`` would have skipped
    with PostgresServer(programs, settings={"max_connections": "14"}) as started:
        yield started


@pytest.fixture
async def shop(server: PostgresServer, tmp_path: Path) -> AsyncIterator[Shop]:
    name_postgres(tmp_path, server.url(server.make_database()))
    async with open_shop(tmp_path) as opened:
        yield opened


async def _ledger_holds(shop: Shop) -> bool:
    [utility] = await Registry(shop.database, shop.clock).utilities()
    return (await verify_ledger(shop.database, shop.clock, utility)).holds


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(server: PostgresServer) -> Iterator[Path]:
    """A file system of its own with little room, which the server may write."""
    folder = Path(tempfile.mkdtemp(prefix="slotmeter-small-"))
    folder.chmod(0o755)
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=777", "tmpfs", str(folder)]
    done = mount and subprocess.run([mount, *options], capture_output=True, check=False)
    if not done or done.returncode:
        folder.rmdir()
        pytest.skip("this user may mount no file system; the error itself is tried elsewhere")
    yield folder
    server.stop()
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


async def test_a_tablespace_without_room_refuses_sales_until_there_is_room_again(
    shop: Shop, small_disk: Path
) -> None:
    place = small_disk / "space"
    place.mkdir(mode=0o700)
    _give_to_server(place)
    shop.sql(f"CREATE TABLESPACE small LOCATION '{place}'")
    shop.sql("ALTER TABLE posting SET TABLESPACE small")
    meter = await shop.utility.add_meter("electricity")
    refused, error = await _sell_until_refused(shop, meter.number)
    with pytest.raises(Unavailable) as once_more:
        await shop.sell(meter.number, sale_id=f"s{refused}")

    shop.sql("ALTER TABLE posting SET TABLESPACE pg_default")
    sold = await shop.sell(meter.number, sale_id=f"s{refused}")

    assert (error.code, once_more.value.code) == ("database_full", "database_full")
    assert sold.state == "issued"
    assert shop.column("SELECT count(*) FROM sale WHERE state = 'issued'") == [refused + 1]
    assert await _ledger_holds(shop)


def _give_to_server(place: Path) -> None:
    """Make a folder the server's own, as PostgreSQL wants it."""
    who = server_user()
    if who:
        shutil.chown(place, who["user"], who["group"])


async def _sell_until_refused(shop: Shop, meter: str) -> tuple[int, SlotmeterError]:
    for number in range(SALES_MAX):
        try:
            await shop.sell(meter, sale_id=f"s{number}")
        except Unavailable as error:
            return number, error
    raise AssertionError(f"{SALES_MAX} sales found room")


# --- sessions -------------------------------------------------------------------------------------


async def test_a_server_that_takes_no_more_sessions_is_said_and_sold_on_when_it_does(
    shop: Shop, server: PostgresServer
) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.sell(meter.number, sale_id="before")
    # Superusers have places of their own, which we must not use as no server of ours does.
    shop.sql("CREATE ROLE other LOGIN")
    shop.sql("CREATE ROLE seller LOGIN")
    async with AsyncExitStack() as stack:
        await _take_all_sessions(stack, server)
        url = server.url().replace("slotmeter@", "seller@")
        with pytest.raises(SlotmeterError) as refused:
            await PostgresDatabase.open(DatabaseConfig(url=url, require_durable=False))
        reading = DatabaseConfig(url=url, require_durable=False)
        code = await _code_of_read(reading)
    sold = await shop.sell(meter.number, sale_id="after")

    assert refused.value.code == "database_unusable"
    assert "too many clients" in refused.value.message or "reserved" in refused.value.message
    assert code == "database_connections"
    assert sold.state == "issued"


async def _take_all_sessions(stack: AsyncExitStack, server: PostgresServer) -> None:
    url = server.url().replace("slotmeter@", "other@")
    for _ in range(100):
        try:
            connection = await asyncpg.connect(url, timeout=10)
        except asyncpg.TooManyConnectionsError:
            return
        stack.callback(connection.terminate)
    raise AssertionError("the server has no limit")


async def _code_of_read(config: DatabaseConfig) -> str:
    pool = ReadPool(config, ReadRuns())
    with pytest.raises(Unavailable) as refused:
        await pool.read([Read("registry_utilities")])
    await pool.close()
    return refused.value.code


async def test_reads_that_find_no_session_free_are_told_so_and_sales_go_on(
    shop: Shop, tmp_path: Path
) -> None:
    meter = await shop.utility.add_meter("electricity")
    database = settings_of(tmp_path).database
    config = database.model_copy(update={"pool_max": 2, "statement_timeout_s": 0.5})
    crowded = await PostgresDatabase.open(config)
    locked = await asyncpg.connect(config.url)
    await locked.execute("BEGIN; LOCK TABLE utility IN ACCESS EXCLUSIVE MODE")
    reads = [asyncio.create_task(crowded.read([Read("registry_utilities")])) for _ in range(4)]
    await asyncio.wait(reads)
    await locked.close()

    sold = await shop.sell(meter.number)
    found = await crowded.read([Read("registry_utilities")])

    codes = sorted(_code(task) for task in reads)
    assert set(codes) == {"database_busy", "database_slow"}
    assert sold.state == "issued"
    assert len(found["registry_utilities"]) == 1
    await crowded.close()


def _code(task: asyncio.Task[Any]) -> str:
    error = task.exception()
    return error.code if isinstance(error, SlotmeterError) else repr(error)


# --- statements that take too long ----------------------------------------------------------------


@pytest.mark.parametrize("table", ["posting", "token"], ids=["first-commit", "second-commit"])
async def test_a_sale_that_meets_a_locked_table_is_told_to_try_again_and_is_made_once(
    shop: Shop, tmp_path: Path, table: str
) -> None:
    meter = await shop.utility.add_meter("electricity")
    database = settings_of(tmp_path).database.model_copy(update={"statement_timeout_s": 0.5})
    hurried = await PostgresDatabase.open(database)
    patient, shop.selling._uow = shop.selling._uow, hurried
    locked = await asyncpg.connect(database.url)
    await locked.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(Unavailable) as refused:
        await shop.sell(meter.number)
    await locked.close()

    sold = await shop.sell(meter.number)

    assert refused.value.code in {"database_unavailable", "database_slow"}
    assert sold.state == "issued"
    assert shop.column("SELECT count(*) FROM sale") == [1]
    assert shop.column("SELECT count(*) FROM token") == [1]
    shop.selling._uow = patient
    await hurried.close()
    assert await _ledger_holds(shop)


# --- a server that is coming up ------------------------------------------------------------------


@pytest.fixture
def silent(server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that takes connections and says nothing, as one without breath at a start."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    yield server
    os.kill(server.pid, signal.SIGCONT)


def _at(url: str, *, start_wait_s: float) -> DatabaseConfig:
    return DatabaseConfig(
        url=url, connect_timeout_s=0.2, start_wait_s=start_wait_s, require_durable=False
    )


async def test_a_start_waits_for_a_server_that_is_coming_up(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url(server.make_database())
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)

    warned = asyncio.Event()
    monkeypatch.setattr(postgres_session.LOG, "warning", lambda *_said: warned.set())
    opening = asyncio.create_task(PostgresDatabase.open(_at(url, start_wait_s=60)))
    await warned.wait()
    os.kill(server.pid, signal.SIGCONT)

    database = await opening
    assert database.stats.commits == 0
    await database.close()


async def test_a_server_that_does_not_come_up_in_time_is_named_in_the_refusal(
    silent: PostgresServer,
) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used \(TimeoutError\)") as refused:
        await PostgresDatabase.open(_at(silent.url(), start_wait_s=0))
    assert refused.value.code == "database_unusable"


# --- work that is as long as the database is large ------------------------------------------------


def _asked_while_locked(url: str, ask: Callable[[], T]) -> T:
    """Ask something of ``utility`` while the server keeps it locked."""
    taken = threading.Event()

    async def lock() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("BEGIN; LOCK TABLE utility IN ACCESS EXCLUSIVE MODE")
        taken.set()
        await connection.execute("SELECT pg_sleep(0.5); COMMIT")
        await connection.close()

    locking = threading.Thread(target=lambda: asyncio.run(lock()))
    locking.start()
    taken.wait()
    try:
        return ask()
    finally:
        locking.join()


@pytest.fixture
def hurried(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DatabaseConfig:
    """A database whose small statements may take no longer than a fifth of a second."""
    name_postgres(tmp_path, server.url(server.make_database()))
    monkeypatch.setattr(postgres_session, "GRACE_S", 0.0)
    database = settings_of(tmp_path).database
    waited_for(_made(database))
    return database.model_copy(update={"statement_timeout_s": 0.2})


async def _made(database: DatabaseConfig) -> None:
    opened = await PostgresDatabase.open(database)
    await opened.close()


def test_the_audit_is_read_for_as_long_as_it_takes(hurried: DatabaseConfig) -> None:
    reader = PostgresAuditReader(hurried)

    assert _asked_while_locked(hurried.url, lambda: reader.count("utility")) == 0
    reader.close()


def test_a_stream_of_sales_is_read_for_as_long_as_it_takes(hurried: DatabaseConfig) -> None:
    source = PostgresSource(hurried, 10)

    assert _asked_while_locked(hurried.url, lambda: source.all("registry_utilities", {})) == []
    source.close()


def test_an_index_of_a_bulk_is_made_for_as_long_as_it_takes(hurried: DatabaseConfig) -> None:
    with BulkServer(hurried) as bulk:
        bulk._again = ["SELECT pg_sleep(0.5)"]

        assert list(bulk.make_indexes()) == [(0, 2), (1, 2), (2, 2)]
