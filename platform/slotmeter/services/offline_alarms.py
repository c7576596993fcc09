"""What is written when a device falls silent or is heard again: alarms, events, learned habits;
pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.contacts import FIRST_INTERVAL_US, ContactRecord, heard
from slotmeter.ports import Insert, NewId, Read, Row, Rows, SqlValue, Step, Update
from slotmeter.services.events import Event, event_step
from slotmeter.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US, instant

__all__ = [
    "BEARER_DEVICES_MIN",
    "BEARER_SILENT",
    "BEARER_SUBJECT",
    "LEARN_COLUMNS",
    "OFFLINE",
    "Bearer",
    "back_steps",
    "bearer_steps",
    "device_reads",
    "is_node_silent",
    "learned_row",
    "offline_steps",
    "record_of",
]

OFFLINE: Final = "offline"
"""Kind of the alarm of a device or node that is silent, and of the event that tells of it."""

BEARER_SILENT: Final = "bearer_silent"
"""Kind of the alarm of a medium over which nobody is heard."""

BEARER_SUBJECT: Final = "bearer:"
"""What the alarm of a medium is of begins with this."""

LEARN_COLUMNS: Final = (
    *("of_utility", "of_device", "to_interval_us", "to_expected_us", "to_contacts", "to_missed"),
)
"""Parameters of ``contacts_learn``."""

BEARER_DEVICES_MIN: Final = 20
"""With so many devices on a medium, the silence of all of them is that of the medium."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """A medium as a utility's devices use it.

    Args:
        devices: how many were ever heard on it and are not offline.
        last_us: when one of them counts as heard last.
        contact_us: when one of them was heard last.
        limit_us: the shortest silence that one of them may keep.
    """

    utility_id: int
    medium: str
    devices: int
    last_us: int
    contact_us: int
    limit_us: int

    @property
    def is_judged(self) -> bool:
        """Whether it has enough devices for their common silence to mean the medium."""
        return self.devices >= BEARER_DEVICES_MIN

    @property
    def subject(self) -> str:
        """What its alarm is of."""
        return f"{BEARER_SUBJECT}{self.medium}"


def record_of(row: Row) -> ContactRecord:
    """Return what is known of a device's habit."""
    last_us = None
    if row["expected_us"] is not None:
        last_us = row["expected_us"] - (row["interval_us"] or FIRST_INTERVAL_US)
    return ContactRecord(last_us, row["interval_us"], row["contacts"], row["contacts_missed"])


def learned_row(row: Row, since_us: int) -> tuple[SqlValue, ...] | None:
    """Return what a device's last contact teaches, in the order of ``LEARN_COLUMNS``.

    Args:
        row: of the device.
        since_us: when contacts were first watched; what came before counts as of then.

    Returns:
        None when it teaches nothing.
    """
    before = record_of(row)
    at_us = row["last_contact_us"]
    if before.last_us is None:
        at_us = max(at_us, since_us)
    record = heard(before, at_us)
    if record == before:
        return None
    learned = (record.interval_us, record.expected_us, record.contacts, record.missed)
    return (row["utility_id"], row["id"], *learned)


def is_node_silent(row: Row, alive_us: int) -> bool:
    """Say whether a node is silent: neither it nor any device behind it was heard in time.

    Args:
        row: of the node, with what is known of the devices behind it.
        alive_us: until when anything would have been heard.
    """
    own, behind_us = record_of(row), row["behind_heard_us"]
    if own.last_us is not None:
        last_us = max(own.last_us, row["last_contact_us"] or 0)
        if alive_us - last_us <= own.silence_us_max:
            return False
    return behind_us is None or bool(alive_us - behind_us > row["behind_limit_us"])


def device_reads(row: Row) -> list[Read]:
    """Return the reads that :func:`offline_steps` and :func:`back_steps` need."""
    utility_id = row["utility_id"]
    device = Read("contacts_device", {"utility_id": utility_id, "id": row["id"]}, "device")
    of: dict[str, SqlValue] = {"utility_id": utility_id, "kind": OFFLINE}
    if row["meter_id"] is None:
        return [device, Read("contacts_subject_alarms", {**of, "subject": _subject(row)}, "alarms")]
    return [device, Read("contacts_alarms", {**of, "meter_id": row["meter_id"]}, "alarms")]


def offline_steps(row: Row, rows: Rows, new_id: NewId, now_us: int) -> list[Step]:
    """Return what is written of a silent device; nothing when it was heard or told of meanwhile."""
    device, last_us = rows["device"][0], row["last_contact_us"]
    if device["offline_us"] is not None or device["last_contact_us"] != last_us:
        return []
    to: dict[str, SqlValue] = {"of_last_us": last_us or 0, "to_offline_us": now_us}
    steps: list[Step] = [Update("contacts_offline", {**_of(row), **to})]
    if not rows["alarms"]:
        severity = "warning" if row["meter_id"] is not None else "alarm"
        subject = None if row["meter_id"] is not None else _subject(row)
        of = _Of(row["utility_id"], row["meter_id"], subject, OFFLINE, severity)
        steps += _raised(of, _silent_text(row), new_id, now_us)
    return steps


def back_steps(row: Row, rows: Rows, new_id: NewId, now_us: int) -> list[Step]:
    """Return what is written of a device that is heard again, or not waited for any more."""
    if rows["device"][0]["offline_us"] != row["offline_us"]:
        return []
    steps: list[Step] = [
        Update("contacts_online", {**_of(row), "of_offline_us": row["offline_us"]})
    ]
    text = f"{_named(row)} is not expected to report any more"
    if row["is_in_use"]:
        text = f"{_named(row)} is heard again"
        # Those behind it begin anew: they were not heard because it was not.
        of = {"of_utility": row["utility_id"], "of_node": row["id"]}
        steps.append(Update("contacts_node_back", {**of, "to_now_us": now_us}, rows=None))
    for alarm in rows["alarms"]:
        steps += _cleared(alarm, OFFLINE, text, new_id, now_us)
    return steps


def bearer_steps(
    bearer: Bearer, alarms: Sequence[Row], new_id: NewId, now_us: int, *, is_silent: bool
) -> list[Step]:
    """Return what is written of a medium; nothing when all of it is told already.

    Before its alarm is cleared, the devices on it are given time: they begin anew.
    """
    if is_silent == bool(alarms):
        return []
    if is_silent:
        of = _Of(bearer.utility_id, None, bearer.subject, BEARER_SILENT, "alarm")
        text = (
            f"None of {bearer.devices} devices on {bearer.medium} was heard since "
            f"{_moment(bearer.contact_us)}; their own silence is not told of beside this"
        )
        return _raised(of, text, new_id, now_us)
    steps: list[Step] = []
    for alarm in alarms:
        text = f"Devices on {bearer.medium} are heard again"
        if not bearer.devices:
            text = f"No device is waited for on {bearer.medium} any more"
        steps += _cleared(alarm, BEARER_SILENT, text, new_id, now_us)
    return steps


# --- alarms and words -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Of:
    """What an alarm is of."""

    utility_id: int
    meter_id: int | None
    subject: str | None
    kind: str
    severity: str


def _of(row: Row) -> dict[str, SqlValue]:
    return {"of_utility": row["utility_id"], "of_device": row["id"]}


def _raised(of: _Of, text: str, new_id: NewId, now_us: int) -> list[Step]:
    alarm: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": of.utility_id,
        "meter_id": of.meter_id,
        "kind": of.kind,
        "severity": of.severity,
        "text": text,
        "raised_us": now_us,
        "cleared_us": None,
        "subject": of.subject,
    }
    event = Event(
        utility_id=of.utility_id,
        at_us=now_us,
        kind=of.kind,
        text=text,
        severity=of.severity,
        meter_id=of.meter_id,
        data={} if of.subject is None else {"subject": of.subject},
    )
    return [Insert("alarm", alarm), event_step(event, new_id)]


def _cleared(alarm: Row, kind: str, text: str, new_id: NewId, now_us: int) -> list[Step]:
    clear: dict[str, SqlValue] = {
        "of_utility": alarm["utility_id"],
        "of_alarm": alarm["id"],
        "to_cleared_us": now_us,
    }
    data: Mapping[str, object] = {"raised_us": alarm["raised_us"]}
    event = Event(
        utility_id=alarm["utility_id"],
        at_us=now_us,
        kind=f"{kind}_cleared",
        text=text,
        meter_id=alarm["meter_id"],
        data=data if alarm["subject"] is None else {**data, "subject": alarm["subject"]},
    )
    return [Update("ingest_alarm_clear", clear), event_step(event, new_id)]


def _subject(row: Row) -> str:
    return f"node:{row['serial'] or row['address']}"


def _named(row: Row) -> str:
    if row["number"] is not None:
        return "The meter"
    return f"The node {row['serial'] or row['address']}"


def _silent_text(row: Row) -> str:
    lasts = (row["last_contact_us"], row.get("behind_last_us"))
    last = _moment(max(last_us or 0 for last_us in lasts))
    if row.get("devices"):
        return (
            f"{_named(row)} was not heard since {last}, nor any of the {row['devices']} devices "
            "behind it"
        )
    habit = record_of(row)
    text = f"{_named(row)} was not heard since {last}"
    if habit.is_learned and habit.interval_us is not None:
        text += f"; it reports about every {_about(habit.interval_us)}"
    return text


def _moment(at_us: int) -> str:
    return f"{instant(at_us):%Y-%m-%d %H:%M} UTC"


def _about(span_us: int) -> str:
    """Write a length of time as people say it: in the greatest unit of which it has two."""
    for size_us, unit in ((DAY_US, "days"), (HOUR_US, "hours"), (MINUTE_US, "minutes")):
        if span_us >= 2 * size_us:
            return f"{round(span_us / size_us)} {unit}"
    return f"{max(span_us // SECOND_US, 1)} seconds"
