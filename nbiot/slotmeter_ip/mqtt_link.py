"""Devices behind an MQTT broker: ``slotmeter/<entry>/<device>/up``, ``down`` and ``state``.

A message is acknowledged to the broker when its frames are in the durable log, and not before;
until then the broker keeps it, also while we are away. Commands are never retained, and expire in
the broker when their lease runs out here.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

import aiomqtt

from slotmeter.errors import ConfigError, Refused, Unavailable
from slotmeter.ports import Fate, PluginContext
from slotmeter_ip.broker import BrokerClient, connected, is_refusal
from slotmeter_ip.envelope import make_head, new_nonce, opened, signed_text
from slotmeter_ip.handing_in import DEVICE, HandingIn
from slotmeter_ip.options import PASSWORD, Options
from slotmeter_ip.presence import Presence

__all__ = ["MqttLink"]

FIRST_WITHIN_S: Final = 20.0
STOP_WITHIN_S: Final = 5.0
PAUSE_S_FIRST: Final = 1.0
PAUSE_S_MAX: Final = 60.0
LOOK_EVERY_S: Final = 15.0
ASK_AGAIN_S: Final = 10.0
"""After a lease has run out, commands are given this long to be queued again."""

REFUSED_FROM: Final = 128
"""Reason codes from here on are refusals (MQTT 5, section 2.4)."""

STRANGER: Final = "device_unknown"
"""Code of a frame of a device that is not registered, when enough of strangers is kept."""

_TOPIC: Final = re.compile(r"slotmeter/[^/+#]+/(?P<device>[^/+#]+)/(?P<what>up|state)")


class MqttLink:
    """The connection of one entry to its broker, for as long as the entry is loaded."""

    def __init__(self, context: PluginContext, options: Options, handing_in: HandingIn) -> None:
        """Hold the parts; nothing is sent yet."""
        self._context = context
        self._options = options
        self._handing_in = handing_in
        self._root = f"slotmeter/{context.entry.key}"
        self._presence = Presence(
            context.clock.monotonic_s, options.mqtt_awake_s, options.requests_per_minute
        )
        self._in_flight = asyncio.Semaphore(options.mqtt_in_flight_max)
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._first.add_done_callback(_look_at)
        self._never_there = False
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._cursor = 0

    @property
    def address(self) -> str:
        """The broker and the topics, for people."""
        scheme = "mqtts" if self._options.mqtt_tls else "mqtt"
        return f"{scheme}://{self._options.mqtt_host}:{self._options.mqtt_port}/{self._root}"

    async def start(self) -> None:
        """Connect for the first time.

        Raises:
            Unavailable: ``broker_unreachable``.
            ConfigError: ``broker_refused``, or the certificates cannot be used.
        """
        client = self._client()  # what is wrong with the options is told now
        self._context.tasks.vital(f"mqtt of {self._context.entry.key}", self._run(client))
        try:
            async with asyncio.timeout(FIRST_WITHIN_S):
                await asyncio.shield(self._first)
        except TimeoutError as error:
            await self.stop()
            raise Unavailable(
                "broker_unreachable", f"{self.address} did not answer in time"
            ) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish what is in work, and disconnect; once is enough."""
        self._stopping.set()
        try:
            async with asyncio.timeout(2 * STOP_WITHIN_S):
                await self._ended.wait()
        except TimeoutError:
            self._context.log.warning("the connection to the broker did not end in time")

    # --- the connection -------------------------------------------------------------------------

    def _client(self) -> BrokerClient:
        return BrokerClient(
            self._options,
            identifier=f"slotmeter-{self._context.entry.key}",
            password=self._context.secrets.get(PASSWORD),
            log=self._context.log.getChild("mqtt"),
        )

    async def _run(self, client: BrokerClient) -> None:
        """Be connected until told to stop; what is lost is taken up again after a pause."""
        pause_s = PAUSE_S_FIRST
        try:
            while not self._stopping.is_set():
                was_there = await self._connection(client)
                if self._never_there:
                    return
                pause_s = PAUSE_S_FIRST if was_there else min(2 * pause_s, PAUSE_S_MAX)
                await self._wait(pause_s)
                client = self._client()
        finally:
            if not self._first.done():
                self._first.cancel()
            self._ended.set()

    async def _connection(self, client: BrokerClient) -> bool:
        """Serve one connection until it ends; return whether there was one."""
        was_there = False
        try:
            async with connected(client):
                await self._subscribe(client)
                was_there = True
                self._is_there()
                await self._serve(client)
        except* aiomqtt.MqttError as errors:
            self._is_lost(errors.exceptions[0], was_there=was_there)
        return was_there

    async def _subscribe(self, client: BrokerClient) -> None:
        topics = [(f"{self._root}/+/up", 1), (f"{self._root}/+/state", 1)]
        codes = await client.subscribe(topics)
        values = [getattr(code, "value", code) for code in codes]
        if any(isinstance(value, int) and value >= REFUSED_FROM for value in values):
            raise aiomqtt.MqttError(f"the broker refuses the topics under {self._root}")

    def _is_there(self) -> None:
        if not self._first.done():
            self._first.set_result(None)
        self._context.log.info("connected to %s", self.address)
        self._context.metrics.count("broker_connections")

    def _is_lost(self, error: BaseException, *, was_there: bool) -> None:
        """Say once that the broker is lost; every further attempt is only counted."""
        self._context.metrics.count("broker_losses")
        if not self._first.done():
            self._never_there = True
            self._first.set_exception(_first_error(self.address, error))
        elif was_there and not self._stopping.is_set():
            self._context.log.warning("lost %s: %s", self.address, error)

    async def _serve(self, client: BrokerClient) -> None:
        working: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            loops = (
                group.create_task(self._read(client, group, working)),
                group.create_task(self._push_all(client)),
            )
            await self._stopping.wait()
            for loop in loops:
                loop.cancel()
            if working:
                await asyncio.wait(working, timeout=STOP_WITHIN_S)
            for task in working:
                task.cancel()

    async def _wait(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    # --- what devices say -----------------------------------------------------------------------

    async def _read(
        self,
        client: BrokerClient,
        group: asyncio.TaskGroup,
        working: set[asyncio.Task[None]],
    ) -> None:
        try:
            async for message in client.messages:
                await self._in_flight.acquire()
                task = group.create_task(self._taken(client, message))
                working.add(task)
                task.add_done_callback(working.discard)
        except aiomqtt.MqttError:
            # A broker that was killed may not have these any more, and devices believe them safe.
            if working:
                await asyncio.wait(working, timeout=STOP_WITHIN_S)
            raise

    async def _taken(self, client: BrokerClient, message: aiomqtt.Message) -> None:
        """Work on one message, and acknowledge it."""
        try:
            parts = _TOPIC.fullmatch(str(message.topic))
            device = parts["device"] if parts else ""
            if parts is None or not DEVICE.fullmatch(device):
                self._refuse("topic")
            elif parts["what"] == "state":
                self._presence.said(device, online=message.payload == b"online")
            elif message.retain:
                self._refuse("retained")  # an old one, which was there when it was new
            elif not self._presence.heard(device):
                self._refuse("too_many")
            else:
                await self._heard(device, str(message.topic), message.payload)
            client.acknowledge(message)
            if parts is not None and self._presence.is_awake(device):
                await self._push(client, device)
        finally:
            self._in_flight.release()

    async def _heard(self, device: str, topic: str, message: bytes) -> None:
        """Return when what a device said is in the log, or refused for good."""
        pause_s = PAUSE_S_FIRST
        while True:
            try:
                payload = await self._proven(device, topic, message)
                if payload is None:
                    self._refuse("signature")
                else:
                    await self._handing_in.hand_in(device, "up", payload, json=True)
            except Refused as refusal:
                self._refuse(refusal.code)
            except Unavailable as error:
                if error.code == STRANGER:
                    # To wait would hold one of few places until somebody registers it.
                    self._refuse(error.code)
                    return
                # The broker keeps the message, and the other ones that it may not send meanwhile.
                self._context.metrics.count("unavailable")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
                continue
            return

    async def _proven(self, device: str, topic: str, message: bytes) -> bytes | None:
        if not self._options.mqtt_signed:
            return message
        envelope = opened(topic, message)
        if envelope is None:
            return None
        keys = self._context.device_keys
        is_right = await keys.verify(device, envelope.text, envelope.mac)
        return envelope.payload if is_right else None

    def _refuse(self, reason: str) -> None:
        self._context.metrics.count("refused", reason=reason)

    # --- what devices are told ------------------------------------------------------------------

    async def _push_all(self, client: BrokerClient) -> None:
        """Tell devices that are awake what is queued for them."""
        while True:
            try:
                queued = await self._context.commands.queued(self._cursor, timeout_s=LOOK_EVERY_S)
            except Unavailable:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            self._cursor = queued.cursor
            awake = [each for each in queued.addresses if self._presence.is_awake(each)]
            for device in (*awake, *self._presence.due_again()):
                await self._push(client, device)

    async def _push(self, client: BrokerClient, device: str) -> None:
        commands = self._context.commands
        try:
            handed = await commands.hand_out(device, limit=self._options.commands_per_answer)
            if handed is None:
                return
            topic = f"{self._root}/{device}/down"
            payload = await self._signed(device, topic, handed.payload)
            if payload is None or not await self._published(
                client, topic, payload, lease_s=handed.lease_s
            ):
                await commands.report(device, handed.command_ids, Fate.LOST)
                self._context.metrics.count("given_back")
                return
        except Unavailable:
            return  # the lease brings it back
        self._context.metrics.count("messages_with_commands")
        self._presence.ask_again(device, handed.lease_s + ASK_AGAIN_S)

    async def _signed(self, device: str, topic: str, payload: bytes) -> bytes | None:
        """Return what to send; None when the device has no key to believe it by."""
        if not self._options.mqtt_signed:
            return payload
        time_s, nonce = int(self._context.clock.now().timestamp()), new_nonce()
        text = signed_text(topic, time_s, nonce, payload)
        mac = await self._context.device_keys.sign(device, text)
        return None if mac is None else make_head(time_s, nonce, mac) + payload

    async def _published(
        self, client: BrokerClient, topic: str, payload: bytes, *, lease_s: int
    ) -> bool:
        try:
            await client.tell(topic, payload, expires_s=lease_s)
        except aiomqtt.MqttError:
            return False
        return True


def _look_at(first: asyncio.Future[None]) -> None:
    """Take note of how it ended, when nobody waits for it any more."""
    if not first.cancelled():
        first.exception()


def _first_error(address: str, error: BaseException) -> ConfigError | Unavailable:
    if isinstance(error, aiomqtt.MqttError) and is_refusal(error):
        return ConfigError(
            "broker_refused",
            f"{address} refuses the name or the password; check mqtt_user and mqtt_password",
            field="mqtt_user",
        )
    return Unavailable("broker_unreachable", f"{address}: {error}")
