"""Reading the inputs of a published vector, with an error that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from slotmeter.errors import Refused

__all__ = ["Inputs", "VectorError"]


_NOTES = ("note", "source")


class VectorError(Refused):
    """A vector cannot be run; ``field`` names the place in the vector that is wrong."""


@dataclass(slots=True)
class Inputs:
    """Inputs of a vector, read with types; remembers what was read."""

    data: Mapping[str, object]
    prefix: str = "inputs"
    read: set[str] = field(default_factory=set)
    unused_below: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Say whether an optional input is there."""
        return name in self.data

    def _value(self, name: str) -> object:
        self.read.add(name)
        if name not in self.data:
            raise VectorError("vector_field_missing", "it is missing", field=self.path(name))
        return self.data[name]

    def path(self, name: str) -> str:
        """Name a field as it stands in the file."""
        return f"{self.prefix}.{name}" if self.prefix else name

    def unused(self) -> tuple[str, ...]:
        """Name the inputs that nothing has read, apart from notes."""
        own = (self.path(n) for n in self.data if n not in self.read and n not in _NOTES)
        return (*own, *self.unused_below)

    def wrong(self, name: str, expected: str) -> VectorError:
        """Return the error for a field that cannot be read."""
        got = repr(self.data.get(name))[:60]
        return VectorError(
            "vector_field_wrong", f"expected {expected}, got {got}", field=self.path(name)
        )

    def integer(self, name: str) -> int:
        """Read an integer."""
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "an integer")
        return value

    def number(self, name: str) -> int:
        """Read an integer, or one written as a string of decimal digits."""
        value = self._value(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value)
        return self.integer(name)

    def bit(self, name: str) -> bool:
        """Read 0 or 1."""
        value = self._value(name)
        if not isinstance(value, int) or value not in (0, 1):
            raise self.wrong(name, "0 or 1")
        return bool(value)

    def text(self, name: str) -> str:
        """Read a string."""
        value = self._value(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def octets(self, name: str, length: int | None = None) -> bytes:
        """Read bytes written in hex."""
        text = self.text(name)
        expected = "hex digits" if length is None else f"{2 * length} hex digits"
        try:
            value = bytes.fromhex(text)
        except ValueError:
            raise self.wrong(name, expected) from None
        if length is not None and len(value) != length:
            raise self.wrong(name, expected)
        return value

    def hex_number(self, name: str) -> int:
        """Read a number written in hex, of any length."""
        try:
            return int(self.text(name), 16)
        except ValueError:
            raise self.wrong(name, "a hexadecimal number") from None

    def instant(self, name: str) -> datetime:
        """Read an ISO 8601 time; one without a zone is UTC."""
        try:
            value = datetime.fromisoformat(self.text(name))
        except ValueError:
            raise self.wrong(name, "an ISO 8601 time") from None
        return value if value.tzinfo else value.replace(tzinfo=UTC)

    def decimal(self, name: str) -> Decimal:
        """Read a decimal number written as a string or an integer."""
        value = self._value(name)
        try:
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise self.wrong(name, "a decimal number as a string")
            return Decimal(value)
        except InvalidOperation:
            raise self.wrong(name, "a decimal number as a string") from None

    def part(self, name: str, defaults: Mapping[str, object] | None = None) -> Inputs:
        """Read a nested mapping."""
        value = self._value(name)
        if not isinstance(value, Mapping):
            raise self.wrong(name, "an object")
        return Inputs({**(defaults or {}), **value}, self.path(name))
