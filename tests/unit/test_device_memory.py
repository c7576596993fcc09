"""How much memory the server keeps for each device that it has heard for a day."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from slotmeter.ports import Read, Row, UnitOfWork
from slotmeter.services.clock_drift import SAMPLE_EVERY_US, SAMPLES_MAX
from slotmeter.services.clock_watch import ClockWatch
from slotmeter.services.device_cards import DeviceCards
from slotmeter.services.frame_admission import FrameAdmission
from slotmeter.services.metrics import DeviceMetrics

DEVICES = 3_000
DEVICE_BYTES_MAX = 2_048
NOW_US = 1_795_000_000_000_000


def text(value: str) -> str:
    """Return a string of its own, as a database gives it."""
    return "".join(value)


def row(number: int) -> dict[str, Any]:
    return {
        "id": 10**9 + number,
        "utility_id": 10**6,
        "meter_id": 2 * 10**9 + number,
        "medium": text("nbiot"),
        "address": f"urn:imei:{350_000_000_000_000 + number}",
        "driver": text("some_maker_model_4"),
        "entry_id": 10**6 + 1,
        "measured_us": NOW_US - number,
        "received_us": NOW_US + number,
        "supply": text("on"),
        "register": 10**6 + number,
        "credit_balance": 10**7 + number,
        "credit_total": 10**8 + number,
        "credit_proven": 10**8 + number,
        "tamper": 0,
        "number": f"{10**10 + number}",
        "commodity": text("electricity"),
        "credit_mode": text("meter"),
        "policy": text('{"clock_ahead_hours_max": 24, "protected": ["hospital", "pump"]}'),
        "is_waited_for": 0,
        "is_unproven": 0,
    }


class Fleet:
    """A database of devices, as far as what a server reads when it starts."""

    async def read(self, reads: Sequence[Read]) -> dict[str, Sequence[Row]]:
        [read] = reads
        after, limit = cast(int, read.params["after"]), cast(int, read.params["limit"])
        first = 0 if after == 0 else after - 10**9 + 1
        page = [row(number) for number in range(first, min(first + limit, DEVICES))]
        return {read.key: page}


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def test_a_device_takes_two_kilobytes_at_most(traced: None) -> None:
    uow = cast(UnitOfWork, Fleet())
    metrics = DeviceMetrics(CollectorRegistry())
    before = tracemalloc.get_traced_memory()[0]
    cards, admission, clocks = DeviceCards(uow), FrameAdmission(uow, metrics), ClockWatch(uow)

    found = await cards.warm()
    await admission.warm(NOW_US)
    for sample in range(SAMPLES_MAX + 2):
        at_us = NOW_US + sample * SAMPLE_EVERY_US
        for number in range(DEVICES):
            clocks.saw(10**9 + number, 10**6, at_us - number, at_us)
    frames = [("nbiot", row(at)["address"], "p", b"", NOW_US, None) for at in range(DEVICES)]
    refused = await admission.admit_many(frames)
    del frames
    taken = tracemalloc.get_traced_memory()[0] - before

    assert (found, refused) == (DEVICES, {})
    assert taken / DEVICES <= DEVICE_BYTES_MAX
