"""A whole server, started again and again, and a node that died with the meters behind it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, HttpConfig
from slotmeter.ports import Changes, Insert, NewId, Rows, SqlValue, UnitOfWork
from slotmeter.runtime import Runtime
from slotmeter.services.looking_times import LookingTimes
from slotmeter.services.offline_watch import DEAF_US_MIN
from slotmeter.services.system_clock import SystemClock
from slotmeter.storage.opening import open_database
from slotmeter.testing.small_utility import SmallMeter, SmallUtility, tariff_document
from slotmeter.units import DAY_US, HOUR_US, epoch_us

pytestmark = pytest.mark.timeout(500)

LOOK_EVERY_S = 0.2
LOOKS = 600
BEHIND = 3
SERVERS = 4


@dataclass
class Installed:
    """A data folder with a node that was silent for a day, and meters behind it."""

    config: Config
    path: Path
    node_id: int
    behind: list[SmallMeter]
    others: list[SmallMeter]

    def rows(self, sql: str, *params: object) -> list[Any]:
        """Return what is committed, and write what is asked to be."""
        with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            return connection.execute(sql, params).fetchall()

    async def serve(self) -> None:
        """Run a server until it has looked: it tells of another meter, which it comes to last."""
        other = self.others.pop()
        self.silent(other)
        runtime = await Runtime.started(self.config)
        try:
            for _ in range(LOOKS):
                if self.rows("SELECT id FROM alarm WHERE meter_id = ?", other.id):
                    return
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await runtime.stop()
        raise AssertionError("the server did not tell of a meter that fell silent")

    def silent(self, *devices: SmallMeter) -> None:
        """Let hourly devices have been heard a day ago."""
        for device in devices:
            self.rows(
                "UPDATE device SET last_contact_us = ?1, interval_us = ?2, "
                "expected_us = ?1 + ?2, contacts = 50 WHERE id = ?3",
                epoch_us(SystemClock().now()) - DAY_US, HOUR_US, device.device_id,
            )  # fmt: skip

    def alarms(self) -> list[str]:
        """Subjects of open alarms that are not of meters; of the meters behind there are none."""
        found = self.rows("SELECT meter_id, subject FROM alarm WHERE cleared_us IS NULL")
        told_of = {meter_id for (meter_id,) in self.rows("SELECT meter_id FROM event")}
        assert told_of.isdisjoint(meter.id for meter in self.behind)
        return [subject for meter_id, subject in found if meter_id is None]

    def told(self) -> list[str]:
        """What was told of the node, in order."""
        found = self.rows("SELECT kind FROM event WHERE meter_id IS NULL ORDER BY id")
        return [kind for (kind,) in found]


@pytest.fixture
async def installed(tmp_path: Path) -> Installed:
    folder = tmp_path / "data"
    made = await asyncio.to_thread(main, ["init", "--data", str(folder), "--utility-name", "T"])
    assert made == 0
    parts: dict[str, Any] = {
        "http": HttpConfig(port=0),
        "dashboards": DashboardsConfig(enabled=False),
        "entries": [],
    }
    config = Config.default(folder).model_copy(update=parts)
    now_us = epoch_us(SystemClock().now())
    database = await open_database(config)
    utility = await SmallUtility(database, now_us).make()
    await utility.add_tariff(tariff_document("electricity"))
    meters = [await utility.add_meter("electricity") for _ in range(BEHIND + SERVERS)]
    node_id = await add_node(database, utility.utility_id, now_us)
    # It looked just now: what is silent was so while somebody listened.
    await LookingTimes(database, DEAF_US_MIN).note(now_us)
    await database.close()
    node = SmallMeter(0, "", "", "", 0, "", node_id, "box-7", None)
    path = next(folder.glob("**/slotmeter.db"))
    found = Installed(config, path, node_id, meters[:BEHIND], meters[BEHIND:])
    found.silent(node, *found.behind)
    for slot, meter in enumerate(found.behind):
        found.rows(
            "UPDATE device SET node_id = ?, slot = ? WHERE id = ?", node_id, slot, meter.device_id
        )
    return found


async def add_node(uow: UnitOfWork, utility_id: int, now_us: int) -> int:
    def decide(_rows: Rows, new_id: NewId) -> Changes[int]:
        node: dict[str, SqlValue] = {
            "id": new_id(),
            "utility_id": utility_id,
            "meter_id": None,
            "medium": "nbiot",
            "address": "box-7",
            "driver": "slotmeter_virtual",
            "supply": "unknown",
            "tamper": 0,
            "serial": "BOX7",
            "created_us": now_us,
        }
        return Changes(int(str(node["id"])), [Insert("device", node)])

    return await uow.run([], decide)


async def test_a_dead_node_is_one_alarm_raised_once_and_cleared_once_by_servers_that_restart(
    installed: Installed,
) -> None:
    for _ in range(SERVERS // 2):
        await installed.serve()
        assert installed.alarms() == ["node:BOX7"]
        assert installed.told() == ["offline"]

    now_us = epoch_us(SystemClock().now())
    installed.rows("UPDATE device SET last_contact_us = ? WHERE id = ?", now_us, installed.node_id)

    for _ in range(SERVERS // 2):
        await installed.serve()
        assert installed.alarms() == []
        assert installed.told() == ["offline", "offline_cleared"]
