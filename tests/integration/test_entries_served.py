"""An entry added, broken, repaired and removed while 500 other meters report: nothing notices."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import cbor2
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, EntryConfig, HttpConfig
from slotmeter.runtime import Runtime
from slotmeter.testing.databases import Behind, opened_in
from slotmeter.testing.small_utility import SmallMeter, SmallUtility, tariff_document

METERS = 500
IN_FLIGHT = 16
PATIENCE_S = 60
CHANGED = 0x44
CBOR = 60


@dataclass
class Fleet(asyncio.DatagramProtocol):
    """Meters that push by CoAP, one datagram each time, and count what they are answered."""

    numbers: list[str]
    answers: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    pushed: int = 0
    codes: set[int] = field(default_factory=set)
    stopping: bool = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, _addr: Any) -> None:
        if not data[1]:
            return  # an acknowledgement alone: the answer follows
        if data[0] & 0x30 == 0:
            self.transport.sendto(b"\x60\x00" + data[2:4])
        waiting = self.answers.pop(int.from_bytes(data[4:6], "big"), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(data[1])

    async def report(self) -> None:
        """Let every meter report, again and again, at least once."""
        await asyncio.gather(*(self._some(at) for at in range(IN_FLIGHT)))

    async def _some(self, start: int) -> None:
        while True:
            for number in self.numbers[start::IN_FLIGHT]:
                await self._push(number)
            if self.stopping:
                return

    async def _push(self, number: str) -> None:
        self.pushed += 1
        message_id = self.pushed & 0xFFFF
        payload = {1: number, 2: self.pushed, 3: int(time.time()) - 60, 4: 1_000, 7: 1, 8: False}
        waiting = self.answers[message_id] = asyncio.get_running_loop().create_future()
        self.transport.sendto(datagram(message_id, number, cbor2.dumps(payload)))
        async with asyncio.timeout(PATIENCE_S):
            self.codes.add(await waiting)


def datagram(message_id: int, endpoint: str, payload: bytes) -> bytes:
    """A confirmable POST to /m?ep=, with content format CBOR (RFC 7252 section 3)."""
    query = f"ep={endpoint}".encode()
    number = message_id.to_bytes(2, "big")
    head = bytes([0x42, 0x02]) + number + number  # the second time as the token
    options = b"\xb1m" + bytes([0x11, CBOR]) + bytes([0x3D, len(query) - 13]) + query
    return head + options + b"\xff" + payload


def belongings() -> tuple[int, int]:
    """How many tasks and sockets there are."""
    sockets = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            sockets += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return len(asyncio.all_tasks()), sockets


async def until(ready: Callable[[], bool], what: str) -> None:
    for _ in range(PATIENCE_S * 20):
        if ready():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(what)


@dataclass
class Office:
    """Somebody who changes entries over the API."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        async with self.session.request(method, f"{self.url}/api/v1{path}", **more) as reply:
            document = await reply.json(content_type=None)
            assert reply.status == status, document
            return document

    async def metrics(self) -> str:
        async with self.session.get(f"{self.url}/metrics") as reply:
            return await reply.text()

    async def change(self, **options: Any) -> Any:
        body = {"options": options, "reason": "test"}
        return await self.ask("PATCH", "/entries/second", json=body)

    async def state(self, wanted: str, found: Any) -> Any:
        """Wait until the entry is in a state; the answer to a change mostly says so already."""
        for _ in range(PATIENCE_S * 10):
            if found["state"] == wanted:
                return found
            await asyncio.sleep(0.1)
            found = await self.ask("GET", "/entries/second")
        raise AssertionError(found)


async def settled(office: Office, before: tuple[int, int]) -> None:
    """Wait until there is what was there before, the connection of the office included.

    A server lets go of a connection on which nothing is asked for a while, so something is.
    """
    for _ in range(PATIENCE_S * 10):
        await office.ask("GET", "/entries")
        if belongings() == before:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"left: {belongings()}, before: {before}")


async def make_folder(folder: Path, key_file: Path) -> list[SmallMeter]:
    """Make a data folder with 500 meters on NB-IoT."""
    arguments = ["init", "--data", str(folder), "--utility-name", "Town"]
    made = await asyncio.to_thread(main, [*arguments, "--admin-key-file", str(key_file)])
    assert made == 0
    async with opened_in(folder) as database:
        utility = await SmallUtility(database, time.time_ns() // 1_000).make()
        await utility.add_tariff(tariff_document("electricity"))
        return list(await asyncio.gather(*(utility.add_meter() for _ in range(METERS))))


@asynccontextmanager
async def served(folder: Path, key: str) -> AsyncIterator[tuple[Runtime, Office, Fleet]]:
    town = EntryConfig.model_validate({"medium": "nbiot", "port": 0, "key": "town"})
    config = Config.default(folder).model_copy(
        update={
            "http": HttpConfig(port=0),
            "dashboards": DashboardsConfig(enabled=False),
            "entries": (town,),
        }
    )
    runtime = await Runtime.started(config)
    try:
        at = {each.what: each.address for each in runtime.listeners}
        headers = {"Authorization": f"Bearer {key}"}
        port = int(at["town"].rpartition(":")[2])
        transport, fleet = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Fleet([]), remote_addr=("127.0.0.1", port)
        )
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            yield runtime, Office(session, at["api"]), fleet
        transport.close()
    finally:
        await runtime.stop()


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.mark.timeout(600)
async def test_an_entry_comes_breaks_and_goes_while_500_meters_report(
    tmp_path: Path, free_port: int, free_ports: Callable[[], int]
) -> None:
    key_file, folder = tmp_path / "admin.key", tmp_path / "data"
    meters = await make_folder(folder, key_file)
    behind = Behind(folder)
    other_port = free_ports()
    async with served(folder, key_file.read_text().strip()) as (_, office, fleet):
        fleet.numbers += [meter.number for meter in meters]
        await office.ask("GET", "/entries")
        before = belongings()
        reporting = asyncio.create_task(fleet.report())

        body = {"key": "second", "medium": "nbiot", "reason": "test"}
        made = await office.ask(
            "POST", "/entries", 201, json=body | {"options": {"port": free_port}}
        )
        made = await office.state("loaded", made)
        assert made["addresses"] == [f"coap://127.0.0.1:{free_port}"]
        assert "slotmeter_entries_loaded 2.0" in await office.metrics()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", other_port))
            broken = await office.state("failed", await office.change(port=other_port))
        assert broken["reason"].startswith("port_in_use: port: ")
        assert is_free(free_port)
        wrong = await office.state("failed", await office.change(port=free_port, path="/"))
        assert wrong["reason"].startswith("bad_option: path: ")
        await office.state("loaded", await office.change(path=None))
        assert not is_free(free_port)
        gone = await office.ask("DELETE", "/entries/second?reason=test")
        await office.ask("GET", "/entries/second", 404)
        fleet.stopping = True
        await reporting

        assert gone["state"] == "not_loaded"
        assert is_free(free_port)
        await settled(office, before)
        heard = "SELECT count(*) AS n FROM device WHERE register = 1000"
        await until(lambda: behind.values(heard) == [METERS], "not all meters are taken in")
    assert fleet.codes == {CHANGED}
    assert fleet.pushed >= METERS
    assert behind.values("SELECT count(*) FROM frame") == [fleet.pushed]
    assert behind.values("SELECT count(*) FROM quarantine") == [0]
    town = (
        "SELECT state FROM entry_log WHERE entry_id IN (SELECT id FROM integration_entry)"
        " ORDER BY id"
    )
    assert behind.values(town) == ["setting_up", "loaded", "unloading", "not_loaded"]
    acts = "SELECT what FROM act WHERE subject = 'second' ORDER BY id"
    assert behind.values(acts) == ["entry.add", *["entry.change"] * 3, "entry.remove"]
