"""Rows of the table ``command``: how they change, what they keep, and how people see them.

Rows are made by ``services.control.queue_steps`` and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from slotmeter.devices.commands import ENDED, CommandKind, CommandState, may_step
from slotmeter.ports import Insert, NewId, Row, SqlValue, Step, Update
from slotmeter.services.events import compact_json
from slotmeter.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US, iso_utc

__all__ = [
    "ATTEMPTS_MAX",
    "EXPIRES_US",
    "HELD_CUT_EXPIRES_US",
    "HELD_RECHECK_US",
    "LEASE_US",
    "PRIORITY",
    "PROOF_WITHIN_US",
    "Cause",
    "CommandCause",
    "causes_of",
    "change",
    "confirmed_by",
    "hold_text",
    "log_step",
    "movable_state",
    "render_command",
    "states_safety",
]

LEASE_US: Final = 60 * SECOND_US
"""How long a sent command waits for the meter's answer before it is queued again."""

HELD_RECHECK_US: Final = MINUTE_US
"""How often a held cut is looked at again when nothing says until when it is held."""

HELD_CUT_EXPIRES_US: Final = DAY_US
"""How long a cut may be held, counted from the end of the protected hours that hold it."""

_CUT_EXPIRES_US: Final = HOUR_US
_DAYS_30_US: Final = 30 * DAY_US
_DAYS_7_US: Final = 7 * DAY_US

EXPIRES_US: Final[Mapping[CommandKind, int]] = {
    CommandKind.LOAD_TOKEN: _DAYS_30_US,
    CommandKind.OPEN_RELAY: _CUT_EXPIRES_US,
    CommandKind.CLOSE_VALVE: _CUT_EXPIRES_US,
    CommandKind.CLOSE_RELAY: _DAYS_30_US,
    CommandKind.OPEN_VALVE: _DAYS_30_US,
    CommandKind.READ_NOW: HOUR_US,
    CommandKind.SET_VALVE: HOUR_US,
    CommandKind.SET_LOAD_LIMIT: _DAYS_7_US,
    CommandKind.SET_TARIFF: _DAYS_30_US,
    CommandKind.SET_CLOCK: _DAYS_7_US,
    CommandKind.SET_CREDIT_MODE: _DAYS_7_US,
    CommandKind.CLEAR_TAMPER: _DAYS_7_US,
}
"""How long a command may wait for its meter. Cuts age fast: their reason may be gone."""

PROOF_WITHIN_US: Final = DAY_US
"""What the meter called done has failed when its reports do not bear it out within this time."""

ATTEMPTS_MAX: Final[Mapping[CommandKind, int]] = {
    CommandKind.LOAD_TOKEN: 50,
    CommandKind.OPEN_RELAY: 5,
    CommandKind.CLOSE_VALVE: 5,
    CommandKind.CLOSE_RELAY: 50,
    CommandKind.OPEN_VALVE: 50,
    CommandKind.READ_NOW: 5,
    CommandKind.SET_VALVE: 5,
    CommandKind.SET_LOAD_LIMIT: 10,
    CommandKind.SET_TARIFF: 20,
    CommandKind.SET_CLOCK: 10,
    CommandKind.SET_CREDIT_MODE: 10,
    CommandKind.CLEAR_TAMPER: 10,
}
"""How often a command is handed to its medium before it counts as failed."""

PRIORITY: Final[Mapping[CommandKind, int]] = {
    CommandKind.CLOSE_RELAY: 10,
    CommandKind.OPEN_VALVE: 10,
    CommandKind.LOAD_TOKEN: 20,
    CommandKind.OPEN_RELAY: 30,
    CommandKind.CLOSE_VALVE: 30,
    CommandKind.SET_VALVE: 30,
    CommandKind.SET_CREDIT_MODE: 32,
    CommandKind.SET_LOAD_LIMIT: 32,
    CommandKind.CLEAR_TAMPER: 34,
    CommandKind.SET_TARIFF: 36,
    CommandKind.SET_CLOCK: 36,
    CommandKind.READ_NOW: 40,
}
"""Smaller goes first: giving supply back before anything else."""

_CONFIRMED: Final = "confirmed_by_second_person"
_SAFETY: Final = "safety"


class CommandCause(StrEnum):
    """Who wants a command: a sale's delivery, a rule, or a principal of one of its two kinds."""

    SALE = "sale"
    RULE = "rule"
    PERSON = "person"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a command is held or refused: a stable code and a sentence for a person.

    ``until_us`` says until when it holds, where that is known (UTC epoch microseconds).
    """

    code: str
    text: str
    until_us: int | None = None


def _iso(at_us: int | None) -> str | None:
    return None if at_us is None else iso_utc(at_us)


def hold_text(
    causes: Sequence[Cause], *, safety: bool = False, confirmed_by_id: int | None = None
) -> str | None:
    """Write what a command's ``hold`` column keeps: causes, and what the gate was told."""
    entries: list[dict[str, object]] = [
        {"code": cause.code, "text": cause.text, "until": _iso(cause.until_us)} for cause in causes
    ]
    if safety:
        entries.append({"code": _SAFETY, "text": "stated to be a matter of safety"})
    if confirmed_by_id is not None:
        entries.append(
            {
                "code": _CONFIRMED,
                "text": "a second person agreed",
                "principal_id": confirmed_by_id,
            }
        )
    return compact_json(entries) if entries else None


def _entries(hold: str | None) -> list[Mapping[str, object]]:
    entries: list[Mapping[str, object]] = json.loads(hold) if hold else []
    return entries


def causes_of(hold: str | None) -> list[dict[str, object]]:
    """Return the causes in a ``hold`` column, each with code, text and, where known, until."""
    told = {_SAFETY, _CONFIRMED}
    return [dict(entry) for entry in _entries(hold) if entry["code"] not in told]


def states_safety(hold: str | None) -> bool:
    """Say whether the person behind a cut stated safety."""
    return any(entry["code"] == _SAFETY for entry in _entries(hold))


def confirmed_by(hold: str | None) -> int | None:
    """Return the second person who agreed to a cut, if one did."""
    for entry in _entries(hold):
        if entry["code"] == _CONFIRMED:
            principal_id = entry["principal_id"]
            return principal_id if isinstance(principal_id, int) else None
    return None


def log_step(row: Row, state: str, detail: str, *, now_us: int, new_id: NewId) -> Insert:
    """Return the line of a command's history."""
    return Insert(
        "command_log",
        {
            "id": new_id(),
            "utility_id": row["utility_id"],
            "command_id": row["id"],
            "at_us": now_us,
            "state": state,
            "detail": detail,
        },
    )


_CHANGING: Final = (
    *("result", "hold", "attempts", "not_before_us", "expires_us", "lease_us"),
    *("sent_us", "acknowledged_us", "expected_us", "cell"),
)


def movable_state(expected_us: int | None, now_us: int) -> tuple[CommandState, int | None]:
    """Return the state of a command that may go, and the contact it waits for if that is known.

    Args:
        expected_us: when its meter is expected to be heard; None when nobody knows.
        now_us: our clock.
    """
    if expected_us is None or expected_us <= now_us:
        return CommandState.QUEUED, None
    return CommandState.WAITING, expected_us


def change(
    row: Row,
    after: CommandState,
    detail: str,
    *,
    now_us: int,
    new_id: NewId,
    **columns: SqlValue,
) -> tuple[Row, list[Step]]:
    """Take a command to another state, with the line in its history.

    Args:
        row: the command as read in this unit, or as an earlier change returned it.
        after: the new state.
        detail: a sentence for the history.
        now_us: our clock.
        new_id: the unit's source of ids.
        columns: what else changes, of ``result, hold, attempts, not_before_us, expires_us,
            lease_us, sent_us, acknowledged_us, expected_us, cell``.

    Returns the row as it will be, and the steps.
    """
    before = CommandState(row["state"])
    if not may_step(before, after):
        raise AssertionError(f"command {row['id']} cannot go from {before} to {after}")
    ended_us = now_us if after in ENDED else None
    if after is not CommandState.WAITING:
        columns["expected_us"] = None
    changed = {**row, **columns, "state": after.value, "ended_us": ended_us}
    params: dict[str, SqlValue] = {f"to_{name}": changed[name] for name in _CHANGING}
    params |= {
        "of_utility": row["utility_id"],
        "of_command": row["id"],
        "of_state": before.value,
        "to_state": after.value,
        "to_ended_us": ended_us,
    }
    log = log_step(row, after.value, detail, now_us=now_us, new_id=new_id)
    return changed, [Update("control_change", params), log]


def render_command(row: Row) -> dict[str, object]:
    """Return a command as programs see it; ``row`` may carry ``meter_number``."""
    return {
        "id": row["id"],
        "meter": row.get("meter_number"),
        "kind": row["kind"],
        "value": row["value"],
        "text": row["text"],
        "state": row["state"],
        "cause": row["cause"],
        "reason": row["reason"],
        "result": row["result"],
        "causes": causes_of(row["hold"]),
        "confirmed": confirmed_by(row["hold"]) is not None,
        "attempts": row["attempts"],
        "created_at": _iso(row["created_us"]),
        "not_before": _iso(row["not_before_us"]),
        "expected_at": _iso(row["expected_us"]),
        "expires_at": _iso(row["expires_us"]),
        "sent_at": _iso(row["sent_us"]),
        "acknowledged_at": _iso(row["acknowledged_us"]),
        "ended_at": _iso(row["ended_us"]),
    }
