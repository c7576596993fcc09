"""Meters as things: five hundred arrive by a file, and each is known from then on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.ports import Caller
from slotmeter.services.access import Origin
from slotmeter.services.account_file import FileDone
from slotmeter.services.coding_office import CodingOffice
from slotmeter.services.driver_packs import load_drivers
from slotmeter.services.import_jobs import FileJob, ImportJobs
from slotmeter.services.lifecycle import Lifecycle
from slotmeter.services.meter_arrival import BATCH_ROWS, MeterArrival, arrival_template
from slotmeter.services.meter_file import read_meter_file
from slotmeter.services.meter_import import Imported, MeterImport
from slotmeter.services.meter_swap import SwapWish
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import meter_number

FIRST = 5_001
HEADING = "meter,commodity,credit_mode,place,received_on,medium,address_on_medium,driver\n"
FILE = (
    "meter,commodity,credit_mode,customer_number,customer_name,tariff,installed_on,medium,"
    "address_on_medium,driver,address\n"
)


def number(at: int) -> str:
    return meter_number(FIRST + at)


def row(at: int, **changes: str) -> str:
    cells = {
        "meter": number(at),
        "commodity": "electricity",
        "credit_mode": "platform",
        "place": "Depot",
        "received_on": "2026-11-20",
        "medium": "nbiot",
        "address": f"ep-{at}",
        "driver": "slotmeter_virtual",
    }
    return ",".join((cells | changes).values()) + "\n"


def lines(count: int) -> str:
    return HEADING + "".join(row(at) for at in range(count))


class Store:
    """Where meters arrive."""

    def __init__(self, shop: Shop, boss: Caller) -> None:
        self.shop, self.boss = shop, boss
        self.lives = Lifecycle(shop.database, shop.clock)
        self.utility_id = boss.principal.utility_id

    async def receive(self, text: str, **options: Any) -> FileDone:
        """Receive meters from a file."""
        utility = await Registry(self.shop.database, self.shop.clock).utility(None)
        parts = (self.shop.database, self.shop.clock, utility, self.boss)
        arrival = MeterArrival(*parts, keys=self.shop.security, drivers=load_drivers())
        return await arrival.run(text.encode(), reason="order 17", **options)

    def job(self) -> FileJob:
        """Return what keeps how far the file is."""
        jobs = ImportJobs(self.shop.database, self.shop.clock, self.utility_id)
        return FileJob(jobs, Origin.of(self.boss), "received", "meters.csv", reason="order 17")

    async def bring_in(self, line: str) -> Imported:
        """Import a row of the meter file."""
        utility = await Registry(self.shop.database, self.shop.clock).utility(None)
        today = self.shop.clock.now().date()
        file = read_meter_file((FILE + line).encode(), currency="KES", today=today)
        assert file.problems == ()
        parts = (self.shop.database, self.shop.clock, utility)
        importing = MeterImport(*parts, keys=self.shop.security, drivers=load_drivers())
        return await importing.add(Origin.of(self.boss), file.rows, reason="new customer")

    async def states(self, **of: Any) -> Counter[str]:
        """Return how many meters are in each state."""
        return Counter(await self.lives.counts(self.utility_id, **of))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_shop(tmp_path) as shop:
        yield Store(shop, await shop.utility.add_principal("Boss", "supervisor"))


@pytest.mark.both_databases
async def test_500_meters_are_received_stored_installed_swapped_repaired_and_scrapped(
    store: Store,
) -> None:
    shop, lives, boss = store.shop, store.lives, store.boss
    before = shop.clock.now() - timedelta(days=1)
    received = await store.receive(lines(500))
    for at in range(3):
        shop.clock.advance(seconds=60)
        await lives.record(boss, number(at), "stored", place=f"Shelf {at}", reason="counted")
    line = (
        f"{number(0)},electricity,platform,C-9,Juma Said,domestic-electricity,2026-11-21,nbiot,"
        "ep-0,slotmeter_virtual,Road 9\n"
    )
    installed = await store.bring_in(line)
    shop.clock.advance(seconds=60)
    coding = CodingOffice.of(
        *(shop.database, shop.security, sample_safe(), shop.clock),
        draw_rnd=lambda: 5,
        tids=ONE_LANE,
    )
    wish = SwapWish(number(0), number(1))
    await coding.swaps.swap(Asked(boss, "w1", "display broken"), wish)
    for state, place in (("repaired", "Workshop"), ("scrapped", "Recycler")):
        shop.clock.advance(seconds=60)
        await lives.record(boss, number(0), state, place=place, reason="display")

    now, utility_id = shop.clock.now(), store.utility_id
    assert (received.written, received.problems, installed.added) == (500, (), 1)
    assert await store.states() == {"received": 497, "stored": 1, "installed": 1, "scrapped": 1}
    assert await store.states(at=before) == {"received": 500}
    assert await store.states(at=now - timedelta(minutes=2, seconds=1)) == {
        **{"received": 497, "stored": 2, "installed": 1},
    }
    history = [(each.state, each.place) for each in await lives.history(utility_id, number(0))]
    assert history[:3] == [
        ("scrapped", "Recycler"),
        ("repaired", "Workshop"),
        ("swapped", number(0)),
    ]
    assert set(history[3:]) == {
        ("installed", number(0)),
        ("stored", "Shelf 0"),
        ("received", "Depot"),
    }
    new = await lives.life(utility_id, number(1))
    assert (new.state, new.place) == ("installed", number(0))


async def test_the_same_file_again_changes_nothing(store: Store) -> None:
    await store.receive(lines(3))
    again = await store.receive(lines(3))

    assert (again.written, again.already_there) == (0, 3)
    assert len(store.shop.rows_of("SELECT * FROM meter_life")) == 3


async def test_what_arrives_is_an_act_that_names_every_meter(store: Store) -> None:
    await store.receive(lines(2))

    [act] = store.shop.rows_of("SELECT subject, data FROM act WHERE what = 'meter.receive'")
    assert act["subject"] == "2 meters"
    assert json.loads(act["data"])["after"] == {"meters": [number(0), number(1)]}


@pytest.mark.parametrize(
    ("wrong", "field", "code"),
    [
        (row(1, meter="07000000014"), "meter", "wrong_check_digit"),
        (row(1, place=""), "place", "place_malformed"),
        (row(1, received_on="2027-01-01"), "received_on", "wrong_date"),
        (row(1, driver="pigeon"), "driver", "unknown_driver"),
        (row(1, medium="pigeon"), "medium", "wrong_medium"),
        (row(0), "meter", "meter_twice"),
        (row(1, address="ep-0"), "address_on_medium", "device_twice"),
        (row(1, credit_mode="meter"), "sgc", "missing"),
    ],
)
async def test_one_bad_row_keeps_all_out_and_is_named(
    store: Store, wrong: str, field: str, code: str
) -> None:
    done = await store.receive(HEADING + row(0) + wrong)

    assert [(each.row, each.field, each.code) for each in done.problems] == [(3, field, code)]
    assert done.written == 0
    assert store.shop.rows_of("SELECT * FROM meter") == []


async def test_good_rows_come_in_alone_when_they_are_asked_for(store: Store) -> None:
    done = await store.receive(HEADING + row(0) + row(1, place=""), accept_good=True)

    assert (done.written, done.bad_rows) == (1, 1)


async def test_a_file_that_was_stopped_goes_on_where_it_was(store: Store) -> None:
    class Stopped(Exception):
        """Somebody pulled the plug."""

    calls = 0

    def progress(_done: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:  # three batches are checked, the first is written
            raise Stopped

    text = lines(2 * BATCH_ROWS + 10)
    with pytest.raises(Stopped):
        await store.receive(text, job=store.job(), progress=progress)
    between = len(store.shop.rows_of("SELECT * FROM meter"))
    done = await store.receive(text, job=store.job())

    assert between == BATCH_ROWS
    assert (done.written, done.already_there) == (BATCH_ROWS + 10, 0)


async def test_a_row_that_codes_a_received_meter_otherwise_does_not_install_it(
    store: Store,
) -> None:
    await store.receive(lines(1))
    line = (
        f"{number(0)},electricity,platform,C-9,Juma Said,domestic-electricity,2026-11-21,nbiot,"
        "ep-other,slotmeter_virtual,Road 9\n"
    )

    done = await store.bring_in(line)

    assert [(each.field, each.code) for each in done.problems] == [
        ("address_on_medium", "meter_differs")
    ]


async def test_a_meter_that_is_there_otherwise_coded_is_a_problem(store: Store) -> None:
    await store.receive(lines(1))

    done = await store.receive(HEADING + row(0, commodity="water"))

    assert [each.code for each in done.problems] == ["meter_differs"]


async def test_the_template_is_a_file_that_can_be_received(store: Store) -> None:
    done = await store.receive(arrival_template())

    # All but the vending key, which the shop does not have under that supply group.
    assert {each.code for each in done.problems} <= {"vending_key_unknown", "wrong_check_digit"}


async def test_a_reason_is_needed(store: Store) -> None:
    utility = await Registry(store.shop.database, store.shop.clock).utility(None)
    parts = (store.shop.database, store.shop.clock, utility, store.boss)
    arrival = MeterArrival(*parts, keys=store.shop.security, drivers=load_drivers())

    with pytest.raises(Refused) as caught:
        await arrival.run(lines(1).encode(), reason=" ")

    assert caught.value.code == "reason_missing"
