"""What every readings store must do, as checks that run on any implementation, and a model of it.

Use it in a test::

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    async def test_store(check, store):
        await check(store)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from slotmeter.ports import Aggregate, ReadingRow, ReadingStore, StoreStats
from slotmeter.units import DAY_US

__all__ = ["STORE_CHECKS", "ModelReadings", "reading"]

BEYOND_FLOATS = 2**53 + 1
"""The smallest positive integer that a binary float of 64 bits cannot hold."""

_FAR_US = 2**61


def reading(
    measured_us: int,
    value: int = 1,
    *,
    meter_id: int = 1,
    register: str = "energy_import",
    frame_id: int = 0,
) -> ReadingRow:
    """Return a row with everything that a check does not care about."""
    return ReadingRow(meter_id, register, measured_us, value, frame_id)


class ModelReadings:
    """A readings store in a dictionary: the meaning of the port, without durability."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows: dict[tuple[int, str, int], ReadingRow] = {}
        self._cursor = 0

    async def append(self, rows: Sequence[ReadingRow], *, cursor: int | None = None) -> int:
        """Store rows; what is there stays."""
        before = len(self._rows)
        for row in rows:
            self._rows.setdefault((row.meter_id, row.register, row.measured_us), row)
        if cursor is not None:
            self._cursor = max(self._cursor, cursor)
        return len(self._rows) - before

    async def cursor(self) -> int:
        """Return the newest cursor."""
        return self._cursor

    async def go_back(self, position: int) -> None:
        """Take an earlier cursor."""
        self._cursor = min(self._cursor, position)

    async def range(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, limit: int
    ) -> Sequence[ReadingRow]:
        """Return values in time order."""
        found = [
            row
            for key, row in sorted(self._rows.items())
            if key[:2] == (meter_id, register) and start_us <= key[2] < end_us
        ]
        return found[: max(limit, 0)]

    async def aggregate(
        self, meter_id: int, register: str, start_us: int, end_us: int, *, bucket_us: int
    ) -> Sequence[Aggregate]:
        """Return non-empty buckets."""
        if bucket_us <= 0:
            raise ValueError(f"expected a bucket of at least 1 µs, got {bucket_us}")
        buckets: dict[int, list[int]] = {}
        for row in await self.range(meter_id, register, start_us, end_us, limit=len(self._rows)):
            buckets.setdefault((row.measured_us - start_us) // bucket_us, []).append(row.value)
        return [
            Aggregate(
                start_us + number * bucket_us,
                start_us + (number + 1) * bucket_us,
                len(values),
                min(values),
                max(values),
                values[0],
                values[-1],
            )
            for number, values in sorted(buckets.items())
        ]

    async def last(self, meter_id: int, register: str) -> ReadingRow | None:
        """Return the newest value by the meter's clock."""
        found = await self.range(meter_id, register, -_FAR_US, _FAR_US, limit=len(self._rows))
        return found[-1] if found else None

    async def retain(self, before_us: int) -> int:
        """Drop whole days."""
        first_day = before_us // DAY_US
        gone = [key for key in self._rows if key[2] // DAY_US < first_day]
        for key in gone:
            del self._rows[key]
        return len(gone)

    async def stats(self) -> StoreStats:
        """Return how much is stored."""
        times = [key[2] for key in self._rows]
        return StoreStats(
            rows=len(self._rows),
            meters=len({key[0] for key in self._rows}),
            oldest_us=min(times, default=None),
            newest_us=max(times, default=None),
        )

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


async def check_values_come_back_in_time_order(store: ReadingStore) -> None:
    """Late and unordered values are sorted in."""
    await store.append([reading(30, 3), reading(10, 1)])
    await store.append([reading(20, 2)])

    found = await store.range(1, "energy_import", 0, 100, limit=10)

    assert [(row.measured_us, row.value) for row in found] == [(10, 1), (20, 2), (30, 3)]


async def check_a_repeated_value_is_stored_once(store: ReadingStore) -> None:
    """A frame may be consumed again after a crash."""
    first = await store.append([reading(10), reading(20)])
    again = await store.append([reading(10), reading(20), reading(30)])

    assert (first, again) == (2, 1)
    assert (await store.stats()).rows == 3


async def check_the_first_value_of_a_moment_stays(store: ReadingStore) -> None:
    """In one call and over two: what is stored does not change by repetition."""
    await store.append([reading(10, 1), reading(10, 2)])
    new = await store.append([reading(10, 3)])

    found = await store.range(1, "energy_import", 0, 100, limit=10)

    assert new == 0
    assert [row.value for row in found] == [1]


async def check_a_range_includes_its_start_and_excludes_its_end(store: ReadingStore) -> None:
    """Half-open, so that ranges join without overlap."""
    await store.append([reading(10), reading(20), reading(30)])

    found = await store.range(1, "energy_import", 10, 30, limit=10)

    assert [row.measured_us for row in found] == [10, 20]


async def check_ranges_join_over_the_end_of_a_day(store: ReadingStore) -> None:
    """Days are how a store may sort, not what a reader sees."""
    times = [DAY_US - 1, DAY_US, DAY_US + 1, 5 * DAY_US, 40 * DAY_US]
    await store.append([reading(at) for at in times])

    found = await store.range(1, "energy_import", DAY_US - 1, 40 * DAY_US + 1, limit=10)

    assert [row.measured_us for row in found] == times


async def check_times_before_1970_have_their_place(store: ReadingStore) -> None:
    """Negative times sort before positive ones, also within the day of the epoch."""
    await store.append([reading(1), reading(-1), reading(-DAY_US - 1)])

    found = await store.range(1, "energy_import", -2 * DAY_US, 2, limit=10)

    assert [row.measured_us for row in found] == [-DAY_US - 1, -1, 1]


async def check_a_limit_keeps_the_earliest(store: ReadingStore) -> None:
    """So that a reader can go on where it stopped."""
    await store.append([reading(at * DAY_US) for at in range(5)])

    found = await store.range(1, "energy_import", 0, 9 * DAY_US, limit=2)

    assert [row.measured_us for row in found] == [0, DAY_US]
    assert list(await store.range(1, "energy_import", 0, 9 * DAY_US, limit=0)) == []


async def check_meters_and_registers_do_not_mix(store: ReadingStore) -> None:
    """A value belongs to one register of one meter."""
    await store.append(
        [reading(10, 1), reading(10, 2, meter_id=2), reading(10, 3, register="credit_balance")]
    )

    found = await store.range(2, "energy_import", 0, 100, limit=10)

    assert [row.value for row in found] == [2]
    assert (await store.stats()).meters == 2


async def check_large_and_negative_integers_are_exact(store: ReadingStore) -> None:
    """No value passes through a binary float."""
    values = [BEYOND_FLOATS, -BEYOND_FLOATS, 2**63 - 1, -(2**63), 0]
    await store.append([reading(at, value) for at, value in enumerate(values)])

    found = await store.range(1, "energy_import", 0, 100, limit=10)
    (bucket,) = await store.aggregate(1, "energy_import", 0, 100, bucket_us=100)

    assert [row.value for row in found] == values
    assert (bucket.minimum, bucket.maximum) == (-(2**63), 2**63 - 1)
    assert (bucket.first, bucket.last) == (BEYOND_FLOATS, 0)


async def check_empty_ranges_are_empty(store: ReadingStore) -> None:
    """Nothing stored, nothing in between, or an end before its start."""
    assert list(await store.range(1, "energy_import", 0, 100, limit=10)) == []
    await store.append([reading(10)])

    assert list(await store.range(1, "energy_import", 11, 100, limit=10)) == []
    assert list(await store.range(1, "energy_import", 10, 10, limit=10)) == []
    assert list(await store.range(1, "energy_import", 100, 0, limit=10)) == []
    assert list(await store.aggregate(1, "energy_import", 11, 100, bucket_us=10)) == []


async def check_buckets_are_aligned_to_the_start_and_skip_gaps(store: ReadingStore) -> None:
    """A bucket is named by its own bounds, also when the range ends within it."""
    await store.append([reading(15, 5), reading(16, 9), reading(24, 7), reading(55, 1)])

    found = await store.aggregate(1, "energy_import", 15, 60, bucket_us=10)

    assert list(found) == [
        Aggregate(15, 25, count=3, minimum=5, maximum=9, first=5, last=7),
        Aggregate(55, 65, count=1, minimum=1, maximum=1, first=1, last=1),
    ]


async def check_a_bucket_of_no_width_is_refused(store: ReadingStore) -> None:
    """It would divide by zero."""
    try:
        await store.aggregate(1, "energy_import", 0, 100, bucket_us=0)
    except ValueError:
        return
    raise AssertionError("a bucket of no width was taken")


async def check_the_last_value_is_the_newest_by_the_meter_s_clock(store: ReadingStore) -> None:
    """Not the one that arrived last."""
    await store.append([reading(3 * DAY_US, 3)])
    await store.append([reading(2 * DAY_US, 2), reading(9 * DAY_US, 9, meter_id=2)])

    newest = await store.last(1, "energy_import")

    assert newest == reading(3 * DAY_US, 3)
    assert await store.last(1, "volume") is None
    assert await store.last(3, "energy_import") is None


async def check_the_cursor_starts_at_zero_and_goes_with_the_rows(store: ReadingStore) -> None:
    """Also when a batch has no rows at all."""
    before = await store.cursor()
    await store.append([reading(10)], cursor=7)
    await store.append([])
    after_rows = await store.cursor()
    await store.append([], cursor=9)

    assert (before, after_rows, await store.cursor()) == (0, 7, 9)


async def check_the_cursor_never_goes_back(store: ReadingStore) -> None:
    """A consumer that repeats itself loses nothing."""
    await store.append([], cursor=9)
    await store.append([], cursor=7)

    assert await store.cursor() == 9


async def check_the_cursor_goes_back_when_it_is_told_to(store: ReadingStore) -> None:
    """What was stored stays; to go back to a later place does nothing."""
    await store.append([reading(10)], cursor=9)
    await store.go_back(12)
    later = await store.cursor()
    await store.go_back(4)

    assert (later, await store.cursor()) == (9, 4)
    assert await store.append([reading(10)], cursor=7) == 0
    assert await store.cursor() == 7


async def check_a_batch_that_fails_leaves_neither_rows_nor_cursor(store: ReadingStore) -> None:
    """Rows and cursor are one commit; an integer of more than 64 bits cannot be stored."""
    if isinstance(store, ModelReadings):
        return  # a dictionary takes any integer
    try:
        await store.append([reading(10), reading(20, 2**63)], cursor=5)
    except OverflowError:
        pass
    else:
        raise AssertionError("a value of more than 64 bits was taken")

    assert (await store.stats()).rows == 0
    assert await store.cursor() == 0
    assert await store.append([reading(10)], cursor=5) == 1


async def check_retaining_drops_whole_days_only(store: ReadingStore) -> None:
    """A day that has not ended by then stays whole."""
    await store.append([reading(0), reading(DAY_US - 1), reading(DAY_US), reading(2 * DAY_US)])

    early = await store.retain(DAY_US - 1)
    dropped = await store.retain(2 * DAY_US - 1)

    assert (early, dropped) == (0, 2)
    assert (await store.stats()).oldest_us == DAY_US


async def check_what_was_dropped_can_come_again(store: ReadingStore) -> None:
    """Retention is not a memory of what was there."""
    await store.append([reading(0)])
    await store.retain(DAY_US)

    assert await store.append([reading(0)]) == 1


async def check_stats_tell_the_bounds(store: ReadingStore) -> None:
    """Empty and filled."""
    empty = await store.stats()
    await store.append([reading(20), reading(5, meter_id=2)])

    assert empty == StoreStats(0, 0, None, None)
    assert await store.stats() == StoreStats(2, 2, 5, 20)


Check = Callable[[ReadingStore], Awaitable[None]]

STORE_CHECKS: tuple[Check, ...] = (
    check_values_come_back_in_time_order,
    check_a_repeated_value_is_stored_once,
    check_the_first_value_of_a_moment_stays,
    check_a_range_includes_its_start_and_excludes_its_end,
    check_ranges_join_over_the_end_of_a_day,
    check_times_before_1970_have_their_place,
    check_a_limit_keeps_the_earliest,
    check_meters_and_registers_do_not_mix,
    check_large_and_negative_integers_are_exact,
    check_empty_ranges_are_empty,
    check_buckets_are_aligned_to_the_start_and_skip_gaps,
    check_a_bucket_of_no_width_is_refused,
    check_the_last_value_is_the_newest_by_the_meter_s_clock,
    check_the_cursor_starts_at_zero_and_goes_with_the_rows,
    check_the_cursor_never_goes_back,
    check_the_cursor_goes_back_when_it_is_told_to,
    check_a_batch_that_fails_leaves_neither_rows_nor_cursor,
    check_retaining_drops_whole_days_only,
    check_what_was_dropped_can_come_again,
    check_stats_tell_the_bounds,
)
"""Each takes an empty store."""
