"""The medium as the platform sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slotmeter.ports import MediumSetup, PluginContext
from slotmeter_ip.handing_in import KEY, HandingIn
from slotmeter_ip.http_routes import HttpRoutes
from slotmeter_ip.mqtt_link import MqttLink
from slotmeter_ip.options import Options

__all__ = ["MEDIUM", "IpMedium"]


@dataclass(frozen=True, slots=True)
class IpSetup:
    """An entry that is loaded; its routes go with its context."""

    addresses: tuple[str, ...]
    link: MqttLink | None

    async def stop(self) -> None:
        """Disconnect from the broker."""
        if self.link is not None:
            await self.link.stop()


class IpMedium:
    """JSON over HTTP and MQTT; the entry's options are those of :class:`Options`."""

    key = KEY

    async def setup(self, context: PluginContext, options: Mapping[str, object]) -> MediumSetup:
        """Check the options, connect to the broker if there is one, and answer devices.

        Raises:
            ConfigError: an option is unknown or cannot work, or the broker refuses us.
            Unavailable: the broker cannot be reached now.
        """
        chosen = Options.from_mapping(options)
        handing_in = HandingIn(context, chosen)
        addresses: list[str] = []
        link: MqttLink | None = None
        if chosen.mqtt_host:
            link = MqttLink(context, chosen, handing_in)
            await link.start()
            addresses.append(link.address)
        if chosen.http:
            HttpRoutes(context, chosen, handing_in).add()
            addresses.insert(0, context.routes.prefix)
        return IpSetup(tuple(addresses), link)


MEDIUM = IpMedium()
