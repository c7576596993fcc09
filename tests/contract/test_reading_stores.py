"""Every readings store keeps the port's promises; the embedded one also when its file is odd."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import ReadingRow, ReadingStore
from slotmeter.storage.readings_embedded import EmbeddedReadings
from slotmeter.testing.store_contract import (
    STORE_CHECKS,
    Check,
    ModelReadings,
    reading,
)
from slotmeter.units import DAY_US


@pytest.fixture(params=["embedded", "model"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ReadingStore]:
    made: ReadingStore = (
        await EmbeddedReadings.open(tmp_path / "readings.db")
        if request.param == "embedded"
        else ModelReadings()
    )
    yield made
    await made.close()


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_a_readings_store_keeps_its_promises(check: Check, store: ReadingStore) -> None:
    await check(store)


PATIENCE_S = 20
TIMES = st.integers(-2 * DAY_US, 4 * DAY_US) | st.sampled_from([0, DAY_US - 1, DAY_US, DAY_US + 1])
ROWS = st.lists(
    st.builds(
        ReadingRow,
        meter_id=st.integers(1, 3),
        register=st.sampled_from(["energy_import", "volume"]),
        measured_us=TIMES,
        value=st.integers(-(2**63), 2**63 - 1),
        frame_id=st.integers(0, 5),
    ),
    max_size=12,
)
WINDOW = st.tuples(TIMES, TIMES)


@given(
    st.lists(ROWS, max_size=5),
    st.none() | TIMES,
    WINDOW,
    st.integers(1, 2 * DAY_US),
    st.integers(0, 20),
)
def test_the_embedded_store_is_the_model(
    batches: list[list[ReadingRow]],
    retain_us: int | None,
    window: tuple[int, int],
    bucket_us: int,
    limit: int,
) -> None:
    async def same(path: Path) -> None:
        embedded, model = await EmbeddedReadings.open(path), ModelReadings()
        for number, batch in enumerate(batches):
            assert await embedded.append(batch, cursor=number) == await model.append(
                batch, cursor=number
            )
        if retain_us is not None:
            assert await embedded.retain(retain_us) == await model.retain(retain_us)
        start_us, end_us = window
        for meter_id in (1, 2):
            of = (meter_id, "energy_import")
            assert list(await embedded.range(*of, start_us, end_us, limit=limit)) == list(
                await model.range(*of, start_us, end_us, limit=limit)
            )
            assert list(
                await embedded.aggregate(*of, start_us, end_us, bucket_us=bucket_us)
            ) == list(await model.aggregate(*of, start_us, end_us, bucket_us=bucket_us))
            assert await embedded.last(*of) == await model.last(*of)
        assert await embedded.stats() == await model.stats()
        assert await embedded.cursor() == await model.cursor()
        await embedded.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(same(Path(folder) / "readings.db"))


# --- the embedded store's file -------------------------------------------------------------------


async def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    store = await EmbeddedReadings.open(path)
    await store.append([reading(10, 4)], cursor=3)
    await store.close()

    again = await EmbeddedReadings.open(path)

    assert await again.last(1, "energy_import") == reading(10, 4)
    assert await again.cursor() == 3
    await again.close()


async def test_every_commit_is_synced(tmp_path: Path) -> None:
    store = await EmbeddedReadings.open(tmp_path / "readings.db")

    writer = store._writer

    assert writer is not None
    assert writer.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    await store.close()


async def test_a_reader_sees_a_batch_whole_or_not_at_all(tmp_path: Path) -> None:
    store = await EmbeddedReadings.open(tmp_path / "readings.db")
    batch = [reading(at) for at in range(2_000)]

    _, seen = await asyncio.gather(store.append(batch, cursor=1), store.stats())

    assert seen.rows in {0, 2_000}
    await store.close()


async def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")

    with pytest.raises(ConfigError) as refused:
        await EmbeddedReadings.open(path)

    assert refused.value.code == "readings_newer"


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    path.write_bytes(b"not a database, but long enough to be looked at " * 20)

    with pytest.raises(ConfigError) as refused:
        await EmbeddedReadings.open(path)

    assert refused.value.code == "readings_unusable"


async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        await EmbeddedReadings.open(tmp_path / "nowhere" / "readings.db")

    assert refused.value.code == "readings_unusable"


async def test_a_closed_store_says_that_it_is_closed(tmp_path: Path) -> None:
    store = await EmbeddedReadings.open(tmp_path / "readings.db")
    await store.close()
    await store.close()

    with pytest.raises(Unavailable) as refused:
        await store.append([reading(10)])

    assert refused.value.code == "readings_closed"


async def test_a_store_whose_disk_refuses_says_so_and_writes_nothing(tmp_path: Path) -> None:
    store = await EmbeddedReadings.open(tmp_path / "readings.db")
    writer = store._writer
    assert writer is not None
    writer.execute("PRAGMA max_page_count=1")

    with pytest.raises(Unavailable) as refused:
        await store.append([reading(at) for at in range(5_000)], cursor=9)

    assert refused.value.code == "readings_unavailable"
    assert (await store.stats()).rows == 0
    assert await store.cursor() == 0
    await store.close()


async def test_a_long_question_does_not_hold_up_a_short_one(tmp_path: Path) -> None:
    store = await EmbeddedReadings.open(tmp_path / "readings.db")
    await store.append([reading(10, 4)])
    began, let_go = threading.Event(), threading.Event()

    def long_question() -> None:
        began.set()
        let_go.wait(PATIENCE_S)

    asking = asyncio.ensure_future(store._in(store._read, long_question))
    await asyncio.to_thread(began.wait, PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        found = await store.last(1, "energy_import")
    assert not asking.done()
    let_go.set()
    await asking

    assert found == reading(10, 4)
    await store.close()


async def test_summing_up_hands_no_rows_to_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await EmbeddedReadings.open(tmp_path / "readings.db")
    await store.append([reading(at) for at in range(5_000)])
    taken: list[int] = []
    query = store._query

    async def counted(*question: Any) -> list[Any]:
        rows = await query(*question)
        taken.append(len(rows))
        return rows

    monkeypatch.setattr(store, "_query", counted)
    await store.aggregate(1, "energy_import", 0, 5_000, bucket_us=1_000)

    assert taken == [5]
    await store.close()
