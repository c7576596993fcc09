"""Reports that only carry readings on: many devices in one unit.

Most reports say what nobody waited for: new values of registers, and supply and tamper as before.
They change a few columns of their device and nothing else, so that one unit takes thousands of
them. Everything else takes a unit of its own (``device_effects``), which this one must agree with:
what the lane writes is what that one would have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from slotmeter.devices.frames import Report
from slotmeter.ports import ReadingRow, Row, SqlValue, Update, UpdateMany
from slotmeter.services.clock_watch import ClockWatch
from slotmeter.services.device_cards import Card, clock_ahead_us
from slotmeter.services.device_effects import ITEMS_MAX
from slotmeter.services.frame_tail import Logged
from slotmeter.services.intents import SETTINGS_SHOWN
from slotmeter.services.report_unit import COUNTER_OF
from slotmeter.units import epoch_us

__all__ = ["LaneRun", "heard_steps"]

_COUNTERS: Final = frozenset(COUNTER_OF.values())
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
_EARLIEST_US: Final = 946_684_800_000_000  # 2000-01-01
_LATEST_US: Final = 4_102_444_800_000_000  # 2100-01-01

_row: Final = tuple.__new__  # three times as fast as the class by name, and there are many

COLUMNS: Final = (
    "of_device",
    "of_utility",
    "of_meter",
    "of_driver",
    "of_medium",
    "of_address",
    "of_measured_us",
    "of_received_us",
    "to_contact_us",
    "to_measured_us",
    "to_received_us",
    "to_register",
    "to_credit_balance",
    "to_battery",
    "to_signal",
    "to_entry",
)


class _Seen:
    """What a run knew of a device before it, and what it will have been told."""

    __slots__ = ("battery", "contact_us", "entry_id", "measured_us", "received_us", "signal")

    def __init__(self, card: Card) -> None:
        """Note what the unit's guard must find."""
        self.measured_us = card.measured_us
        self.received_us = card.received_us
        self.contact_us = 0
        self.entry_id: int | None = None
        self.battery: int | None = None
        self.signal: int | None = None


class LaneRun:
    """Reports of the lane that follow each other in the log: one unit.

    Cards are moved on as reports are taken. When the unit fails, forget them.
    """

    def __init__(self, clocks: ClockWatch) -> None:
        """Start empty; ``clocks`` say what the times of a meter are corrected by."""
        self._clocks = clocks
        self.frames: list[Logged] = []
        self.readings: list[tuple[int, Sequence[ReadingRow]]] = []
        self.newest = 0
        self._seen: dict[Card, _Seen] = {}
        self._policies: dict[int, str] = {}

    def take(self, frame: Logged, card: Card, report: Report) -> bool:
        """Take a report of a device that belongs here; say whether it does."""
        if not _is_plain(card, report):
            return False
        measured_at = report.measured_at
        measured_us = epoch_us(measured_at)
        received_us = frame.received_us
        ahead_us = clock_ahead_us(card.policy)
        if (
            measured_us > received_us + ahead_us
            or not _EARLIEST_US <= measured_us < _LATEST_US
            or len(report.readings) > ITEMS_MAX
        ):
            return False
        is_newest = measured_us >= card.measured_us
        if not is_newest and card.measured_us > card.received_us + ahead_us:
            return False  # that time was not believed: what is newest is another question
        meter_id, frame_id = card.meter_id, frame.id
        corrections = self._clocks.corrections(card.device_id)
        off_us = corrections.offset_us(measured_us) if corrections is not None else 0
        rows: list[ReadingRow] = []
        told: dict[str, int] = {}
        for reading in report.readings:
            name, value, at = reading.register, reading.value, reading.measured_at
            if type(value) is not int or not _LEAST <= value <= _MOST:
                return False
            if name not in told:
                told[name] = value
            at_us = measured_us if at is measured_at else epoch_us(at)
            rows.append(_row(ReadingRow, (meter_id, name, at_us - off_us, value, frame_id)))
        if not _is_usual(card, told):
            return False
        self._note(card, frame, told, measured_us if is_newest else None)
        self.readings.append((frame_id, rows))
        return True

    def _note(
        self, card: Card, frame: Logged, told: dict[str, int], measured_us: int | None
    ) -> None:
        self.frames.append(frame)
        seen = self._seen.get(card)
        if seen is None:
            seen = self._seen[card] = _Seen(card)
            self._policies[card.utility_id] = card.policy
        if frame.received_us > seen.contact_us:
            seen.contact_us = frame.received_us
            seen.entry_id = frame.entry_id
        if measured_us is None:
            return
        self.newest += 1
        self._clocks.saw(card.device_id, card.utility_id, measured_us, frame.received_us)
        card.measured_us, card.received_us = measured_us, frame.received_us
        if card.counter in told:
            card.register = told[card.counter]
        if "credit_balance" in told:
            card.credit_balance = told["credit_balance"]
        if "battery" in told:
            seen.battery = told["battery"]
        if "signal" in told:
            seen.signal = told["signal"]

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Media and addresses of its devices."""
        return [(card.medium, card.address) for card in self._seen]

    def rests_on(self, policies: Sequence[Row]) -> bool:
        """Say whether the utilities' policies are those by which reports were taken."""
        now = {row["id"]: row["policy"] for row in policies}
        return all(now.get(utility_id) == known for utility_id, known in self._policies.items())

    def step(self) -> UpdateMany:
        """Return what the unit changes of its devices, in their order in the table."""
        rows: list[tuple[SqlValue, ...]] = [
            (
                card.device_id,
                card.utility_id,
                card.meter_id,
                card.driver,
                card.medium,
                card.address,
                seen.measured_us,
                seen.received_us,
                seen.contact_us,
                card.measured_us or None,
                card.received_us or None,
                card.register,
                card.credit_balance,
                seen.battery,
                seen.signal,
                seen.entry_id,
            )
            for card, seen in self._seen.items()
        ]
        rows.sort(key=itemgetter(0))
        return UpdateMany("lane_report", COLUMNS, rows)


def heard_steps(frame: Row, report: Report) -> list[Update]:
    """Return what the newest report of a device outside the lane says of its battery and signal."""
    told = {each.register: each.value for each in reversed(report.readings)}
    if "battery" not in told and "signal" not in told:
        return []
    params: dict[str, SqlValue] = {
        "of_utility": frame["utility_id"],
        "of_device": frame["device_id"],
        "to_battery": told.get("battery"),
        "to_signal": told.get("signal"),
    }
    return [Update("lane_heard", params)]


def _is_plain(card: Card, report: Report) -> bool:
    """Say whether a report has nothing but readings to tell, and nobody waits for more."""
    return not (
        not card.is_plain
        or report.results
        or report.entries
        or report.events
        or report.slots
        or report.contact is not None
        or (report.supply is not None and report.supply != card.supply)
        or (report.tamper is not None and report.tamper != card.tamper)
        or (report.serial is not None and report.serial != card.number)
    )


def _is_usual(card: Card, told: dict[str, int]) -> bool:
    """Say whether the registers of a report are the meter's own, and need no thought.

    What commands set is held against what was asked last.
    """
    if not SETTINGS_SHOWN.isdisjoint(told):
        return False
    for name in _COUNTERS:
        if name in told and name != card.counter:
            return False
    if "credit_total" in told:
        return card.is_credit_known and told["credit_total"] == card.credit_total
    return True
