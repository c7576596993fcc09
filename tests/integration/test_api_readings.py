"""Readings of a meter over HTTP: values, spans, and the gaps between them."""

from __future__ import annotations

import pytest

from slotmeter.ports import ReadingRow
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import HOUR_US, epoch_us

METERS = "/api/v1/meters"


@pytest.fixture
async def meter(api: ApiTown) -> SmallMeter:
    """An electricity meter; eye may look."""
    await api.join("eye", "viewer", kind="service")
    return await api.utility.add_meter("electricity")


async def read(api: ApiTown, meter: SmallMeter, *values: int) -> int:
    """Store hourly values of the meter's register; return when the first was measured."""
    start_us = epoch_us(api.clock.now())
    rows = [
        ReadingRow(meter.id, "energy_import", start_us + at * HOUR_US, value)
        for at, value in enumerate(values)
    ]
    await api.readings.append(rows)
    return start_us


async def test_readings_are_the_newest_day_of_the_meters_own_clock(
    api: ApiTown, meter: SmallMeter
) -> None:
    await read(api, meter, *range(100, 130))

    reply = (await api.get(f"{METERS}/{meter.number}/readings", "eye")).json

    assert [each["value"] for each in reply["items"]] == list(range(106, 130))
    assert (reply["register"], reply["unit"], reply["truncated"]) == ("energy_import", "Wh", False)


async def test_readings_of_a_time_are_cut_at_the_limit_and_say_so(
    api: ApiTown, meter: SmallMeter
) -> None:
    await read(api, meter, 1, 2, 3, 4)

    path = f"{METERS}/{meter.number}/readings?from=2026-11-21T09:30:00Z&limit=2"
    reply = (await api.get(path, "eye")).json

    assert [each["value"] for each in reply["items"]] == [1, 2]
    assert reply["truncated"] is True


async def test_readings_are_summed_up_in_buckets(api: ApiTown, meter: SmallMeter) -> None:
    await read(api, meter, 10, 14, 19, 30)

    path = f"{METERS}/{meter.number}/readings?from=2026-11-21T09:30:00Z&bucket=7200"
    reply = (await api.get(path, "eye")).json

    assert reply["items"] == []
    assert [(each["first"], each["last"], each["count"]) for each in reply["buckets"]] == [
        (10, 14, 2),
        (19, 30, 2),
    ]


async def test_spans_without_readings_are_listed_up_to_now(api: ApiTown, meter: SmallMeter) -> None:
    await read(api, meter, 10)
    api.clock.advance(hours=3)
    await read(api, meter, 14)
    api.clock.advance(hours=2)

    span = "from=2026-11-21T08:30:00Z&to=2026-11-22T00:00:00Z&bucket=3600"
    reply = (await api.get(f"{METERS}/{meter.number}/readings?{span}", "eye")).json

    assert [(each["start"][11:16], each["end"][11:16]) for each in reply["gaps"]] == [
        ("08:30", "09:30"),
        ("10:30", "12:30"),
        ("13:30", "14:30"),
    ]


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("from=2026-11-21T09:30:00Z&to=2026-11-21T09:30:00Z", "span_empty", "from"),
        ("bucket=1", "too_many_buckets", "bucket"),
        ("bucket=31622400&from=2000-01-01T00:00:00Z", "span_too_long", "from"),
        ("bucket=0", "out_of_range", "bucket"),
        ("register=mood", "not_one_of", "register"),
    ],
)
async def test_readings_that_cannot_be_given_are_refused(
    api: ApiTown, meter: SmallMeter, query: str, code: str, field: str
) -> None:
    reply = await api.get(f"{METERS}/{meter.number}/readings?{query}", "eye")

    assert (reply.status, reply.code, reply.json["field"]) == (422, code, field)
