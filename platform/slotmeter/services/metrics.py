"""Counters of devices and of nightly work, for ``/metrics``; their names are public."""

from __future__ import annotations

from datetime import date
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["CheckpointMetrics", "DeviceMetrics", "FewNames", "InterestMetrics"]

NAMES_MAX: Final = 500


class FewNames:
    """Bounds the values of a label that a plugin chooses: a counter for each is kept for good."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: set[tuple[str, ...]] = set()

    def of(self, *values: str) -> tuple[str, ...]:
        """Return the values, or ``other`` for each when there are too many already."""
        if values not in self._known:
            if len(self._known) >= NAMES_MAX:
                return ("other",) * len(values)
            self._known.add(values)
        return values


class InterestMetrics:
    """What the nightly booking of interest counts; one set per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every counter."""
        self.debts = Counter(
            "slotmeter_interest_debts", "Debts on which interest was booked.", registry=registry
        )
        self.failures = Counter(
            "slotmeter_interest_failures",
            "Bookings of a utility's interest that failed; they are tried again.",
            registry=registry,
        )
        self.through = Gauge(
            "slotmeter_interest_through_day",
            "The last local day whose interest is booked, as days since 1970-01-01.",
            ["utility"],
            registry=registry,
        )

    def booked(self, utility: str, through: date, debts: int) -> None:
        """Note that a utility's interest is booked through a day."""
        self.debts.inc(debts)
        self.through.labels(utility).set((through - date(1970, 1, 1)).days)


class CheckpointMetrics:
    """What the checkpoints of the audit count; one set per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every counter."""
        self.made = Counter(
            "slotmeter_audit_checkpoints",
            "Checkpoints of the audit that this server signed by its schedule.",
            registry=registry,
        )
        self.failures = Counter(
            "slotmeter_audit_checkpoint_failures",
            "Checkpoints that could not be signed or kept; they are tried again.",
            registry=registry,
        )
        self.newest = Gauge(
            "slotmeter_audit_checkpoint_newest_seconds",
            "When the newest checkpoint that is kept was signed, as seconds since 1970-01-01.",
            registry=registry,
        )


class DeviceMetrics:
    """What frames, commands, readings, charges and their tasks count; one set per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every counter."""
        self._count_frames(registry)
        self.quarantined = Counter(
            "slotmeter_quarantined", "Frames set aside, by cause.", ["code"], registry=registry
        )
        self.reports = Counter(
            "slotmeter_reports", "Frames understood, by age.", ["age"], registry=registry
        )
        self.ignored = Counter(
            "slotmeter_ignored_items",
            "Things in reports that were not taken, by cause.",
            ["code"],
            registry=registry,
        )
        self.commands = Counter(
            "slotmeter_commands", "Commands that reached a state.", ["state"], registry=registry
        )
        self.cuts_refused = Counter(
            "slotmeter_cuts_refused",
            "Causes why cuts were held or refused.",
            ["code"],
            registry=registry,
        )
        self._count_waiting(registry)
        self.readings = Counter(
            "slotmeter_readings", "Register values new in the store.", registry=registry
        )
        self.charges = Counter(
            "slotmeter_charges", "Consumption entries in the ledger.", registry=registry
        )
        self.credit_failures = Counter(
            "slotmeter_credit_failures", "Looks at a meter's credit that failed.", registry=registry
        )
        self.alarms = Counter("slotmeter_alarms", "Alarms raised.", ["kind"], registry=registry)
        self.task_failures = Counter(
            "slotmeter_task_failures",
            "Background tasks that ended by an error.",
            ["task"],
            registry=registry,
        )
        self.wakes_dropped = Counter(
            "slotmeter_wakes_dropped", "In-process wake-ups dropped.", registry=registry
        )
        self.frames_waiting = Gauge(
            "slotmeter_frames_waiting",
            "Frames that a consumer found waiting at its last look.",
            ["consumer"],
            registry=registry,
        )

    def _count_frames(self, registry: CollectorRegistry) -> None:
        self.frames = Counter(
            "slotmeter_frames", "Frames in the durable log.", ["medium"], registry=registry
        )
        self.frames_refused = Counter(
            "slotmeter_frames_refused",
            "Frames for which the log had no room; their devices send them again.",
            registry=registry,
        )
        self.frames_unfit = Counter(
            "slotmeter_frames_unfit",
            "Frames that were refused for good, by cause; sending them again is of no use.",
            ["code"],
            registry=registry,
        )
        self.lane_retries = Counter(
            "slotmeter_lane_retries",
            "Runs of plain reports that were done again, since a device was not as remembered.",
            registry=registry,
        )
        self.frames_unknown_dropped = Counter(
            "slotmeter_frames_unknown_dropped",
            "Frames of addresses that nobody registered, beyond the sample that is kept.",
            registry=registry,
        )
        self.calls_refused = Counter(
            "slotmeter_device_calls_refused",
            "Calls to the routes of entries that were refused, by code.",
            ["entry", "code"],
            registry=registry,
        )
        self.frames_too_many = Counter(
            "slotmeter_frames_too_many",
            "Frames of registered devices that sent too many within a minute.",
            registry=registry,
        )

    def _count_waiting(self, registry: CollectorRegistry) -> None:
        self.commands_open = Gauge(
            "slotmeter_commands_open",
            "Commands that did not end, by state, at the last look.",
            ["state"],
            registry=registry,
        )
        self.commands_deferred = Counter(
            "slotmeter_commands_deferred",
            "Times that due commands were not handed out, by cause; they stay in the queue.",
            ["code"],
            registry=registry,
        )
        self.quarantine_frames = Gauge(
            "slotmeter_quarantine_frames",
            "Frames that are set aside and were not replayed, by cause, at the last look.",
            ["code"],
            registry=registry,
        )
        self.quarantine_replayed = Counter(
            "slotmeter_quarantine_replayed",
            "Frames that were set aside and handed in again.",
            registry=registry,
        )
        self.claims = Gauge(
            "slotmeter_commissioning_claims",
            "Claims of meters that are to be commissioned, by state, at the last look.",
            ["state"],
            registry=registry,
        )
        self.entry_failures = Counter(
            "slotmeter_entry_failures",
            "Times that a config entry could not be set up or broke, by what comes of it.",
            ["entry", "state"],
            registry=registry,
        )

    def count_refused_call(self, entry_key: str, code: str) -> None:
        """Count a call to an entry's routes that was refused."""
        self.calls_refused.labels(entry_key, code).inc()

    def count_command(self, state: str, refusals: list[str] | None = None) -> None:
        """Count a command that reached a state, and why a cut did not go."""
        self.commands.labels(state).inc()
        for code in refusals or ():
            self.cuts_refused.labels(code).inc()
