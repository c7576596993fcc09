"""Backups are made under load, restored whole or refused, and never give a token twice."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.config import Config
from slotmeter.errors import Refused
from slotmeter.runtime import restore as restoring
from slotmeter.runtime.backup import make_backup
from slotmeter.runtime.backup_folder import MANIFEST_FILE, Manifest, read_manifest
from slotmeter.runtime.restore import Restored, check_backup, mark_and_check, restore_backup
from slotmeter.services.access import Origin
from slotmeter.services.restored import tid_allocator
from slotmeter.services.selling import Selling, SellRequest
from slotmeter.services.tid_allocator import AHEAD_MINUTES_MAX, TidAllocator
from slotmeter.storage.database import Database
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.units import epoch_us
from slotmeter.vending.sts import minute_1993_of_us

ORIGIN = Origin("local:test", "test")


def silent(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    folder = tmp_path / "data"
    folder.mkdir()
    async with open_shop(folder) as opened:
        yield opened


async def backed_up(shop: Shop, target: Path) -> Manifest:
    config = Config.default(shop.path.parent)
    return await make_backup(config, shop.clock, target, silent)


async def restored(shop: Shop, source: Path, folder: Path, *, last_floor: int = 0) -> Restored:
    config = Config.default(folder)
    return await restore_backup(source, config, shop.clock, ORIGIN, silent, last_floor=last_floor)


async def sell(shop: Shop, count: int, first: int = 0, meter: str | None = None) -> None:
    number = meter or next(iter(shop.utility.meters))
    for at in range(first, first + count):
        await shop.selling.sell(shop.till, SellRequest(f"s{at}", number, "116.00"))


async def reopened(shop: Shop, folder: Path) -> tuple[Database, Selling]:
    """The restored copy, selling with the keys of the original."""
    database = await Database.open(folder / "slotmeter.db")
    selling = Selling(
        database,
        shop.security,
        shop.clock,
        safe=sample_safe(),
        draw_rnd=lambda: 5,
        after_payment=shop.selling._after_payment,
        on_issued=lambda: None,
        tids=await tid_allocator(database),
    )
    return database, selling


async def test_a_backup_made_while_the_server_sells_holds_whole_sales(
    shop: Shop, tmp_path: Path
) -> None:
    meter = await shop.utility.add_meter("electricity")
    await sell(shop, 20, meter=meter.number)

    selling = asyncio.create_task(sell(shop, 60, first=20, meter=meter.number))
    await backed_up(shop, tmp_path / "backup")
    await selling
    found = await restored(shop, tmp_path / "backup", tmp_path / "new")

    assert found.holds
    assert found.verdicts[0].figures["sales_issued"] >= 20
    assert found.verdicts[0].figures["sales_pending"] <= 1


async def test_a_restored_copy_gives_no_identifier_that_the_original_gave_since(
    shop: Shop, tmp_path: Path
) -> None:
    meter = await shop.utility.add_meter("electricity")
    await sell(shop, 3, meter=meter.number)
    await backed_up(shop, tmp_path / "backup")
    await sell(shop, 30, first=3, meter=meter.number)  # lost with the machine
    lost = set(shop.column("SELECT tid_minute FROM token"))

    await restored(shop, tmp_path / "backup", tmp_path / "new")
    database, selling = await reopened(shop, tmp_path / "new")
    for at in range(30):
        await selling.sell(shop.till, SellRequest(f"again{at}", meter.number, "116.00"))
    await database.close()

    config = Config.default(tmp_path / "new")
    again = await make_backup(config, shop.clock, tmp_path / "second", silent)
    assert again.figures["token"] == 33
    rows = await _minutes(tmp_path / "new")
    assert not lost & set(rows[3:])
    assert len(set(rows)) == 33


async def _minutes(folder: Path) -> list[int]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection:
        return [row[0] for row in connection.execute("SELECT tid_minute FROM token ORDER BY id")]


async def test_every_restore_raises_the_floor(shop: Shop, tmp_path: Path) -> None:
    await backed_up(shop, tmp_path / "backup")
    first = await restored(shop, tmp_path / "backup", tmp_path / "one")
    present = minute_1993_of_us(epoch_us(shop.clock.now()))

    again = await mark_and_check(Config.default(tmp_path / "one"), shop.clock, ORIGIN)
    beside = await restored(
        shop, tmp_path / "backup", tmp_path / "two", last_floor=first.tid_floor_minute
    )

    assert first.tid_floor_minute == present + AHEAD_MINUTES_MAX
    assert again.tid_floor_minute == present + 2 * AHEAD_MINUTES_MAX
    assert beside.tid_floor_minute == present + 2 * AHEAD_MINUTES_MAX


async def test_a_restore_is_an_act_of_the_audit(shop: Shop, tmp_path: Path) -> None:
    await backed_up(shop, tmp_path / "backup")
    await restored(shop, tmp_path / "backup", tmp_path / "new")

    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "new" / "slotmeter.db")) as connection:
        acts = connection.execute(
            "SELECT address, reason FROM act WHERE what = 'database.restored'"
        ).fetchall()
    assert len(acts) == 1
    assert acts[0][0] == "local:test"
    assert acts[0][1].startswith("restored from the backup of ")


async def test_a_meter_that_was_given_a_day_of_identifiers_is_refused(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    assert meter.parameters is not None
    now_us = epoch_us(shop.clock.now())
    present = minute_1993_of_us(now_us)
    kept = [present + at for at in range(AHEAD_MINUTES_MAX + 2)]

    with pytest.raises(Refused) as refused:
        TidAllocator().next(now_us, kept, meter.parameters)

    assert refused.value.code == "too_many_tokens"


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        ("flip", "backup_damaged", "slotmeter.db is not as it was made"),
        ("cut", "backup_damaged", "slotmeter.db is not as it was made"),
        ("lose", "backup_damaged", "slotmeter.db is missing"),
        ("garbage", "backup_damaged", "cannot be understood"),
        ("no manifest", "backup_missing", "there is no manifest.json"),
        ("newer", "backup_newer", "restore it with that release"),
        ("newer tables", "backup_newer", "9999"),
        ("other name", "backup_damaged", "no name of a file"),
    ],
)
async def test_a_backup_that_is_not_whole_is_refused_and_nothing_restored(
    shop: Shop, tmp_path: Path, spoil: str, code: str, said: str
) -> None:
    backup = tmp_path / "backup"
    await backed_up(shop, backup)
    _spoil(backup, spoil)

    with pytest.raises(Refused) as refused:
        await restored(shop, backup, tmp_path / "new")

    assert refused.value.code == code
    assert said in refused.value.message
    assert not (tmp_path / "new").exists()


def _spoil(backup: Path, how: str) -> None:
    database, manifest = backup / "slotmeter.db", backup / MANIFEST_FILE
    if how == "flip":
        content = bytearray(database.read_bytes())
        content[len(content) // 2] ^= 1
        database.write_bytes(content)
    elif how == "cut":
        os.truncate(database, database.stat().st_size - 1)
    elif how == "lose":
        database.unlink()
    elif how == "garbage":
        manifest.write_text("{")
    elif how == "no manifest":
        manifest.unlink()
    else:
        document = json.loads(manifest.read_text())
        if how == "newer":
            document["format_version"] = 99
        elif how == "newer tables":
            document["revision"] = "9999"
        else:
            document["files"]["../elsewhere"] = {"bytes": 1, "sha256": "00"}
        manifest.write_text(json.dumps(document))


async def test_a_restore_that_is_cut_off_leaves_no_database_and_can_begin_again(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backed_up(shop, tmp_path / "backup")

    async def cut_off(*_given: object, **_named: object) -> int:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(restoring, "mark_restored", cut_off)
        with pytest.raises(asyncio.CancelledError):
            await restored(shop, tmp_path / "backup", tmp_path / "new")
    left = {path.name for path in (tmp_path / "new").iterdir()}
    again = await restored(shop, tmp_path / "backup", tmp_path / "new")

    assert left == set()
    assert again.holds


async def test_a_restore_that_was_killed_leaves_no_database_where_a_server_looks(
    shop: Shop, tmp_path: Path
) -> None:
    await backed_up(shop, tmp_path / "backup")
    staging = tmp_path / "new" / ".restoring"
    staging.mkdir(parents=True)
    (staging / "slotmeter.db").write_bytes(b"half")

    found = await restored(shop, tmp_path / "backup", tmp_path / "new")

    assert found.holds
    assert not staging.exists()


async def test_nothing_is_restored_over_a_database(shop: Shop, tmp_path: Path) -> None:
    await backed_up(shop, tmp_path / "backup")

    with pytest.raises(Refused) as refused:
        await restored(shop, tmp_path / "backup", shop.path.parent)

    assert refused.value.code == "data_folder_not_empty"


@pytest.mark.parametrize(
    ("target", "code"), [("data/backup", "backup_inside"), ("data", "backup_exists")]
)
async def test_a_backup_is_not_made_where_it_would_be_lost_or_lose_something(
    shop: Shop, tmp_path: Path, target: str, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await backed_up(shop, tmp_path / target)

    assert refused.value.code == code


async def test_a_backup_that_was_cut_off_is_made_anew(shop: Shop, tmp_path: Path) -> None:
    left = tmp_path / "backup.partial"
    left.mkdir()
    (left / "slotmeter.db").write_bytes(b"half")

    made = await backed_up(shop, tmp_path / "backup")

    assert not left.exists()
    assert check_backup(tmp_path / "backup", silent) == made


async def test_a_backup_holds_no_master_key_and_no_api_key(shop: Shop, tmp_path: Path) -> None:
    folder = shop.path.parent
    (folder / "till.key").write_text("smk_secret")
    (folder / "slotmeter.toml").write_text("[http]\nport = 0\n")

    await backed_up(shop, tmp_path / "backup")

    names = {path.name for path in (tmp_path / "backup").iterdir()}
    assert names == {MANIFEST_FILE, "slotmeter.db", "slotmeter.toml"}


async def test_a_disk_without_room_is_said_before_anything_is_written(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(1, 1, 0))

    with pytest.raises(Refused) as refused:
        await backed_up(shop, tmp_path / "backup")

    assert refused.value.code == "no_room"
    assert not (tmp_path / "backup.partial").exists()


async def test_the_manifest_is_read_back_as_it_was_written(shop: Shop, tmp_path: Path) -> None:
    meter = await shop.utility.add_meter("electricity")
    await sell(shop, 2, meter=meter.number)

    made = await backed_up(shop, tmp_path / "backup")

    assert read_manifest(tmp_path / "backup") == made
    assert made.figures["sale"] == 2
    assert made.audit_seq > 0
