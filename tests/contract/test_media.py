"""Every installed medium, by one contract; each brings the smallest device that speaks it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

import aiocoap  # type: ignore[import-untyped]  # ships no types
import pytest

from slotmeter.ports import Medium
from slotmeter.testing.device_caller import DeviceCaller
from slotmeter.testing.medium_contract import (
    DEVICE_KEYS,
    Answer,
    DeviceProbe,
    check_acknowledges_only_what_is_logged,
    check_answers_after_logging,
    check_hands_out_commands,
    check_key,
    check_refuses_unknown_options,
    check_starts_and_stops,
)


class CoapProbe:
    """A meter that pushes once over CoAP."""

    options: Mapping[str, object] = {"port": 0}

    async def send(self, address: str, device: str, payload: bytes) -> Answer:
        context = await aiocoap.Context.create_client_context(transports=["udp6"])
        try:
            message = aiocoap.Message(
                code=aiocoap.POST,
                uri=f"{address}/m?ep={device}",
                payload=payload,
                content_format=60,
            )
            response = await context.request(message, handle_blockwise=False).response
        finally:
            await context.shutdown()
        return Answer(bool(response.code == aiocoap.CHANGED), bytes(response.payload))


class HttpProbe:
    """A meter that posts once over HTTP and signs what it posts."""

    options: Mapping[str, object] = {}

    async def send(self, address: str, device: str, payload: bytes) -> Answer:
        async with DeviceCaller(address, device, DEVICE_KEYS[device]) as caller:
            answer = await caller.call(
                "POST", "frames", payload, content_type="application/octet-stream"
            )
        return Answer(answer.status == 200, answer.body if answer.status == 200 else b"")


PROBES: dict[str, DeviceProbe] = {"nbiot": CoapProbe(), "ip": HttpProbe()}
MEDIA: list[Medium] = [point.load() for point in entry_points(group="slotmeter.media")]
each_medium = pytest.mark.parametrize("medium", MEDIA, ids=lambda medium: str(medium.key))


def test_every_installed_medium_is_tested() -> None:
    assert sorted(medium.key for medium in MEDIA) == sorted(PROBES)


@each_medium
def test_a_medium_has_a_key_that_can_be_named(medium: Medium) -> None:
    check_key(medium)


@each_medium
async def test_a_medium_refuses_an_option_that_it_does_not_know(medium: Medium) -> None:
    await check_refuses_unknown_options(medium, PROBES[medium.key])


@each_medium
async def test_a_medium_starts_and_stops_without_leaving_anything(medium: Medium) -> None:
    await check_starts_and_stops(medium, PROBES[medium.key])


@each_medium
async def test_a_medium_answers_only_after_the_frame_is_logged(medium: Medium) -> None:
    await check_answers_after_logging(medium, PROBES[medium.key])


@each_medium
async def test_a_medium_does_not_acknowledge_what_the_log_did_not_take(medium: Medium) -> None:
    await check_acknowledges_only_what_is_logged(medium, PROBES[medium.key])


@each_medium
async def test_a_medium_hands_commands_to_the_right_device(medium: Medium) -> None:
    await check_hands_out_commands(medium, PROBES[medium.key])
