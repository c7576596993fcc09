"""The part of a virtual meter that stuff flows through: time, use, credit, relay or valve.

Exact: use is carried as base units times microseconds, so that living in one step or in many gives
the same registers, and the moment at which credit runs out is known to the microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from slotmeter.devices.commands import Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEventKind
from slotmeter.testing.consumption import SLOT_US, Household
from slotmeter.units import HOUR_US, Commodity, epoch_us, instant

__all__ = ["CreditMode", "MeterBody"]


_COUNTERS: Final = (
    *("at_us", "register", "carry", "credit", "credit_total", "cleared"),
    *("low_credit", "warned", "cut_by_utility"),
)


class CreditMode(StrEnum):
    """Who holds the credit."""

    METER = "meter"
    PLATFORM = "platform"


class MeterBody:
    """Time, use, credit and supply of one meter.

    Args:
        commodity: what flows.
        credit_mode: who holds the credit.
        household: who uses it.
        at_us: the meter's time, UTC epoch microseconds.
        credit: opening credit, Wh or mL.
        low_credit: at or below this the meter warns, Wh or mL.
        tell: called for each thing that the meter tells of by itself, at ``at_us``.

    Attributes:
        register: used so far, Wh or mL.
        credit_total: all credit accepted; ``cleared``: all credit taken away again.
        supply: what the relay or the valve lets through.
        cut_by_utility: the utility took the supply; credit does not bring it back.
    """

    def __init__(
        self,
        commodity: Commodity,
        credit_mode: CreditMode,
        household: Household,
        *,
        at_us: int,
        credit: int,
        low_credit: int,
        tell: Callable[[DeviceEventKind], None],
    ) -> None:
        self.commodity = commodity
        self.credit_mode = credit_mode
        self.household = household
        self.at_us = at_us
        self.register = 0
        self.carry = 0  # use not yet counted: base units times microseconds per hour
        self.credit = credit
        self.credit_total = 0
        self.cleared = 0
        self.low_credit = low_credit
        self.warned = credit <= low_credit
        self.cut_by_utility = False
        self._tell = tell
        self.supply = SupplyState.ON if self._may_supply() else SupplyState.OFF

    @property
    def holds_credit(self) -> bool:
        """Whether the meter itself counts credit down."""
        return self.credit_mode is CreditMode.METER

    # --- time ------------------------------------------------------------------------------------

    def run_to(self, at: datetime) -> None:
        """Live up to a time: use, warn and cut at the exact moments.

        Raises:
            ValueError: the time lies before what the meter has already lived.
        """
        target_us = epoch_us(at)
        if target_us < self.at_us:
            lived = instant(self.at_us)
            raise ValueError(f"a meter's time does not run back: at {lived}, asked for {at}")
        while self.at_us < target_us:
            slot_end_us = (self.at_us // SLOT_US + 1) * SLOT_US
            self._live_within_slot(min(target_us, slot_end_us))

    def rate_per_hour(self) -> int:
        """Return the present use in Wh or mL per hour; 0 while the supply is off."""
        if self.supply is not SupplyState.ON:
            return 0
        return self.household.rate_per_hour(self.commodity, self.at_us)

    def _live_within_slot(self, end_us: int) -> None:
        """Live to the end given, or to the next moment at which something happens."""
        rate = self.rate_per_hour()
        if rate and self.holds_credit:
            level = 0 if self.warned else self.low_credit
            missing = (self.credit - level) * HOUR_US - self.carry
            moment_us = self.at_us + -(-missing // rate)
            if moment_us <= end_us:
                self._use(moment_us, rate)
                self._credit_fell()
                return
        self._use(end_us, rate)

    def _use(self, end_us: int, rate: int) -> None:
        used, self.carry = divmod(self.carry + rate * (end_us - self.at_us), HOUR_US)
        self.register += used
        if self.holds_credit:
            self.credit -= used
        self.at_us = end_us

    def _credit_fell(self) -> None:
        if not self.warned and self.credit <= self.low_credit:
            self.warned = True
            self._tell(DeviceEventKind.LOW_CREDIT)
        if self.credit == 0:
            self._tell(DeviceEventKind.CREDIT_USED_UP)
            self._settle()

    # --- credit ----------------------------------------------------------------------------------

    def add_credit(self, amount: int) -> None:
        """Take in credit, Wh or mL, and give supply back if that was what it lacked."""
        self.credit += amount
        self.credit_total += amount
        self.warned = self.credit <= self.low_credit
        self._settle()

    def clear_credit(self) -> None:
        """Take all credit away."""
        self.cleared += self.credit
        self.credit = 0
        self.warned = True
        self._settle()

    # --- supply ----------------------------------------------------------------------------------

    def cut(self) -> Outcome:
        """Cut on the utility's command."""
        self.cut_by_utility = True
        self.supply = SupplyState.OFF
        return Outcome.DONE

    def restore(self) -> Outcome:
        """Give back what the utility took.

        Without credit nothing comes back. A gas valve never opens from afar: it is armed, and the
        command is answered as not supported.
        """
        self.cut_by_utility = False
        if self.supply is SupplyState.ON:
            return Outcome.DONE
        if not self._may_supply():
            return Outcome.REJECTED
        if self.commodity is Commodity.GAS:
            self.supply = SupplyState.ARMED
            return Outcome.UNSUPPORTED
        self.supply = SupplyState.ON
        return Outcome.DONE

    def confirm_at_site(self) -> bool:
        """Open an armed valve; return whether it was armed."""
        if self.supply is not SupplyState.ARMED:
            return False
        self.supply = SupplyState.ON
        self._tell(DeviceEventKind.SUPPLY_RESTORED)
        return True

    def _may_supply(self) -> bool:
        return not self.cut_by_utility and (not self.holds_credit or self.credit > 0)

    def _settle(self) -> None:
        """Bring the supply in line with the credit, by the meter's own doing."""
        if not self._may_supply():
            if self.supply is SupplyState.ON:
                self._tell(DeviceEventKind.SUPPLY_CUT)
            self.supply = SupplyState.OFF
        elif self.supply is SupplyState.OFF:
            if self.commodity is Commodity.GAS:
                self.supply = SupplyState.ARMED
            else:
                self.supply = SupplyState.ON
                self._tell(DeviceEventKind.SUPPLY_RESTORED)

    # --- state -----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return what changes in the meter's life, JSON-able; :meth:`take_up` reads it."""
        return {
            **{name: getattr(self, name) for name in _COUNTERS},
            "supply": self.supply.value,
        }

    def take_up(self, data: Mapping[str, Any]) -> None:
        """Go on where :meth:`to_dict` was called."""
        for name in _COUNTERS:
            setattr(self, name, data[name])
        self.supply = SupplyState(data["supply"])
