"""The NB-IoT medium as the platform sees it."""

from __future__ import annotations

from collections.abc import Mapping

from slotmeter.ports import MediumSetup, PluginContext
from slotmeter_nbiot.coap_server import KEY, CoapServer
from slotmeter_nbiot.options import Options

__all__ = ["MEDIUM", "NbiotMedium"]


class NbiotMedium:
    """CoAP over UDP, plain; the entry's options are those of :class:`Options`."""

    key = KEY

    async def setup(self, context: PluginContext, options: Mapping[str, object]) -> MediumSetup:
        """Check the options, listen, and return what runs.

        Raises:
            ConfigError: an option is unknown or cannot work, or the port is taken.
        """
        return await CoapServer.start(context, Options.from_mapping(options))


MEDIUM = NbiotMedium()
