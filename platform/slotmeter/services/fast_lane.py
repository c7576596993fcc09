"""Reports that only carry readings on: many devices in one unit.

Most reports say what nobody waited for: new values of registers, and supply and tamper as before.
They change a few columns of their device and nothing else, so that one unit takes thousands of
them. Everything else takes a unit of its own (``device_effects``), which this one must agree with:
what the lane writes is what that one would have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

from slotmeter.devices.frames import ITEMS_MAX, Report
from slotmeter.ports import ReadingRow, Row, SqlValue, Update, UpdateMany
from slotmeter.services.clock_watch import ClockWatch
from slotmeter.services.device_cards import Card, clock_ahead_us
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

_NOT_HEARD: Final = (None, None)
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
)


class _Shape(NamedTuple):
    """What the registers of a report are to a meter, by their names.

    Args:
        is_usual: they are the meter's own, and need no thought.
        counter: the place of what counts its commodity; None when the report does not have it.
        credit_balance: the place of it; the others likewise.
    """

    is_usual: bool
    counter: int | None
    credit_balance: int | None
    credit_total: int | None
    battery: int | None
    signal: int | None


@lru_cache(maxsize=4_096)
def _shape(counter: str, names: tuple[str, ...]) -> _Shape:
    """Look at the names of a report's registers, once for all reports that have the same.

    What commands set is held against what was asked last, and so is not usual.
    """
    places = {name: at for at, name in reversed(list(enumerate(names)))}
    return _Shape(
        not (SETTINGS_SHOWN | (_COUNTERS - {counter})) & places.keys(),
        places.get(counter),
        places.get("credit_balance"),
        places.get("credit_total"),
        places.get("battery"),
        places.get("signal"),
    )


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
        # What the unit's guard must find: the times of the newest report before this run. Then
        # the newest contact.
        self._seen: dict[Card, list[int]] = {}
        self._heard: dict[Card, tuple[int | None, int | None]] = {}
        self._policies: dict[int, str] = {}

    def take(self, frame: Logged, card: Card, report: Report) -> bool:
        """Take a report of a device that belongs here; say whether it does."""
        measured_at, readings = report.measured_at, report.readings
        measured_us = epoch_us(measured_at)
        shape = _shape(card.counter, tuple([each.register for each in readings]))
        values = [each.value for each in readings]
        if (
            not shape.is_usual
            or not _is_plain(card, report)
            or (frame.entry_id is not None and frame.entry_id != card.entry_id)
            or not _is_believed(frame, card, measured_us)
            or len(values) > ITEMS_MAX
            or (
                shape.credit_total is not None
                and not (card.is_credit_known and values[shape.credit_total] == card.credit_total)
            )
        ):
            return False
        for value in values:
            if type(value) is not int or not _LEAST <= value <= _MOST:
                return False
        meter_id, frame_id = card.meter_id, frame.id
        corrections = self._clocks.corrections(card.device_id)
        off_us = corrections.offset_us(measured_us) if corrections is not None else 0
        at_us = measured_us - off_us
        self.readings.append(
            (
                frame_id,
                [
                    _row(
                        ReadingRow,
                        (
                            meter_id,
                            each.register,
                            at_us
                            if each.measured_at is measured_at
                            else epoch_us(each.measured_at) - off_us,
                            each.value,
                            frame_id,
                        ),
                    )
                    for each in readings
                ],
            )
        )
        self._note(card, frame)
        if measured_us >= card.measured_us:
            self._move_on(card, frame, shape, values, measured_us)
        return True

    def _note(self, card: Card, frame: Logged) -> None:
        """Note what the unit's guard must find, and that the device was heard."""
        self.frames.append(frame)
        received_us = frame.received_us
        seen = self._seen.get(card)
        if seen is None:
            self._seen[card] = [card.measured_us, card.received_us, received_us]
            self._policies[card.utility_id] = card.policy
        elif received_us > seen[2]:
            seen[2] = received_us

    def _move_on(
        self, card: Card, frame: Logged, shape: _Shape, values: Sequence[int], measured_us: int
    ) -> None:
        """Take what the newest report of a device says."""
        self.newest += 1
        received_us = frame.received_us
        self._clocks.saw(card.device_id, card.utility_id, measured_us, received_us)
        card.measured_us, card.received_us = measured_us, received_us
        if shape.counter is not None:
            card.register = values[shape.counter]
        if shape.credit_balance is not None:
            card.credit_balance = values[shape.credit_balance]
        if shape.battery is not None or shape.signal is not None:
            battery, signal = self._heard.get(card, (None, None))
            self._heard[card] = (
                battery if shape.battery is None else values[shape.battery],
                signal if shape.signal is None else values[shape.signal],
            )

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
        heard = self._heard.get
        rows: list[tuple[SqlValue, ...]] = [
            (
                card.device_id,
                card.utility_id,
                card.meter_id,
                card.driver,
                card.medium,
                card.address,
                measured_us,
                received_us,
                contact_us,
                card.measured_us or None,
                card.received_us or None,
                card.register,
                card.credit_balance,
                *heard(card, _NOT_HEARD),
            )
            for card, (measured_us, received_us, contact_us) in self._seen.items()
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
        report.results
        or report.entries
        or report.events
        or report.slots
        or report.contact is not None
        or (report.supply is not None and report.supply != card.supply)
        or (report.tamper is not None and report.tamper != card.tamper)
        or (report.serial is not None and report.serial != card.number)
        or not card.is_plain
    )


def _is_believed(frame: Logged, card: Card, measured_us: int) -> bool:
    """Say whether the meter's clock is one by which reports can be told apart."""
    if not _EARLIEST_US <= measured_us < _LATEST_US:
        return False
    ahead_us = clock_ahead_us(card.policy)
    if measured_us > frame.received_us + ahead_us:
        return False
    # Of a time that was not believed, what is newest is another question.
    return measured_us >= card.measured_us or card.measured_us <= card.received_us + ahead_us
