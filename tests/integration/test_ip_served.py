"""A whole server and a meter that calls it: hostile calls, and calls that come again."""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, EntryConfig, HttpConfig
from slotmeter.ports import Read
from slotmeter.runtime import Runtime
from slotmeter.storage.data_files import READINGS_FILE
from slotmeter.testing.databases import Behind, opened_in
from slotmeter.testing.device_caller import DeviceAnswer, DeviceCaller, proof
from slotmeter.testing.small_utility import SmallUtility, tariff_document

LOOKS = 600
LOOK_EVERY_S = 0.1
SPENT = {"frame", "cursor", "id_block", "quarantine", "act", "entry_log", "plugin_record"}
"""Tables that frames and restarts may change and harm nobody: logs, cursors, what is set aside."""


@dataclass(frozen=True)
class Town:
    """A served folder with one meter on JSON over HTTP."""

    session: aiohttp.ClientSession
    url: str
    folder: Path
    number: str

    @property
    def behind(self) -> Behind:
        """A look into the database."""
        return Behind(self.folder)

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        async with self.session.request(method, f"{self.url}/api/v1{path}", **more) as reply:
            document = await reply.json(content_type=None)
            assert reply.status == status, document
            return document

    async def consumed(self) -> None:
        """Return when every frame of the log has been looked at."""
        for _ in range(LOOKS):
            [newest] = self.behind.values("SELECT coalesce(max(id), 0) FROM frame")
            [seen] = self.behind.values("SELECT coalesce(max(position), 0) FROM cursor")
            with closing(sqlite3.connect(self.folder / READINGS_FILE)) as readings:
                [stored] = readings.execute("SELECT position FROM consumed").fetchone()
            if min(seen, stored) >= newest:
                return
            await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError(f"consumed up to {seen} and {stored} of {newest}")

    async def state(self) -> dict[str, object]:
        """Return everything that a frame must not change when it comes again or is hostile."""
        await self.consumed()
        tables = self.behind.values("SELECT name FROM sqlite_master WHERE type = 'table'")
        kept: dict[str, object] = {
            table: self.behind.rows(f"SELECT * FROM {table}")  # noqa: S608  its own names
            for table in tables
            if table not in SPENT | {"device"} and not table.startswith(("audit", "sqlite"))
        }
        kept["device"] = self.behind.rows(
            "SELECT id, medium, address, supply, register, credit_balance, credit_total, tamper,"
            " measured_us FROM device"
        )
        kept["readings"] = (await self.ask("GET", f"/meters/{self.number}/readings"))["items"]
        return kept

    async def count(self, start: str) -> float:
        """Return the sum of the counters whose line begins so."""
        async with self.session.get(f"{self.url}/metrics") as reply:
            lines = (await reply.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))


@asynccontextmanager
async def served(folder: Path, key: str, number: str) -> AsyncIterator[Town]:
    entry = EntryConfig.model_validate({"medium": "ip", "key": "town", "payload_bytes_max": 2_000})
    config = Config.default(folder).model_copy(
        update={
            "http": HttpConfig(port=0),
            "dashboards": DashboardsConfig(enabled=False),
            "entries": (entry,),
        }
    )
    runtime = await Runtime.started(config)
    try:
        at = {each.what: each.address for each in runtime.listeners}
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield Town(session, at["api"], folder, number)
    finally:
        await runtime.stop()


@dataclass(frozen=True)
class Made:
    """A folder with a meter that is registered at the medium ``ip``."""

    folder: Path
    key: str
    number: str


@pytest.fixture
async def made(tmp_path: Path) -> Made:
    key_file, folder = tmp_path / "admin.key", tmp_path / "data"
    arguments = ["init", "--data", str(folder), "--utility-name", "Town"]
    code = await asyncio.to_thread(main, [*arguments, "--admin-key-file", str(key_file)])
    assert code == 0
    async with opened_in(folder) as database:
        (row,) = (await database.read([Read("registry_utilities")]))["registry_utilities"]
        utility = SmallUtility(database, time.time_ns() // 1_000)
        utility.utility_id = row["id"]
        await utility.add_tariff(tariff_document("electricity"))
        number = (await utility.add_meter()).number
    return Made(folder, key_file.read_text().strip(), number)


async def joined(town: Town) -> bytes:
    """Put the meter on the medium, and return the key it proves itself with."""
    body = {"medium": "ip", "address": town.number, "driver": "slotmeter_json", "reason": "a test"}
    await town.ask("POST", f"/meters/{town.number}/bearers", json=body)
    wish = {"device": town.number, "reason": "a test"}
    made = await town.ask("POST", "/entries/town/device-keys", 201, json=wish)
    return str(made["key"]).encode()


def report(number: str, **more: object) -> bytes:
    told = {
        "time": int(time.time()) - 60,
        "serial": number,
        "readings": {"energy_import": 1_250, "credit_balance": 9_000, "credit_total": 9_000},
        "supply": "on",
        "tamper": True,
        "events": [{"kind": "tamper", "time": int(time.time()) - 120}],
    }
    return json.dumps(told | more).encode()


def code_of(answer: DeviceAnswer) -> str:
    return str(json.loads(answer.body)["code"]) if answer.status >= 400 else ""


@pytest.mark.timeout(500)
async def test_a_call_that_comes_again_after_a_restart_changes_nothing(made: Made) -> None:
    async with served(made.folder, made.key, made.number) as town:
        key = await joined(town)
        asked = {"kind": "read_now", "reason": "a test"}
        await town.ask("POST", f"/meters/{town.number}/commands", 202, json=asked)
        media = f"{town.url}/api/v1/media/town"
        async with DeviceCaller(media, town.number, key) as meter:
            (command,) = json.loads((await meter.call("GET", "commands")).body)
            results = [{"id": command["id"], "outcome": "done"}]
            said = report(town.number, results=results)
            sent: dict[str, Any] = {"time_s": int(time.time()), "nonce": secrets.token_hex(8)}
            signed = proof(
                key, town.number, "POST", "/api/v1/media/town/frames", said, **sent
            )  # what somebody on the way writes down
            first = await meter.call("POST", "frames", said, headers={"Authorization": signed})
        before = await town.state()
        await asyncio.sleep(1.1)  # the server's clock has whole seconds

    async with served(made.folder, made.key, made.number) as town:
        media = f"{town.url}/api/v1/media/town"
        async with DeviceCaller(media, town.number, key) as meter:
            replayed = await meter.call("POST", "frames", said, headers={"Authorization": signed})
            after_replay = await town.state()
            # The meter itself, whose answer was lost, and one whose clock is ahead of ours.
            again = await meter.call("POST", "frames", said)
            ahead = await meter.call("POST", "frames", said, time_s=int(time.time()) + 100)
        after_repeats = await town.state()

    assert (first.status, replayed.status, code_of(replayed)) == (200, 401, "device_clock_off")
    assert (again.status, ahead.status) == (200, 200)
    assert [row["state"] for row in before["command"]] == ["verified"]  # type: ignore[attr-defined]  # rows
    assert after_replay == before
    assert after_repeats == before


HOSTILE = {
    "not JSON": (b'{"time":', "bad_json"),
    "a number": (b"7", "bad_json"),
    "a time that is text": (b'{"time":"now"}', "bad_json"),
    "a value that is text": (b'{"time":1790000000,"readings":{"energy_import":"9"}}', "bad_json"),
    "a value that is no number": (b'{"time":1790000000,"readings":{"energy_import":NaN}}', ""),
    "a value beyond 64 bits": (
        b'{"time":1790000000,"readings":{"energy_import":99999999999999999999}}',
        "",
    ),
    "an unknown register": (b'{"time":1790000000,"readings":{"mood":1}}', ""),
    "an unknown field": (b'{"time":1790000000,"admin":true}', ""),
    "a supply that is a list": (b'{"time":1790000000,"supply":["on"]}', ""),
    "nested without end": (b"[" * 900 + b"]" * 900, ""),
    "octets": (bytes(range(256)), ""),
    "zeros": (b"\0" * 64, ""),
}


@pytest.mark.timeout(500)
async def test_hostile_calls_have_codes_are_counted_and_change_nothing(made: Made) -> None:
    async with served(made.folder, made.key, made.number) as town:
        key = await joined(town)
        other = {"device": "m-2", "reason": "a test"}
        stranger = (await town.ask("POST", "/entries/town/device-keys", 201, json=other))["key"]
        media = f"{town.url}/api/v1/media/town"
        async with DeviceCaller(media, town.number, key) as meter:
            await meter.call("POST", "frames", report(town.number))
            before = await town.state()
            aside = await town.count("slotmeter_quarantined_total")
            hostile = [await meter.call("POST", "frames", body) for body, _ in HOSTILE.values()]
            large = await meter.call("POST", "frames", b" " * 2_001)
            many = await meter.call("POST", "frames", b"[" + b"1," * 100 + b"1]")
        async with DeviceCaller(media, town.number, stranger.encode()) as thief:
            taken = await thief.call("GET", "commands")
            forged = await thief.call("POST", "frames", report(town.number))
        after = await town.state()
        counted = {
            code: await town.count(
                f'slotmeter_device_calls_refused_total{{code="{code}",entry="town"}}'
            )
            for code in ("body_too_large", "too_many_frames", "device_key_wrong")
        }
        set_aside = await town.count("slotmeter_quarantined_total") - aside
        [kept] = town.behind.values("SELECT count(*) FROM quarantine")

    # What is only senseless is taken and set aside: sending it again would not help.
    assert [answer.status for answer in hostile] == [200] * len(HOSTILE)
    assert set_aside == kept >= len(HOSTILE)
    assert (large.status, code_of(large)) == (413, "body_too_large")
    assert (many.status, code_of(many)) == (422, "too_many_frames")
    assert [(each.status, code_of(each)) for each in (taken, forged)] == [
        (401, "device_key_wrong")
    ] * 2
    assert counted == {"body_too_large": 1, "too_many_frames": 1, "device_key_wrong": 2}
    assert after == before
