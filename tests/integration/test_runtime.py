"""The composition root in this process: what it starts, what it refuses, and that it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, DebtsConfig, EntryConfig, HttpConfig
from slotmeter.errors import ConfigError
from slotmeter.runtime import Runtime
from slotmeter.runtime.console import Console, check_key_file
from slotmeter.runtime.data_lock import DataLock
from slotmeter.runtime.nibbles import RandomNibbles
from slotmeter.runtime.plugins import load_medium, missing_requirements

PATIENCE_S = 20


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A data folder as ``slotmeter init`` makes it."""
    made = tmp_path / "data"
    assert main(["init", "--data", str(made), "--utility-name", "Town"]) == 0
    capsys.readouterr()
    return made


def config_of(folder: Path, **changes: Any) -> Config:
    """Any free port, no pages, no medium; changes replace these."""
    parts: dict[str, Any] = {
        "http": HttpConfig(port=0),
        "dashboards": DashboardsConfig(enabled=False),
        **changes,
    }
    return Config.default(folder).model_copy(update=parts)


def modes_in(folder: Path) -> dict[str, int]:
    """Who may read and write each file of a folder."""
    files = (each for each in folder.iterdir() if each.is_file())
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in files}


async def refusal(config: Config) -> ConfigError:
    """Why a server does not start."""
    with pytest.raises(ConfigError) as caught:
        await Runtime.started(config)
    return caught.value


async def test_a_server_that_started_is_ready_and_one_that_stopped_is_gone(folder: Path) -> None:
    runtime = await Runtime.started(config_of(folder))
    url = runtime.listeners[0].address

    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/readyz") as reply:
            assert reply.status == 200
        await runtime.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{url}/readyz")


@pytest.mark.parametrize("is_on", [True, False])
async def test_interest_is_booked_by_the_server_unless_it_is_told_not_to(
    folder: Path, is_on: bool
) -> None:
    config = config_of(folder, debts=DebtsConfig(nightly_interest=is_on))

    runtime = await Runtime.started(config)
    names = {task.get_name() for task in asyncio.all_tasks()}
    await runtime.stop()

    assert ("interest" in names) is is_on


async def test_a_folder_can_be_served_again_after_a_stop(folder: Path) -> None:
    for _ in range(2):
        runtime = await Runtime.started(config_of(folder))
        await runtime.stop()


async def test_what_a_server_writes_is_its_owners_only(folder: Path) -> None:
    (folder / "slotmeter.db").chmod(0o644)
    umask = os.umask(0o022)
    try:
        runtime = await Runtime.started(config_of(folder))
        served = modes_in(folder)
        await runtime.stop()
    finally:
        os.umask(umask)

    assert {"slotmeter.db", "slotmeter.db-wal", "readings.db", "readings.db-wal"} <= served.keys()
    assert set(served.values()) == {0o600}


async def test_a_folder_is_served_by_one_server_at_a_time(folder: Path) -> None:
    runtime = await Runtime.started(config_of(folder))

    error = await refusal(config_of(folder))
    await runtime.stop()

    assert error.code == "data_folder_in_use"


async def test_a_port_in_use_is_named_and_everything_begun_is_undone(
    folder: Path, free_port: int
) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        error = await refusal(config_of(folder, http=HttpConfig(port=free_port)))

    assert (error.code, error.field) == ("port_in_use", "http.port")
    assert f"127.0.0.1:{free_port}" in error.message
    DataLock.take(folder).release()


async def test_the_port_of_the_pages_is_checked_as_well(folder: Path, free_port: int) -> None:
    pages = DashboardsConfig(port=free_port)
    with socket.create_server(("127.0.0.1", free_port)):
        error = await refusal(config_of(folder, dashboards=pages))

    assert (error.code, error.field) == ("port_in_use", "dashboards.port")


async def test_an_address_of_another_machine_is_refused(folder: Path) -> None:
    error = await refusal(config_of(folder, http=HttpConfig(host="192.0.2.1", port=0)))

    assert error.code == "address_unusable"


async def test_a_folder_that_is_not_there_names_the_command_that_makes_it(tmp_path: Path) -> None:
    error = await refusal(config_of(tmp_path / "none"))

    assert error.code == "data_folder_missing"
    assert "slotmeter init" in error.message


async def test_a_folder_without_a_database_is_refused_and_left_empty(tmp_path: Path) -> None:
    error = await refusal(config_of(tmp_path))

    assert error.code == "data_folder_empty"
    assert not (tmp_path / "slotmeter.db").exists()


async def test_a_database_of_a_newer_version_is_refused(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "slotmeter.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")

    assert (await refusal(config_of(folder))).code == "database_newer"


async def test_a_folder_that_cannot_be_written_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, whom no mode of a folder stops.
    def no_open(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("slotmeter.runtime.data_lock.os.open", no_open)

    assert (await refusal(config_of(folder))).code == "data_folder_not_writable"


async def test_an_entry_listens_and_says_where(folder: Path) -> None:
    entry = EntryConfig.model_validate({"medium": "nbiot", "port": 0, "title": "town"})
    runtime = await Runtime.started(config_of(folder, entries=(entry,)))
    found = {listener.what: listener.address for listener in runtime.listeners}
    await runtime.stop()

    assert found["town"].startswith("coap://127.0.0.1:")


def test_a_medium_whose_package_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_load(_: EntryPoint) -> object:
        raise ModuleNotFoundError("No module named 'aiocoap'", name="aiocoap")

    monkeypatch.setattr(EntryPoint, "load", no_load)

    with pytest.raises(ConfigError, match=r"aiocoap.*install slotmeter\[nbiot\]"):
        load_medium("nbiot")


def test_the_packages_that_an_extra_lacks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Owner:
        requires = (
            "is-not-there>=4; extra == 'pages'",
            "aiohttp>=3.9",
            "x; extra == 'y'",
        )

    point = EntryPoint("pages", "some.module:main", "slotmeter.consoles")
    monkeypatch.setattr(EntryPoint, "dist", Owner())

    assert missing_requirements(point) == ["is-not-there"]


# --- the pages as a child -----------------------------------------------------------------------


async def test_pages_without_a_key_are_refused_with_the_command_that_makes_one(
    folder: Path,
) -> None:
    (folder / "dashboards.key").unlink()

    error = await refusal(config_of(folder, dashboards=DashboardsConfig(port=0)))

    assert error.code == "dashboards_key_missing"
    assert "slotmeter user key" in error.message


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dashboards.key"
    path.write_text("smk_")
    path.chmod(0o644)

    with pytest.raises(ConfigError, match="0600"):
        check_key_file(path)


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Console]:
    """Call it with the source of a main() for a console that runs it."""

    def make(source: str) -> Console:
        (tmp_path / "console_for_a_test.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        point = EntryPoint("pages", "console_for_a_test:main", "slotmeter.consoles")
        return Console(point, [str(tmp_path / "trace")])

    return make


def trace_of(tmp_path: Path, lines: int) -> list[str]:
    """Wait until the child has written so many lines."""
    path = tmp_path / "trace"
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if path.exists() and len(written := path.read_text().splitlines()) >= lines:
            return written
        time.sleep(0.02)
    raise AssertionError(f"the child did not write {lines} lines")


def runs(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_child_that_dies_is_started_again(
    tmp_path: Path, child: Callable[[str], Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.runtime.console.PAUSE_S_FIRST", 0.01)
    console = child(
        "import os, sys\n"
        "def main():\n"
        "    open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "    return 1\n"
    )
    task = asyncio.create_task(console.run())

    started = await asyncio.to_thread(trace_of, tmp_path, 2)
    task.cancel()
    await asyncio.wait([task])

    assert started[0] != started[1]


async def test_a_child_that_does_not_listen_to_signals_is_killed(
    tmp_path: Path, child: Callable[[str], Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.runtime.console.STOP_WITHIN_S", 0.1)
    console = child(
        "import os, signal, sys, time\n"
        "def main():\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "    time.sleep(1000)\n"
    )
    task = asyncio.create_task(console.run())
    (pid,) = await asyncio.to_thread(trace_of, tmp_path, 1)

    task.cancel()
    await asyncio.wait([task])

    assert not runs(pid)


# --- small parts --------------------------------------------------------------------------------


def test_random_nibbles_are_all_sixteen_and_no_others() -> None:
    nibbles = RandomNibbles()

    assert {nibbles.draw() for _ in range(3_000)} == set(range(16))
