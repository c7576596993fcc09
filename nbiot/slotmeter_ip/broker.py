"""One connection to an MQTT 5 broker: bounded, and acknowledging only what we say."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from slotmeter.errors import ConfigError
from slotmeter_ip.envelope import HEAD_BYTES_MAX
from slotmeter_ip.options import Options

__all__ = ["BrokerClient", "connected", "is_refusal", "tls_context"]

TIMEOUT_S: Final = 10.0
KEEP_ALIVE_S: Final = 30
PACKET_BYTES_MORE: Final = 1_024 + HEAD_BYTES_MAX
"""What a packet holds beside the payload: topic, properties, our head."""

SPARE: Final = 256
"""Messages of QoS 0 that may wait beside those the broker keeps for us."""

_REFUSALS: Final = frozenset({4, 5, 133, 134, 135, 138})
"""Reason codes of a broker that knows us and does not want us (MQTT 5, table 3-1; MQTT 3.1.1)."""


class BrokerClient(aiomqtt.Client):
    """A client whose messages are acknowledged one by one, when they are safe."""

    def __init__(
        self, options: Options, *, identifier: str, password: str | None, log: logging.Logger
    ) -> None:
        """Prepare; nothing is sent yet."""
        wanted = _properties(PacketTypes.CONNECT)
        wanted.SessionExpiryInterval = options.mqtt_session_h * 3_600
        wanted.ReceiveMaximum = options.mqtt_in_flight_max
        wanted.MaximumPacketSize = options.payload_bytes_max + PACKET_BYTES_MORE
        super().__init__(
            options.mqtt_host,
            options.mqtt_port,
            identifier=identifier,
            username=options.mqtt_user or None,
            password=password,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=wanted,
            tls_context=tls_context(options) if options.mqtt_tls else None,
            keepalive=KEEP_ALIVE_S,
            timeout=TIMEOUT_S,
            max_queued_incoming_messages=options.mqtt_in_flight_max + SPARE,
            logger=log,
        )
        self.pending_calls_threshold = options.mqtt_in_flight_max
        self._options = options
        self._client.manual_ack_set(True)

    async def look(self) -> None:
        """Shake hands by TLS and hang up: paho leaves its socket open when a handshake fails.

        Raises:
            aiomqtt.MqttError: the broker cannot be reached, or its certificate is not trusted.
        """
        host, port = self._options.mqtt_host, self._options.mqtt_port
        if not self._options.mqtt_tls:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, writer = await asyncio.open_connection(
                    host, port, ssl=tls_context(self._options), server_hostname=host
                )
                writer.transport.abort()
                with suppress(OSError):
                    await writer.wait_closed()
        except (OSError, TimeoutError) as error:
            raise aiomqtt.MqttError(f"{error}" or "no answer in time") from error

    async def tell(self, topic: str, payload: bytes, *, expires_s: int) -> None:
        """Publish, never retained; the broker drops what it could not deliver in time.

        Raises:
            aiomqtt.MqttError: the broker did not take it.
        """
        properties = _properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = expires_s
        await self.publish(topic, payload, qos=1, retain=False, properties=properties)

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Tell the broker that a message is safe, so that it forgets it."""
        self._client.ack(message.mid, message.qos)


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # ships no types


def tls_context(options: Options) -> ssl.SSLContext:
    """Return what checks the broker's certificate.

    Raises:
        ConfigError: ``bad_option``.
    """
    try:
        return ssl.create_default_context(cadata=options.mqtt_ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            "bad_option", "mqtt_ca: expected certificates in PEM", field="mqtt_ca"
        ) from error


def is_refusal(error: aiomqtt.MqttError) -> bool:
    """Say whether a broker refused who we are, so that trying again is of no use."""
    if not isinstance(error, MqttConnectError):
        return False
    code = getattr(error.rc, "value", error.rc)
    return code in _REFUSALS


@asynccontextmanager
async def connected(client: BrokerClient) -> AsyncIterator[BrokerClient]:
    """Connect, and disconnect whatever happens.

    A client connects in a thread, which nobody can stop: who is cancelled waits for it, so that no
    socket is left.

    Raises:
        aiomqtt.MqttError: the broker cannot be reached or refuses.
    """
    await client.look()
    connecting = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        await asyncio.wait({connecting}, timeout=2 * TIMEOUT_S)
        if connecting.done() and connecting.exception() is None:
            await client.__aexit__(None, None, None)
        raise
    try:
        yield client
    finally:
        await _disconnect(client)


async def _disconnect(client: BrokerClient) -> None:
    try:
        await client.__aexit__(None, None, None)
    except aiomqtt.MqttError:
        return  # it is gone already, which is what we want
