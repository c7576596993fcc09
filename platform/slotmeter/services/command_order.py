"""Which commands of one meter leave which others behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from slotmeter.devices.commands import (
    CUTTING,
    MOVABLE,
    RESTORING,
    SETTING,
    CommandKind,
    CommandState,
)
from slotmeter.ports import NewId, Row, Step
from slotmeter.services.command_rows import change, states_safety
from slotmeter.units import MINUTE_US

__all__ = ["RESTORE_PROOF_US", "is_awaited", "outlived_steps", "overtake_steps", "says_as_much"]

RESTORE_PROOF_US: Final = 15 * MINUTE_US
"""So long giving back that the meter called done is waited for; then it may be asked for again."""


def is_awaited(row: Row, now_us: int) -> bool:
    """Say whether what an open command wants may still come of it, so that none like it is needed.

    Nobody waits without supply for the proof of a command that has evidently done nothing.
    """
    if row["kind"] not in RESTORING or row["state"] != CommandState.ACKNOWLEDGED:
        return True
    acknowledged_us: int = row["acknowledged_us"]
    return now_us - acknowledged_us < RESTORE_PROOF_US


def says_as_much(hold: str | None, as_hold: str | None) -> bool:
    """Say whether a cut may stand for another: not for one stated to be a matter of safety,
    unless it is stated to be one as well, since a payment takes it back.
    """
    return states_safety(hold) or not states_safety(as_hold)


def _is_overtaken(row: Row, newer: Row) -> bool:
    """Say whether an open command has lost its purpose to a newer one of the same meter."""
    if row["id"] == newer["id"]:
        return False
    is_refused = newer["state"] == CommandState.REFUSED
    is_twin = row["kind"] == newer["kind"]
    if newer["kind"] in RESTORING | {CommandKind.SET_VALVE}:
        # What a meter called done is not taken back by giving back that was itself refused.
        if is_refused and row["state"] == CommandState.ACKNOWLEDGED:
            return False
        is_part = row["kind"] == CommandKind.SET_VALVE and not is_refused
        is_whole = newer["kind"] == CommandKind.SET_VALVE and row["kind"] in RESTORING
        return row["kind"] in CUTTING or is_twin or is_part or (is_whole and not is_refused)
    if newer["kind"] in CUTTING and newer["state"] in MOVABLE:
        return row["kind"] in RESTORING | {CommandKind.SET_VALVE} or (
            is_twin and says_as_much(newer["hold"], row["hold"])
        )
    return newer["kind"] in SETTING and is_twin and not is_refused


def overtake_steps(newer: Row, pending: Sequence[Row], *, now_us: int, new_id: NewId) -> list[Step]:
    """Return what ends the commands that a newer one leaves behind, so that none goes out after it.

    A sent command whose answer was lost goes back to the queue when its lease ends; if it outlived
    its opposite, it would undo it. So whatever has not ended is overtaken, sent or not. Giving back
    overtakes cuts, also when gas may not be opened from afar: whoever asks wants no cut any more. A
    cut overtakes only once it may go: when it is queued, or released from its hold.

    Args:
        newer: the command as it will be in this unit.
        pending: the meter's commands that have not ended (statement ``control_pending``).
        now_us: our clock.
        new_id: the unit's source of ids.
    """
    why = f"superseded: command {newer['id']} is newer"
    steps: list[Step] = []
    for row in pending:
        if _is_overtaken(row, newer):
            steps += change(row, CommandState.SUPERSEDED, why, now_us=now_us, new_id=new_id)[1]
    return steps


def outlived_steps(
    asked_again: Row, pending: Sequence[Row], *, now_us: int, new_id: NewId
) -> list[Step]:
    """Return what ends held cuts that are younger than giving back which is asked for once more.

    A held cut overtakes nothing, so that both wait side by side; who asks to give back again, after
    the cut, wants no cut any more.

    Args:
        asked_again: the open command that says what is asked.
        pending: the meter's commands that have not ended (statement ``control_pending``).
        now_us: our clock.
        new_id: the unit's source of ids.
    """
    cuts = [row for row in pending if row["kind"] in CUTTING]
    if asked_again["kind"] not in RESTORING | {CommandKind.SET_VALVE}:
        return []
    return overtake_steps(asked_again, cuts, now_us=now_us, new_id=new_id)
