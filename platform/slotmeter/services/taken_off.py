"""What ends when a meter is taken off its place: the commands that wait for it, and its slot; pure.

What was asked of a meter was asked for its place. Were it left waiting, a token that a customer
paid for could go to a workshop, or to the household where the meter hangs next.
"""

from __future__ import annotations

from typing import Final

from slotmeter.devices.commands import CommandState
from slotmeter.ports import From, NewId, Read, Row, Rows, SqlValue, Step, Update
from slotmeter.services.command_queue import sale_steps
from slotmeter.services.command_rows import change
from slotmeter.services.delivery import Happening
from slotmeter.services.slot_alarms import BINDING_DIFFERS, clear_steps, slots_of

__all__ = ["leave_slot_steps", "place_of", "taken_off_reads", "taken_off_steps"]

_WHY: Final = "the meter was taken off its place"


def taken_off_reads(utility_id: int, number: str) -> list[Read]:
    """Return the reads that the steps of this module need."""
    unfinished: dict[str, SqlValue | From] = {
        "utility_id": utility_id,
        "meter_id": From("off_place", "id"),
    }
    alarms: dict[str, SqlValue] = {"utility_id": utility_id, "kind": BINDING_DIFFERS}
    return [
        Read("binding_meter", {"utility_id": utility_id, "number": number}, "off_place"),
        Read("control_unfinished", unfinished, "off_commands"),
        Read("slot_alarms", alarms, "off_alarms"),
    ]


def place_of(rows: Rows) -> Row | None:
    """Return in which slot of which node a meter is; None when no node speaks for it."""
    found = rows["off_place"]
    return found[0] if found and found[0]["binding_id"] is not None else None


def taken_off_steps(utility_id: int, rows: Rows, new_id: NewId, *, now_us: int) -> list[Step]:
    """Return what ends with a meter's time at its place.

    What it called done already is left to its proof, which may still come.

    Args:
        utility_id: whose meter it is.
        rows: of :func:`taken_off_reads`.
        new_id: the unit's source of ids.
        now_us: our clock.
    """
    steps = leave_slot_steps(utility_id, rows, new_id, now_us=now_us)
    for row in rows["off_commands"]:
        if row["state"] == CommandState.ACKNOWLEDGED:
            continue
        superseded = CommandState.SUPERSEDED
        _, ended = change(row, superseded, _WHY, now_us=now_us, new_id=new_id, lease_us=None)
        # A token that was typed meanwhile has arrived, whatever becomes of its command.
        has_arrived = row["token_accepted_by"] is not None
        happening = Happening.ALREADY_USED if has_arrived else Happening.GAVE_UP
        steps += [*ended, *sale_steps(row, happening, _WHY, now_us=now_us, new_id=new_id)]
    return steps


def leave_slot_steps(utility_id: int, rows: Rows, new_id: NewId, *, now_us: int) -> list[Step]:
    """Return what takes a meter out of its slot; nothing when it is in none.

    What the slot was alarmed for is over: the next read says what hangs there now.
    """
    place = place_of(rows)
    if place is None:
        return []
    end: dict[str, SqlValue] = {
        "of_utility": utility_id,
        "of_binding": place["binding_id"],
        "at_us": max(now_us, place["from_us"]),
    }
    away: dict[str, SqlValue] = {
        "of_utility": utility_id,
        "of_meter": place["id"],
        "of_node": place["node_id"],
    }
    steps: list[Step] = [
        Update("binding_end", end),
        Update("device_take_away", away, rows=None),
    ]
    text = f"The meter in slot {place['slot']} of node {place['node']} was taken off"
    for alarm in rows["off_alarms"]:
        if place["slot"] in slots_of(place["node"], alarm["subject"]):
            steps += clear_steps(utility_id, alarm, text, new_id, now_us=now_us)
    return steps
