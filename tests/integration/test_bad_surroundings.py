"""Full disk, read-only database, lost connection, clock set back, wrong key or tables: each is told
by its code, changes nothing, and the next sale is made as soon as the cause is gone."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from slotmeter.errors import ConfigError, Refused, Unavailable
from slotmeter.ports import Changes, NewId, Reads, Rows
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.security.site_tables import open_vault
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.storage.database import Database
from slotmeter.testing.databases import Behind, opened_in, settings_of
from slotmeter.testing.postgres_server import PostgresServer
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.vending.sts import ResultCode

pytestmark = pytest.mark.both_databases

SALES_MAX = 300
WRITERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ?"

Trouble = Callable[[], AbstractContextManager[None]]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


async def assert_books_hold(shop: Shop) -> None:
    [utility] = await Registry(shop.database, shop.clock).utilities()
    ledger = await verify_ledger(shop.database, shop.clock, utility)
    assert [each.sentence for each in ledger.sentences if not each.holds] == []
    reader = reader_of(settings_of(shop.path.parent))
    audit = await asyncio.to_thread(verify_audit, reader, processes=1)
    assert audit.breaks == []


async def sell_until_refused(shop: Shop, meter: str) -> tuple[int, Unavailable]:
    """Sell until the database takes no more; return the number of the refused sale, and why."""
    for number in range(SALES_MAX):
        try:
            await shop.sell(meter, sale_id=f"s{number}")
        except Unavailable as error:
            return number, error
    raise AssertionError(f"{SALES_MAX} sales were made")


# --- the disk is full -----------------------------------------------------------------------------


@pytest.fixture
def full_disk(shop: Shop, database_kind: str) -> Trouble:
    """Lets the database have no more room, for as long as it is entered."""

    @contextmanager
    def on_sqlite() -> Iterator[None]:
        assert isinstance(shop.database, Database)
        writer = shop.database._writer  # the limit is of a connection
        [pages] = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages + 4}")
        yield
        writer.execute("PRAGMA max_page_count = 1000000")

    @contextmanager
    def on_postgresql() -> Iterator[None]:
        shop.sql(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE "
            "EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $f$"
        )
        shop.sql("CREATE TRIGGER no_room BEFORE INSERT ON posting EXECUTE FUNCTION no_room()")
        yield
        shop.sql("DROP TRIGGER no_room ON posting")

    return on_sqlite if database_kind == "sqlite" else on_postgresql


async def test_a_full_disk_refuses_sales_and_takes_them_again_when_there_is_room(
    shop: Shop, full_disk: Trouble
) -> None:
    meter = await shop.utility.add_meter("electricity")
    with full_disk():
        refused, error = await sell_until_refused(shop, meter.number)
        with pytest.raises(Unavailable):
            await shop.sell(meter.number, sale_id=f"s{refused}")

    sold = await shop.sell(meter.number, sale_id=f"s{refused}")

    assert error.code == "database_full"
    assert not shop.database.stats.broken
    assert sold.state == "issued"
    assert shop.column("SELECT count(*) FROM sale") == [refused + 1]
    await assert_books_hold(shop)


async def test_sales_that_share_a_commit_with_one_that_found_no_room_are_whole_or_not_there(
    shop: Shop, full_disk: Trouble
) -> None:
    meters = [await shop.utility.add_meter("electricity") for _ in range(4)]
    asked = [(meters[at % 4].number, f"s{at}") for at in range(80)]
    with full_disk():
        answers = await asyncio.gather(
            *(shop.sell(meter, sale_id=sale_id) for meter, sale_id in asked),
            return_exceptions=True,
        )
    answered = [answer for answer in answers if not isinstance(answer, BaseException)]

    again = [await shop.sell(meter, sale_id=sale_id) for meter, sale_id in asked]

    assert len(answered) < len(asked)
    assert {view.receipt_number for view in answered} <= {view.receipt_number for view in again}
    assert shop.column("SELECT count(*) FROM sale WHERE state = 'issued'") == [len(asked)]
    await assert_books_hold(shop)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let the system refuse to write beyond a size, as a full disk does: after some of the data."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_log_that_cannot_grow_refuses_sales_and_takes_them_again(
    shop: Shop, database_kind: str
) -> None:
    if database_kind != "sqlite":
        pytest.skip("the files are the server's")
    meter = await shop.utility.add_meter("electricity")
    log = shop.path.with_name(shop.path.name + "-wal")
    with files_no_larger_than(log.stat().st_size + 20_000):
        refused, error = await sell_until_refused(shop, meter.number)

    sold = await shop.sell(meter.number, sale_id=f"s{refused}")

    assert error.code in {"database_full", "database_unavailable"}
    assert sold.state == "issued"
    await assert_books_hold(shop)


# --- the database cannot be written ---------------------------------------------------------------


@pytest.fixture
def read_only(
    shop: Shop, database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Trouble:
    """Lets the database be read and not written, for as long as it is entered."""

    @contextmanager
    def on_sqlite() -> Iterator[None]:
        assert isinstance(shop.database, Database)
        shop.database._writer.execute("PRAGMA query_only = ON")
        yield
        shop.database._writer.execute("PRAGMA query_only = OFF")

    @contextmanager
    def on_postgresql() -> Iterator[None]:
        server: PostgresServer = request.getfixturevalue("postgres")
        name = urlsplit(Behind(tmp_path).url).path.strip("/")
        server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        shop.sql(WRITERS, "slotmeter")
        yield
        server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    return on_sqlite if database_kind == "sqlite" else on_postgresql


async def test_a_read_only_database_refuses_sales_and_takes_them_again_when_it_can_be_written(
    shop: Shop, read_only: Trouble
) -> None:
    meter = await shop.utility.add_meter("electricity")
    with read_only():
        codes = []
        for _ in range(2):
            with pytest.raises(Unavailable) as refusal:
                await shop.sell(meter.number)
            codes.append(refusal.value.code)

    sold = await shop.sell(meter.number)

    assert codes[-1] == "database_read_only"
    assert not shop.database.stats.broken
    assert sold.state == "issued"
    await assert_books_hold(shop)


# --- the connection is lost -----------------------------------------------------------------------


async def test_a_connection_lost_between_the_commits_of_a_sale_loses_nothing(
    shop: Shop, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database_kind != "postgresql":
        pytest.skip("there is no connection")
    meter = await shop.utility.add_meter("electricity")
    run = shop.database.run
    units: list[int] = []

    async def cut_after_the_first(
        reads: Reads, decide: Callable[[Rows, NewId], Changes[int]], **more: Any
    ) -> int:
        units.append(1)
        if len(units) == 2:
            shop.sql(WRITERS, "slotmeter")
        return await run(reads, decide, **more)

    monkeypatch.setattr(shop.database, "run", cut_after_the_first)
    with pytest.raises(Unavailable) as refusal:
        await shop.sell(meter.number)
    pending = shop.column("SELECT state FROM sale")

    sold = await shop.sell(meter.number)

    assert refusal.value.code == "database_unavailable"
    assert pending == ["pending"]
    assert sold.state == "issued"
    assert shop.column("SELECT count(*) FROM token") == [1]
    await assert_books_hold(shop)


# --- the clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [3, 60], ids=["few", "more-than-a-meter-remembers"])
async def test_after_a_clock_was_set_back_an_hour_the_meter_takes_each_token_once(
    shop: Shop, before: int
) -> None:
    meter = await shop.utility.add_meter("electricity")
    shop.clock.advance(hours=2)
    sales = [await shop.sell(meter.number, sale_id=f"before{at}") for at in range(before)]

    shop.clock.set(shop.clock.now() - timedelta(hours=1))
    sales += [await shop.sell(meter.number, sale_id=f"after{at}") for at in range(3)]

    machine = shop.sts_meter(meter.number)
    minutes = shop.column("SELECT tid_minute FROM token")
    assert len(minutes) == len(set(minutes)) == len(sales)
    assert {machine.enter(sale.token or "").code for sale in sales} == {ResultCode.ACCEPT}
    assert await shop.sell(meter.number, sale_id="before0") == sales[0]
    await assert_books_hold(shop)


# --- keys -----------------------------------------------------------------------------------------


async def test_a_key_past_its_expiry_sells_nothing_and_takes_nothing(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    shop.code_meter(meter, ken=1)
    with pytest.raises(Refused) as refusal:
        await shop.sell(meter.number)
    sales = shop.column("SELECT count(*) FROM sale WHERE state <> 'voided'")
    postings = shop.column("SELECT count(*) FROM posting")
    shop.code_meter(meter)

    sold = await shop.sell(meter.number, sale_id="s2")

    assert refusal.value.code == "key_expired"
    assert (sales, postings) == ([0], [0])
    assert sold.state == "issued"


async def test_a_vault_is_not_opened_by_another_master_key_and_loses_nothing(
    shop: Shop, tmp_path: Path
) -> None:
    config = settings_of(tmp_path)
    master = tmp_path / config.vault.master_key_file
    await (await open_vault(config, shop.database, shop.clock)).close()
    right = master.read_bytes()
    kept = shop.rows_of("SELECT * FROM vault_key ORDER BY id")
    master.write_bytes(bytes(reversed(right)))

    with pytest.raises(ConfigError) as refusal:
        await open_vault(config, shop.database, shop.clock)

    assert refusal.value.code == "vault_wrong_master_key"
    assert shop.rows_of("SELECT * FROM vault_key ORDER BY id") == kept
    master.write_bytes(right)
    await (await open_vault(config, shop.database, shop.clock)).close()


# --- the tables -----------------------------------------------------------------------------------


async def test_tables_of_a_newer_release_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        meter = await shop.utility.add_meter("electricity")
        await shop.sell(meter.number)
    behind = Behind(tmp_path)
    [revision] = behind.values("SELECT version_num FROM alembic_version")
    behind.rows("UPDATE alembic_version SET version_num = ?", "9999")

    with pytest.raises(ConfigError) as refusal:
        async with opened_in(tmp_path):
            pass

    assert refusal.value.code == "database_newer"
    assert behind.values("SELECT state FROM sale") == ["issued"]
    behind.rows("UPDATE alembic_version SET version_num = ?", revision)
    async with opened_in(tmp_path) as database:
        assert not database.stats.broken
