"""Which devices can be reached at this moment, and how often each one speaks; kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["DEVICES_MAX", "Presence"]

DEVICES_MAX: Final = 200_000
"""The devices not heard for longest are forgotten first; they are heard again soon enough."""

MINUTE_S: Final = 60.0


class _Seen:
    __slots__ = ("asked_again_s", "heard_s", "is_online", "messages", "minute_s")

    def __init__(self) -> None:
        self.heard_s = float("-inf")
        self.is_online = False
        self.minute_s = float("-inf")
        self.messages = 0
        self.asked_again_s: float | None = None


class Presence:
    """What is known of devices on one broker.

    Args:
        monotonic_s: seconds that never run backwards.
        awake_s: a device is awake for so long after it spoke.
        per_minute_max: a device may speak so often within a minute.
    """

    def __init__(self, monotonic_s: Callable[[], float], awake_s: int, per_minute_max: int) -> None:
        """Start with nobody heard."""
        self._now_s = monotonic_s
        self._awake_s = awake_s
        self._per_minute_max = per_minute_max
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._again: OrderedDict[str, None] = OrderedDict()

    def heard(self, device: str) -> bool:
        """Note that a device spoke; return False when it does so too often."""
        seen, now_s = self._of(device), self._now_s()
        seen.heard_s = now_s
        if now_s - seen.minute_s >= MINUTE_S:
            seen.minute_s, seen.messages = now_s, 0
        seen.messages += 1
        return seen.messages <= self._per_minute_max

    def said(self, device: str, *, online: bool) -> None:
        """Note what a device, or the broker for it, says of its connection."""
        self._of(device).is_online = online

    def is_awake(self, device: str) -> bool:
        """Say whether a device can be told something now."""
        seen = self._seen.get(device)
        if seen is None:
            return False
        return seen.is_online or self._now_s() - seen.heard_s < self._awake_s

    def ask_again(self, device: str, after_s: float) -> None:
        """Look at a device's commands again after a while: it may not have answered."""
        self._of(device).asked_again_s = self._now_s() + after_s
        self._again[device] = None
        self._again.move_to_end(device)

    def due_again(self) -> list[str]:
        """Return the devices whose while is over and that are awake, once."""
        now_s, due = self._now_s(), []
        while self._again:
            device = next(iter(self._again))
            seen = self._seen.get(device)
            if seen is not None and seen.asked_again_s is not None and seen.asked_again_s > now_s:
                break  # leases are equally long, so that the first asked is the first due
            del self._again[device]
            if self.is_awake(device):
                due.append(device)
        return due

    @property
    def count(self) -> int:
        """How many devices are remembered."""
        return len(self._seen)

    def _of(self, device: str) -> _Seen:
        seen = self._seen.get(device)
        if seen is None:
            seen = self._seen[device] = _Seen()
            if len(self._seen) > DEVICES_MAX:
                gone, _ = self._seen.popitem(last=False)
                self._again.pop(gone, None)
        self._seen.move_to_end(device)
        return seen
