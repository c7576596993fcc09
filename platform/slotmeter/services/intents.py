"""A meter that is not as it was last asked to be, because an older command was carried out late.

A network may deliver a command long after it was given up, or twice. A meter that cannot tell an
old command from a new one then undoes the newer one. So when a report shows the contrary of the
newest command that the meter called done, and an older one that says what is shown may have been
under way at the same time, what was asked last is asked again: giving back at once, a cut only
through the gate. What a meter does by itself has events of its own and is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.commands import (
    CREDIT_MODES,
    CUTTING,
    ENDED,
    MOVABLE,
    NOT_DONE,
    RESTORING,
    CommandKind,
    CommandState,
)
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEventKind, Report
from slotmeter.ports import Read, Row, Rows, Then
from slotmeter.services.command_rows import CommandCause, change, states_safety
from slotmeter.services.control import Cut, may_cut, queue_steps
from slotmeter.services.cut_facts import cut_facts, fact_reads
from slotmeter.services.orders import Order, Target
from slotmeter.services.report_unit import ReportUnit
from slotmeter.units import DAY_US, HOUR_US, Commodity

__all__ = [
    "NOT_AS_ASKED",
    "OVERLAP_US",
    "REPEATS_MAX",
    "SETTINGS_SHOWN",
    "ask_again",
    "intent_reads",
]

NOT_AS_ASKED: Final = "not_as_asked"
"""Alarm of a meter that stays contrary to what was asked, however often it is asked."""

OVERLAP_US: Final = HOUR_US
"""An older command that was sent longer before the newer one was not under way with it."""

REPEATS_MAX: Final = 3
"""So often in a day a command is repeated; then a person has to look."""

_AGAIN: Final = "asked again, an older command was carried out late: "
_SETTLED: Final = frozenset({CommandState.VERIFIED, CommandState.ACKNOWLEDGED})
_ON_ITS_WAY: Final = MOVABLE | {CommandState.SENT}
_PREPAID: Final = CREDIT_MODES[0]

Said = int | str


@dataclass(frozen=True, slots=True)
class _Aspect:
    """One thing that commands change and reports show.

    Args:
        kinds: commands that change it.
        said: what such a command makes of it.
        shown: what a report shows of it; None when it shows nothing.
    """

    kinds: frozenset[CommandKind]
    said: Callable[[Row], Said]
    shown: Callable[[Report], Said | None]


def _supply_said(row: Row) -> Said:
    return (SupplyState.OFF if row["kind"] in CUTTING else SupplyState.ON).value


def _supply_shown(report: Report) -> Said | None:
    """Return what supply is, unless the meter tells that it switched by itself."""
    own = {
        SupplyState.OFF: DeviceEventKind.SUPPLY_CUT,
        SupplyState.ON: DeviceEventKind.SUPPLY_RESTORED,
    }
    supply = report.supply
    if supply not in own or any(event.kind is own[supply] for event in report.events):
        return None
    return supply.value


def _reading(register: str) -> Callable[[Report], Said | None]:
    def shown(report: Report) -> Said | None:
        return next((each.value for each in report.readings if each.register == register), None)

    return shown


_SUPPLY: Final = _Aspect(CUTTING | RESTORING | {CommandKind.SET_VALVE}, _supply_said, _supply_shown)
_SETTINGS: Final = (
    _Aspect(
        frozenset({CommandKind.SET_LOAD_LIMIT}),
        lambda row: int(row["value"]),
        _reading("load_limit"),
    ),
    _Aspect(
        frozenset({CommandKind.SET_TARIFF}),
        lambda row: int(row["text"]),
        _reading("tariff"),
    ),
    _Aspect(
        frozenset({CommandKind.SET_CREDIT_MODE}),
        lambda row: CREDIT_MODES.index(row["text"]),
        _reading("credit_mode"),
    ),
)


SETTINGS_SHOWN: Final = frozenset({"load_limit", "tariff", "credit_mode"})
"""Registers that show what commands set."""


def intent_reads(utility_id: int, meter_id: int, report: Report, now_us: int) -> list[Then]:
    """Return the reads that :func:`ask_again` needs; they read nothing for most reports."""
    of_meter = {"utility_id": utility_id, "meter_id": meter_id}
    shows_settings = any(aspect.shown(report) is not None for aspect in _SETTINGS)
    shows_supply = _supply_shown(report) is not None
    if not (shows_settings or shows_supply):
        return []

    def asked(rows: Rows) -> Sequence[Read]:
        device = next(iter(rows["device"]), None)
        waits = any(row["kind"] in _SUPPLY.kinds for row in rows["acknowledged"])
        has_moved = device is not None and device["supply"] != report.supply
        if not (shows_settings or (shows_supply and (has_moved or waits))):
            return ()
        return [Read("control_asked", {**of_meter, "since_us": now_us - DAY_US}, "asked")]

    def more(rows: Rows) -> Sequence[Read]:
        if not rows.get("asked"):
            return ()
        pending = Read("control_pending", of_meter, "pending")
        return [pending, *fact_reads(utility_id, meter_id, now_us)]

    return [Then(asked), Then(more)]


@dataclass(frozen=True, slots=True)
class _Late:
    """A command that is to be asked again, and how often that happened already."""

    intent: Row
    repeated: int


def _find(aspect: _Aspect, asked: Sequence[Row], shown: Said) -> _Late | None:
    """Return the newest command that the meter called done, if something older undid it."""
    rows = [row for row in asked if row["kind"] in aspect.kinds]
    if any(row["state"] in _ON_ITS_WAY for row in rows):
        return None  # something newer is under way and will settle it
    sent = [row for row in rows if row["sent_us"] is not None]
    at = next((at for at in reversed(range(len(sent))) if sent[at]["state"] in _SETTLED), None)
    if at is None:
        return None
    intent, newer = sent[at], sent[at + 1 :]
    if any(row["result"] not in NOT_DONE for row in newer):
        return None  # a newer one may have been done: nobody knows how the meter should be
    if aspect.said(intent) == shown:
        return None
    older = any(
        aspect.said(row) == shown
        and row["result"] not in NOT_DONE
        and row["sent_us"] > intent["sent_us"] - OVERLAP_US
        for row in sent[:at]
    )
    repeated = sum(row["reason"].startswith(_AGAIN) for row in rows)
    return _Late(intent, repeated) if older else None


def ask_again(unit: ReportUnit, changed: Mapping[int, Row]) -> None:
    """Ask again for what was asked last, when this newest report shows that an older one undid it.

    Args:
        unit: the report being decided, with the rows of :func:`intent_reads`.
        changed: commands as this unit leaves them, by id.
    """
    asked = [changed.get(row["id"], row) for row in unit.rows.get("asked", ())]
    if not asked:
        return
    for aspect in (_SUPPLY, *_SETTINGS):
        shown = aspect.shown(unit.report)
        late = None if shown is None else _find(aspect, asked, shown)
        if late is None:
            continue
        # On prepaid a meter without credit cuts: that is not asked of it without a person.
        if late.repeated < REPEATS_MAX and late.intent["text"] != _PREPAID:
            _repeat(unit, late.intent, changed)
        else:
            unit.raise_alarm(
                NOT_AS_ASKED,
                f"The meter shows {shown}, contrary to {late.intent['kind']}; see why",
                data={"command_id": late.intent["id"], "shown": shown},
            )


def _repeat(unit: ReportUnit, intent: Row, changed: Mapping[int, Row]) -> None:
    current = [changed.get(row["id"], row) for row in unit.rows["pending"]]
    pending = [
        row
        for row in current
        if CommandState(row["state"]) not in ENDED and row["id"] != intent["id"]
    ]
    if intent["state"] == CommandState.ACKNOWLEDGED:
        why = "superseded: it is asked again"
        unit.steps += change(
            intent, CommandState.SUPERSEDED, why, now_us=unit.now_us, new_id=unit.new_id
        )[1]
        unit.commands.append(CommandState.SUPERSEDED.value)
    target = Target(
        unit.utility_id,
        unit.meter_id,
        unit.frame["device_id"],
        Commodity(unit.frame["commodity"]),
        unit.rows["facts"][0]["expected_us"],
    )
    queued = queue_steps(
        _order(unit, intent), target, pending=pending, now_us=unit.now_us, new_id=unit.new_id
    )
    unit.steps += queued.steps
    if queued.is_new:
        unit.commands.append(queued.command["state"])


def _order(unit: ReportUnit, intent: Row) -> Order | Cut:
    cause = CommandCause(intent["cause"])
    reason = intent["reason"]
    reason = reason if reason.startswith(_AGAIN) else _AGAIN + reason
    if intent["kind"] in CUTTING:
        safety = states_safety(intent["hold"])
        verdict = may_cut(cut_facts(unit.rows, cause, now_us=unit.now_us, safety=safety))
        return Cut(verdict, cause, reason, intent["principal_id"], safety=safety)
    return Order(
        CommandKind(intent["kind"]),
        cause,
        reason,
        intent["principal_id"],
        value=intent["value"],
        text=intent["text"],
    )
