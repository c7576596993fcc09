"""Gas that is priced by energy, and prices by the time of use, as values of a tariff."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal

__all__ = ["Calendar", "DayPlan", "EnergyContent", "Holidays", "Season"]


@dataclass(frozen=True, slots=True)
class EnergyContent:
    """Gas that is measured by volume and priced by energy: kWh = m³ x correction x CV / 3.6.

    Args:
        correction: temperature and pressure, such as 1.02264.
        calorific_value: MJ/m³ that applies when the day and zone have none of their own.
        volume_step: the corrected volume is rounded half up to a multiple of this, m³; None never.
        imperial_unit_m3: one unit of an imperial meter (100 ft³) in m³.
    """

    correction: Decimal
    calorific_value: Decimal
    volume_step: Decimal | None = None
    imperial_unit_m3: Decimal = Decimal("2.83")


@dataclass(frozen=True, slots=True)
class Season:
    """A part of each year: both days included, ``(month, day)``; may run over the year's end."""

    code: str
    first: tuple[int, int]
    last: tuple[int, int]


@dataclass(frozen=True, slots=True)
class DayPlan:
    """The periods of a day.

    Args:
        seasons: codes; empty for all.
        weekdays: 0 is Monday; empty for none but holidays.
        holidays: this plan is for holidays (it then wins over plans by weekday).
        spans: (from, period), local wall time, in order, the first at 00:00.
    """

    seasons: frozenset[str]
    weekdays: frozenset[int]
    holidays: bool
    spans: tuple[tuple[time, str], ...]


@dataclass(frozen=True, slots=True)
class Holidays:
    """Days that are holidays: a country of the package ``holidays``, own dates, or both.

    ``dates`` lists own days; ``through`` is the last year that the own list covers (None when
    there is no own list).
    """

    country: str | None = None
    subdivision: str | None = None
    dates: frozenset[date] = frozenset()
    through: int | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which period each instant belongs to."""

    seasons: tuple[Season, ...]
    days: tuple[DayPlan, ...]
    holidays: Holidays | None
