"""Checkpoints by a schedule: one each day, kept outside the database, and counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from slotmeter.config import AuditConfig, DashboardsConfig, HttpConfig
from slotmeter.errors import Unavailable
from slotmeter.runtime import Runtime
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.runtime.checkpoint_folder import PATTERN, CheckpointFolder
from slotmeter.security.master_keys import LocalMasterKey
from slotmeter.security.vault import Vault
from slotmeter.services.audit_checkpoints import Checkpoint
from slotmeter.services.audit_schedule import CheckpointSchedule
from slotmeter.services.metrics import CheckpointMetrics
from slotmeter.storage.opening import long_looks
from slotmeter.storage.seal.reader import Checkpoint as Stated
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import settings_of
from slotmeter.testing.shop import SHOP_OPENS_AT, Shop, open_shop

pytestmark = pytest.mark.both_databases

DAY_S = 86_400


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


@dataclass
class Kept:
    """The schedule of a shop, its folder, and what it counts."""

    folder: Path
    schedule: CheckpointSchedule
    registry: CollectorRegistry

    def files(self) -> list[Checkpoint]:
        """The checkpoints in the folder, oldest first."""
        found = sorted(self.folder.glob(PATTERN))
        return [Checkpoint.from_dict(json.loads(each.read_text())) for each in found]

    def counted(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"slotmeter_audit_checkpoint{name}")


@pytest.fixture
async def kept(shop: Shop, tmp_path: Path) -> Kept:
    vault = await Vault.open(shop.database, shop.clock, LocalMasterKey(b"m" * 32))
    registry, folder = CollectorRegistry(), tmp_path / "checkpoints"
    schedule = CheckpointSchedule(
        shop.database,
        vault.signer,
        shop.clock,
        CheckpointMetrics(registry),
        CheckpointFolder(folder).keep,
        every_h=24,
    )
    return Kept(folder, schedule, registry)


async def test_one_is_signed_at_the_first_start_and_then_each_day(shop: Shop, kept: Kept) -> None:
    made = []
    for _ in range(4):
        made.append(await kept.schedule.check() is not None)
        shop.clock.advance(seconds=DAY_S // 2)

    assert made == [True, False, True, False]
    assert shop.column("SELECT count(*) FROM audit_checkpoint") == [2]
    assert len(kept.files()) == 2
    assert kept.counted("s_total") == 2
    assert kept.counted("_newest_seconds") == kept.files()[-1].at_us // 1_000_000
    assert shop.column("SELECT principal_id FROM act WHERE what = 'audit.checkpoint'") == [None] * 2


async def test_what_is_kept_vouches_for_the_chain(shop: Shop, kept: Kept) -> None:
    await kept.schedule.check()
    (file,) = kept.files()
    reader = reader_of(long_looks(settings_of(shop.path.parent)))
    stated = Stated(0, file.at_us, file.seq, file.hash, file.public_key, file.signature)

    verdict = await asyncio.to_thread(verify_audit, reader, checkpoints=[stated], processes=1)

    assert verdict.holds
    assert verdict.checkpoints == 2  # in the table, and in the file


async def test_one_that_a_crash_left_in_the_database_alone_is_written_by_the_next_check(
    shop: Shop, kept: Kept
) -> None:
    await kept.schedule.check()
    (file,) = kept.folder.glob(PATTERN)
    content = file.read_text()
    file.unlink()

    made = await kept.schedule.check()

    assert made is None
    assert file.read_text() == content
    assert file.stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_written_is_counted_and_tried_again(
    shop: Shop, kept: Kept
) -> None:
    kept.folder.write_text("a file in its place")
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            await kept.schedule.check()
    kept.folder.unlink()
    await kept.schedule.check()

    assert refused.value.code == "checkpoint_not_kept"
    assert kept.counted("_failures_total") == 2
    assert shop.column("SELECT count(*) FROM audit_checkpoint") == [1]
    assert len(kept.files()) == 1


async def test_a_clock_that_was_set_back_signs_at_once(shop: Shop, kept: Kept) -> None:
    await kept.schedule.check()
    shop.clock.advance(seconds=-3_600)

    made = await kept.schedule.check()

    assert made is not None


@pytest.mark.parametrize(("every_h", "files"), [(24, 1), (0, 0)])
async def test_a_server_keeps_them_unless_it_is_told_not_to(
    tmp_path: Path, every_h: int, files: int
) -> None:
    async with open_shop(tmp_path):
        pass
    parts = {
        "http": HttpConfig(port=0),
        "dashboards": DashboardsConfig(enabled=False),
        "audit": AuditConfig(checkpoint_every_h=every_h),
    }
    config = settings_of(tmp_path).model_copy(update=parts)
    folder = tmp_path / "checkpoints"

    runtime = await Runtime.started(config, FakeClock(SHOP_OPENS_AT))
    if files:
        async with asyncio.timeout(20):
            while not list(folder.glob(PATTERN)):  # noqa: ASYNC110  a file tells nobody
                await asyncio.sleep(0.01)
    await runtime.stop()

    assert len(list(folder.glob(PATTERN))) == files
