"""The NB-IoT head-end over loopback: a real CoAP client, raw datagrams, a frame log in memory."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import aiocoap  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotmeter.errors import ConfigError, Refused, Unavailable
from slotmeter.ports import MediumSetup
from slotmeter.testing.fakes import FakePluginContext
from slotmeter_nbiot import MEDIUM
from slotmeter_nbiot.coap_socket import bind_socket
from slotmeter_nbiot.options import Options

TIMEOUT_S = 20
ALL = "0.0.0.0"  # noqa: S104  to see that it is refused or shown; nothing is sent there
RST = 3


@pytest.fixture
def fake() -> FakePluginContext:
    return FakePluginContext()


@pytest.fixture
async def head_end(fake: FakePluginContext) -> AsyncIterator[MediumSetup]:
    setup = await MEDIUM.setup(fake.context, {"port": 0, "requests_in_flight_max": 3})
    yield setup
    fake.frames.held.set()
    await setup.stop()


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    yield context
    await context.shutdown()


Ask = Callable[..., Any]


@pytest.fixture
def ask(client: Any, head_end: MediumSetup) -> Ask:
    """Call it for the answer to one request of a meter."""

    async def send(
        code: Any = aiocoap.POST, where: str = "/m?ep=dev-1", payload: bytes = b"", **options: Any
    ) -> Any:
        message = aiocoap.Message(
            code=code, uri=head_end.addresses[0] + where, payload=payload, **options
        )
        async with asyncio.timeout(TIMEOUT_S):
            return await client.request(message, handle_blockwise=False).response

    return send


def port_of(setup: MediumSetup) -> int:
    return int(setup.addresses[0].rpartition(":")[2])


class RawSocket(asyncio.DatagramProtocol):
    """A UDP socket that keeps what it receives."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    async def close(self) -> None:
        self.transport.close()
        await self.lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait(data)

    async def ping(self) -> None:
        """CoAP ping: an empty confirmable message is answered by a reset (RFC 7252 4.2)."""
        self.transport.sendto(b"\x40\x00\x12\x34")
        async with asyncio.timeout(TIMEOUT_S):
            while (await self.received.get())[:4] != b"\x70\x00\x12\x34":
                pass


async def raw_socket(port: int) -> RawSocket:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        RawSocket, remote_addr=("127.0.0.1", port)
    )
    return protocol


@pytest.fixture
async def raw(head_end: MediumSetup) -> AsyncIterator[RawSocket]:
    protocol = await raw_socket(port_of(head_end))
    yield protocol
    await protocol.close()


# --- pushing and polling ------------------------------------------------------------------------


async def test_a_push_is_in_the_log_before_it_is_answered(
    fake: FakePluginContext, ask: Ask
) -> None:
    fake.frames.held.clear()
    asking = asyncio.create_task(ask(payload=b"\xa0", content_format=60))
    done_before, _ = await asyncio.wait({asking}, timeout=0.5)

    fake.frames.held.set()
    answer = await asking

    assert not done_before
    assert (answer.code, answer.payload) == (aiocoap.CHANGED, b"")
    frame = fake.frames.frames[0]
    assert (frame.medium, frame.address, frame.path) == ("nbiot", "dev-1", "m")
    assert (frame.payload, frame.received_at) == (b"\xa0", fake.clock.now())


async def test_commands_ride_in_the_answer_to_a_push(fake: FakePluginContext, ask: Ask) -> None:
    fake.commands.put("dev-1", b"\x81\x01")

    answer = await ask(payload=b"\xa0", content_format=60)

    assert (answer.payload, int(answer.opt.content_format)) == (b"\x81\x01", 60)
    assert fake.metrics.counts["answers_with_commands"] == 1


async def test_a_poll_gets_what_is_due_and_logs_no_frame(fake: FakePluginContext, ask: Ask) -> None:
    fake.commands.put("dev-1", b"\x81\x01")

    first, second = await ask(aiocoap.GET), await ask(aiocoap.GET)

    assert [(a.code, a.payload) for a in (first, second)] == [
        (aiocoap.CONTENT, b"\x81\x01"),
        (aiocoap.CONTENT, b""),
    ]
    assert (fake.frames.frames, fake.commands.asked) == ([], ["dev-1", "dev-1"])


async def test_bytes_that_are_no_cbor_are_logged_and_acknowledged(
    fake: FakePluginContext, ask: Ask
) -> None:
    answer = await ask(payload=b"\xff\x00garbage", content_format=60)

    assert answer.code == aiocoap.CHANGED
    assert fake.frames.frames[0].payload == b"\xff\x00garbage"


async def test_a_frame_in_the_log_is_acknowledged_though_the_queue_does_not_answer(
    fake: FakePluginContext, ask: Ask
) -> None:
    fake.commands.error = Unavailable("database_unavailable", "busy")

    pushed, polled = await ask(payload=b"\xa0"), await ask(aiocoap.GET)

    assert (pushed.code, polled.code) == (aiocoap.CHANGED, aiocoap.SERVICE_UNAVAILABLE)


async def test_an_unknown_endpoint_is_logged_all_the_same(
    fake: FakePluginContext, ask: Ask
) -> None:
    answer = await ask(where="/m?ep=nobody-knows-me", payload=b"\xa0")

    assert (answer.code, answer.payload) == (aiocoap.CHANGED, b"")
    assert fake.frames.frames[0].address == "nobody-knows-me"


async def test_a_repeated_datagram_is_logged_once_and_gets_the_first_answer_again(
    fake: FakePluginContext, raw: RawSocket
) -> None:
    fake.commands.put("dev-1", b"\x81\x01")
    push = b"\x41\x02\x00\x07\x99" + b"\xb1m" + b"\x48ep=dev-1" + b"\xff\xa0"

    raw.transport.sendto(push)
    first = await asyncio.wait_for(raw.received.get(), TIMEOUT_S)
    raw.transport.sendto(push)
    second = await asyncio.wait_for(raw.received.get(), TIMEOUT_S)

    assert first == second
    assert first.endswith(b"\xff\x81\x01")
    assert len(fake.frames.frames) == 1


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    ["/m", "/m?ep=", "/m?ep=a b", "/m?ep=a&ep=b", "/m?ep=" + "x" * 65, "/m?EP=a", "/m?ep=ä"],
)
async def test_a_push_without_one_right_endpoint_is_a_bad_request(
    fake: FakePluginContext, ask: Ask, where: str
) -> None:
    answer = await ask(where=where.replace(" ", "%20"), payload=b"\xa0")

    assert answer.code == aiocoap.BAD_REQUEST
    assert fake.frames.frames == []


@pytest.mark.parametrize(
    ("code", "where", "options", "refusal"),
    [
        (aiocoap.POST, "/other?ep=dev-1", {}, aiocoap.NOT_FOUND),
        (aiocoap.POST, "/m/m?ep=dev-1", {}, aiocoap.NOT_FOUND),
        (aiocoap.GET, "/.well-known/core", {}, aiocoap.NOT_FOUND),
        (aiocoap.PUT, "/m?ep=dev-1", {}, aiocoap.METHOD_NOT_ALLOWED),
        (aiocoap.DELETE, "/m?ep=dev-1", {}, aiocoap.METHOD_NOT_ALLOWED),
        (aiocoap.POST, "/m?ep=dev-1", {"content_format": 41}, aiocoap.UNSUPPORTED_CONTENT_FORMAT),
        (aiocoap.POST, "/m?ep=dev-1", {"block1": (0, True, 6)}, aiocoap.REQUEST_ENTITY_TOO_LARGE),
        (aiocoap.POST, "/m?ep=dev-1", {"block1": (1, False, 6)}, aiocoap.REQUEST_ENTITY_TOO_LARGE),
    ],
)
async def test_what_is_no_push_and_no_poll_is_refused(
    fake: FakePluginContext,
    ask: Ask,
    code: Any,
    where: str,
    options: dict[str, Any],
    refusal: Any,
) -> None:
    answer = await ask(code, where, b"\xa0", **options)

    assert answer.code == refusal
    assert fake.frames.frames == []


@pytest.mark.parametrize("size", [1_025, 4_000, 5_000, 60_000])
async def test_a_push_that_is_too_large_is_refused_with_the_limit(
    fake: FakePluginContext, ask: Ask, size: int
) -> None:
    answer = await ask(payload=bytes(size))

    assert (answer.code, answer.opt.size1) == (aiocoap.REQUEST_ENTITY_TOO_LARGE, 1_024)
    assert fake.frames.frames == []


async def test_the_largest_push_is_taken(fake: FakePluginContext, ask: Ask) -> None:
    answer = await ask(payload=bytes(1_024))

    assert answer.code == aiocoap.CHANGED
    assert len(fake.frames.frames[0].payload) == 1_024


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("database_unavailable", "busy"), aiocoap.SERVICE_UNAVAILABLE),
        (Refused("payload_too_large", "at most 10 bytes"), aiocoap.REQUEST_ENTITY_TOO_LARGE),
        (Refused("device_blocked", "this device is blocked"), aiocoap.BAD_REQUEST),
    ],
)
async def test_what_the_log_does_not_take_is_not_acknowledged(
    fake: FakePluginContext, ask: Ask, error: Any, code: Any
) -> None:
    fake.frames.error = error

    answer = await ask(payload=b"\xa0")

    assert answer.code == code
    assert answer.opt.max_age in (None, 10)


async def test_beyond_the_requests_in_flight_a_meter_is_told_to_come_later(
    fake: FakePluginContext, ask: Ask, head_end: MediumSetup
) -> None:
    fake.frames.held.clear()
    clients = [await aiocoap.Context.create_client_context(transports=["udp6"]) for _ in range(3)]
    uri = f"{head_end.addresses[0]}/m?ep=slow"
    held = [
        asyncio.ensure_future(
            client.request(aiocoap.Message(code=aiocoap.POST, uri=uri, payload=b"\1")).response
        )
        for client in clients
    ]
    await asyncio.wait(held, timeout=0.5)

    answer = await ask(payload=b"\xa0")
    fake.frames.held.set()
    answers = await asyncio.wait_for(asyncio.gather(*held), TIMEOUT_S)

    assert (answer.code, answer.opt.max_age) == (aiocoap.SERVICE_UNAVAILABLE, 10)
    assert {a.code for a in answers} == {aiocoap.CHANGED}
    for client in clients:
        await client.shutdown()


# --- datagrams that are no CoAP -----------------------------------------------------------------


@pytest.mark.parametrize(
    "datagram",
    [
        b"\xff",
        b"\x40",
        b"\x40\x02\x00",
        b"\x00\x02\x00\x01",  # version 0
        b"\x48\x02\x00\x01\x01",  # token announced, not there
        b"\x4f\x02\x00\x01" + b"\x01" * 15,  # token of 15 bytes
        b"\x40\x02\x00\x01\xb9m",  # option cut short
        b"\x40\x02\x00\x01\xb2\xff\xfe",  # path that is no UTF-8
        b"\x40\x02\x00\x01\xf0",  # reserved option delta
    ],
)
async def test_a_malformed_datagram_is_counted_and_the_next_one_is_served(
    fake: FakePluginContext, raw: RawSocket, ask: Ask, datagram: bytes
) -> None:
    raw.transport.sendto(datagram)
    await raw.ping()

    answer = await ask(payload=b"\xa0")

    assert fake.metrics.counts["datagrams_malformed"] == 1
    assert answer.code == aiocoap.CHANGED


@given(datagrams=st.lists(st.binary(max_size=40), min_size=1, max_size=40))
@settings(max_examples=15)
def test_whatever_arrives_the_next_push_is_served(datagrams: list[bytes]) -> None:
    push = b"\x41\x02\x01\x02\x99" + b"\xb1m" + b"\x48ep=dev-1" + b"\xff\xa0"
    hostile = [*datagrams, *(push[: 1 + len(d) % len(push)] + d for d in datagrams)]

    async def attack() -> tuple[bytes, int]:
        fake = FakePluginContext()
        setup = await MEDIUM.setup(fake.context, {"port": 0})
        attacker, meter = await raw_socket(port_of(setup)), await raw_socket(port_of(setup))
        for datagram in hostile:
            attacker.transport.sendto(datagram)
        await attacker.ping()
        meter.transport.sendto(push)
        answer = await asyncio.wait_for(meter.received.get(), TIMEOUT_S)
        await attacker.close()
        await meter.close()
        await setup.stop()
        return answer, len(fake.frames.frames)

    answer, logged = asyncio.run(attack())

    assert answer[:4] == b"\x61\x44\x01\x02"
    assert logged >= 1


# --- listening ----------------------------------------------------------------------------------


async def test_a_second_server_on_the_port_is_refused_by_name(
    fake: FakePluginContext, head_end: MediumSetup
) -> None:
    with pytest.raises(ConfigError, match="used by another program") as error:
        await MEDIUM.setup(fake.context, {"port": port_of(head_end)})

    assert error.value.code == "port_in_use"


async def test_a_port_that_another_program_shares_out_is_still_refused(
    fake: FakePluginContext,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))

        with pytest.raises(ConfigError) as error:
            await MEDIUM.setup(fake.context, {"port": other.getsockname()[1]})

    assert error.value.code == "port_in_use"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_means_ipv4_loopback_only(host: str) -> None:
    sock = await bind_socket(host, 0)
    with sock:
        assert sock.getsockname()[0] == "::ffff:127.0.0.1"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("localhost", "127.0.0.1"), (ALL, ALL), ("::1", "[::1]")],
)
async def test_a_server_says_the_address_it_is_bound_to(
    fake: FakePluginContext, host: str, shown: str
) -> None:
    setup = await MEDIUM.setup(fake.context, {"host": host, "port": 0, "allow_plain": host == ALL})
    address = setup.addresses[0]
    await setup.stop()

    assert re.fullmatch(rf"coap://{re.escape(shown)}:[1-9][0-9]+", address)


@pytest.mark.parametrize("host", [ALL, "::"])
async def test_an_address_that_others_reach_is_refused_while_coap_is_plain(
    fake: FakePluginContext, host: str
) -> None:
    with pytest.raises(ConfigError, match="allow_plain = true") as error:
        await MEDIUM.setup(fake.context, {"host": host, "port": 0})

    assert (error.value.code, error.value.field) == ("plain_coap_not_allowed", "host")


@pytest.mark.parametrize(("host", "warnings"), [(ALL, 1), ("127.0.0.1", 0), ("::1", 0)])
async def test_plain_coap_that_others_reach_is_warned_of_at_the_start(
    fake: FakePluginContext, caplog: pytest.LogCaptureFixture, host: str, warnings: int
) -> None:
    setup = await MEDIUM.setup(fake.context, {"host": host, "port": 0, "allow_plain": True})
    await setup.stop()

    assert len([text for text in caplog.messages if "can report for any meter" in text]) == warnings


@pytest.mark.parametrize(
    ("host", "code"),
    [("no.such.host.invalid", "host_unknown"), ("192.0.2.1", "host_not_here")],
)
async def test_an_address_that_is_not_ours_is_refused_by_name(host: str, code: str) -> None:
    with pytest.raises(ConfigError) as error:
        await bind_socket(host, 0)

    assert error.value.code == code


async def test_stopping_answers_what_was_begun(
    fake: FakePluginContext, head_end: MediumSetup, ask: Ask
) -> None:
    fake.frames.held.clear()
    asking = asyncio.create_task(ask(payload=b"\xa0"))
    await asyncio.wait({asking}, timeout=0.5)
    stopping = asyncio.create_task(head_end.stop())
    await asyncio.sleep(0)

    fake.frames.held.set()
    answer = await asking
    await stopping

    assert answer.code == aiocoap.CHANGED


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"hots": "127.0.0.1"}, "unknown_option", "hots"),
        ({"port": "5683"}, "bad_option", "port"),
        ({"port": True}, "bad_option", "port"),
        ({"port": 65_536}, "bad_option", "port"),
        ({"host": ""}, "bad_option", "host"),
        ({"allow_plain": 1}, "bad_option", "allow_plain"),
        ({"path": "/m"}, "bad_option", "path"),
        ({"path": "a/b/c/d/e"}, "bad_option", "path"),
        ({"payload_bytes_max": 0}, "bad_option", "payload_bytes_max"),
        ({"commands_per_answer": 1.5}, "bad_option", "commands_per_answer"),
    ],
)
def test_an_option_that_cannot_work_is_named(
    given: dict[str, object], code: str, field: str
) -> None:
    with pytest.raises(ConfigError) as error:
        Options.from_mapping(given)

    assert (error.value.code, error.value.field) == (code, field)


async def test_meters_push_to_the_path_that_was_chosen(fake: FakePluginContext) -> None:
    setup = await MEDIUM.setup(fake.context, {"port": 0, "path": "up/meters"})
    client = await aiocoap.Context.create_client_context(transports=["udp6"])
    uri = f"{setup.addresses[0]}/up/meters?ep=dev-1"

    answer = await client.request(
        aiocoap.Message(code=aiocoap.POST, uri=uri, payload=b"\xa0")
    ).response
    await client.shutdown()
    await setup.stop()

    assert (answer.code, fake.frames.frames[0].path) == (aiocoap.CHANGED, "up/meters")
