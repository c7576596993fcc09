"""One report of one device while it is being decided: what is known, and what will be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.devices.frames import Reading, Report
from slotmeter.ports import Insert, NewId, Row, Rows, SqlValue, Step, Update
from slotmeter.services.command_queue import sale_steps
from slotmeter.services.delivery import Delivery, Happening, after
from slotmeter.services.events import Event, event_step
from slotmeter.services.protection import Policy, readable_policy
from slotmeter.units import DAY_US, HOUR_US, Commodity, epoch_us

__all__ = ["COUNTER_OF", "ReportUnit", "credible_readings"]

COUNTER_OF: Final[Mapping[str, str]] = {
    Commodity.ELECTRICITY.value: "energy_import",
    Commodity.WATER.value: "volume",
    Commodity.GAS.value: "volume",
}
"""The register that counts what a meter delivers, by its commodity."""

LATE_US_MAX: Final = DAY_US
"""A frame that comes out of order is younger than this; a longer step back is a clock set right."""

_COUNTERS: Final = frozenset(COUNTER_OF.values())
_IN_THE_COUNTER_S_UNIT: Final = frozenset({"credit_balance", "credit_total"})


def credible_readings(report: Report, commodity: str) -> tuple[Reading, ...]:
    """Return the readings that a meter of a commodity can mean.

    A counter of another commodity is none of its own. When it comes instead of its own, nobody
    knows the unit of its credit either, since a meter tells one unit for all of them.
    """
    own = COUNTER_OF[commodity]
    names = {reading.register for reading in report.readings}
    doubtful = _COUNTERS - {own}
    if own not in names and names & _COUNTERS:
        doubtful |= _IN_THE_COUNTER_S_UNIT
    return tuple(reading for reading in report.readings if reading.register not in doubtful)


@dataclass(slots=True)
class ReportUnit:
    """Collects the steps of one report.

    Args:
        frame: the frame with its device and meter, as ``ingest_frames`` gives it.
        report: what the frame says.
        rows: what was read in this unit.
        new_id: the unit's source of ids.
        now_us: our clock.
        steps: what will be written, in order.
        commands: states that commands reached, for counting.
        ignored: codes of what was not taken, for counting.
        alarms_raised: kinds, for counting.
        charged: whether the ledger was charged.
        explained: supply states whose cause has been told.
        clock_was_set: the meter has the time that we gave it, whatever it had before.
        driver: of the device that sent the report.
    """

    frame: Row
    report: Report
    rows: Rows
    new_id: NewId
    now_us: int
    steps: list[Step] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    alarms_raised: list[str] = field(default_factory=list)
    charged: bool = False
    explained: set[str] = field(default_factory=set)
    clock_was_set: bool = False
    driver: Driver | None = None
    _deliveries: dict[int, str] = field(default_factory=dict)
    _open_alarms: dict[str, int] | None = None

    @property
    def device(self) -> Row:
        """The device as it is in this unit."""
        return self.rows["device"][0]

    @property
    def utility_id(self) -> int:
        """Whose meter it is."""
        owner: int = self.frame["utility_id"]
        return owner

    @property
    def meter_id(self) -> int:
        """The meter."""
        meter: int = self.frame["meter_id"]
        return meter

    @property
    def measured_us(self) -> int:
        """The meter's clock."""
        return epoch_us(self.report.measured_at)

    @property
    def clock_ahead_max_us(self) -> int:
        """How far ahead of ours a meter's clock is believed."""
        policy = readable_policy(self.frame["policy"]) or Policy()
        return policy.clock_ahead_hours_max * HOUR_US

    @property
    def is_clock_ahead(self) -> bool:
        """Whether the meter's clock is further ahead of ours than anybody believes."""
        received_us: int = self.frame["received_us"]
        return self.measured_us > received_us + self.clock_ahead_max_us

    @property
    def is_newest(self) -> bool:
        """Whether this report is younger than the one whose values the device shows.

        The meter's time decides, so that a frame that comes late rolls nothing back. A time that
        nobody believes decides nothing about what comes after it: a report that can have been made
        since then is younger, and so is one that is still ahead, but by days less.
        """
        known_us: int | None = self.device["measured_us"]
        if self.clock_was_set or known_us is None or self.measured_us >= known_us:
            return True
        known_received_us: int = self.device["received_us"]
        if known_us <= known_received_us + self.clock_ahead_max_us:
            return False
        if self.is_clock_ahead:
            return known_us - self.measured_us > LATE_US_MAX
        return self.measured_us >= known_received_us - self.clock_ahead_max_us

    @property
    def counter(self) -> int | None:
        """What the meter has counted of its commodity, Wh or mL, if the report says so."""
        return self.reading(COUNTER_OF[self.frame["commodity"]])

    @property
    def other_counters(self) -> list[str]:
        """Registers in the report that count another commodity than the meter's."""
        own = COUNTER_OF[self.frame["commodity"]]
        names = {reading.register for reading in self.report.readings}
        return sorted(names & (_COUNTERS - {own}))

    def reading(self, register: str) -> int | None:
        """Return the value of a register, if the report has it and the meter can mean it."""
        readings = credible_readings(self.report, self.frame["commodity"])
        return next((each.value for each in readings if each.register == register), None)

    def event(
        self, kind: str, text: str, *, severity: str = "info", data: Mapping[str, object]
    ) -> None:
        """Tell something about this meter."""
        event = Event(
            utility_id=self.utility_id,
            at_us=self.now_us,
            kind=kind,
            text=text,
            severity=severity,
            meter_id=self.meter_id,
            data=data,
        )
        self.steps.append(event_step(event, self.new_id))

    def sale(self, row: Row, happening: Happening, detail: str = "") -> None:
        """Move the delivery of a token's sale on, if the token has a sale and tells of it.

        Of any other token only the token itself can say that it was proven.
        """
        sale_row_id: int | None = row["sale_row_id"]
        if sale_row_id is None or row["sale_delivery"] is None:
            if happening is Happening.PROVEN:
                params: dict[str, SqlValue] = {"of_utility": self.utility_id, "of_token": row["id"]}
                self.steps.append(Update("ingest_token_prove", params, rows=None))
            return
        before: str = self._deliveries.get(sale_row_id) or row["sale_delivery"]
        current = {**row, "sale_delivery": before}
        self.steps += sale_steps(current, happening, detail, now_us=self.now_us, new_id=self.new_id)
        self._deliveries[sale_row_id] = after(Delivery(before), happening).value

    def _alarms(self) -> dict[str, int]:
        if self._open_alarms is None:
            self._open_alarms = {row["kind"]: row["id"] for row in self.rows["alarms"]}
        return self._open_alarms

    def raise_alarm(
        self, kind: str, text: str, *, severity: str = "alarm", data: Mapping[str, object]
    ) -> None:
        """Raise an alarm for this meter, unless one of the kind is open."""
        alarms = self._alarms()
        if kind in alarms:
            return
        alarm_id = self.new_id()
        row: dict[str, SqlValue] = {
            "id": alarm_id,
            "utility_id": self.utility_id,
            "meter_id": self.meter_id,
            "kind": kind,
            "severity": severity,
            "text": text,
            "raised_us": self.now_us,
            "cleared_us": None,
        }
        alarms[kind] = alarm_id
        self.steps.append(Insert("alarm", row))
        self.alarms_raised.append(kind)
        self.event(kind, text, severity=severity, data=data)

    def clear_alarm(self, kind: str, text: str, *, data: Mapping[str, object]) -> None:
        """Clear the open alarm of a kind, if there is one."""
        alarm_id = self._alarms().pop(kind, None)
        if alarm_id is None:
            return
        params: dict[str, SqlValue] = {
            "of_utility": self.utility_id,
            "of_alarm": alarm_id,
            "to_cleared_us": self.now_us,
        }
        self.steps.append(Update("ingest_alarm_clear", params))
        self.event(f"{kind}_cleared", text, data=data)

    def notice(self, kind: str, routes: Sequence[str]) -> None:
        """Record that the customer was told."""
        self.steps += notice_steps(
            self.utility_id, self.meter_id, kind, routes, now_us=self.now_us, new_id=self.new_id
        )


def notice_steps(
    utility_id: int,
    meter_id: int,
    kind: str,
    routes: Sequence[str],
    *,
    now_us: int,
    new_id: NewId,
) -> list[Step]:
    """Return the rows that record a notice, one for each route it went by."""
    return [
        Insert(
            "notice",
            {
                "id": new_id(),
                "utility_id": utility_id,
                "meter_id": meter_id,
                "kind": kind,
                "route": route,
                "at_us": now_us,
            },
        )
        for route in routes
    ]
