"""A restore into PostgreSQL that is cut off at any point is not served from, and goes on when it is
run again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from slotmeter.errors import ConfigError, Refused
from slotmeter.runtime.backup import make_backup
from slotmeter.runtime.restore import Restored, restore_backup
from slotmeter.services.access import Origin
from slotmeter.services.system_clock import SystemClock
from slotmeter.storage.data_files import READINGS_FILE
from slotmeter.storage.opening import open_database
from slotmeter.testing.databases import Behind, name_postgres, settings_of
from slotmeter.testing.postgres_server import PostgresServer
from slotmeter.testing.shop import Shop, open_shop

ORIGIN = Origin("local:test", "test")
PATIENCE_S = 60

KILLED_AT = """
import os, signal, sys
from slotmeter.cli import main
from slotmeter.runtime import restore
from slotmeter.storage import postgres_dumps, postgres_restoring

async def ended(*_given, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

place, name = sys.argv[1].split(":")
places = {"restore": restore, "dumps": postgres_dumps, "restoring": postgres_restoring}
setattr(places[place], name, ended)
main(sys.argv[2:])
"""


def silent(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
async def backup(
    tmp_path: Path, postgres: PostgresServer, empty_tables: str
) -> AsyncIterator[Path]:
    """A backup of a shop on PostgreSQL that has sold three times."""
    folder = tmp_path / "old"
    folder.mkdir()
    name = postgres.make_database(template=empty_tables)
    name_postgres(folder, postgres.url(name))
    async with open_shop(folder) as shop:
        await _sell(shop)
        (folder / READINGS_FILE).write_bytes(b"")
        await make_backup(settings_of(folder), shop.clock, tmp_path / "backup", silent)
    yield tmp_path / "backup"
    postgres.drop_database(name)


async def _sell(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    for at in range(3):
        await shop.sell(meter.number, sale_id=f"s{at}")


@pytest.fixture
def new(tmp_path: Path, postgres: PostgresServer) -> Iterator[Path]:
    """A folder to restore into, which names an empty database."""
    folder = tmp_path / "new"
    folder.mkdir()
    name = postgres.make_database()
    name_postgres(folder, postgres.url(name))
    yield folder
    postgres.drop_database(name)


async def _restored(source: Path, folder: Path) -> Restored:
    return await restore_backup(source, settings_of(folder), SystemClock(), ORIGIN, silent)


async def _killed_restore(source: Path, folder: Path, at: str) -> None:
    """Restore in a process that is killed where a function would begin."""
    command = ["restore", str(source), "--data", str(folder), "--original-stopped"]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED_AT, at, *command],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def _marks(folder: Path) -> int:
    [count] = Behind(folder).values("SELECT count(*) FROM act WHERE what = 'database.restored'")
    return int(count)


@pytest.mark.parametrize(
    "at",
    [
        "dumps:load_postgres",
        "restore:mark_restored",
        "restore:verify_ledger",
        "restoring:end_restore",
    ],
    ids=["before-load", "between-load-and-mark", "after-the-mark", "before-the-end"],
)
async def test_a_restore_that_is_killed_is_not_served_from_and_goes_on_when_run_again(
    backup: Path, new: Path, at: str
) -> None:
    await _killed_restore(backup, new, at)
    with pytest.raises(ConfigError) as refused:
        await open_database(settings_of(new))

    found = await _restored(backup, new)

    assert refused.value.code == "restore_unfinished"
    assert found.holds
    assert found.verdicts[0].figures["sales_issued"] == 3
    assert _marks(new) >= 1
    assert Behind(new).values("SELECT to_regclass('slotmeter_restoring')::text") == [None]
    assert not (new / ".restoring").exists()
    await (await open_database(settings_of(new))).close()


async def test_another_backup_does_not_go_on_where_one_was_cut_off(
    backup: Path, new: Path, tmp_path: Path
) -> None:
    await _killed_restore(backup, new, "restore:mark_restored")
    Behind(tmp_path / "old").rows("UPDATE utility SET address = 'elsewhere'")
    other = tmp_path / "other"
    await make_backup(settings_of(tmp_path / "old"), SystemClock(), other, silent)

    with pytest.raises(Refused) as refused:
        await _restored(other, new)

    assert refused.value.code == "restore_of_another"
    assert (await _restored(backup, new)).holds


async def test_a_database_that_a_restore_left_unfinished_is_not_backed_up(
    backup: Path, new: Path, tmp_path: Path
) -> None:
    await _killed_restore(backup, new, "restore:mark_restored")

    with pytest.raises(ConfigError) as refused:
        await make_backup(settings_of(new), SystemClock(), tmp_path / "again", silent)

    assert refused.value.code == "restore_unfinished"
    assert not (tmp_path / "again").exists()


async def test_nothing_is_restored_over_tables(backup: Path, new: Path) -> None:
    assert (await _restored(backup, new)).holds
    (new / READINGS_FILE).unlink()

    with pytest.raises(Refused) as refused:
        await _restored(backup, new)

    assert refused.value.code == "database_not_empty"
