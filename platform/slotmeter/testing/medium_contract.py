"""What every medium must do, as functions that a medium's author calls from a test.

The author gives a :class:`DeviceProbe`: the smallest device that speaks the medium's protocol. Each
check sets the medium up with :class:`slotmeter.testing.fakes.FakePluginContext`, raises
``AssertionError`` with the medium's key and what was wrong, and stops what it started.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from slotmeter.devices.drivers import valid_key
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import Medium, MediumSetup
from slotmeter.testing.fake_http import serving
from slotmeter.testing.fakes import FakePluginContext

__all__ = [
    "DEVICE_KEYS",
    "Answer",
    "DeviceProbe",
    "check_acknowledges_only_what_is_logged",
    "check_answers_after_logging",
    "check_hands_out_commands",
    "check_key",
    "check_refuses_unknown_options",
    "check_starts_and_stops",
]

CHECK_TIMEOUT_S: Final = 30

DEVICE_KEYS: Final[Mapping[str, bytes]] = {
    "dev-1": b"key of the first device, for tests",
    "dev-2": b"key of the other device, for tests",
}
"""The devices of the checks, with the keys that they prove themselves with where they must."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device got back: whether its frame was acknowledged, and the commands."""

    acknowledged: bool
    commands: bytes = b""


class DeviceProbe(Protocol):
    """A device of one medium, in a test."""

    options: Mapping[str, object]
    """With these the medium can be set up on any machine; port 0 where there is a port."""

    async def send(self, address: str, device: str, payload: bytes) -> Answer:
        """Send one frame from a device to where the medium listens; return the first answer."""
        ...


@dataclass(frozen=True, slots=True)
class _Running:
    """A medium that is set up, and where devices reach it."""

    setup: MediumSetup
    addresses: Sequence[str]


@asynccontextmanager
async def _running(
    medium: Medium, probe: DeviceProbe, fake: FakePluginContext
) -> AsyncIterator[_Running]:
    fake.device_keys.keys.update(DEVICE_KEYS)
    async with asyncio.timeout(CHECK_TIMEOUT_S), AsyncExitStack() as stack:
        stack.push_async_callback(fake.tasks.stop)
        setup = await medium.setup(fake.context, probe.options)
        stack.push_async_callback(setup.stop)
        # A medium that answers HTTP does so through the platform's server.
        served = [await stack.enter_async_context(serving(fake))] if fake.routes.all else []
        yield _Running(setup, [*served, *setup.addresses])


def check_key(medium: Medium) -> None:
    """The key is one that configuration and drivers can name."""
    assert valid_key(medium.key), f"{medium.key}: not a lower-case identifier"


async def check_refuses_unknown_options(medium: Medium, probe: DeviceProbe) -> None:
    """An option that the medium does not know stops start-up, and is named."""
    fake = FakePluginContext()
    try:
        setup = await medium.setup(fake.context, {**probe.options, "no_such_option": 1})
    except ConfigError as error:
        said = error.message
    else:
        await setup.stop()
        raise AssertionError(f"{medium.key}: took an option that it does not know")
    assert "no_such_option" in said, f"{medium.key}: does not name the option: {said}"


async def check_starts_and_stops(medium: Medium, probe: DeviceProbe) -> None:
    """It says where it listens, stops twice without harm, leaves no task, and starts again."""
    for _ in range(2):
        fake = FakePluginContext()
        async with _running(medium, probe, fake) as running:
            assert running.setup.addresses, f"{medium.key}: does not say where it listens"
            await running.setup.stop()
        assert not fake.tasks.running, f"{medium.key}: left a task running"


async def check_answers_after_logging(medium: Medium, probe: DeviceProbe) -> None:
    """While the frame log has not taken a frame, its device has no acknowledgement."""
    fake = FakePluginContext()
    fake.frames.held.clear()
    async with _running(medium, probe, fake) as running:
        sending = asyncio.create_task(probe.send(running.addresses[0], "dev-1", b"\x01"))
        done, _ = await asyncio.wait({sending}, timeout=0.5)
        assert not done, f"{medium.key}: answered before the frame was logged"
        fake.frames.held.set()
        answer = await sending
        assert answer.acknowledged, f"{medium.key}: a logged frame was not acknowledged"
        frames = [(f.medium, f.address, f.payload) for f in fake.frames.frames]
        assert frames == [(medium.key, "dev-1", b"\x01")], f"{medium.key}: logged {frames}"


async def check_acknowledges_only_what_is_logged(medium: Medium, probe: DeviceProbe) -> None:
    """When the frame log fails, the device is told to send again; afterwards all is well."""
    fake = FakePluginContext()
    fake.frames.error = Unavailable("database_unavailable", "the disk is full")
    async with _running(medium, probe, fake) as running:
        refused = await probe.send(running.addresses[0], "dev-1", b"\x01")
        fake.frames.error = None
        taken = await probe.send(running.addresses[0], "dev-1", b"\x01")
    assert not refused.acknowledged, f"{medium.key}: acknowledged a frame that was not logged"
    assert taken.acknowledged, f"{medium.key}: did not recover"


async def check_hands_out_commands(medium: Medium, probe: DeviceProbe) -> None:
    """What is due for a device reaches that device and no other."""
    fake = FakePluginContext()
    fake.commands.put("dev-1", b"\x81\x01")
    async with _running(medium, probe, fake) as running:
        other = await probe.send(running.addresses[0], "dev-2", b"\x01")
        own = await probe.send(running.addresses[0], "dev-1", b"\x01")
    assert other.commands == b"", f"{medium.key}: gave a command to the wrong device"
    assert own.commands == b"\x81\x01", f"{medium.key}: did not give the command"
