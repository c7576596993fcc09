"""What time does to commands: leases that run out, commands that grow too old, holds that end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from slotmeter.devices.commands import MOVABLE, CommandKind, CommandState
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
)
from slotmeter.services.bus import Bus, EventsRecorded
from slotmeter.services.command_queue import Contacts, sale_steps
from slotmeter.services.command_rows import (
    ATTEMPTS_MAX,
    PROOF_WITHIN_US,
    CommandCause,
    causes_of,
    change,
    confirmed_by,
    states_safety,
)
from slotmeter.services.control import may_cut
from slotmeter.services.cut_facts import cut_facts, fact_reads
from slotmeter.services.delivery import Happening
from slotmeter.services.events import Event, event_step
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.proof import CREDIT_UNPROVEN
from slotmeter.services.protection import Policy, readable_policy
from slotmeter.services.regate import apply_verdict
from slotmeter.units import HOUR_US, MINUTE_US, epoch_us

__all__ = ["SWEEP_EVERY_S", "SWEEP_ROWS_MAX", "CommandSweep"]

SWEEP_EVERY_S: Final = 5.0
SWEEP_ROWS_MAX: Final = 200
"""One unit of a sweep changes at most this many commands."""

_UNSENT: Final = tuple(sorted(state.value for state in MOVABLE | {CommandState.HELD}))
"""In these states a command grows too old to be sent."""

OLD_EVERY: Final = 12
"""Every so many sweeps, commands that grew too old are looked for."""

SOON_US: Final = MINUTE_US
"""A meter that is expected within this time is not waited for: it is as good as there."""


class CommandSweep:
    """Owns the passing of time in the command queue; run :meth:`run` as a task."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        *,
        contacts: Contacts,
        metrics: DeviceMetrics,
        bus: Bus,
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._contacts = contacts
        self._metrics = metrics
        self._bus = bus

    async def run(self) -> None:
        """Sweep until cancelled."""
        sweeps = 0
        while True:
            await self.sweep(old_too=sweeps % OLD_EVERY == 0)
            await self._contacts.flush()
            sweeps += 1
            await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep(self, *, old_too: bool = True) -> int:
        """Bring every command to where time has put it; return how many moved.

        Args:
            old_too: look for expired and unproven commands as well.
        """
        now_us = epoch_us(self._clock.now())
        moved = await self._all("control_leases_over", {"now_us": now_us}, _lease_over, now_us)
        if old_too:
            for state in _UNSENT:
                params: dict[str, SqlValue] = {"now_us": now_us, "state": state}
                moved += await self._all("control_expired", params, _expired, now_us)
            moved += await self._credit_unproven(now_us)
            since_us = now_us - PROOF_WITHIN_US
            moved += await self._all("control_unproven", {"since_us": since_us}, _unproven, now_us)
            moved += await self._all("control_overdue", {"now_us": now_us}, _overdue, now_us)
            soon_us = now_us + SOON_US
            moved += await self._all("control_expecting", {"soon_us": soon_us}, _expecting, now_us)
        moved += await self._held(now_us)
        if moved:
            self._bus.publish(EventsRecorded())
        return moved

    async def _all(
        self,
        statement: str,
        params: Mapping[str, SqlValue],
        move: Callable[[Row, int, NewId], tuple[Row, list[Step]]],
        now_us: int,
    ) -> int:
        """Move all rows of a read, in units of ``SWEEP_ROWS_MAX``."""

        def decide(rows: Rows, new_id: NewId) -> Changes[list[str]]:
            steps: list[Step] = []
            states = []
            for row in rows["rows"]:
                after, wanted = move(row, now_us, new_id)
                steps += wanted
                states.append(after["state"])
            return Changes(states, steps)

        total = after = 0
        while True:
            page = {**params, "after": after, "limit": SWEEP_ROWS_MAX}
            reads = [Read(statement, page, "rows")]
            seen = (await self._uow.read(reads))["rows"]
            if not seen:
                return total
            states = await self._uow.run(reads, decide)
            for state in states:
                self._metrics.count_command(state)
            total += len(states)
            # What is behind this page was looked at, and is not gone over again for the next one.
            after = seen[-1]["id"]

    async def _credit_unproven(self, now_us: int) -> int:
        """Raise an alarm at each meter that took a token and shows no credit for it in time."""
        raised = 0
        for utility in (await self._uow.read([Read("control_utilities")]))["control_utilities"]:
            policy = readable_policy(utility["policy"]) or Policy()
            since_us = now_us - policy.credit_proof_hours * HOUR_US
            params = {"utility_id": utility["id"], "since_us": since_us}
            reads = [Read("control_credit_unproven", params, "found")]
            while (await self._uow.read(reads))["found"]:
                await self._uow.run(reads, lambda rows, new_id: _alarmed(rows, now_us, new_id))
                self._metrics.alarms.labels(CREDIT_UNPROVEN).inc()
                raised += 1
        return raised

    async def _held(self, now_us: int) -> int:
        params = {"now_us": now_us, "limit": SWEEP_ROWS_MAX}
        found = await self._uow.read([Read("control_held_due", params, "rows")])
        return sum([await self._release(row, now_us) for row in found["rows"]])

    async def _release(self, held: Row, now_us: int) -> int:
        """Ask the gate again for a held cut; return 1 when it left the hold."""
        utility_id, command_id = held["utility_id"], held["id"]

        def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
            row = rows["command"][0]
            if row["state"] != CommandState.HELD:
                return Changes(row)
            facts = cut_facts(
                rows,
                CommandCause(row["cause"]),
                now_us=now_us,
                confirmed=confirmed_by(row["hold"]) is not None,
                safety=states_safety(row["hold"]),
            )
            after, steps = apply_verdict(
                row, may_cut(facts), pending=rows["pending"], now_us=now_us, new_id=new_id
            )
            return Changes(after, steps)

        reads = [
            Read("control_command", {"utility_id": utility_id, "id": command_id}, "command"),
            Read(
                "control_pending",
                {"utility_id": utility_id, "meter_id": held["meter_id"]},
                "pending",
            ),
            *fact_reads(utility_id, held["meter_id"], now_us, but_id=command_id),
        ]
        after = await self._uow.run(reads, decide)
        if after["state"] == CommandState.HELD:
            return 0
        codes = [str(cause["code"]) for cause in causes_of(after["hold"])]
        self._metrics.count_command(after["state"], codes)
        return 1


def _lease_over(row: Row, now_us: int, new_id: NewId) -> tuple[Row, list[Step]]:
    """The meter said nothing in time: try again, unless it is too old or was tried enough."""
    if row["expires_us"] <= now_us:
        return _expired(row, now_us, new_id)
    if row["attempts"] >= ATTEMPTS_MAX[CommandKind(row["kind"])]:
        return _give_up(row, CommandState.FAILED, "no answer", "no_answer", now_us, new_id)
    return change(
        row,
        CommandState.QUEUED,
        "no answer in time; queued again",
        now_us=now_us,
        new_id=new_id,
        lease_us=None,
        not_before_us=now_us,
    )


def _alarmed(rows: Rows, now_us: int, new_id: NewId) -> Changes[None]:
    steps: list[Step] = []
    for row in rows["found"]:
        text = f"The meter took the token of sale {row['sale_receipt_number']}, and its credit does"
        text += " not show it"
        alarm: dict[str, SqlValue] = {
            "id": new_id(),
            "utility_id": row["utility_id"],
            "meter_id": row["meter_id"],
            "kind": CREDIT_UNPROVEN,
            "severity": "alarm",
            "text": text,
            "raised_us": now_us,
            "cleared_us": None,
        }
        event = Event(
            utility_id=row["utility_id"],
            at_us=now_us,
            kind=CREDIT_UNPROVEN,
            severity="alarm",
            text=text,
            meter_id=row["meter_id"],
            data={"command_id": row["id"], "receipt_number": row["sale_receipt_number"]},
        )
        steps += [Insert("alarm", alarm), event_step(event, new_id)]
    return Changes(None, steps)


def _overdue(row: Row, now_us: int, new_id: NewId) -> tuple[Row, list[Step]]:
    """The meter was not heard when it should have been: nobody knows when it will be."""
    return change(
        row, CommandState.QUEUED, "the expected contact did not come", now_us=now_us, new_id=new_id
    )


def _expecting(row: Row, now_us: int, new_id: NewId) -> tuple[Row, list[Step]]:
    expected_us: int = row["device_expected_us"]
    return change(
        row,
        CommandState.WAITING,
        "waits for the meter's next contact",
        now_us=now_us,
        new_id=new_id,
        expected_us=expected_us,
    )


def _expired(row: Row, now_us: int, new_id: NewId) -> tuple[Row, list[Step]]:
    return _give_up(row, CommandState.EXPIRED, "the meter was not heard", None, now_us, new_id)


def _unproven(row: Row, now_us: int, new_id: NewId) -> tuple[Row, list[Step]]:
    why = "the meter's reports do not bear out what it called done"
    after, steps = change(
        row, CommandState.FAILED, why, now_us=now_us, new_id=new_id, result="unproven"
    )
    return after, [*steps, _event(row, "command_failed", why, now_us, new_id)]


def _give_up(
    row: Row, state: CommandState, why: str, result: str | None, now_us: int, new_id: NewId
) -> tuple[Row, list[Step]]:
    after, steps = change(
        row, state, why, now_us=now_us, new_id=new_id, result=result or row["result"], lease_us=None
    )
    # A token that was typed meanwhile has arrived, whatever became of its command.
    has_arrived = row["token_accepted_by"] is not None
    happening = Happening.ALREADY_USED if has_arrived else Happening.GAVE_UP
    steps += sale_steps(row, happening, why, now_us=now_us, new_id=new_id)
    if row["sale_row_id"] is None or row["sale_delivery"] is None:
        steps.append(_event(row, f"command_{state.value}", why, now_us, new_id))
    return after, steps


def _event(row: Row, kind: str, why: str, now_us: int, new_id: NewId) -> Step:
    event = Event(
        utility_id=row["utility_id"],
        at_us=now_us,
        kind=kind,
        severity="warning",
        text=f"Command {row['kind']} to meter {row['meter_number']} ended: {why}",
        meter_id=row["meter_id"],
        data={"command_id": row["id"], "kind": row["kind"]},
    )
    return event_step(event, new_id)
