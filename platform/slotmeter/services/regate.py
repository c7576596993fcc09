"""A cut that was queued or held meets the gate again: before it is sent, and when its time came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from slotmeter.devices.commands import MOVABLE, CommandKind, CommandState
from slotmeter.ports import NewId, Row, Step, Update
from slotmeter.services.command_order import overtake_steps
from slotmeter.services.command_rows import (
    EXPIRES_US,
    HELD_CUT_EXPIRES_US,
    HELD_RECHECK_US,
    causes_of,
    change,
    confirmed_by,
    hold_text,
    log_step,
    states_safety,
)
from slotmeter.services.control import CutVerdict, Verdict
from slotmeter.services.events import Event, event_step

__all__ = ["apply_verdict"]

_SUPERSEDING: Final = frozenset({"credit_left"})
"""Causes that say the cut is no longer wanted, rather than not allowed."""


def apply_verdict(
    row: Row,
    verdict: CutVerdict,
    *,
    pending: Sequence[Row],
    now_us: int,
    new_id: NewId,
    confirmed_by_id: int | None = None,
) -> tuple[Row, list[Step]]:
    """Bring a queued or held cut to where a new verdict puts it.

    Args:
        row: the command, queued or held.
        verdict: from ``may_cut`` on the facts of this moment.
        pending: the meter's commands that have not ended (statement ``control_pending``), read in
            the same unit: a held cut overtakes its opposites when it is released. Empty for a cut
            that is queued already.
        now_us: our clock.
        new_id: the unit's source of ids.
        confirmed_by_id: a second person who agreed just now.

    Returns the row as it will be, and the steps; none when nothing changes.
    """
    if verdict.meter_id != row["meter_id"] or verdict.at_us != now_us:
        raise TypeError("the verdict is about another meter or another moment")
    agreed = confirmed_by_id if confirmed_by_id is not None else confirmed_by(row["hold"])
    hold = hold_text(verdict.causes, safety=states_safety(row["hold"]), confirmed_by_id=agreed)
    if verdict.verdict is Verdict.ALLOWED:
        return _release(row, hold, pending, now_us=now_us, new_id=new_id)
    if verdict.verdict is Verdict.HELD:
        return _hold(row, verdict, hold, now_us=now_us, new_id=new_id)
    codes = {cause.code for cause in verdict.causes}
    after = CommandState.SUPERSEDED if codes & _SUPERSEDING else CommandState.REFUSED
    detail = "; ".join(cause.text for cause in verdict.causes)
    changed, steps = change(row, after, detail, now_us=now_us, new_id=new_id, hold=hold)
    return changed, [*steps, _event(changed, detail, now_us=now_us, new_id=new_id)]


def _release(
    row: Row, hold: str | None, pending: Sequence[Row], *, now_us: int, new_id: NewId
) -> tuple[Row, list[Step]]:
    if row["state"] in MOVABLE:
        return row, []
    released, steps = change(
        row,
        CommandState.QUEUED,
        "released",
        now_us=now_us,
        new_id=new_id,
        hold=hold,
        not_before_us=now_us,
        expires_us=now_us + EXPIRES_US[CommandKind(row["kind"])],
    )
    return released, steps + overtake_steps(released, pending, now_us=now_us, new_id=new_id)


def _hold(
    row: Row, verdict: CutVerdict, hold: str | None, *, now_us: int, new_id: NewId
) -> tuple[Row, list[Step]]:
    not_before_us = verdict.until_us or now_us + HELD_RECHECK_US
    detail = "; ".join(cause.text for cause in verdict.causes)
    if row["state"] == CommandState.HELD:
        params = {
            "of_utility": row["utility_id"],
            "of_command": row["id"],
            "to_hold": hold,
            "to_not_before_us": not_before_us,
        }
        steps: list[Step] = [Update("control_hold", params)]
        if [cause["code"] for cause in causes_of(row["hold"])] != [
            cause.code for cause in verdict.causes
        ]:
            steps.append(log_step(row, row["state"], detail, now_us=now_us, new_id=new_id))
        return {**row, "hold": hold, "not_before_us": not_before_us}, steps
    changed, steps = change(
        row,
        CommandState.HELD,
        detail,
        now_us=now_us,
        new_id=new_id,
        hold=hold,
        not_before_us=not_before_us,
        expires_us=not_before_us + HELD_CUT_EXPIRES_US,
    )
    return changed, [*steps, _event(changed, detail, now_us=now_us, new_id=new_id)]


def _event(row: Row, detail: str, *, now_us: int, new_id: NewId) -> Step:
    event = Event(
        utility_id=row["utility_id"],
        at_us=now_us,
        kind=f"command_{row['state']}",
        severity="info" if row["state"] == CommandState.SUPERSEDED else "warning",
        text=f"Cut {row['state']} ({row['cause']}: {row['reason']}); {detail}",
        meter_id=row["meter_id"],
        data={"command_id": row["id"], "kind": row["kind"]},
    )
    return event_step(event, new_id)
