"""What a virtual household uses: seeded, by hour of day, in whole Wh or mL per hour.

The rate is constant within a slot of fifteen minutes, so that the use between two instants is an
exact integer sum and the moment at which credit runs out can be computed. The same seed gives the
same household on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from slotmeter.errors import Refused
from slotmeter.units import Commodity

__all__ = ["PEOPLE_MAX", "SLOT_US", "Household"]

SLOT_US: Final = 900_000_000
"""Length of a slot in microseconds; slots begin at full quarters of an hour, UTC."""

PEOPLE_MAX: Final = 20

_SLOTS_PER_HOUR: Final = 4
_SLOTS_PER_DAY: Final = 96

_DAILY_BASE: Final = {
    Commodity.ELECTRICITY: 2_400,  # Wh: what runs in an empty flat, refrigerator first
    Commodity.WATER: 30_000,  # mL
    Commodity.GAS: 500_000,  # mL: the pilot and the boiler's losses
}
_DAILY_PER_PERSON: Final = {
    Commodity.ELECTRICITY: 1_900,  # Wh
    Commodity.WATER: 115_000,  # mL
    Commodity.GAS: 650_000,  # mL, cooking and hot water
}

# Share of a day's use per hour 0 to 23, local time, in thousandths; each row sums to 1000.
_SHAPE: Final = {
    Commodity.ELECTRICITY: (
        *(22, 20, 19, 19, 20, 26, 40, 52, 46, 38, 36, 38),
        *(42, 40, 36, 36, 42, 56, 74, 82, 78, 64, 44, 30),
    ),
    Commodity.WATER: (
        *(6, 4, 3, 3, 8, 34, 86, 104, 78, 56, 46, 42),
        *(44, 40, 34, 34, 42, 58, 74, 76, 56, 38, 22, 12),
    ),
    Commodity.GAS: (
        *(8, 6, 6, 8, 16, 44, 82, 84, 52, 34, 32, 50),
        *(62, 42, 26, 26, 38, 74, 106, 92, 52, 32, 18, 10),
    ),
}

# How many of a hundred slots see any use at all; what is not used then is used in the others.
_ACTIVE_PERCENT: Final = {Commodity.ELECTRICITY: 100, Commodity.WATER: 55, Commodity.GAS: 45}
_SPREAD_PERCENT: Final = (55, 145)


@dataclass(frozen=True, slots=True)
class Household:
    """The people behind a meter.

    Args:
        seed: decides everything that looks random.
        people: how many live there, 1 to ``PEOPLE_MAX``.
        utc_offset_minutes: local time minus UTC; the day's shape follows local time.
    """

    seed: int
    people: int = 3
    utc_offset_minutes: int = 0

    def __post_init__(self) -> None:
        """Refuse a household that nobody lives in."""
        if not 1 <= self.people <= PEOPLE_MAX:
            raise Refused(
                "bad_household",
                f"a household has 1 to {PEOPLE_MAX} people, got {self.people}",
                field="people",
            )
        if abs(self.utc_offset_minutes) > 14 * 60:
            raise Refused(
                "bad_utc_offset",
                f"expected at most 14 hours from UTC, got {self.utc_offset_minutes} minutes",
                field="utc_offset_minutes",
            )

    def rate_per_hour(self, commodity: Commodity, at_us: int) -> int:
        """Return the use in Wh (electricity) or mL (water, gas) per hour of the slot of an instant.

        Args:
            commodity: what is used.
            at_us: the instant in UTC epoch microseconds.
        """
        local_slot = at_us // SLOT_US + self.utc_offset_minutes // 15
        hour = local_slot % _SLOTS_PER_DAY // _SLOTS_PER_HOUR
        daily = _DAILY_BASE[commodity] + _DAILY_PER_PERSON[commodity] * self.people
        active = _ACTIVE_PERCENT[commodity]
        chance, spread = self._noise(commodity, at_us // SLOT_US)
        if chance % 100 >= active:
            return 0
        low, high = _SPREAD_PERCENT
        percent = low + spread % (high - low + 1)
        return daily * _SHAPE[commodity][hour] * percent // (1_000 * active)

    def voltage_mv(self, at_us: int) -> int:
        """Return the mains voltage of the slot of an instant, around 230 V."""
        chance, _ = self._noise(Commodity.ELECTRICITY, at_us // SLOT_US)
        return 230_000 + chance % 9_001 - 4_500

    def _noise(self, commodity: Commodity, slot: int) -> tuple[int, int]:
        digest = blake2b(f"{self.seed}/{commodity}/{slot}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
