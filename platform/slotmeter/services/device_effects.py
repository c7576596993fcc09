"""What a report does to the platform: device, supply, notices, alarms, charges; pure.

Late reports count for what they tell of commands, tokens and events; they never roll back what a
newer report of the same meter said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.commands import Outcome
from slotmeter.devices.drivers import Driver
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import (
    ITEMS_MAX,
    SLOTS_MAX,
    DeviceEvent,
    DeviceEventKind,
    Report,
)
from slotmeter.errors import FrameError
from slotmeter.ports import (
    Changes,
    Insert,
    NewId,
    Read,
    Reads,
    Row,
    Rows,
    SqlValue,
    Step,
    Then,
    Update,
)
from slotmeter.services.charging import Metered, charge_steps, charging_reads
from slotmeter.services.intents import intent_reads
from slotmeter.services.key_proof import key_proof_reads
from slotmeter.services.report_unit import COUNTER_OF, ReportUnit
from slotmeter.services.token_effects import TokenEffects
from slotmeter.services.unpriced import NO_PRICE
from slotmeter.units import Commodity, epoch_us, instant

__all__ = [
    "SERIAL_MISMATCH",
    "ReportDone",
    "check_report",
    "decide_report",
    "report_reads",
    "stranger_reads",
    "stranger_steps",
]

SERIAL_MISMATCH: Final = "serial_mismatch"
"""Code of a frame in which another meter speaks than the one registered, and of its alarm."""

TOLD_MAX: Final = 256
"""So many events of a meter are looked through for one that it repeats."""

_INTEGERS: Final = range(-(2**63), 2**63)
_SLOTS: Final = frozenset(range(SLOTS_MAX))
_MEASURED_YEARS: Final = range(2000, 2100)


@dataclass(frozen=True, slots=True)
class ReportDone:
    """What a report did, for counting and for what follows it."""

    meter_id: int
    is_newest: bool
    is_platform_credit: bool
    commands: tuple[str, ...]
    ignored: tuple[str, ...]
    alarms: tuple[str, ...]
    charged: bool
    told: bool  # there are new events


def check_report(report: Report) -> Report:
    """Refuse what a driver read but no meter can mean.

    Raises:
        FrameError: ``too_many_items``, ``number_out_of_range``, ``slot_wrong``,
            ``clock_not_set`` or ``time_without_zone``.
    """
    items = (report.results, report.entries, report.events, report.readings)
    of_slots = (each.readings for each in report.slots)
    if any(len(each) > ITEMS_MAX for each in (*items, *of_slots)) or len(report.slots) > SLOTS_MAX:
        raise FrameError("too_many_items", f"expected at most {ITEMS_MAX} items of a kind")
    slots = {each.slot for each in report.slots}
    if len(slots) < len(report.slots) or not slots <= _SLOTS:
        raise FrameError("slot_wrong", f"expected slots below {SLOTS_MAX}, each once")
    if report.measured_at.year not in _MEASURED_YEARS:
        raise FrameError("clock_not_set", f"the meter's clock says {report.measured_at:%Y}")
    numbers = [
        *(reading.value for reading in report.readings),
        *(reading.value for each in report.slots for reading in each.readings),
        *(entry.amount for entry in report.entries),
        *(entry.tid or 0 for entry in report.entries),
        *(result.command_id for result in report.results),
    ]
    if any(number not in _INTEGERS for number in numbers):
        raise FrameError("number_out_of_range", "expected integers of at most 64 bits")
    times = [
        *(reading.measured_at for reading in report.readings),
        *(reading.measured_at for each in report.slots for reading in each.readings),
        *(entry.at for entry in report.entries),
        *(event.at for event in report.events),
    ]
    if any(at.tzinfo is None for at in times):
        raise FrameError("time_without_zone", "expected times in UTC")
    return report


def report_reads(frame: Row, report: Report, now_us: int) -> Reads:
    """Return what deciding a report needs to know."""
    utility_id, meter_id, device_id = frame["utility_id"], frame["meter_id"], frame["device_id"]
    of_meter: dict[str, SqlValue] = {"utility_id": utility_id, "meter_id": meter_id}
    reads: list[Read | Then] = [
        Read("ingest_device", {"utility_id": utility_id, "id": device_id}, "device"),
        Read(
            "ingest_acknowledged",
            {"utility_id": utility_id, "device_id": device_id},
            "acknowledged",
        ),
        Read("ingest_unproven", of_meter, "unproven"),
        Read("ingest_alarms", of_meter, "alarms"),
    ]
    if report.events or report.entries:
        reads.append(Read("ingest_told", {**of_meter, "limit": TOLD_MAX}, "told"))
    for command_id in {result.command_id for result in report.results}:
        params = {"utility_id": utility_id, "id": command_id}
        reads.append(Read("control_command", params, f"command.{command_id}"))
    for tid in {entry.tid for entry in report.entries if entry.tid is not None}:
        reads.append(Read("ingest_token", {**of_meter, "tid": tid}, f"token.{tid}"))
    reads += intent_reads(utility_id, meter_id, report, now_us)
    if frame["meter_wanted"] is not None:
        reads += key_proof_reads(utility_id, meter_id)
    if frame["credit_mode"] == "platform":
        reads += charging_reads(utility_id, meter_id, frame["commodity"], now_us)
    return reads


def decide_report(
    frame: Row,
    report: Report,
    rows: Rows,
    new_id: NewId,
    *,
    now_us: int,
    driver: Driver | None = None,
) -> Changes[ReportDone]:
    """Decide everything that one report changes.

    Args:
        frame: with its device and meter, as ``ingest_frames`` gives it.
        report: what the frame says, checked.
        rows: of :func:`report_reads`.
        new_id: the unit's source of ids.
        now_us: our clock.
        driver: of the device, which knows where its registers roll over.
    """
    unit = ReportUnit(frame, report, rows, new_id, now_us, driver=driver)
    tokens = TokenEffects(unit)
    tokens.take()
    _tell(unit)
    if report.serial is not None:
        unit.clear_alarm(
            SERIAL_MISMATCH, "The meter registered at this address speaks again", data={}
        )
    explained = unit.device["credit_proven"]
    if unit.is_newest:
        _clock(unit)
        explained = tokens.prove_credit()
        _supply_changed(unit)
        _tamper(unit)
        _wrong_counter(unit)
        _charge(unit)
    unit.steps.append(_device_step(unit, explained))
    done = ReportDone(
        meter_id=unit.meter_id,
        is_newest=unit.is_newest,
        is_platform_credit=frame["credit_mode"] == "platform",
        commands=tuple(unit.commands),
        ignored=tuple(unit.ignored),
        alarms=tuple(unit.alarms_raised),
        charged=unit.charged,
        told=any(isinstance(step, Insert) and step.table == "event" for step in unit.steps),
    )
    return Changes(done, unit.steps)


def stranger_reads(frame: Row) -> list[Read]:
    """Return the reads that :func:`stranger_steps` needs."""
    of_meter = {"utility_id": frame["utility_id"], "meter_id": frame["meter_id"]}
    return [Read("ingest_alarms", of_meter, "alarms")]


def stranger_steps(frame: Row, text: str, rows: Rows, new_id: NewId, *, now_us: int) -> list[Step]:
    """Alarm the meter at whose address another meter speaks; nothing that this one says counts.

    Args:
        frame: as ``ingest_frames`` gives it.
        text: what was expected and what came, for people.
        rows: of :func:`stranger_reads`.
        new_id: the unit's source of ids.
        now_us: our clock.
    """
    nothing_said = Report(measured_at=instant(frame["received_us"]))
    unit = ReportUnit(frame, nothing_said, rows, new_id, now_us)
    unit.raise_alarm(SERIAL_MISMATCH, text, data={"frame_id": frame["id"]})
    return unit.steps


# --- what the meter tells ------------------------------------------------------------------------


def _told(unit: ReportUnit) -> set[tuple[str, int, str]]:
    """Return what was recorded already, since a meter repeats until it is answered."""
    told = set()
    for row in unit.rows["told"]:
        data = json.loads(row["data"])
        if "at_us" in data:
            told.add((row["kind"], data["at_us"], data.get("outcome", "")))
    return told


def _tell(unit: ReportUnit) -> None:
    report = unit.report
    if not report.events and not report.entries:
        return
    told = _told(unit)
    for entry in report.entries:
        at_us = epoch_us(entry.at)
        key = ("token_entered", at_us, entry.outcome.value)
        if key not in told:
            told.add(key)
            unit.event(
                "token_entered",
                f"A token was typed at the meter: {entry.outcome}",
                severity="info" if entry.outcome is Outcome.DONE else "warning",
                data={"at_us": at_us, "outcome": entry.outcome.value, "amount": entry.amount},
            )
    for event in sorted(report.events, key=lambda each: each.at):
        at_us = epoch_us(event.at)
        if event.kind is DeviceEventKind.SUPPLY_CUT:
            unit.explained.add(SupplyState.OFF.value)
        elif event.kind is DeviceEventKind.SUPPLY_RESTORED:
            unit.explained.add(SupplyState.ON.value)
        if (event.kind.value, at_us, "") not in told:
            told.add((event.kind.value, at_us, ""))
            _tell_event(unit, event, at_us)


_WORDS: Final = {
    DeviceEventKind.LOW_CREDIT: ("The meter warns: its credit is low", "warning"),
    DeviceEventKind.CREDIT_USED_UP: ("The meter's credit is used up", "warning"),
    DeviceEventKind.RESTARTED: ("The meter restarted", "info"),
}
_NOTICES: Final = {DeviceEventKind.LOW_CREDIT, DeviceEventKind.CREDIT_USED_UP}


def _tell_event(unit: ReportUnit, event: DeviceEvent, at_us: int) -> None:
    data: dict[str, object] = {"at_us": at_us}
    match event.kind:
        case DeviceEventKind.SUPPLY_CUT:
            cause, why = _cut_cause(unit)
            text, severity = f"The meter cut supply: {why}", "warning"
            data["cause"] = cause
        case DeviceEventKind.SUPPLY_RESTORED:
            text, severity = "The meter gave supply back: it has credit", "info"
            data["cause"] = "credit"
        case DeviceEventKind.TAMPER:
            unit.raise_alarm("tamper", "The meter was tampered with", data=data)
            return
        case DeviceEventKind.TAMPER_CLEARED:
            unit.clear_alarm("tamper", "The meter's tamper condition is cleared", data=data)
            return
        case other:
            text, severity = _WORDS[other]
    if event.kind in _NOTICES:
        # The meter's display shows it; the customer's page shows the event.
        unit.notice(event.kind.value, ("display", "page"))
    unit.event(event.kind.value, text, severity=severity, data=data)


def _cut_cause(unit: ReportUnit) -> tuple[str, str]:
    kinds = {event.kind for event in unit.report.events}
    if DeviceEventKind.CREDIT_USED_UP in kinds or unit.reading("credit_balance") == 0:
        return "credit_used_up", "its credit is used up"
    if unit.report.tamper:
        return "tamper", "it was tampered with"
    return "meter", "by itself"


# --- what the newest report shows ----------------------------------------------------------------


def _supply_changed(unit: ReportUnit) -> None:
    """Tell of a change of supply that nothing else has explained."""
    now, before = unit.report.supply, SupplyState(unit.device["supply"])
    if now is None or now is before or before is SupplyState.UNKNOWN or now.value in unit.explained:
        return
    data = {"cause": "unknown", "supply": now.value}
    match now:
        case SupplyState.OFF:
            unit.event(
                "supply_cut",
                "Supply is off; the meter gave no cause",
                severity="warning",
                data=data,
            )
        case SupplyState.ON:
            unit.event("supply_restored", "Supply is on; the meter gave no cause", data=data)
        case SupplyState.ARMED:
            unit.event(
                "supply_armed",
                "Supply is ready and waits for a person at the site",
                data={**data, "cause": "site"},
            )
        case SupplyState.UNKNOWN:
            pass


def _tamper(unit: ReportUnit) -> None:
    data = {"measured_us": unit.measured_us}
    if unit.report.tamper:
        unit.raise_alarm("tamper", "The meter was tampered with", data=data)
    elif unit.report.tamper is False:
        unit.clear_alarm("tamper", "The meter's tamper condition is cleared", data=data)


def _clock(unit: ReportUnit) -> None:
    data = {"measured_us": unit.measured_us, "received_us": unit.frame["received_us"]}
    if unit.is_clock_ahead:
        unit.raise_alarm(
            "clock_ahead",
            f"The meter's clock says {instant(unit.measured_us):%Y-%m-%d %H:%M} UTC, which is "
            "ahead of ours; its times are not believed",
            data=data,
        )
    else:
        unit.clear_alarm("clock_ahead", "The meter's clock is believable again", data=data)


def _wrong_counter(unit: ReportUnit) -> None:
    others = unit.other_counters
    if others:
        unit.raise_alarm(
            "wrong_register",
            f"The meter reports {' and '.join(others)}, which is not what a meter for "
            f"{unit.frame['commodity']} counts; it is not taken",
            data={"registers": others},
        )
    elif unit.counter is not None:
        unit.clear_alarm("wrong_register", "The meter reports its own register again", data={})


def _charge(unit: ReportUnit) -> None:
    register = unit.counter
    if unit.frame["credit_mode"] != "platform" or register is None:
        return
    name = COUNTER_OF[unit.frame["commodity"]]
    metered = Metered(
        utility_id=unit.utility_id,
        meter_id=unit.meter_id,
        meter_number=unit.frame["meter_number"],
        register=register,
        frame_id=unit.frame["id"],
        now_us=unit.now_us,
        commodity=Commodity(unit.frame["commodity"]),
        measured_us=unit.measured_us,
        is_clock_ahead=unit.is_clock_ahead,
        entity=None if unit.driver is None else unit.driver.entity(name),
    )
    charged = charge_steps(metered, unit.rows, unit.new_id)
    unit.steps += charged.steps
    unit.charged = charged.minor > 0
    data = {"register": register}
    if charged.went_backwards:
        unit.raise_alarm(
            "register_backwards",
            "The register is below what was charged already; nothing is charged until it is not",
            data=data,
        )
        return
    unit.clear_alarm("register_backwards", "The register counts on again", data=data)
    if charged.unpriced is not None:
        unit.raise_alarm(NO_PRICE, f"Use is not charged: {charged.unpriced}", data=data)
        return
    unit.clear_alarm(NO_PRICE, "There is a price for the meter again", data=data)
    if charged.is_implausible:
        unit.raise_alarm(
            "implausible_register",
            "The register rose by more than any such meter can deliver; nothing is charged while "
            "it is not below this value again",
            data=data,
        )
    else:
        unit.clear_alarm("implausible_register", "The register is plausible again", data=data)


def _device_step(unit: ReportUnit, explained: int | None) -> Update:
    device, report = unit.device, unit.report
    after = {name: device[name] for name in ("measured_us", "received_us", "supply", "register")}
    after |= {name: device[name] for name in ("credit_balance", "credit_total", "tamper")}
    if unit.is_newest:
        told = {
            "measured_us": unit.measured_us,
            "received_us": unit.frame["received_us"],
            "supply": None if report.supply is None else report.supply.value,
            "register": unit.counter,
            "credit_balance": unit.reading("credit_balance"),
            "credit_total": unit.reading("credit_total"),
            "tamper": None if report.tamper is None else int(report.tamper),
        }
        after |= {name: value for name, value in told.items() if value is not None}
    params: dict[str, SqlValue] = {f"to_{name}": value for name, value in after.items()}
    params |= {
        "to_entry": unit.frame["entry_id"],
        "of_utility": unit.utility_id,
        "of_device": unit.frame["device_id"],
        "to_contact_us": unit.frame["received_us"],
        "to_credit_proven": explained,
        "to_credit_baseline_us": None if explained is None else unit.now_us,
    }
    return Update("ingest_report", params)
