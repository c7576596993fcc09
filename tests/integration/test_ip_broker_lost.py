"""A broker is killed and started again: nothing that was acknowledged is lost, nor any command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from slotmeter.errors import Unavailable
from slotmeter.services.plugin_commands import PluginCommands
from slotmeter.testing.device_side import MEDIUM as MEDIUM_OF_TOWN
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.fakes import FakePluginContext
from slotmeter.testing.mqtt_broker import Broker, broker_program, free_port
from slotmeter_ip import MEDIUM

pytestmark = pytest.mark.skipif(broker_program() is None, reason="Mosquitto is not installed")

WAIT_S = 60
LOOK_EVERY_S = 0.05
REPORTS = 40


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    made = Broker(folder, free_port(), saves=True)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@pytest.fixture
def fake() -> FakePluginContext:
    return FakePluginContext()


def options(broker: Broker) -> dict[str, object]:
    return {
        "http": False,
        "mqtt_host": "127.0.0.1",
        "mqtt_port": broker.port,
        "mqtt_tls": False,
        "mqtt_signed": False,
    }


@asynccontextmanager
async def device(broker: Broker, name: str) -> AsyncIterator[aiomqtt.Client]:
    """A meter on the broker, with a session that the broker keeps."""
    client = aiomqtt.Client("127.0.0.1", broker.port, identifier=name, clean_session=False)
    async with client:
        await client.subscribe(f"slotmeter/fake/{name}/down", qos=1)
        yield client


async def until(what: Callable[[], object] | Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            found = what()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(LOOK_EVERY_S)


async def say_all(broker: Broker, name: str) -> None:
    """Say everything once, and again what the broker did not acknowledge, as a meter does."""
    left = [json.dumps({"time": 1_790_000_000 + number}).encode() for number in range(REPORTS)]
    while left:
        try:
            async with device(broker, name) as client:
                while left:
                    await client.publish(f"slotmeter/fake/{name}/up", left[0], qos=1, timeout=5)
                    left.pop(0)
        except aiomqtt.MqttError:
            await asyncio.sleep(LOOK_EVERY_S)


async def test_frames_that_were_acknowledged_outlive_a_broker_that_is_killed(
    fake: FakePluginContext, broker: Broker
) -> None:
    setup = await MEDIUM.setup(fake.context, options(broker))
    try:
        saying = asyncio.create_task(say_all(broker, "m-1"))
        await fake.frames.wait_for(REPORTS // 4, timeout_s=WAIT_S)
        await broker.kill()
        await broker.start()
        async with asyncio.timeout(WAIT_S):
            await saying
        await until(lambda: len({each.payload for each in fake.frames.frames}) == REPORTS)
    finally:
        await setup.stop()
        await fake.tasks.stop()

    assert fake.metrics.counts["broker_connections"] == 2


async def test_what_was_on_its_way_to_the_log_is_logged_though_its_broker_is_gone(
    fake: FakePluginContext, broker: Broker
) -> None:
    report = b'{"time":1790000000}'
    fake.frames.held.clear()
    setup = await MEDIUM.setup(fake.context, options(broker))
    try:
        async with device(broker, "m-1") as client:
            await client.publish("slotmeter/fake/m-1/up", report, qos=1)
        await until(lambda: fake.frames.waiting)
        await broker.kill()
        fake.frames.held.set()
        (frame,) = await fake.frames.wait_for(1, timeout_s=WAIT_S)
    finally:
        await setup.stop()
        await fake.tasks.stop()

    assert frame.payload == report


async def test_what_could_not_be_logged_waits_at_a_broker_that_is_killed(
    fake: FakePluginContext, broker: Broker
) -> None:
    report = b'{"time":1790000000}'
    fake.frames.error = Unavailable("database_unavailable", "the disk is full")
    setup = await MEDIUM.setup(fake.context, options(broker))
    try:
        async with device(broker, "m-1") as client:
            await client.publish("slotmeter/fake/m-1/up", report, qos=1)
        await fake.metrics.wait_for("unavailable", timeout_s=WAIT_S)
        await until(lambda: report in broker.saved)
        await broker.kill()
    finally:
        await setup.stop()
        await fake.tasks.stop()
    fake.frames.error = None
    await broker.start()

    setup = await MEDIUM.setup(fake.context, options(broker))
    try:
        (frame,) = await fake.frames.wait_for(1, timeout_s=WAIT_S)
    finally:
        await setup.stop()
        await fake.tasks.stop()

    assert frame.payload == report


async def test_a_command_that_a_killed_broker_lost_comes_again_and_is_the_same(
    fake: FakePluginContext, town: DeviceTown, tmp_path: Path
) -> None:
    folder = tmp_path / "forgetful"
    folder.mkdir()
    broker = Broker(folder, free_port())
    await broker.start()
    meter = await town.utility.add_meter()
    name, side = str(meter.address), town.side
    operator = await town.utility.add_principal("operator", "operator")
    made = await side.requests.request_command(operator, meter.number, "read_now", "a test")
    queue = PluginCommands(MEDIUM_OF_TOWN, side.queue, side.uow, side.clock, side.bus)
    context = replace(fake.context, commands=queue, clock=side.clock)
    async with device(broker, name):
        pass  # it sleeps now: what is for it waits at the broker, and only there
    setup = await MEDIUM.setup(context, options(broker))
    try:
        async with aiomqtt.Client("127.0.0.1", broker.port) as somebody:
            await somebody.publish(f"slotmeter/fake/{name}/state", b"online", qos=1)
        await fake.metrics.wait_for("messages_with_commands", timeout_s=WAIT_S)
        sent = town.states(meter)
        await broker.kill()
        await broker.start()
        await fake.metrics.wait_for("broker_connections", 2, timeout_s=WAIT_S)
        side.clock.advance(seconds=120)
        await side.sweep.sweep()
        async with device(broker, name) as client:
            await client.publish(f"slotmeter/fake/{name}/up", b'{"time":1790000000}', qos=1)
            told = await anext(aiter(client.messages))
    finally:
        await setup.stop()
        await fake.tasks.stop()
        await broker.stop()

    (command,) = json.loads(bytes(told.payload))
    assert sent == [("read_now", "sent")]
    assert (command["id"], command["kind"]) == (made["id"], "read_now")
    assert town.states(meter) == [("read_now", "sent")]
