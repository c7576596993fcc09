"""Local times on the command line: as people write them, and as the platform takes them."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slotmeter.services.registry import UtilityInfo

__all__ = ["local_time", "utc"]


def local_time(text: str) -> datetime:
    """Read a local time without a time zone, for argparse."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected YYYY-MM-DD or YYYY-MM-DDTHH:MM, got {text!r}"
        ) from error
    if at.tzinfo is not None:
        raise argparse.ArgumentTypeError("give the local time without a time zone")
    return at


def utc(at: datetime | None, utility: UtilityInfo) -> datetime | None:
    """Return a local time of a utility as aware UTC."""
    return None if at is None else at.replace(tzinfo=utility.zone()).astimezone(UTC)
