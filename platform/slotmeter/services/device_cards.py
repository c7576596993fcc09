"""What the ingest remembers of every device, so that a frame costs no look into the database.

A card says what was so when it was made. Nothing rests on it alone: a unit that uses cards meets
its rows only while they are still as the cards say (``storage.statements.lane``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from slotmeter.ports import Read, Row, UnitOfWork
from slotmeter.services.protection import Policy, readable_policy
from slotmeter.services.report_unit import COUNTER_OF
from slotmeter.units import HOUR_US

__all__ = ["CARDS_MAX", "Card", "DeviceCards", "clock_ahead_us"]

CARDS_MAX: Final = 1_000_000
"""Cards of more devices are forgotten, the oldest first."""

PAGE_DEVICES: Final = 2_000
SINGLY_MAX: Final = 64
"""So many missing cards are looked up one by one; more by the frames that need them."""


@lru_cache(maxsize=1_024)
def clock_ahead_us(policy: str) -> int:
    """Return how far ahead of ours a meter's clock is believed, by a utility's policy."""
    return (readable_policy(policy) or Policy()).clock_ahead_hours_max * HOUR_US


@lru_cache(maxsize=1_024)
def _one(value: Any) -> Any:
    """Return the one object for values that thousands of devices have in common."""
    return value


class Card:
    """One device; the fields are those of its row, its meter and its utility."""

    __slots__ = (
        "address",
        "counter",
        "credit_balance",
        "credit_total",
        "device_id",
        "driver",
        "entry_id",
        "is_credit_known",
        "is_plain",
        "measured_us",
        "medium",
        "meter_id",
        "number",
        "policy",
        "received_us",
        "register",
        "supply",
        "tamper",
        "utility_id",
    )

    def __init__(self, row: Row) -> None:
        """Take a row of ``storage.statements.lane``."""
        self.device_id: int = row["id"]
        self.utility_id: int = _one(row["utility_id"])
        self.meter_id: int = row["meter_id"]
        self.medium: str = _one(row["medium"])
        self.address: str = row["address"]
        self.driver: str = _one(row["driver"])
        self.entry_id: int | None = _one(row["entry_id"])
        self.number: str = row["number"]
        self.counter: str = COUNTER_OF[row["commodity"]]
        self.policy: str = _one(row["policy"])
        self.measured_us: int = row["measured_us"] or 0
        self.received_us: int = row["received_us"] or 0
        self.supply: str = _one(row["supply"])
        self.tamper: int = row["tamper"]
        self.register: int | None = row["register"]
        self.credit_balance: int | None = row["credit_balance"]
        self.credit_total: int | None = row["credit_total"]
        # A total that is not explained, and a token that waits for its proof, need the whole unit.
        self.is_credit_known = (
            row["is_unproven"] == 0 and row["credit_total"] == row["credit_proven"]
        )
        self.is_plain = row["credit_mode"] != "platform" and not row["is_waited_for"]


class DeviceCards:
    """The cards of all devices that were heard, or that there are."""

    def __init__(self, uow: UnitOfWork) -> None:
        """Start without any."""
        self._uow = uow
        self._cards: dict[tuple[str, str], Card] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._cards)

    def get(self, key: tuple[str, str]) -> Card | None:
        """Return the card of a medium and address."""
        return self._cards.get(key)

    def forget(self, key: tuple[str, str]) -> None:
        """Forget a card that is not so any more."""
        self._cards.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._cards.clear()

    async def warm(self) -> int:
        """Make the cards of all devices, page by page; return how many."""
        after = 0
        while True:
            params = {"after": after, "limit": PAGE_DEVICES}
            page = (await self._uow.read([Read("lane_cards", params, "cards")]))["cards"]
            self._take(page)
            if len(page) < PAGE_DEVICES or len(self._cards) >= CARDS_MAX:
                return len(self._cards)
            after = page[-1]["id"]

    async def fetch(self, keys: Iterable[tuple[str, str]], *, after: int, through: int) -> None:
        """Make the cards that are missing.

        Args:
            keys: media and addresses that frames came from.
            after: the frames are those after this one in the log,
            through: up to and with this one.
        """
        missing = {key for key in keys if key not in self._cards}
        if not missing:
            return
        if len(missing) > SINGLY_MAX:
            reads = [Read("lane_cards_of_frames", {"after": after, "through": through}, "0")]
        else:
            reads = [
                Read("lane_card", {"medium": medium, "address": address}, str(number))
                for number, (medium, address) in enumerate(missing)
            ]
        for rows in (await self._uow.read(reads)).values():
            self._take(rows)

    def _take(self, rows: Sequence[Row]) -> None:
        cards = self._cards
        for row in rows:
            card = Card(row)
            key = (card.medium, card.address)
            cards.pop(key, None)
            cards[key] = card
        while len(cards) > CARDS_MAX:
            del cards[next(iter(cards))]
