"""Members of the API's JSON as exact values; what is not as promised is ``Unavailable``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from slotmeter.errors import Unavailable

__all__ = [
    "Row",
    "amounts",
    "counts",
    "decimal",
    "flag",
    "member",
    "members",
    "number",
    "text",
    "time",
    "time_needed",
]

Row = Mapping[str, Any]


def _fail(key: str, expected: str, got: object) -> Unavailable:
    return Unavailable(
        "api_not_understood",
        f"expected {expected} in the API's answer, got {type(got).__name__}",
        field=key,
    )


def text(row: Row, key: str, default: str | None = None) -> str:
    """Return text."""
    value = row.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise _fail(key, "text", value)
    return value


def number(row: Row, key: str, default: int | None = None) -> int:
    """Return a whole number."""
    value = row.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _fail(key, "a whole number", value)
    return value


def flag(row: Row, key: str) -> bool:
    """Say whether a member is true."""
    return bool(row.get(key))


def _decimal_of(key: str, value: object) -> Decimal | None:
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        raise _fail(key, "a decimal as text", value)
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise _fail(key, "a decimal as text", value) from error


def decimal(row: Row, key: str) -> Decimal | None:
    """Return an exact decimal, or None."""
    return _decimal_of(key, row.get(key))


def time(row: Row, key: str) -> datetime | None:
    """Return an aware time in UTC, or None."""
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _fail(key, "an ISO 8601 time", value)
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise _fail(key, "an ISO 8601 time", value) from error
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def time_needed(row: Row, key: str) -> datetime:
    """Return an aware time in UTC."""
    at = time(row, key)
    if at is None:
        raise _fail(key, "an ISO 8601 time", None)
    return at


def member(row: Row, key: str) -> Row:
    """Return an object; an empty one when it is null."""
    value = row.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _fail(key, "an object", value)
    return value


def members(row: Row, key: str) -> list[Row]:
    """Return a list of objects; an empty one when it is null."""
    value = row.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _fail(key, "a list of objects", value)
    return value


def counts(row: Row, key: str) -> dict[str, int]:
    """Return counts by name."""
    counts = member(row, key)
    return {name: number(counts, name) for name in counts}


def amounts(row: Row, key: str) -> dict[str, Decimal]:
    """Return exact decimals by name."""
    amounts = member(row, key)
    return {name: decimal(amounts, name) or Decimal(0) for name in amounts}
