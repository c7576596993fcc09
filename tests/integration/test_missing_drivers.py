"""A server does not start while a registered device has no driver: its frames would be lost."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, HttpConfig
from slotmeter.errors import ConfigError
from slotmeter.runtime import Runtime
from slotmeter.services.driver_packs import check_drivers
from slotmeter.storage.database import Database
from slotmeter.testing.device_side import DeviceTown, device_town
from slotmeter.testing.small_utility import SmallUtility, tariff_document
from slotmeter_rules import RULES


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[DeviceTown]:
    async with device_town(tmp_path, RULES.credit_control) as opened:
        await opened.utility.add_meter("electricity")
        yield opened


async def test_devices_whose_drivers_are_there_may_be_served(town: DeviceTown) -> None:
    await check_drivers(town.side.uow, town.side.drivers)

    assert town.row("SELECT driver FROM device")["driver"] in town.side.drivers


async def test_a_missing_driver_is_named_with_how_many_need_it(town: DeviceTown) -> None:
    await town.utility.add_meter("water")

    with pytest.raises(ConfigError) as caught:
        await check_drivers(town.side.uow, {})

    assert caught.value.code == "driver_missing"
    assert "slotmeter_virtual (2 devices)" in caught.value.message


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A data folder as ``slotmeter init`` makes it."""
    made = tmp_path / "data"
    assert main(["init", "--data", str(made), "--utility-name", "Town"]) == 0
    capsys.readouterr()
    return made


async def test_a_server_without_a_driver_it_needs_leaves_its_frames_in_the_log(
    folder: Path,
) -> None:
    path = folder / "slotmeter.db"
    database = await Database.open(path)
    utility = await SmallUtility(database, now_us=0).make()
    await utility.add_tariff(tariff_document("water"))
    await utility.add_meter("water")
    await database.close()
    config = Config.default(folder).model_copy(
        update={"http": HttpConfig(port=0), "dashboards": DashboardsConfig(enabled=False)}
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE device SET driver = 'gone'")
        connection.commit()

        with pytest.raises(ConfigError) as caught:
            await Runtime.started(config)

        cursors = connection.execute("SELECT * FROM cursor").fetchall()
    assert (caught.value.code, caught.value.details["drivers"]) == ("driver_missing", ["gone"])
    assert cursors == []
