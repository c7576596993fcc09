"""The composition root: the only place that knows all concrete parts, and starts and stops them."""

from slotmeter.runtime.server import Role, Runtime

__all__ = ["Role", "Runtime"]
