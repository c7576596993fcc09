"""Entries of the configuration file: one that cannot work stops itself, and never the server."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, EntryConfig, HttpConfig
from slotmeter.errors import ConfigError
from slotmeter.ports import Medium
from slotmeter.runtime import Runtime
from slotmeter.runtime.plugins import load_medium
from slotmeter.testing.databases import Behind

CLEAR = "Pfingstrosen-17"


@dataclass(frozen=True)
class Site:
    """A data folder and the key of its administrator."""

    folder: Path
    key: str

    def config(self, *tables: dict[str, Any]) -> Config:
        return Config.default(self.folder).model_copy(
            update={
                "http": HttpConfig(port=0),
                "dashboards": DashboardsConfig(enabled=False),
                "entries": tuple(EntryConfig.model_validate(table) for table in tables),
            }
        )

    @asynccontextmanager
    async def served(self, *tables: dict[str, Any]) -> AsyncIterator[Served]:
        runtime = await Runtime.started(self.config(*tables))
        url = next(each.address for each in runtime.listeners if each.what == "api")
        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            async with aiohttp.ClientSession(headers=headers) as session:
                yield Served(runtime, session, url)
        finally:
            await runtime.stop()


@dataclass(frozen=True)
class Served:
    """A server that runs, and its administrator."""

    runtime: Runtime
    session: aiohttp.ClientSession
    url: str

    async def ask(self, path: str, method: str = "GET", **more: Any) -> Any:
        async with self.session.request(method, f"{self.url}{path}", **more) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json(content_type=None)

    async def entries_once_it_listens(self) -> dict[str, Any]:
        for _ in range(1_000):
            try:
                found = await self.entries()
            except aiohttp.ClientConnectionError:
                found = {}
            if any(each["state"] == "loaded" for each in found.values()):
                return found
            await asyncio.sleep(0.01)
        raise AssertionError("it does not listen, or no entry is loaded")

    async def entries(self) -> dict[str, Any]:
        found = await self.ask("/api/v1/entries")
        return {each["key"]: each for each in found["items"]}


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    key_file, folder = tmp_path / "admin.key", tmp_path / "data"
    arguments = ["init", "--data", str(folder), "--utility-name", "Town"]
    made = await asyncio.to_thread(main, [*arguments, "--admin-key-file", str(key_file)])
    assert made == 0
    return Site(folder, key_file.read_text().strip())


async def test_tables_that_cannot_work_are_failed_and_the_others_run(
    site: Site, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    tables = (
        {"medium": "pigeon", "speed": 1},
        {"medium": "nbiot", "key": "town", "port": 0},
        {"medium": "nbiot", "key": "typo", "prot": 1},
        {"medium": "nbiot", "key": "taken", "port": free_port},
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free_port))
        with caplog.at_level(logging.ERROR, "slotmeter.runtime"):
            async with site.served(*tables) as served:
                entries = await served.entries()
                ready = await served.ask("/readyz")
                listening = {each.what for each in served.runtime.listeners}

    assert {key: each["state"] for key, each in entries.items()} == {
        "pigeon": "failed",
        "taken": "failed",
        "town": "loaded",
        "typo": "failed",
    }
    assert entries["pigeon"]["reason"].startswith("unknown_medium: entry.medium: ")
    assert entries["typo"]["reason"].startswith("unknown_option: prot: ")
    assert entries["pigeon"]["options"] == {}  # which of them are secret, nobody can say
    assert ready == {
        "ready": True,
        "warnings": [
            "entry pigeon is failed: unknown_medium",
            "entry taken is failed: port_in_use",
            "entry typo is failed: unknown_option",
        ],
    }
    assert listening == {"api", "town"}
    warnings = served.runtime.warnings
    assert [each.partition(":")[0] for each in warnings] == [
        "entry typo is failed",
        "entry taken is failed",
        "entry pigeon is failed",  # those without a key are given one last
    ]
    assert [each.getMessage() for each in caplog.records if each.name == "slotmeter.runtime"] == [
        f"the server runs without {each}" for each in warnings
    ]


async def test_an_entry_that_hangs_keeps_nobody_else_waiting(
    site: Site, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = asyncio.Event()

    async def load(key: str) -> Medium:
        if key == "ip":
            await hangs.wait()
        return load_medium(key)

    monkeypatch.setattr("slotmeter.runtime.entries._load", load)
    config = site.config({"medium": "ip", "key": "far"}, {"medium": "nbiot", "port": 0})
    config = config.model_copy(update={"http": HttpConfig(port=free_port)})
    runtime = Runtime(config)
    starting = asyncio.create_task(runtime.start())
    served = Served(runtime, aiohttp.ClientSession(), f"http://127.0.0.1:{free_port}")
    served.session.headers["Authorization"] = f"Bearer {site.key}"
    try:
        async with served.session:
            found = await served.entries_once_it_listens()
            late = f"{served.url}/api/v1/media/far/frames"
            async with served.session.post(late, data=b"{}") as reply:
                told = (reply.status, (await reply.json())["code"], "Retry-After" in reply.headers)
            async with served.session.get(f"{served.url}/readyz") as reply:
                ready = reply.status
            is_started = starting.done()
            hangs.set()
            await starting
            after = await served.entries()
    finally:
        hangs.set()
        await asyncio.wait({starting})
        await runtime.stop()

    assert found["nbiot"]["state"] == "loaded"
    assert found["far"]["state"] == "setting_up"
    assert told == (503, "entry_not_running", True)
    assert (ready, is_started) == (503, False)
    assert after["far"]["state"] == "loaded"


async def test_an_entry_whose_port_is_free_again_is_tried_by_hand(
    site: Site, free_port: int
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free_port))
        runtime = site.served({"medium": "nbiot", "key": "town", "port": free_port})
        served = await runtime.__aenter__()
    try:
        body = {"reason": "the other program is gone"}
        after = await served.ask("/api/v1/entries/town/retry", "POST", json=body)
        ready = await served.ask("/readyz")
    finally:
        await runtime.__aexit__(None, None, None)

    assert after["state"] == "loaded"
    assert ready["warnings"] == []


async def test_a_secret_file_that_cannot_be_read_fails_its_entry_until_it_can(site: Site) -> None:
    table = {"medium": "ip", "key": "town", "mqtt_password_file": "broker.password"}
    async with site.served(table) as served:
        before = (await served.entries())["town"]
        path = site.folder / "broker.password"
        path.touch(0o600)
        path.write_text(f"{CLEAR}\n")
        body = {"reason": "the file is there now"}
        after = await served.ask("/api/v1/entries/town/retry", "POST", json=body)

    assert before["state"] == "failed"
    assert before["reason"].startswith("secret_file_unusable: entry.mqtt_password_file: ")
    assert after["state"] == "loaded"
    assert CLEAR not in str(after)


async def test_a_secret_file_that_went_away_takes_nothing_from_the_entry(site: Site) -> None:
    path = site.folder / "broker.password"
    path.touch(0o600)
    path.write_text(CLEAR)
    table = {"medium": "ip", "key": "town", "mqtt_password_file": "broker.password"}
    async with site.served(table):
        pass
    path.unlink()
    sealed = Behind(site.folder).values("SELECT secrets FROM integration_entry")

    async with site.served(table) as served:
        found = (await served.entries())["town"]

    assert found["state"] == "failed"
    assert Behind(site.folder).values("SELECT secrets FROM integration_entry") == sealed
    assert CLEAR not in str(sealed)


@pytest.mark.parametrize(
    ("tables", "code"),
    [
        (({"medium": "ip", "mqtt_password": CLEAR},), "secret_in_file"),
        (
            ({"medium": "nbiot", "key": "town"}, {"medium": "ip", "key": "town"}),
            "entry_key_doubled",
        ),
    ],
)
async def test_a_file_that_is_wrong_in_itself_starts_no_server(
    site: Site, tables: tuple[dict[str, Any], ...], code: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        await Runtime.started(site.config(*tables))

    assert caught.value.code == code
    assert CLEAR not in str(caught.value)
    assert Behind(site.folder).values("SELECT key FROM integration_entry") == []
