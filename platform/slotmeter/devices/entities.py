"""What a meter exposes: one vocabulary for API, dashboards, drivers and rules.

A register is named once here, with its unit and kind; drivers refer to it by name, so that names
cannot drift apart between a driver, the store and a screen. What one model adds to a name (how
finely it counts, when it rolls over) is an :class:`Entity` of its driver.

The table, for people: docs/reference/entities.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from slotmeter.devices.commands import CREDIT_MODES
from slotmeter.devices.quantities import (
    CODE,
    FLAG,
    MINOR,
    ApparentPower,
    Frequency,
    Measure,
    Opening,
    PowerFactor,
    ReactivePower,
    SignalRatio,
    measure,
)
from slotmeter.units import (
    Apparent,
    BatteryLevel,
    Commodity,
    Current,
    Energy,
    Flow,
    Power,
    Pressure,
    Quantity,
    Reactive,
    SignalStrength,
    Temperature,
    Voltage,
    Volume,
    commodity_quantity,
)

__all__ = ["REGISTERS", "Entity", "Register", "RegisterKind", "SupplyState", "not_a_register"]


class RegisterKind(StrEnum):
    """How a value behaves over time."""

    CUMULATIVE = "cumulative"  # only grows, until it rolls over or the meter is replaced
    INSTANTANEOUS = "instantaneous"  # what is so at the moment
    INTERVAL = "interval"  # what the interval that ended at the value's time came to


class SupplyState(StrEnum):
    """What the relay or the valve lets through.

    A relay that is *closed* and a valve that is *open* both mean ``ON``.
    """

    ON = "on"
    OFF = "off"
    ARMED = "armed"  # ready to come back, waits for a person at the site
    UNKNOWN = "unknown"


_EVERY: Final = frozenset(Commodity)
_ELECTRICITY: Final = frozenset({Commodity.ELECTRICITY})
_FLOWING: Final = frozenset({Commodity.WATER, Commodity.GAS})


@dataclass(frozen=True, slots=True)
class Register:
    """One named value of a meter.

    Args:
        name: snake_case, unique in the vocabulary.
        quantity: the unit its integers count; None for money, flags, codes and for credit, which
            is in the base unit of the meter's commodity.
        kind: cumulative registers only grow between resets.
        title: for people.
        unit: what it counts without a quantity: ``flag``, ``code`` or ``minor`` units of money;
            empty for credit.
        low: no meter can mean less; None where nothing says so.
        high: no meter can mean more; None where nothing says so.
        commodities: whose meters can have it.
        note: what a reader should know besides the title.
        words: of a code, what its numbers from 0 stand for, as commands say it.
    """

    name: str
    quantity: type[Quantity] | None
    kind: RegisterKind
    title: str
    unit: str = ""
    low: int | None = None
    high: int | None = None
    commodities: frozenset[Commodity] = _EVERY
    note: str = ""
    words: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[str, ...]:
        """Symbols of the base units that its integers can count: one, or one per commodity."""
        if self.quantity is not None:
            return (self.quantity.symbol,)
        return (self.unit,) if self.unit else (Energy.symbol, Volume.symbol)

    def unit_for(self, commodity: Commodity) -> str:
        """Return the symbol of the base unit that its integers count on a meter of a commodity."""
        if self.quantity is None and not self.unit:
            return commodity_quantity(commodity).symbol
        return self.units[0]

    def admits(self, value: int) -> bool:
        """Say whether a meter can mean this value."""
        above = self.low is None or value >= self.low
        return above and (self.high is None or value <= self.high)

    def measure(self, unit: str) -> Measure:
        """Return what a maker's unit stands for, if this register can be counted in it.

        Raises:
            ValueError: the unit is not known or is not this register's.
        """
        found = measure(unit)
        if found.base not in self.units:
            expected = " or ".join(self.units)
            raise ValueError(f"{self.name} is counted in {expected}, and {unit!r} is {found.base}")
        return found

    def amount(self, text: str) -> int:
        """Return a value as people write it, ``"1234.5 kWh"`` or ``"-3.5 °C"``, in base units.

        A code that has words is written as one of them: ``"prepaid"``.

        Raises:
            ValueError: the number or the unit is missing or not known, or the unit is not this
                register's.
        """
        if self.words:
            return self.word(text)
        number, _, unit = text.rpartition(" ")
        try:
            count = Fraction(number)
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"{text!r}: expected a number and a unit, as '1234.5 kWh'") from error
        return self.measure(unit).amount(count)

    def word(self, text: str) -> int:
        """Return the number that stands for a word.

        Raises:
            ValueError: it is none of the register's words.
        """
        if text not in self.words:
            expected = ", ".join(self.words) or "no words"
            raise ValueError(f"{self.name} is one of {expected}, got {text!r}")
        return self.words.index(text)


_CUMULATIVE: Final = RegisterKind.CUMULATIVE
_NOW: Final = RegisterKind.INSTANTANEOUS
_INTERVAL: Final = RegisterKind.INTERVAL


def _rates() -> tuple[Register, ...]:
    return tuple(
        Register(
            f"energy_import_rate_{rate}",
            Energy,
            _CUMULATIVE,
            f"Energy used at rate {rate}",
            low=0,
            commodities=_ELECTRICITY,
            note="of a meter that switches rates itself",
        )
        for rate in range(1, 5)
    )


def _phases(name: str, quantity: type[Quantity], title: str) -> tuple[Register, ...]:
    return tuple(
        Register(
            f"{name}_l{phase}", quantity, _NOW, f"{title}, phase {phase}", commodities=_ELECTRICITY
        )
        for phase in range(1, 4)
    )


def _electric(
    name: str, quantity: type[Quantity], kind: RegisterKind, title: str, note: str = ""
) -> Register:
    low = None if kind is _NOW else 0
    return Register(name, quantity, kind, title, low=low, commodities=_ELECTRICITY, note=note)


def _flowing(
    name: str, quantity: type[Quantity], kind: RegisterKind, title: str, note: str = ""
) -> Register:
    low = None if kind is _NOW else 0
    return Register(name, quantity, kind, title, low=low, commodities=_FLOWING, note=note)


REGISTERS = MappingProxyType(
    {
        register.name: register
        for register in (
            # what a meter counts
            _electric("energy_import", Energy, _CUMULATIVE, "Energy used"),
            Register("volume", Volume, _CUMULATIVE, "Volume used", low=0, commodities=_FLOWING),
            # credit that the meter holds
            Register("credit_balance", None, _NOW, "Credit left"),
            Register("credit_total", None, _CUMULATIVE, "Credit accepted so far", low=0),
            Register("credit_balance_money", None, _NOW, "Credit left, in money", MINOR),
            Register(
                "credit_total_money",
                None,
                _CUMULATIVE,
                "Credit accepted so far, in money",
                MINOR,
                low=0,
            ),
            # electricity
            *_rates(),
            _electric("energy_export", Energy, _CUMULATIVE, "Energy fed in"),
            _electric("reactive_import", Reactive, _CUMULATIVE, "Reactive energy used"),
            _electric("reactive_export", Reactive, _CUMULATIVE, "Reactive energy fed in"),
            _electric("apparent_import", Apparent, _CUMULATIVE, "Apparent energy used"),
            _electric("energy_import_interval", Energy, _INTERVAL, "Energy used in an interval"),
            _electric("energy_export_interval", Energy, _INTERVAL, "Energy fed in in an interval"),
            _electric("demand", Power, _INTERVAL, "Mean power of an interval"),
            _electric("power", Power, _NOW, "Power", "below 0 while energy is fed in"),
            *_phases("power", Power, "Power"),
            _electric("reactive_power", ReactivePower, _NOW, "Reactive power"),
            _electric("apparent_power", ApparentPower, _NOW, "Apparent power"),
            _electric("voltage", Voltage, _NOW, "Voltage"),
            *_phases("voltage", Voltage, "Voltage"),
            _electric("current", Current, _NOW, "Current"),
            *_phases("current", Current, "Current"),
            _electric("current_neutral", Current, _NOW, "Current in the neutral"),
            _electric("frequency", Frequency, _NOW, "Frequency"),
            Register(
                "power_factor",
                PowerFactor,
                _NOW,
                "Power factor",
                low=-1_000,
                high=1_000,
                commodities=_ELECTRICITY,
            ),
            # water and gas
            _flowing("volume_reverse", Volume, _CUMULATIVE, "Volume that flowed back"),
            _flowing("volume_interval", Volume, _INTERVAL, "Volume used in an interval"),
            _flowing("flow", Flow, _NOW, "Flow", "below 0 while it flows back"),
            _flowing("pressure", Pressure, _NOW, "Pressure", "above that of the air"),
            # how the meter is set
            Register(
                "valve_position",
                Opening,
                _NOW,
                "Valve open",
                low=0,
                high=100,
                commodities=_FLOWING,
                note="the supply state says whether anything is delivered",
            ),
            Register(
                "relay",
                None,
                _NOW,
                "Relay closed",
                FLAG,
                low=0,
                high=1,
                commodities=_ELECTRICITY,
                note="the contact itself; the supply state says whether anything is delivered",
            ),
            Register(
                "load_limit",
                Power,
                _NOW,
                "Load limit",
                low=0,
                commodities=_ELECTRICITY,
                note="0: none",
            ),
            Register(
                "tariff",
                None,
                _NOW,
                "Tariff in force",
                CODE,
                low=0,
                note="the number is its name, in digits",
            ),
            Register(
                "credit_mode",
                None,
                _NOW,
                "Credit mode",
                CODE,
                low=0,
                high=1,
                note="0: prepaid, 1: postpaid (the order of ``CREDIT_MODES``)",
                words=CREDIT_MODES,
            ),
            # conditions
            Register("leak", None, _NOW, "Leak", FLAG, low=0, high=1),
            Register("temperature", Temperature, _NOW, "Temperature", low=0),
            Register("battery", BatteryLevel, _NOW, "Battery", low=0, high=100),
            Register("battery_voltage", Voltage, _NOW, "Battery voltage"),
            Register("signal", SignalStrength, _NOW, "Signal"),
            Register("signal_to_noise", SignalRatio, _NOW, "Signal to noise"),
        )
    }
)
"""Every register name that a driver may report.

``credit_balance`` and ``credit_total`` are in the base unit of the meter's commodity (Wh or mL).
"""


def not_a_register(name: str) -> str:
    """Return what to tell somebody who names a register that the vocabulary does not have."""
    parts = [known for known in REGISTERS if name and (name in known or known in name)]
    alike = [*dict.fromkeys([*get_close_matches(name, REGISTERS, cutoff=0.75), *parts])][:3]
    meant = f"; perhaps {' or '.join(alike)} is meant" if alike else ""
    return f"{name} is not in the vocabulary (docs/reference/entities.md){meant}"


@dataclass(frozen=True, slots=True)
class Entity:
    """One register as one meter model has it.

    Args:
        name: of ``REGISTERS``.
        unit: what one step of the meter's own register is, as its maker writes it (``"0.01 kWh"``,
            ``"10 L"``); it must be a unit of the register. Empty: the base unit.
        wrap: in base units, where a cumulative register starts at 0 again; None: it does not in
            the life of a meter.
    """

    name: str
    unit: str = ""
    wrap: int | None = None

    @property
    def register(self) -> Register:
        """What the vocabulary says of the name.

        Raises:
            KeyError: the vocabulary does not have it.
        """
        return REGISTERS[self.name]

    @property
    def resolution(self) -> int:
        """How many base units one step of the meter is, at least 1."""
        return measure(self.unit).resolution if self.unit else 1

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the description; nothing for a good one."""
        if self.name not in REGISTERS:
            return (not_a_register(self.name),)
        found: list[str] = []
        try:
            if self.unit:
                self.register.measure(self.unit)
        except ValueError as error:
            found.append(str(error))
        if self.wrap is not None and self.register.kind is not RegisterKind.CUMULATIVE:
            found.append(f"{self.name} is {self.register.kind.value}, and only sums roll over")
        if self.wrap is not None and self.wrap <= 0:
            found.append(f"{self.name}: expected a wrap above 0, got {self.wrap}")
        return tuple(found)

    def growth(self, before: int, after: int) -> int | None:
        """Return how much a cumulative register counted from one value to a later one.

        A step down by more than half of ``wrap`` is a roll-over; any other step down is none that
        the meter can have counted, and gives None.
        """
        if after >= before:
            return after - before
        if self.wrap is None or (before - after) * 2 <= self.wrap or before >= self.wrap:
            return None
        return after + self.wrap - before
