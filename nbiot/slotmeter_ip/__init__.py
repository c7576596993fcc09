"""The generic medium for meters on IP networks: JSON over HTTP and MQTT."""

from __future__ import annotations

from slotmeter_ip.medium import MEDIUM

__all__ = ["MEDIUM"]
