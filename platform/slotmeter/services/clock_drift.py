"""How far a meter's clock is off ours and how fast it drifts, and what time it really was; pure.

What is seen of a clock is *ahead*: the time in a report less our time of receipt. A report that was
long under way makes a clock look slow and never fast, so of the reports of a while the one that is
ahead the most counts, and the line through these samples is that of Theil and Sen: the median of
all slopes, then the median of what is left. A third of the samples may be wrong altogether.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median_low
from struct import Struct
from typing import Final

from slotmeter.units import HOUR_US, MINUTE_US, SECOND_US

__all__ = [
    "CORRECTED_FROM_US",
    "EPOCHS_MAX",
    "SAME_US",
    "SAMPLES_MAX",
    "SAMPLE_EVERY_US",
    "ClockFit",
    "Corrections",
    "Samples",
    "adopt",
    "fit",
]

SAMPLES_MAX: Final = 8
SAMPLE_EVERY_US: Final = 10 * MINUTE_US
"""Reports closer than this are one sample."""

SAMPLES_MIN: Final = 3
"""Fewer say nothing: one report may have been under way for hours."""

CORRECTED_FROM_US: Final = MINUTE_US
"""A clock that is off by less is taken at its word."""

SAME_US: Final = 30 * SECOND_US
"""An offset that moved by less is the same: times are corrected alike while it lasts."""

EPOCHS_MAX: Final = 64
DRIFT_SPAN_US: Final = HOUR_US
"""Samples of a shorter time say nothing of a drift."""

_PPB: Final = 1_000_000_000
_DRIFT_PPB_MAX: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class ClockFit:
    """A clock as its samples show it.

    Args:
        offset_us: the meter's clock less ours, at ``at_us``.
        drift_ppb: how much it gains, in thousandths of a millionth.
        at_us: our clock.
    """

    offset_us: int
    drift_ppb: int
    at_us: int


_SAMPLE: Final = Struct("<qq")


class Samples:
    """The last samples of one clock, in few octets: there are as many clocks as devices."""

    __slots__ = ("_ahead_us", "_before", "_received_us")

    def __init__(self) -> None:
        """Start with none."""
        self._before = b""
        self._received_us: int | None = None
        self._ahead_us = 0

    def note(self, received_us: int, ahead_us: int) -> bool:
        """Take what a report shows; say whether it began a new sample."""
        last_us = self._received_us
        if last_us is not None:
            if received_us - last_us < SAMPLE_EVERY_US:
                if ahead_us > self._ahead_us and received_us >= last_us:
                    self._ahead_us = ahead_us
                return False
            known = self._before + _SAMPLE.pack(last_us, self._ahead_us)
            self._before = known[-(SAMPLES_MAX - 1) * _SAMPLE.size :]
        self._received_us, self._ahead_us = received_us, ahead_us
        return True

    def pairs(self) -> list[tuple[int, int]]:
        """Return our time and how far the clock was ahead, oldest first."""
        if self._received_us is None:
            return []
        before = [(at_us, ahead_us) for at_us, ahead_us in _SAMPLE.iter_unpack(self._before)]
        return [*before, (self._received_us, self._ahead_us)]


def fit(samples: Sequence[tuple[int, int]]) -> ClockFit | None:
    """Return the clock that samples show.

    Args:
        samples: our time and how far the clock was ahead, oldest first.

    Returns:
        None while they are too few, and of a clock that goes at a pace of its own from each sample
        to every other: a meter that catches up on old reports, or one that is played faster. Its
        times are what it lives by; to take one offset off them would set it back.
    """
    if len(samples) < SAMPLES_MIN:
        return None
    end_us = samples[-1][0]
    slopes = [
        (later[1] - earlier[1]) * _PPB // (later[0] - earlier[0])
        for earlier, later in combinations(samples, 2)
        if later[0] - earlier[0] >= SAMPLE_EVERY_US
    ]
    if slopes and (min(slopes) > _DRIFT_PPB_MAX or max(slopes) < -_DRIFT_PPB_MAX):
        return None
    drift_ppb = 0
    if slopes and end_us - samples[0][0] >= DRIFT_SPAN_US:
        drift_ppb = max(-_DRIFT_PPB_MAX, min(_DRIFT_PPB_MAX, median_low(slopes)))
    rest = [ahead_us + drift_ppb * (end_us - at_us) // _PPB for at_us, ahead_us in samples]
    return ClockFit(median_low(rest), drift_ppb, end_us)


@dataclass(frozen=True, slots=True)
class Corrections:
    """What is taken off the times of a meter: offsets, each from a time of its clock on.

    The same time of the same clock is always corrected alike, so that what comes twice is stored
    once.
    """

    epochs: tuple[tuple[int, int], ...] = ()

    def offset_us(self, measured_us: int) -> int:
        """Return what the clock was off when it said so."""
        at = bisect_right(self.epochs, measured_us, key=lambda epoch: epoch[0])
        return self.epochs[at - 1][1] if at else 0

    def true_us(self, at_us: int, measured_us: int) -> int:
        """Return when something was by our clock that a report of ``measured_us`` tells of."""
        return at_us - self.offset_us(measured_us)


def adopt(known: Corrections, found: ClockFit, newest_us: int) -> Corrections:
    """Return the corrections after a clock was looked at; the same ones if nothing changes.

    Args:
        known: until now.
        found: what the clock's samples show.
        newest_us: the newest time that the clock has said; later ones get the new offset.
    """
    # A clock that was set back says times again that it said before: those epochs are over.
    epochs = tuple(epoch for epoch in known.epochs if epoch[0] <= newest_us)
    current = epochs[-1][1] if epochs else 0
    offset_us = found.offset_us if abs(found.offset_us) >= CORRECTED_FROM_US else 0
    if abs(offset_us - current) >= (SAME_US if offset_us else 1):
        epochs = (*epochs, (newest_us + 1, offset_us))[-EPOCHS_MAX:]
    return known if epochs == known.epochs else Corrections(epochs)
