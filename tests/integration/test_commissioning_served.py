"""A whole server, a meter that speaks CoAP, and a worker who scans its label over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiocoap  # type: ignore[import-untyped]  # ships no types
import aiohttp
import cbor2
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, EntryConfig, HttpConfig
from slotmeter.runtime import Runtime
from slotmeter.services.access import Origin
from slotmeter.services.principals import Principals
from slotmeter.services.system_clock import SystemClock
from slotmeter.storage.opening import open_database
from slotmeter.testing.small_utility import SmallMeter, SmallUtility, tariff_document
from slotmeter.units import epoch_us

PATIENCE_S = 60
LOOK_EVERY_S = 0.2
LOOKS = 300
CLAIMS = "/api/v1/commissioning/claims"


@dataclass
class Served:
    """A server with one meter that has no device yet."""

    runtime: Runtime
    meter: SmallMeter
    key: str
    http: aiohttp.ClientSession
    coap: Any

    def address(self, what: str) -> str:
        return next(each.address for each in self.runtime.listeners if each.what == what)

    async def push(self, register: int) -> None:
        """Have the meter report once."""
        report = {1: self.meter.number, 2: 1, 3: int(time.time()), 4: register, 7: 1}
        message = aiocoap.Message(
            code=aiocoap.POST,
            uri=f"{self.address('nbiot')}/m?ep=imei-867400041234567",
            payload=cbor2.dumps(report),
            content_format=60,
        )
        async with asyncio.timeout(PATIENCE_S):
            answer = await self.coap.request(message, handle_blockwise=False).response
        assert answer.code.is_successful()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = self.address("api") + path
        async with self.http.request(method, url, json=body, headers=headers) as reply:
            return await reply.json()

    async def until(self, path: str, name: str, value: object) -> Any:
        """Ask until an answer has a value."""
        for _ in range(LOOKS):
            answer = await self.ask("GET", path)
            if answer.get(name) == value:
                return answer
            await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError(f"{path} does not come to {name} {value}: {answer}")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    folder = tmp_path / "data"
    made = await asyncio.to_thread(main, ["init", "--data", str(folder), "--utility-name", "T"])
    assert made == 0
    parts: dict[str, Any] = {
        "http": HttpConfig(port=0),
        "dashboards": DashboardsConfig(enabled=False),
        "entries": [EntryConfig.model_validate({"medium": "nbiot", "port": 0})],
    }
    config = Config.default(folder).model_copy(update=parts)
    clock = SystemClock()
    database = await open_database(config)
    utility = await SmallUtility(database, epoch_us(clock.now())).make()
    await utility.add_tariff(tariff_document("electricity"))
    meter = await utility.add_meter("electricity", online=False)
    await utility.add_principal("sipho", "installer")
    key = await Principals(database, clock).add_key(
        Origin("local:test", "test"), utility.utility_id, name="sipho", label="t", reason="test"
    )
    await database.close()
    runtime = await Runtime.started(config)
    coap = await aiocoap.Context.create_client_context(transports=["udp6"])
    async with aiohttp.ClientSession() as http:
        yield Served(runtime, meter, key.text, http, coap)
    await coap.shutdown()
    await runtime.stop()


@pytest.mark.timeout(500)
async def test_a_meter_that_was_scanned_is_there_after_its_first_contact(served: Served) -> None:
    number = served.meter.number
    claim = await served.ask("POST", CLAIMS, {"scan": f"SN:{number};HW:B"})
    assert claim["state"] == "waiting"

    await served.push(1_234_000)

    done = await served.until(f"{CLAIMS}/{number}", "state", "done")
    assert (done["driver"], done["address"]) == ("slotmeter_virtual", "imei-867400041234567")
    assert done["first_readings"][0]["value"] == 1_234_000
    health = await served.until(f"/api/v1/meters/{number}/health", "state", "on_time")
    assert health["last_contact_at"] is not None


@pytest.mark.timeout(500)
async def test_a_meter_that_spoke_before_it_was_scanned_is_there_at_once(served: Served) -> None:
    number = served.meter.number
    await served.push(777_000)
    await served.until("/api/v1/commissioning", "strangers", 1)

    claim = await served.ask("POST", CLAIMS, {"scan": number})

    assert claim["state"] == "done"
    assert claim["first_readings"][0]["value"] == 777_000
    await served.until(f"/api/v1/meters/{number}/health", "state", "on_time")
