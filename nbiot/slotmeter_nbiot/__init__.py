"""The NB-IoT medium: CoAP over UDP."""

from __future__ import annotations

from slotmeter_nbiot.medium import MEDIUM

__all__ = ["MEDIUM"]
