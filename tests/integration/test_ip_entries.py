"""An entry of the medium under supervision: retried, loaded, failed and removed without a trace."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, HttpConfig
from slotmeter.runtime import Runtime
from slotmeter.testing.device_caller import DeviceCaller
from slotmeter.testing.mqtt_broker import Broker, broker_program, free_port

pytestmark = pytest.mark.skipif(broker_program() is None, reason="Mosquitto is not installed")

TRIES = 400
PAUSE_S = 0.05
REASON = {"reason": "a test"}


@dataclass(frozen=True)
class Office:
    """Somebody who changes entries over the API."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        async with self.session.request(method, f"{self.url}/api/v1{path}", **more) as reply:
            document = await reply.json(content_type=None)
            assert reply.status == status, document
            return document

    async def state(self, wanted: str) -> Any:
        """Return the entry as soon as it is in a state."""
        for _ in range(TRIES):
            found = await self.ask("GET", "/entries/town")
            if found["state"] == wanted:
                return found
            await asyncio.sleep(PAUSE_S)
        raise AssertionError(found)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    key_file, folder = tmp_path / "admin.key", tmp_path / "data"
    arguments = ["init", "--data", str(folder), "--utility-name", "Town"]
    await asyncio.to_thread(main, [*arguments, "--admin-key-file", str(key_file)])
    config = Config.default(folder).model_copy(
        update={"http": HttpConfig(port=0), "dashboards": DashboardsConfig(enabled=False)}
    )
    runtime = await Runtime.started(config)
    try:
        at = {each.what: each.address for each in runtime.listeners}
        headers = {"Authorization": f"Bearer {key_file.read_text().strip()}"}
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            yield Office(session, at["api"])
    finally:
        await runtime.stop()


def sockets() -> int:
    """How many sockets this process has."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return found


async def test_an_entry_waits_for_its_broker_and_leaves_nothing_when_it_goes(
    office: Office, tmp_path: Path
) -> None:
    broker = Broker(tmp_path, free_port())
    options = {"mqtt_host": "127.0.0.1", "mqtt_port": broker.port, "mqtt_tls": False}
    await office.ask("GET", "/entries")
    before = (len(asyncio.all_tasks()), sockets())

    body = {"key": "town", "medium": "ip", "options": options, **REASON}
    await office.ask("POST", "/entries", 201, json=body)
    waiting = await office.state("retrying")
    await broker.start()
    try:
        await office.ask("POST", "/entries/town/retry", json=REASON)
        loaded = await office.state("loaded")
        await office.ask("DELETE", "/entries/town", params=REASON)
        after = (len(asyncio.all_tasks()), sockets())
    finally:
        await broker.stop()

    assert waiting["reason"].startswith("broker_unreachable: ")
    assert loaded["addresses"] == [
        "/api/v1/media/town",
        f"mqtt://127.0.0.1:{broker.port}/slotmeter/town",
    ]
    assert after == before


async def test_an_entry_whose_password_is_wrong_fails_and_shows_no_secret(
    office: Office, tmp_path: Path
) -> None:
    broker = Broker(tmp_path, free_port(), {"platform": "the right one"})
    options = {
        "mqtt_host": "127.0.0.1",
        "mqtt_port": broker.port,
        "mqtt_tls": False,
        "mqtt_user": "platform",
    }
    body = {"key": "town", "medium": "ip", "options": options, **REASON}
    await broker.start()
    try:
        wrong = {"secrets": {"mqtt_password": "a wrong one"}}
        await office.ask("POST", "/entries", 201, json=body | wrong)
        failed = await office.state("failed")
        right = {"secrets": {"mqtt_password": "the right one"}}
        await office.ask("PATCH", "/entries/town", json=right | REASON)
        loaded = await office.state("loaded")
    finally:
        await broker.stop()

    assert failed["reason"].startswith("broker_refused: ")
    assert "a wrong one" not in str(failed)
    assert "the right one" not in str(loaded)


async def test_the_routes_of_an_entry_are_there_as_long_as_it_is(office: Office) -> None:
    body = {"key": "town", "medium": "ip", **REASON}
    await office.ask("POST", "/entries", 201, json=body)
    await office.state("loaded")
    key = {"device": "m-1", **REASON}
    made = await office.ask("POST", "/entries/town/device-keys", 201, json=key)

    town = f"{office.url}/api/v1/media/town"
    async with DeviceCaller(town, "m-1", made["key"].encode()) as meter:
        while_there = await meter.call("GET", "commands")
        await office.ask("DELETE", "/entries/town", params=REASON)
        afterwards = await meter.call("GET", "commands")

    assert (while_there.status, afterwards.status) == (200, 404)
