"""Devices behind a real broker: what they say is safe before it is acknowledged."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from slotmeter.devices.frames import Frame
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import Fate, Secrets
from slotmeter.testing.fakes import FakePluginContext
from slotmeter.testing.mqtt_broker import Broker, broker_program, broker_running, free_port
from slotmeter_ip import MEDIUM
from slotmeter_ip.envelope import make_head, new_nonce, opened, signed_text

pytestmark = pytest.mark.skipif(broker_program() is None, reason="Mosquitto is not installed")

KEY = b"the key of the only meter here"
DEVICE = "m-1"
UP, DOWN = f"slotmeter/fake/{DEVICE}/up", f"slotmeter/fake/{DEVICE}/down"
REPORT = b'{"time":1790000000,"readings":{"energy_import":1}}'
WAIT_S = 20


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with broker_running(tmp_path) as running:
        yield running


@pytest.fixture
def fake() -> FakePluginContext:
    made = FakePluginContext()
    made.device_keys.keys[DEVICE] = KEY
    return made


def options(broker: Broker, **more: object) -> Mapping[str, object]:
    return {
        "http": False,
        "mqtt_host": "127.0.0.1",
        "mqtt_port": broker.port,
        "mqtt_tls": False,
        **more,
    }


@asynccontextmanager
async def linked(fake: FakePluginContext, broker: Broker, **more: object) -> AsyncIterator[None]:
    setup = await MEDIUM.setup(fake.context, options(broker, **more))
    try:
        yield
    finally:
        await setup.stop()
        await fake.tasks.stop()


def signed(payload: bytes, topic: str = UP, key: bytes = KEY) -> bytes:
    nonce = new_nonce()
    mac = hmac.digest(key, signed_text(topic, 1790000000, nonce, payload), "sha256")
    return make_head(1790000000, nonce, mac) + payload


@asynccontextmanager
async def device(broker: Broker) -> AsyncIterator[aiomqtt.Client]:
    client = aiomqtt.Client("127.0.0.1", broker.port, identifier=DEVICE, clean_session=False)
    async with client:
        await client.subscribe(DOWN, qos=1)
        yield client


async def say(broker: Broker, message: bytes, topic: str = UP, **more: Any) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish(topic, message, qos=1, **more)


async def next_message(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(WAIT_S):
        async for message in client.messages:
            return message
    raise AssertionError("the messages ended")


async def test_a_signed_message_is_a_frame_with_the_bytes_that_were_signed(
    fake: FakePluginContext, broker: Broker
) -> None:
    async with linked(fake, broker):
        await say(broker, signed(REPORT))
        (frame,) = await fake.frames.wait_for(1)

    assert (frame.medium, frame.address, frame.path) == ("ip", DEVICE, "up")
    assert frame.payload == REPORT


async def test_an_array_is_as_many_frames_as_it_has_elements(
    fake: FakePluginContext, broker: Broker
) -> None:
    async with linked(fake, broker):
        await say(broker, signed(b'[{"time": 1},\n {"time":2}]'))
        frames = await fake.frames.wait_for(2)

    assert [frame.payload for frame in frames] == [b'{"time": 1}', b'{"time":2}']


@pytest.mark.parametrize(
    "message",
    [
        REPORT,
        signed(REPORT, key=b"another key, of somebody else"),
        signed(REPORT, topic="slotmeter/fake/m-2/up"),
        signed(REPORT, topic=DOWN),
        signed(REPORT)[:-1],
        b"S1 1 2 3\n" + REPORT,
        b"",
    ],
    ids=["unsigned", "other key", "other device", "other direction", "cut", "bad head", "empty"],
)
async def test_a_message_without_the_right_signature_is_no_frame(
    fake: FakePluginContext, broker: Broker, message: bytes
) -> None:
    async with linked(fake, broker):
        await say(broker, message)
        await fake.metrics.wait_for("refused")
        await say(broker, signed(b'{"time":2}'))
        frames = await fake.frames.wait_for(1)

    assert [frame.payload for frame in frames] == [b'{"time":2}']


async def test_a_device_without_a_key_is_not_heard(fake: FakePluginContext, broker: Broker) -> None:
    topic = "slotmeter/fake/stranger/up"

    async with linked(fake, broker):
        await say(broker, signed(REPORT, topic=topic), topic=topic)
        await fake.metrics.wait_for("refused")

    assert fake.frames.frames == []


async def test_where_the_broker_vouches_messages_need_no_signature(
    fake: FakePluginContext, broker: Broker
) -> None:
    async with linked(fake, broker, mqtt_signed=False):
        await say(broker, REPORT)
        (frame,) = await fake.frames.wait_for(1)

    assert frame.payload == REPORT


async def test_commands_follow_what_a_device_says_signed_and_not_retained(
    fake: FakePluginContext, broker: Broker
) -> None:
    fake.commands.put(DEVICE, b'[{"id":7,"kind":"read_now"}]')

    async with linked(fake, broker), device(broker) as meter:
        await meter.publish(UP, signed(REPORT), qos=1)
        told = await next_message(meter)

    envelope = opened(DOWN, bytes(told.payload))
    assert envelope is not None
    assert envelope.payload == b'[{"id":7,"kind":"read_now"}]'
    assert envelope.mac == hmac.digest(KEY, envelope.text, "sha256")
    assert not told.retain


async def test_a_command_queued_while_a_device_is_awake_goes_at_once(
    fake: FakePluginContext, broker: Broker
) -> None:
    async with linked(fake, broker, mqtt_signed=False), device(broker) as meter:
        await meter.publish(UP, REPORT, qos=1)
        await fake.frames.wait_for(1)
        fake.commands.put(DEVICE, b"[1]")
        told = await next_message(meter)

    assert told.payload == b"[1]"


async def test_a_command_for_a_device_that_sleeps_waits_until_it_says_that_it_is_online(
    fake: FakePluginContext, broker: Broker
) -> None:
    async with linked(fake, broker, mqtt_signed=False), device(broker) as meter:
        fake.commands.put(DEVICE, b"[1]")
        await asyncio.sleep(0)
        asked_before = list(fake.commands.asked)
        await meter.publish(f"slotmeter/fake/{DEVICE}/state", b"online", qos=1)
        told = await next_message(meter)

    assert asked_before == []
    assert told.payload == b"[1]"


async def test_a_command_for_a_device_without_a_key_is_given_back(
    fake: FakePluginContext, broker: Broker
) -> None:
    number = fake.commands.put(DEVICE, b"[1]")
    fake.device_keys.keys.clear()

    async with linked(fake, broker):
        await say(broker, b"online", topic=f"slotmeter/fake/{DEVICE}/state")
        await fake.metrics.wait_for("given_back")

    assert fake.commands.reports == [(DEVICE, (number,), Fate.LOST)]


async def test_what_was_said_while_the_platform_was_away_comes_when_it_is_back(
    fake: FakePluginContext, broker: Broker
) -> None:
    async with linked(fake, broker):
        pass
    await say(broker, signed(REPORT))

    async with linked(fake, broker):
        (frame,) = await fake.frames.wait_for(1)

    assert frame.payload == REPORT


async def test_a_message_that_was_not_logged_is_not_acknowledged_and_comes_again(
    fake: FakePluginContext, broker: Broker
) -> None:
    fake.frames.error = Unavailable("database_unavailable", "the disk is full")
    async with linked(fake, broker):
        await say(broker, signed(REPORT))
        await fake.metrics.wait_for("unavailable", timeout_s=WAIT_S)
    fake.frames.error = None

    async with linked(fake, broker):
        (frame,) = await fake.frames.wait_for(1)

    assert frame.payload == REPORT


async def test_devices_that_nobody_registered_do_not_hold_up_the_others(
    fake: FakePluginContext, broker: Broker
) -> None:
    take = fake.frames.hand_in

    async def of_registered(frame: Frame) -> int:
        if frame.address.startswith("stranger"):
            raise Unavailable("device_unknown", "no device with this address is registered")
        return await take(frame)

    async def many(frames: Sequence[Frame]) -> list[int]:
        return [await of_registered(frame) for frame in frames]

    fake.frames.hand_in_many = many  # type: ignore[method-assign]  # a log that knows
    async with linked(fake, broker, mqtt_signed=False, mqtt_in_flight_max=2):
        for number in range(3):
            await say(broker, REPORT, f"slotmeter/fake/stranger-{number}/up")
        await say(broker, REPORT)
        (frame,) = await fake.frames.wait_for(1)
        await fake.metrics.wait_for("refused", 3, timeout_s=WAIT_S)

    assert frame.address == DEVICE


async def test_a_broker_that_was_away_is_found_again(
    fake: FakePluginContext, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(fake, broker):
        await broker.stop()
        await fake.metrics.wait_for("broker_losses", timeout_s=WAIT_S)
        await broker.start()
        await fake.metrics.wait_for("broker_connections", 2, timeout_s=WAIT_S)
        await say(broker, signed(REPORT))
        frames = await fake.frames.wait_for(1)

    lost = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(frames) == 1
    assert len(lost) == 1


async def test_a_broker_that_is_not_there_lets_the_entry_be_tried_again(
    fake: FakePluginContext,
) -> None:
    nowhere = {
        "mqtt_host": "127.0.0.1",
        "mqtt_port": free_port(),
        "mqtt_tls": False,
    }

    with pytest.raises(Unavailable) as caught:
        await MEDIUM.setup(fake.context, nowhere)

    assert caught.value.code == "broker_unreachable"
    assert not fake.tasks.running
    assert fake.routes.all == ()


async def test_a_broker_that_refuses_the_password_lets_the_entry_fail_without_telling_it(
    fake: FakePluginContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.secrets = Secrets({"mqtt_password": "not-the-right-one"})

    async with broker_running(tmp_path, {"platform": "the-right-one"}) as strict:
        with pytest.raises(ConfigError) as caught:
            await MEDIUM.setup(fake.context, options(strict, mqtt_user="platform"))

    assert caught.value.code == "broker_refused"
    assert "not-the-right-one" not in caught.value.message + caplog.text


async def test_a_broker_that_knows_the_password_is_used(
    fake: FakePluginContext, tmp_path: Path
) -> None:
    fake.secrets = Secrets({"mqtt_password": "the-right-one"})

    async with (
        broker_running(tmp_path, {"platform": "the-right-one"}) as strict,
        linked(fake, strict, mqtt_user="platform"),
    ):
        assert fake.metrics.counts["broker_connections"] == 1


async def test_a_device_that_floods_is_cut_short(fake: FakePluginContext, broker: Broker) -> None:
    async with (
        linked(fake, broker, mqtt_signed=False, requests_per_minute=3),
        device(broker) as meter,
    ):
        for number in range(5):
            await meter.publish(UP, json.dumps({"time": number}).encode(), qos=1)
        await fake.metrics.wait_for("refused", 2, timeout_s=WAIT_S)

    assert len(fake.frames.frames) == 3


async def test_an_old_message_that_the_broker_retained_is_not_taken_for_a_new_one(
    fake: FakePluginContext, broker: Broker
) -> None:
    await say(broker, signed(REPORT), retain=True)

    async with linked(fake, broker):
        await fake.metrics.wait_for("refused")

    assert fake.frames.frames == []


async def test_nothing_of_a_message_is_in_the_log(
    fake: FakePluginContext, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.commands.put(DEVICE, b'[{"id":1,"kind":"load_token","token":"12345678901234567890"}]')

    async with linked(fake, broker), device(broker) as meter:
        await meter.publish(UP, signed(b'{"time":1,"serial":"planted"}'), qos=1)
        await next_message(meter)

    assert "12345678901234567890" not in caplog.text
    assert "planted" not in caplog.text
    assert KEY.decode() not in caplog.text


# --- TLS ----------------------------------------------------------------------------------------


def certificate(folder: Path, host: str) -> Path:
    """Write a certificate that vouches for itself, with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"broker at {host}")])
    now = datetime.now(UTC)
    signed_by_itself = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "broker.pem"
    path.write_bytes(signed_by_itself.public_bytes(Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


@pytest.mark.parametrize(
    ("host", "is_trusted", "is_right"),
    [("127.0.0.1", True, True), ("127.0.0.1", False, False), ("127.0.0.2", True, False)],
    ids=["trusted", "of an authority that is not trusted", "of another host"],
)
async def test_only_a_broker_with_the_right_certificate_is_spoken_to(
    fake: FakePluginContext, tmp_path: Path, host: str, is_trusted: bool, is_right: bool
) -> None:
    path = certificate(tmp_path, host)
    broker = Broker(tmp_path, free_port(), certificate=path, private_key=path.with_suffix(".key"))
    trusted = {"mqtt_ca": path.read_text()} if is_trusted else {}
    await broker.start()
    try:
        async with linked(fake, broker, mqtt_tls=True, **trusted):
            outcome = "connected"
    except Unavailable as error:
        outcome = error.code
    finally:
        await broker.stop()

    assert outcome == ("connected" if is_right else "broker_unreachable")
