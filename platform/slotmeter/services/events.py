"""Events: the durable feed that pages, streams and people follow."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from slotmeter.ports import Insert, NewId

__all__ = ["Event", "compact_json", "event_step", "strict_json"]


_QUICK = msgspec.json.Encoder(order="sorted")
# json.dumps makes an encoder for each call that is not all defaults.
_ANY = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_STRICT = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def compact_json(document: object) -> str:
    """Write a JSON document the one way that the database stores it.

    Keys in order, no spaces, nothing escaped that need not be: what is compared or hashed as text
    depends on it. Documents hold no floats.
    """
    try:
        return _QUICK.encode(document).decode()
    except TypeError:  # keys that are no text, and subclasses of text and integers
        return _ANY.encode(document)


def strict_json(document: object) -> str:
    """Write a document of somebody else's as :func:`compact_json` writes ours.

    Raises:
        TypeError: it holds what JSON cannot hold.
        ValueError: it holds itself, or a number that JSON does not have.
    """
    return _STRICT.encode(document)


class Event(msgspec.Struct, frozen=True):
    """Something worth telling.

    Args:
        utility_id: who may see it.
        at_us: our clock, UTC epoch microseconds.
        kind: stable snake_case name.
        text: one sentence for a person; never a token.
        severity: info, warning or alarm.
        meter_id: the meter it is about.
        principal_id: whose sale it is about; vendors see only their own.
        data: further facts for programs.
    """

    utility_id: int
    at_us: int
    kind: str
    text: str
    severity: str = "info"
    meter_id: int | None = None
    principal_id: int | None = None
    data: Mapping[str, object] = msgspec.field(default_factory=dict)


def event_step(event: Event, new_id: NewId) -> Insert:
    """Return the row of one event."""
    return Insert(
        "event",
        {
            "id": new_id(),
            "utility_id": event.utility_id,
            "at_us": event.at_us,
            "kind": event.kind,
            "severity": event.severity,
            "meter_id": event.meter_id,
            "principal_id": event.principal_id,
            "text": event.text,
            "data": compact_json(event.data),
        },
    )
