"""Durations in the unit that the database keeps times in: microseconds."""

from __future__ import annotations

from typing import Final

__all__ = ["DAY_US", "HOUR_US", "MINUTE_US", "SECOND_US"]

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
