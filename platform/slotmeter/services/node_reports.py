"""What a node says of the meters behind it: each slot counts for the meter that is bound to it.

A slot in which another meter speaks than the one bound to it counts for nobody: its frame is set
aside, an alarm tells of it once, and replaying the frame after the meters were bound as they are
gives each its values. All else in the frame counts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from msgspec.structs import replace

from slotmeter.devices.commands import CommandResult
from slotmeter.devices.drivers import Driver
from slotmeter.devices.frames import Report, SlotReport
from slotmeter.ports import (
    Changes,
    From,
    Insert,
    NewId,
    Read,
    ReadingRow,
    Reads,
    Row,
    Rows,
    SqlValue,
    Step,
    Then,
    Update,
)
from slotmeter.services.device_effects import ReportDone, decide_report, report_reads
from slotmeter.services.report_unit import credible_readings
from slotmeter.services.slot_alarms import (
    BINDING_DIFFERS,
    clear_steps,
    raise_steps,
    slots_of,
    subject_of,
)
from slotmeter.units import DAY_US, epoch_us

__all__ = [
    "SLOT_UNBOUND",
    "Differing",
    "NodeDone",
    "Slots",
    "bindings_read",
    "decide_node",
    "node_reads",
    "slot_readings",
    "split",
]

SLOT_UNBOUND: Final = "slot_unbound"
"""Code of a frame that tells of a slot to which no meter is bound."""

MESSAGE_CHARACTERS_MAX: Final = 300

STAGES_MAX: Final = 6
"""What a report of a meter needs to know is asked for in so many further steps."""

MEASURED_US_MAX: Final = 45 * DAY_US
"""A node's clock decides which binding counts, as far as it is off ours by less than this."""


@dataclass(frozen=True, slots=True)
class Differing:
    """A slot in which another meter speaks.

    Args:
        slot: the place.
        serial: what the meter there says.
        bound: the number of the meter that is bound to it; None when none is.
        meter_id: of that meter.
    """

    slot: int
    serial: str
    bound: str | None
    meter_id: int | None


@dataclass(frozen=True, slots=True)
class Slots:
    """A report of a node, slot by slot.

    Args:
        fitting: the binding's row and what is said of it.
        differing: slots with another meter than the one bound to them.
        unbound: slots to which none is bound and whose meter gives no number.
        silent: bindings of slots that the report does not tell of.
    """

    fitting: tuple[tuple[Row, SlotReport], ...]
    differing: tuple[Differing, ...]
    unbound: tuple[int, ...]
    silent: tuple[Row, ...]


def bindings_read(frame: Row, report: Report, key: str = "bindings") -> Read:
    """Return the read of what was bound when a report of a node was made."""
    received_us: int = frame["received_us"]
    measured_us = epoch_us(report.measured_at)
    is_believed = abs(received_us - measured_us) < MEASURED_US_MAX
    at_us = min(measured_us, received_us) if is_believed else received_us
    params: dict[str, SqlValue] = {"node_id": frame["device_id"], "at_us": at_us}
    return Read("slot_bindings", params, key)


def split(report: Report, bindings: Sequence[Row]) -> Slots:
    """Tell the slots that fit from those that do not.

    A slot that gives no number fits what is bound to it: there is nothing to hold against it.
    """
    bound = {row["slot"]: row for row in bindings}
    fitting, differing, unbound = [], [], []
    for each in report.slots:
        row = bound.get(each.slot)
        if row is not None and each.serial in {None, row["meter_number"], row["serial"]}:
            fitting.append((row, each))
        elif each.serial is None:
            unbound.append(each.slot)
        elif row is None:
            differing.append(Differing(each.slot, each.serial, None, None))
        else:
            of = (row["meter_number"], row["meter_id"])
            differing.append(Differing(each.slot, each.serial, *of))
    spoken = {each.slot for each in report.slots}
    silent = tuple(row for row in bindings if row["slot"] not in spoken)
    return Slots(tuple(fitting), tuple(differing), tuple(unbound), silent)


def set_aside_as(slots: Slots, node: str) -> tuple[str, str] | None:
    """Return code and message of the frame in quarantine; None when all of it counts."""
    swapped = [each for each in slots.differing if each.bound is not None]
    if swapped:
        which = "; ".join(
            f"slot {each.slot} holds {each.serial[:32]}, bound is {each.bound}" for each in swapped
        )
        return BINDING_DIFFERS, f"node {node}: {which}"
    free = sorted((*slots.unbound, *(each.slot for each in slots.differing)))
    if free:
        names = ", ".join(str(slot) for slot in free)
        return SLOT_UNBOUND, f"node {node}: no meter is bound to slot {names}"
    return None


def slot_readings(frame_id: int, slots: Slots) -> list[ReadingRow]:
    """Return the readings of the slots that fit, each for its meter."""
    return [
        ReadingRow(
            meter_id=row["meter_id"],
            register=reading.register,
            measured_us=epoch_us(reading.measured_at),
            value=reading.value,
            frame_id=frame_id,
        )
        for row, each in slots.fitting
        if each.readings
        for reading in credible_readings(
            _said(each, each.readings[0].measured_at), row["commodity"]
        )
    ]


# --- the alarm ------------------------------------------------------------------------------------


def alarm_reads(frame: Row) -> list[Read]:
    """Return the reads that :func:`alarm_steps` needs."""
    params: dict[str, SqlValue] = {"utility_id": frame["utility_id"], "kind": BINDING_DIFFERS}
    return [Read("slot_alarms", params, "slot_alarms")]


def alarm_steps(
    frame: Row, node: str, report: Report, slots: Slots, rows: Rows, new_id: NewId, *, now_us: int
) -> list[Step]:
    """Raise one alarm for slots that differ together, and clear those of slots that fit again.

    Args:
        frame: of the node, as ``ingest_frames`` gives it.
        node: its serial number.
        report: what it says.
        slots: of :func:`split`.
        rows: of :func:`alarm_reads`.
        new_id: the unit's source of ids.
        now_us: our clock.
    """
    utility_id: int = frame["utility_id"]
    groups = _groups([each for each in slots.differing if each.bound is not None])
    wanted = {subject_of(node, (each.slot for each in group)): group for group in groups}
    spoken = {each.slot for each in report.slots if each.serial is not None}
    steps: list[Step] = []
    for alarm in rows["slot_alarms"]:
        concerned = slots_of(node, alarm["subject"])
        if not concerned:
            continue
        if alarm["subject"] in wanted:
            del wanted[alarm["subject"]]
        elif concerned <= spoken:
            text = f"Slots {_names(concerned)} of node {node} hold the meters bound to them"
            if any(concerned & {each.slot for each in group} for group in groups):
                text = f"Other slots of node {node} than {_names(concerned)} differ now"
            steps += clear_steps(utility_id, alarm, text, new_id, now_us=now_us)
    for subject, group in wanted.items():
        data = {
            "node": node,
            "slots": [
                {"slot": each.slot, "bound": each.bound, "found": each.serial} for each in group
            ],
        }
        meters = [each.meter_id for each in group if each.meter_id is not None]
        steps += raise_steps(
            utility_id, subject, _words(node, group), meters, new_id, now_us=now_us, data=data
        )
    return steps


def _groups(differing: Sequence[Differing]) -> list[list[Differing]]:
    """Put slots together whose meters changed places with each other."""
    by_bound = {each.bound: each for each in differing}
    groups, seen = [], set[int]()
    for each in differing:
        group: list[Differing] = []
        at: Differing | None = each
        while at is not None and at.slot not in seen:
            seen.add(at.slot)
            group.append(at)
            at = by_bound.get(at.serial)
        if group:
            groups.append(sorted(group, key=lambda found: found.slot))
    return groups


def _words(node: str, group: Sequence[Differing]) -> str:
    places = "; ".join(
        f"slot {each.slot} holds {each.serial[:32]}, bound is {each.bound}" for each in group
    )
    return f"Node {node}: {places}"


def _names(slots: frozenset[int]) -> str:
    return " and ".join(str(slot) for slot in sorted(slots))


# --- all of it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeDone:
    """What a report of a node did.

    Args:
        done: of each meter behind it that was told of.
        readings: of these meters, for the readings store.
        aside: code and message of the frame in quarantine; None when all of it counted.
        alarmed: whether an alarm was raised.
        told: whether there are new events.
    """

    done: tuple[ReportDone, ...]
    readings: Sequence[ReadingRow]
    aside: tuple[str, str] | None
    alarmed: bool
    told: bool


def node_reads(frame: Row, report: Report, now_us: int) -> Reads:
    """Return the reads that :func:`decide_node` needs.

    Args:
        frame: of the node, as ``ingest_frames`` gives it.
        report: what it says, checked.
        now_us: our clock.
    """

    def of_slots(stage: int, rows: Rows) -> list[Read]:
        """Return what is read of each meter: at once, then by what was found, then again so."""
        wanted = []
        for slot, (row, said) in _said_of(frame, report, split(report, rows["bindings"])).items():
            reads = report_reads(row, said, now_us)
            if stage == 0:
                wanted += [_prefixed(slot, each) for each in reads if isinstance(each, Read)]
                continue
            thens = [each for each in reads if isinstance(each, Then)]
            if len(thens) > STAGES_MAX:
                raise RuntimeError(f"expected at most {STAGES_MAX} stages, got {len(thens)}")
            for then in thens[stage - 1 : stage]:
                wanted += [_prefixed(slot, each) for each in then.of(_rows_of(slot, rows))]
        return wanted

    stages = [Then(partial(of_slots, stage)) for stage in range(STAGES_MAX + 1)]
    node: dict[str, SqlValue] = {"utility_id": frame["utility_id"], "id": frame["device_id"]}
    return [
        Read("ingest_device", node, "node"),
        bindings_read(frame, report),
        *alarm_reads(frame),
        *stages,
    ]


def decide_node(
    frame: Row,
    report: Report,
    rows: Rows,
    new_id: NewId,
    *,
    now_us: int,
    driver: Driver | None = None,
) -> Changes[NodeDone]:
    """Decide everything that a report of a node changes, its frame in quarantine included.

    What the node says of commands goes to the meters that these were for, but never to one in whose
    slot another meter speaks.

    Args:
        frame: of the node, as ``ingest_frames`` gives it.
        report: what it says, checked.
        rows: of :func:`node_reads`.
        new_id: the unit's source of ids.
        now_us: our clock.
        driver: of the node.
    """
    node: str = frame["device_serial"] or frame["address"]
    slots = split(report, rows["bindings"])
    steps: list[Step] = []
    done: list[ReportDone] = []
    opened: list[Row] = []
    for slot, (row, said) in _said_of(frame, report, slots).items():
        own = _with_accounts(_rows_of(slot, rows), opened)
        each = replace(said, results=_own_results(row, said, own))
        if not each.results and slot in {bound["slot"] for bound in slots.silent}:
            continue
        changes = decide_report(row, each, own, new_id, now_us=now_us, driver=driver)
        steps += changes.steps
        opened += _opened_accounts(changes.steps)
        done.append(changes.result)
    known_us = rows["node"][0]["measured_us"]
    alarms: list[Step] = []
    if known_us is None or epoch_us(report.measured_at) >= known_us:
        # What comes late, or is replayed, says nothing of who hangs there by now.
        alarms = alarm_steps(frame, node, report, slots, rows, new_id, now_us=now_us)
    aside = set_aside_as(slots, node)
    steps += [*alarms, _heard_step(frame, report, known_us)]
    if aside is not None:
        set_aside: dict[str, SqlValue] = {"frame_id": frame["id"], "at_us": now_us}
        set_aside |= {"code": aside[0], "message": aside[1][:MESSAGE_CHARACTERS_MAX]}
        steps.append(Insert("quarantine", set_aside))
    result = NodeDone(
        done=tuple(done),
        readings=slot_readings(frame["id"], slots),
        aside=aside,
        alarmed=any(isinstance(step, Insert) and step.table == "alarm" for step in alarms),
        told=bool(alarms) or any(each.told for each in done),
    )
    return Changes(result, steps)


def _opened_accounts(steps: Sequence[Step]) -> list[Row]:
    """Return accounts of the ledger that a meter's charge opens."""
    inserts = (step for step in steps if isinstance(step, Insert))
    return [insert.row for insert in inserts if insert.table == "ledger_account"]


def _with_accounts(rows: Rows, opened: Sequence[Row]) -> Rows:
    """Return what a meter's report is decided by, with what the meters before it have opened."""
    if not opened or "accounts" not in rows:
        return rows
    return {**rows, "accounts": [*rows["accounts"], *opened]}


def _said_of(frame: Row, report: Report, slots: Slots) -> dict[int, tuple[Row, Report]]:
    """Return what counts for each slot, as if its meter had said it, with the frame so."""
    said = {
        row["slot"]: ({**frame, **row}, _said(each, report.measured_at, row["meter_number"]))
        for row, each in slots.fitting
    }
    if report.results:
        silent = Report(measured_at=report.measured_at)
        said |= {row["slot"]: ({**frame, **row}, silent) for row in slots.silent}
    return {
        slot: (row, replace(each, results=report.results)) for slot, (row, each) in said.items()
    }


def _own_results(row: Row, said: Report, rows: Rows) -> tuple[CommandResult, ...]:
    """Return those results whose commands were for this meter."""
    return tuple(
        result
        for result in said.results
        if any(
            command["device_id"] == row["device_id"]
            for command in rows[f"command.{result.command_id}"]
        )
    )


def _heard_step(frame: Row, report: Report, known_us: int | None) -> Update:
    measured_us = epoch_us(report.measured_at)
    told = {reading.register: reading.value for reading in report.readings}
    params: dict[str, SqlValue] = {
        "of_device": frame["device_id"],
        "to_contact_us": frame["received_us"],
        "to_measured_us": measured_us if known_us is None else max(known_us, measured_us),
        "to_battery": told.get("battery"),
        "to_signal": told.get("signal"),
        "to_entry": frame["entry_id"],
    }
    return Update("node_heard", params)


def _said(each: SlotReport, measured_at: datetime, number: str | None = None) -> Report:
    """Return what a meter behind a node would have said by itself; its number if it gave one."""
    return Report(
        measured_at=measured_at,
        serial=None if each.serial is None else number,
        readings=each.readings,
        supply=each.supply,
        tamper=each.tamper,
    )


# --- reads of many meters in one unit -------------------------------------------------------------


def _prefix(slot: int) -> str:
    return f"slot {slot}: "


def _prefixed(slot: int, read: Read) -> Read:
    """Return a read under a name of its own, with those that it takes parameters from."""
    prefix = _prefix(slot)
    params = {
        name: From(prefix + value.read, value.column) if isinstance(value, From) else value
        for name, value in read.params.items()
    }
    return Read(read.statement, params, prefix + (read.key or read.statement))


def _rows_of(slot: int, rows: Rows) -> Rows:
    """Return the rows of one slot under the names that its reads had."""
    prefix = _prefix(slot)
    return {
        key.removeprefix(prefix): found for key, found in rows.items() if key.startswith(prefix)
    }
