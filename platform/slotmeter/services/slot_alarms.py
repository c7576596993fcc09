"""The alarm of a node whose slots hold other meters than those bound to them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from slotmeter.ports import Insert, NewId, Row, SqlValue, Step, Update
from slotmeter.services.events import Event, event_step

__all__ = ["BINDING_DIFFERS", "clear_steps", "raise_steps", "slots_of", "subject_of"]

BINDING_DIFFERS: Final = "binding_differs"
"""Kind of the alarm and of its event, and the code of a frame that is set aside for it."""

_PREFIX: Final = "slots"


def subject_of(node: str, slots: Iterable[int]) -> str:
    """Return what the alarm is about, for slots of a node that are concerned together."""
    return f"{_PREFIX}:{node}:{'+'.join(str(slot) for slot in sorted(slots))}"


def slots_of(node: str, subject: str | None) -> frozenset[int]:
    """Return the slots that such a subject names; none when it is not of this node."""
    prefix, _, rest = (subject or "").partition(":")
    name, _, slots = rest.rpartition(":")
    if prefix != _PREFIX or name != node:
        return frozenset()
    return frozenset(int(slot) for slot in slots.split("+") if slot.isdigit())


def raise_steps(
    utility_id: int,
    subject: str,
    text: str,
    meter_ids: Sequence[int],
    new_id: NewId,
    *,
    now_us: int,
    data: Mapping[str, object],
) -> list[Step]:
    """Raise the alarm, and tell of it with each meter that it is about."""
    alarm: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": utility_id,
        "meter_id": None,
        "kind": BINDING_DIFFERS,
        "severity": "alarm",
        "text": text,
        "raised_us": now_us,
        "cleared_us": None,
        "subject": subject,
    }
    told = [
        event_step(
            Event(
                utility_id=utility_id,
                at_us=now_us,
                kind=BINDING_DIFFERS,
                text=text,
                severity="alarm",
                meter_id=meter_id,
                data={"subject": subject, **data},
            ),
            new_id,
        )
        for meter_id in (*meter_ids, *(() if meter_ids else (None,)))
    ]
    return [Insert("alarm", alarm), *told]


def clear_steps(
    utility_id: int, alarm: Row, text: str, new_id: NewId, *, now_us: int
) -> list[Step]:
    """Clear an open alarm of a node and tell of it."""
    cleared: dict[str, SqlValue] = {
        "of_utility": utility_id,
        "of_alarm": alarm["id"],
        "to_cleared_us": now_us,
    }
    event = Event(
        utility_id=utility_id,
        at_us=now_us,
        kind=f"{BINDING_DIFFERS}_cleared",
        text=text,
        data={"subject": alarm["subject"]},
    )
    return [Update("ingest_alarm_clear", cleared), event_step(event, new_id)]
