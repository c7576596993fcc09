"""How often a device reports, learned from its contacts, and when its silence means something.

Nobody tells the platform how often a meter reports: its contacts do. Learning follows a device that
becomes slower at once and one that becomes faster by and by, so that a mistake makes an alarm late
and never wrong. Times are UTC epoch microseconds of our clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from slotmeter.units import DAY_US, HOUR_US, MINUTE_US

__all__ = [
    "FIRST_INTERVAL_US",
    "LEARNED_AFTER",
    "SESSION_US",
    "SHORT_INTERVAL_US",
    "SILENCE_INTERVALS",
    "SILENCE_US_MIN",
    "UNLEARNED_SILENCE_US",
    "WINDOW_CONTACTS",
    "ContactRecord",
    "Silence",
    "heard",
]

FIRST_INTERVAL_US: Final = DAY_US
"""A device of which nothing is learned is expected once a day."""

SESSION_US: Final = MINUTE_US
"""Frames closer than this are one contact: a report, its answer, and what the meter says to it."""

LEARNED_AFTER: Final = 4
"""After so many contacts the interval is believed."""

WINDOW_CONTACTS: Final = 200
"""The success rate is that of about so many expected contacts; older ones fade."""

SILENCE_INTERVALS: Final = 3
"""A device is offline when it was not heard for so many of its intervals."""

SILENCE_US_MIN: Final = 15 * MINUTE_US
"""No shorter silence is an alarm, however often a device reports."""

UNLEARNED_SILENCE_US: Final = 26 * HOUR_US
"""Silence of a device whose interval is not believed yet: a day and its jitter."""

SHORT_INTERVAL_US: Final = 4 * SESSION_US
"""A device that reports more often than this has no sessions: each of its frames is a contact."""

_GROWTH_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class ContactRecord:
    """A device's habit of reporting, as far as it is known.

    Args:
        last_us: when its last contact began; None when it was never heard.
        interval_us: between contacts; None until there were two.
        contacts: how many came, of about the last ``WINDOW_CONTACTS`` that were expected.
        missed: how many of these did not.
    """

    last_us: int | None = None
    interval_us: int | None = None
    contacts: int = 0
    missed: int = 0

    @property
    def is_learned(self) -> bool:
        """Whether the interval is believed."""
        return self.interval_us is not None and self.contacts >= LEARNED_AFTER

    @property
    def expected_us(self) -> int | None:
        """When the next contact should come."""
        if self.last_us is None:
            return None
        return self.last_us + (self.interval_us or FIRST_INTERVAL_US)

    @property
    def silence_us_max(self) -> int:
        """How long it may be silent before that is an alarm."""
        usual = SILENCE_INTERVALS * (self.interval_us or 0)
        return max(SILENCE_US_MIN if self.is_learned else UNLEARNED_SILENCE_US, usual)

    def overdue(self, now_us: int) -> int:
        """Return how many contacts should have come since the last one and did not."""
        if self.last_us is None or self.interval_us is None or not self.is_learned:
            return 0
        silent_us = now_us - self.last_us
        if silent_us <= self.interval_us + self.interval_us // 2:
            return 0
        return min(_rounded(silent_us, self.interval_us) - 1, WINDOW_CONTACTS)

    def success_permille(self, now_us: int) -> int | None:
        """Return how many of a thousand expected contacts came; None while it is not learned."""
        if not self.is_learned:
            return None
        expected = self.contacts + self.missed + self.overdue(now_us)
        return self.contacts * 1000 // expected


def _rounded(amount: int, by: int) -> int:
    """Divide and round to the nearest whole number."""
    return (2 * amount + by) // (2 * by)


def heard(record: ContactRecord, at_us: int) -> ContactRecord:
    """Return what is known of a device after a contact.

    A contact that is not after the last one changes nothing: frames may come late.
    """
    last_us = record.last_us
    if last_us is None:
        return ContactRecord(at_us, record.interval_us, record.contacts + 1, record.missed)
    gap_us = at_us - last_us
    if gap_us <= 0 or _is_same_session(record.interval_us, gap_us):
        return record
    learned_us, missed = _learned(record, gap_us)
    return _faded(
        ContactRecord(at_us, learned_us, record.contacts + 1, record.missed + missed),
    )


def _is_same_session(interval_us: int | None, gap_us: int) -> bool:
    """Say whether a frame belongs to the contact before.

    A session is counted from its first frame, so that a device that reports every half minute is
    recognised after two of them.
    """
    if gap_us >= SESSION_US:
        return False
    return interval_us is None or interval_us >= SHORT_INTERVAL_US


def _learned(record: ContactRecord, gap_us: int) -> tuple[int, int]:
    """Return the interval after a gap, and how many contacts were missed in it."""
    interval_us = record.interval_us
    if interval_us is None:
        return gap_us, 0
    if not record.is_learned:
        # The first contacts of a device that is just being mounted are close together.
        return max(interval_us, gap_us), 0
    if 2 * gap_us > 3 * interval_us:
        missed = min(_rounded(gap_us, interval_us) - 1, WINDOW_CONTACTS // 2)
        longest_us = min(gap_us, _GROWTH_MAX * interval_us)
        return interval_us + (longest_us - interval_us) // 4, missed
    if 2 * gap_us < interval_us:
        return max(interval_us - interval_us // 8, gap_us), 0
    return interval_us + (gap_us - interval_us) // 8, 0


def _faded(record: ContactRecord) -> ContactRecord:
    if record.contacts + record.missed <= WINDOW_CONTACTS:
        return record
    contacts = max(record.contacts // 2, LEARNED_AFTER)
    return replace(record, contacts=contacts, missed=record.missed // 2)


@dataclass(frozen=True, slots=True)
class Silence:
    """What is asked to decide whether a silent device is an alarm of its own.

    Args:
        record: of the device.
        alive_us: when it was known last that the device's frames would have come through: now for
            a device that speaks for itself; for one behind a node when that node, or any other
            device behind it, was heard last.
        is_node_offline: whether it is behind a node that is offline.
    """

    record: ContactRecord
    alive_us: int
    is_node_offline: bool = False

    @property
    def is_alarm(self) -> bool:
        """Say whether somebody should look at this device.

        A node that died takes along all devices behind it. Their silence is judged only as far as
        the node was heard, and so none of them is an alarm beside the node's.
        """
        if self.record.last_us is None or self.is_node_offline:
            return False
        return self.alive_us - self.record.last_us > self.record.silence_us_max
