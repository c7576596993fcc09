"""What a virtual meter has to tell: one report, and the list of what no report got through with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEvent, DeviceEventKind, TokenEntry
from slotmeter.units import Commodity, epoch_us, instant

__all__ = ["ITEMS_PER_REPORT_MAX", "PENDING_MAX", "MeterReport", "News", "Pending"]

ITEMS_PER_REPORT_MAX: Final = 12
"""News in one report; with it a frame stays below 512 bytes."""

PENDING_MAX: Final = 96
"""News kept for later reports; beyond it the oldest is lost, and counted."""

News = CommandResult | TokenEntry | DeviceEvent


@dataclass(frozen=True, slots=True)
class MeterReport:
    """Everything a meter says at once.

    Args:
        number: the meter's number.
        commodity: what it meters.
        sequence: grows by one with each report.
        at: the meter's clock, aware UTC.
        register: used so far, in Wh (electricity) or mL.
        credit: credit left in Wh or mL; None when the platform holds it.
        credit_total: all credit ever accepted in Wh or mL; None when the platform holds it.
        supply: relay or valve.
        tamper: the tamper condition.
        power_w: present power; electricity only.
        battery_percent: water and gas only.
        voltage_mv: electricity only.
        results, entries, events: news not yet acknowledged, oldest first.
        through: what :meth:`VirtualMeter.acknowledge` needs to know which news got through.
    """

    number: str
    commodity: Commodity
    sequence: int
    at: datetime
    register: int
    credit: int | None
    credit_total: int | None
    supply: SupplyState
    tamper: bool
    power_w: int | None
    battery_percent: int | None
    voltage_mv: int | None
    results: tuple[CommandResult, ...]
    entries: tuple[TokenEntry, ...]
    events: tuple[DeviceEvent, ...]
    through: int


class Pending:
    """News in the order it happened, until a report that carried it was acknowledged."""

    def __init__(self) -> None:
        self._news: list[tuple[int, News]] = []
        self._last = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._news)

    def add(self, item: News) -> None:
        """Keep an item; beyond ``PENDING_MAX`` the oldest is given up."""
        self._last += 1
        self._news.append((self._last, item))
        if len(self._news) > PENDING_MAX:
            del self._news[0]
            self.lost += 1

    def first(self) -> tuple[int, list[News]]:
        """Return the oldest ``ITEMS_PER_REPORT_MAX`` items and the number of the last of them."""
        chosen = self._news[:ITEMS_PER_REPORT_MAX]
        return (chosen[-1][0] if chosen else 0), [item for _, item in chosen]

    def drop_through(self, number: int) -> None:
        """Forget what is numbered up to ``number``."""
        self._news = [(n, item) for n, item in self._news if n > number]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; :meth:`from_dict` reads it."""
        return {
            "last": self._last,
            "lost": self.lost,
            "news": [[n, _item_to_list(item)] for n, item in self._news],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Pending:
        """Build from :meth:`to_dict`."""
        pending = cls()
        pending._last = int(data["last"])
        pending.lost = int(data["lost"])
        pending._news = [(int(n), _item_from_list(item)) for n, item in data["news"]]
        return pending


def _item_to_list(item: News) -> list[Any]:
    match item:
        case CommandResult(command_id, outcome, tid, amount):
            return ["result", command_id, outcome.value, tid, amount]
        case TokenEntry(outcome, tid, entered, at):
            return ["entry", outcome.value, tid, entered, epoch_us(at)]
        case DeviceEvent(kind, at):
            return ["event", kind.value, epoch_us(at)]


def _item_from_list(item: list[Any]) -> News:
    match item:
        case ["result", command_id, outcome, tid, amount]:
            return CommandResult(command_id, Outcome(outcome), tid, amount)
        case ["entry", outcome, tid, amount, at_us]:
            return TokenEntry(Outcome(outcome), tid, amount, instant(at_us))
        case ["event", kind, at_us]:
            return DeviceEvent(DeviceEventKind(kind), instant(at_us))
    raise ValueError(f"expected a result, an entry or an event, got {item[:1]!r}")
