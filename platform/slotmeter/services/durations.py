"""Durations in the unit that the database keeps times in: microseconds."""

from __future__ import annotations

from slotmeter.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US

__all__ = ["DAY_US", "HOUR_US", "MINUTE_US", "SECOND_US"]
