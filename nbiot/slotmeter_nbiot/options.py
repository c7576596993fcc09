"""The options of an NB-IoT entry, checked once at start-up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Self

from slotmeter.errors import ConfigError

__all__ = ["Options"]

_PATH: Final = re.compile(r"[A-Za-z0-9._-]{1,32}(/[A-Za-z0-9._-]{1,32}){0,3}")
_BOUNDS: Final = {
    "port": (0, 65_535),
    "payload_bytes_max": (16, 3_072),
    "commands_per_answer": (1, 16),
    "retry_after_s": (1, 3_600),
    "requests_in_flight_max": (1, 65_536),
    "duplicates_kept_s": (1, 600),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What can be set.

    Args:
        host: address to listen on; the default is reached from this machine only.
        allow_plain: listen also where other machines can reach it, although whoever reaches it can
            speak for any meter.
        port: UDP port; 0 takes a free one.
        path: CoAP path that meters push to, parts joined by "/".
        payload_bytes_max: longer pushes are refused (4.13).
        commands_per_answer: at most so many commands ride in one answer.
        retry_after_s: Max-Age of a 5.03, when a meter should try again.
        requests_in_flight_max: beyond so many unanswered requests, 5.03.
        duplicates_kept_s: how long a request is remembered, so that its repeat gets the first
            answer again. aiocoap keeps about 2.4 KB for each.
    """

    host: str = "127.0.0.1"
    allow_plain: bool = False
    port: int = 5683
    path: str = "m"
    payload_bytes_max: int = 1_024
    commands_per_answer: int = 4
    retry_after_s: int = 10
    requests_in_flight_max: int = 1_024
    duplicates_kept_s: int = 60

    @classmethod
    def from_mapping(cls, given: Mapping[str, object]) -> Self:
        """Build from what a configuration says.

        Raises:
            ConfigError: ``unknown_option`` or ``bad_option``, with the option as ``field``.
        """
        known = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise ConfigError(
                    "unknown_option",
                    f"the medium nbiot has no option {name!r}; it has {', '.join(known)}",
                    field=name,
                )
            reason = _fault(name, value)
            if reason:
                raise ConfigError("bad_option", f"{name}: {reason}, got {value!r}", field=name)
        return cls(**given)  # type: ignore[arg-type]  # each value was checked above


def _fault(name: str, value: object) -> str | None:
    """Say what is wrong with a value, or None."""
    if name in _BOUNDS:
        low, high = _BOUNDS[name]
        right = type(value) is int and low <= value <= high
        return None if right else f"expected an integer from {low} to {high}"
    if name == "allow_plain":
        return None if isinstance(value, bool) else "expected true or false"
    if not isinstance(value, str) or not value:
        return "expected text"
    if name == "path" and not _PATH.fullmatch(value):
        return "expected one to four names joined by '/'"
    return None
