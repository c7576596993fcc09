"""Devices that call over HTTP: who they are is proven first, then their frames are safe."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest

from slotmeter.config import LimitsConfig
from slotmeter.errors import ConfigError, Refused, Unavailable
from slotmeter.services.device_proofs import CLOCK_WITHIN_S
from slotmeter.testing.device_caller import DeviceAnswer, DeviceCaller, proof
from slotmeter.testing.fake_http import serving
from slotmeter.testing.fakes import FakePluginContext
from slotmeter_ip import MEDIUM
from slotmeter_ip.options import Options

KEY = b"the key of the only meter here"
DEVICE = "m-1"
REPORT = b'{"time":1790000000,"readings":{"energy_import":1}}'


@pytest.fixture
def fake() -> FakePluginContext:
    made = FakePluginContext()
    made.device_keys.keys[DEVICE] = KEY
    return made


@pytest.fixture
async def url(fake: FakePluginContext) -> AsyncIterator[str]:
    await MEDIUM.setup(fake.context, {"payload_bytes_max": 1_000, "frames_per_message_max": 3})
    async with serving(fake) as address:
        yield address


@pytest.fixture
async def meter(url: str) -> AsyncIterator[DeviceCaller]:
    async with DeviceCaller(url, DEVICE, KEY) as caller:
        yield caller


def code_of(answer: DeviceAnswer) -> str:
    return answer.body.decode().partition('"code": "')[2].partition('"')[0]


async def test_a_report_is_a_frame_with_its_own_bytes(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    answer = await meter.call("POST", "frames", REPORT)

    (frame,) = fake.frames.frames
    assert (answer.status, answer.body) == (200, b"[]")
    assert (frame.medium, frame.address, frame.path) == ("ip", DEVICE, "frames")
    assert frame.payload == REPORT


async def test_several_reports_in_one_request_are_several_frames(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    answer = await meter.call("POST", "frames", b'[{"time": 1} , {"time":2}]')

    assert [frame.payload for frame in fake.frames.frames] == [b'{"time": 1}', b'{"time":2}']
    assert answer.headers["Slotmeter-Frames"] == "2"


async def test_what_is_not_json_is_kept_for_quarantine_and_acknowledged(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    answer = await meter.call("POST", "frames", b'[{"time": 1}, {')

    assert answer.status == 200
    assert [frame.payload for frame in fake.frames.frames] == [b'[{"time": 1}, {']


async def test_commands_ride_in_the_answer_and_the_answer_is_proven(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    fake.commands.put(DEVICE, b'[{"id":7,"kind":"read_now"}]')

    answer = await meter.call("POST", "frames", REPORT)

    assert answer.body == b'[{"id":7,"kind":"read_now"}]'
    assert answer.is_proven


async def test_a_poll_gets_commands_and_logs_no_frame(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    fake.commands.put(DEVICE, b"[1]")

    first = await meter.call("GET", "commands")
    second = await meter.call("GET", "commands")

    assert (first.body, second.body) == (b"[1]", b"[]")
    assert fake.frames.frames == []


async def test_results_are_a_frame_and_bring_no_further_command(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    fake.commands.put(DEVICE, b"[1]")

    answer = await meter.call("POST", "results", b'{"time":1,"results":[]}')

    assert (answer.status, answer.body) == (204, b"")
    assert [frame.path for frame in fake.frames.frames] == ["results"]
    assert fake.commands.asked == []


async def test_when_only_the_queue_fails_the_report_is_acknowledged(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    fake.commands.error = Unavailable("database_unavailable", "the disk is full")

    answer = await meter.call("POST", "frames", REPORT)

    assert (answer.status, len(fake.frames.frames)) == (200, 1)


async def test_when_the_log_fails_the_device_is_told_to_send_again(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    fake.frames.error = Unavailable("database_unavailable", "the disk is full")

    answer = await meter.call("POST", "frames", REPORT)

    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[1,2,3,4]", "too_many_frames"),
        (b"[]", "no_frames"),
    ],
)
async def test_an_array_that_cannot_be_frames_is_refused_with_a_code(
    fake: FakePluginContext, meter: DeviceCaller, body: bytes, code: str
) -> None:
    answer = await meter.call("POST", "frames", body)

    assert (answer.status, code_of(answer)) == (422, code)
    assert fake.frames.frames == []


async def test_a_body_that_is_too_long_is_refused(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    answer = await meter.call("POST", "frames", b" " * 1_001)

    assert (answer.status, code_of(answer)) == (413, "body_too_large")
    assert fake.frames.frames == []


async def test_a_compressed_body_is_refused_before_it_can_grow(meter: DeviceCaller) -> None:
    answer = await meter.call("POST", "frames", REPORT, headers={"Content-Encoding": "br"})

    assert answer.status in (400, 422)


async def test_a_body_of_an_unknown_kind_is_refused(meter: DeviceCaller) -> None:
    answer = await meter.call("POST", "frames", b"<xml/>", content_type="text/xml")

    assert (answer.status, code_of(answer)) == (422, "content_type_unknown")


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/cbor"])
async def test_bytes_that_are_not_json_are_one_frame_whatever_they_begin_with(
    fake: FakePluginContext, meter: DeviceCaller, content_type: str
) -> None:
    answer = await meter.call("POST", "frames", b"[1,2]", content_type=content_type)

    assert (answer.status, answer.body) == (200, b"")
    assert [frame.payload for frame in fake.frames.frames] == [b"[1,2]"]


# --- who calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Authorization": ""}, "device_key_missing"),
        ({"Authorization": "Bearer smk_" + 43 * "A"}, "device_key_missing"),
        ({"Authorization": "HMAC-SHA256 device=m-1"}, "device_key_missing"),
        (
            {"Authorization": "Basic " + b64encode(DEVICE.encode() + b":" + KEY).decode()},
            "device_key_missing",
        ),
    ],
    ids=["nothing", "an API key", "half a proof", "the key in clear"],
)
async def test_a_caller_without_a_proof_is_refused(
    fake: FakePluginContext, meter: DeviceCaller, headers: dict[str, str], code: str
) -> None:
    answer = await meter.call("POST", "frames", REPORT, headers=headers)

    assert (answer.status, code_of(answer)) == (401, code)
    assert fake.frames.frames == []


@pytest.mark.parametrize(
    ("device", "key"), [(DEVICE, b"another key altogether"), ("m-2", KEY)], ids=["key", "device"]
)
async def test_a_proof_by_another_key_or_of_a_stranger_is_refused_alike(
    fake: FakePluginContext, url: str, device: str, key: bytes
) -> None:
    async with DeviceCaller(url, device, key) as caller:
        answer = await caller.call("POST", "frames", REPORT)

    assert (answer.status, code_of(answer)) == (401, "device_key_wrong")
    assert fake.frames.frames == []


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "frames", REPORT),
        ("POST", "results", REPORT),
        ("POST", "frames", REPORT + b" "),
    ],
    ids=["method", "path", "body"],
)
async def test_a_proof_is_of_one_request_and_no_other(
    meter: DeviceCaller, method: str, target: str, body: bytes
) -> None:
    signature = proof(
        KEY,
        DEVICE,
        method,
        f"/api/v1/media/fake/{target}",
        body,
        time_s=int(time.time()),
        nonce="0123456789abcdef",
    )

    answer = await meter.call("POST", "frames", REPORT, headers={"Authorization": signature})

    assert (answer.status, code_of(answer)) == (401, "device_key_wrong")


async def test_a_proof_cannot_be_used_again(fake: FakePluginContext, meter: DeviceCaller) -> None:
    signature = proof(
        KEY,
        DEVICE,
        "POST",
        "/api/v1/media/fake/frames",
        REPORT,
        time_s=int(time.time()),
        nonce="0123456789abcdef",
    )
    headers = {"Authorization": signature}

    first = await meter.call("POST", "frames", REPORT, headers=headers)
    second = await meter.call("POST", "frames", REPORT, headers=headers)

    assert (first.status, second.status) == (200, 401)
    assert code_of(second) == "device_proof_used"
    assert len(fake.frames.frames) == 1


@pytest.mark.parametrize("off_s", [-CLOCK_WITHIN_S - 60, CLOCK_WITHIN_S + 60])
async def test_a_device_whose_clock_is_off_is_told_the_time(
    meter: DeviceCaller, off_s: int
) -> None:
    answer = await meter.call("POST", "frames", REPORT, time_s=int(time.time()) + off_s)

    assert (answer.status, code_of(answer)) == (401, "device_clock_off")
    assert "Date" in answer.headers


async def test_an_older_request_than_the_last_is_refused(meter: DeviceCaller) -> None:
    now_s = int(time.time())

    await meter.call("POST", "frames", REPORT, time_s=now_s)
    older = await meter.call("POST", "frames", REPORT, time_s=now_s - 10)

    assert code_of(older) == "device_proof_used"


async def test_a_key_in_clear_is_taken_only_where_the_entry_says_so(
    fake: FakePluginContext,
) -> None:
    await MEDIUM.setup(fake.context, {"keys_in_clear": True})
    in_clear = {"Authorization": "Basic " + b64encode(DEVICE.encode() + b":" + KEY).decode()}
    wrong = {"Authorization": "Basic " + b64encode(DEVICE.encode() + b":no").decode()}

    async with serving(fake) as address, DeviceCaller(address, DEVICE, KEY) as caller:
        right = await caller.call("POST", "frames", REPORT, headers=in_clear)
        refused = await caller.call("POST", "frames", REPORT, headers=wrong)

    assert (right.status, refused.status) == (200, 401)
    assert not right.is_proven


async def test_a_device_that_floods_is_told_to_wait(fake: FakePluginContext) -> None:
    await MEDIUM.setup(fake.context, {"requests_per_minute": 2})

    async with serving(fake) as address, DeviceCaller(address, DEVICE, KEY) as caller:
        statuses = [(await caller.call("POST", "frames", REPORT)).status for _ in range(3)]

    assert statuses == [200, 200, 429]


async def test_a_path_that_is_not_there_and_a_method_that_is_not_taken(
    meter: DeviceCaller,
) -> None:
    nowhere = await meter.call("POST", "frame", REPORT)
    other = await meter.call("PUT", "frames", REPORT)

    assert (nowhere.status, other.status) == (404, 405)


async def test_the_server_s_own_bound_holds_where_it_is_lower(fake: FakePluginContext) -> None:
    await MEDIUM.setup(fake.context, {})

    async with (
        serving(fake, LimitsConfig(body_bytes_max=1_024)) as address,
        DeviceCaller(address, DEVICE, KEY) as caller,
    ):
        answer = await caller.call("POST", "frames", b" " * 2_000)

    assert answer.status == 413


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"http": False}, "nothing_to_do"),
        ({"mqtt_host": "broker.example", "mqtt_tls": False}, "plain_mqtt_not_allowed"),
        ({"mqtt_port": 0}, "bad_option"),
        ({"mqtt_port": True}, "bad_option"),
        ({"payload_bytes_max": 65_537}, "bad_option"),
        ({"mqtt_host": "two words"}, "bad_option"),
        ({"mqtt_ca": "/etc/ssl/cert.pem"}, "bad_option"),
        ({"http": 1}, "bad_option"),
        ({"mqtt_password": "secret"}, "unknown_option"),
    ],
)
def test_options_that_cannot_work_are_refused(given: dict[str, object], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Options.from_mapping(given)

    assert caught.value.code == code
    assert "secret" not in caught.value.message.replace("mqtt_password", "")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_broker_on_this_machine_may_be_spoken_to_without_tls(host: str) -> None:
    assert not Options.from_mapping({"mqtt_host": host, "mqtt_tls": False}).mqtt_tls


async def test_a_frame_that_the_log_refuses_is_refused_with_its_code(
    fake: FakePluginContext, meter: DeviceCaller
) -> None:
    fake.frames.error = Refused("payload_too_large", "expected less")

    answer = await meter.call("POST", "frames", REPORT)

    assert (answer.status, code_of(answer)) == (422, "payload_too_large")
