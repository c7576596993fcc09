"""MM-07: a meter moves from NB-IoT to JSON over HTTP, and keeps its readings and its queue."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiocoap  # type: ignore[import-untyped]  # ships no types
import aiohttp
import cbor2
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, EntryConfig, HttpConfig
from slotmeter.ports import Read
from slotmeter.runtime import Runtime
from slotmeter.testing.databases import opened_in
from slotmeter.testing.device_caller import DeviceCaller
from slotmeter.testing.small_utility import SmallUtility, tariff_document

pytestmark = pytest.mark.e2e

TRIES = 400
PAUSE_S = 0.05


@dataclass(frozen=True)
class Office:
    """Somebody who calls the API."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        async with self.session.request(method, f"{self.url}/api/v1{path}", **more) as reply:
            document = await reply.json(content_type=None)
            assert reply.status == status, document
            return document

    async def readings(self, number: str, count: int) -> list[int]:
        """Return the values of the meter's register as soon as there are so many."""
        for _ in range(TRIES):
            found = await self.ask("GET", f"/meters/{number}/readings")
            if len(found["items"]) >= count:
                return [each["value"] for each in found["items"]]
            await asyncio.sleep(PAUSE_S)
        raise AssertionError(found)

    async def command(self, number: str, state: str) -> Any:
        """Return the meter's only command as soon as it is in a state."""
        for _ in range(TRIES):
            (found,) = (await self.ask("GET", f"/meters/{number}/commands"))["items"]
            if found["state"] == state:
                return found
            await asyncio.sleep(PAUSE_S)
        raise AssertionError(found)


async def make_folder(folder: Path, key_file: Path) -> str:
    """Make a data folder with one meter on NB-IoT; return its number."""
    arguments = ["init", "--data", str(folder), "--utility-name", "Town"]
    made = await asyncio.to_thread(main, [*arguments, "--admin-key-file", str(key_file)])
    assert made == 0
    async with opened_in(folder) as database:
        (row,) = (await database.read([Read("registry_utilities")]))["registry_utilities"]
        utility = SmallUtility(database, time.time_ns() // 1_000)
        utility.utility_id = row["id"]
        await utility.add_tariff(tariff_document("electricity"))
        return (await utility.add_meter()).number


@asynccontextmanager
async def served(folder: Path, key: str) -> AsyncIterator[tuple[Office, str]]:
    """Serve a folder with both media; give the office and where CoAP listens."""
    tables = (
        {"medium": "nbiot", "port": 0, "key": "radio"},
        {"medium": "ip", "key": "town"},
    )
    config = Config.default(folder).model_copy(
        update={
            "http": HttpConfig(port=0),
            "dashboards": DashboardsConfig(enabled=False),
            "entries": tuple(EntryConfig.model_validate(table) for table in tables),
        }
    )
    runtime = await Runtime.started(config)
    try:
        at = {each.what: each.address for each in runtime.listeners}
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield Office(session, at["api"]), at["radio"]
    finally:
        await runtime.stop()


async def push(coap: str, number: str, code: Any, fields: dict[int, object] | None = None) -> bytes:
    """Speak once over CoAP, as the meter does; return the commands in the answer."""
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    try:
        message = aiocoap.Message(
            code=code,
            uri=f"{coap}/m?ep={number}",
            payload=cbor2.dumps(fields) if fields else b"",
            content_format=60 if fields else None,
        )
        answer = await context.request(message, handle_blockwise=False).response
    finally:
        await context.shutdown()
    assert answer.code.is_successful()
    return bytes(answer.payload)


async def test_a_meter_that_moves_between_bearers_keeps_its_readings_and_its_queue(
    tmp_path: Path,
) -> None:
    key_file, folder = tmp_path / "admin.key", tmp_path / "data"
    number = await make_folder(folder, key_file)
    now_s = int(time.time())
    async with served(folder, key_file.read_text().strip()) as (office, coap):
        await push(
            coap, number, aiocoap.POST, {1: number, 2: 1, 3: now_s - 600, 4: 1_000, 7: 1, 8: False}
        )
        assert await office.readings(number, 1) == [1_000]
        asked = await office.ask(
            "POST",
            f"/meters/{number}/commands",
            202,
            json={"kind": "read_now", "reason": "before the move"},
        )

        moved = await office.ask(
            "POST",
            f"/meters/{number}/bearers",
            json={
                "medium": "ip",
                "address": number,
                "driver": "slotmeter_json",
                "reason": "a modem in the place of the radio",
            },
        )
        made = await office.ask(
            "POST",
            "/entries/town/device-keys",
            201,
            json={"device": number, "reason": "a modem in the place of the radio"},
        )

        assert [each["medium"] for each in moved["items"]] == ["ip", "nbiot"]
        assert await push(coap, number, aiocoap.GET) in (b"", b"\x80")
        town = f"{office.url}/api/v1/media/town"
        async with DeviceCaller(town, number, made["key"].encode()) as meter:
            due = await meter.call("GET", "commands")
            (command,) = json.loads(due.body)
            report = {
                "time": now_s,
                "serial": number,
                "readings": {"energy_import": 1_250},
                "supply": "on",
                "tamper": False,
                "results": [{"id": command["id"], "outcome": "done"}],
            }
            told = await meter.call("POST", "frames", json.dumps(report).encode())

        assert due.is_proven
        assert (command["id"], command["kind"]) == (asked["id"], "read_now")
        assert told.status == 200
        assert await office.readings(number, 2) == [1_000, 1_250]
        ended = await office.command(number, "verified")
        assert ended["id"] == asked["id"]


async def test_a_device_whose_key_was_withdrawn_is_refused_at_once(tmp_path: Path) -> None:
    key_file, folder = tmp_path / "admin.key", tmp_path / "data"
    await make_folder(folder, key_file)
    async with served(folder, key_file.read_text().strip()) as (office, _):
        keys = "/entries/town/device-keys"
        made = await office.ask("POST", keys, 201, json={"device": "m-1", "reason": "a test"})
        listed = await office.ask("GET", keys)
        town = f"{office.url}/api/v1/media/town"
        async with DeviceCaller(town, "m-1", made["key"].encode()) as meter:
            before = await meter.call("GET", "commands")
            await office.ask("DELETE", f"{keys}/m-1", params={"reason": "stolen"})
            after = await meter.call("GET", "commands")

    assert (before.status, after.status) == (200, 401)
    assert [each["device"] for each in listed["items"]] == ["m-1"]
    assert made["key"] not in str(listed)
