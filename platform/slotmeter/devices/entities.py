"""What a meter exposes: one vocabulary for API, dashboards, drivers and rules.

A register is named once here, with its unit and kind; drivers refer to it by name, so that names
cannot drift apart between a driver, the store and a screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from slotmeter.units import BatteryLevel, Energy, Power, Quantity, SignalStrength, Voltage, Volume

__all__ = ["REGISTERS", "Register", "RegisterKind", "SupplyState"]


class RegisterKind(StrEnum):
    """How a value behaves over time."""

    CUMULATIVE = "cumulative"
    INSTANTANEOUS = "instantaneous"


class SupplyState(StrEnum):
    """What the relay or the valve lets through.

    A relay that is *closed* and a valve that is *open* both mean ``ON``.
    """

    ON = "on"
    OFF = "off"
    ARMED = "armed"  # ready to come back, waits for a person at the site
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Register:
    """One named value of a meter.

    Args:
        name: snake_case, unique in the vocabulary.
        quantity: the unit its integers count; None for counts and money.
        kind: cumulative registers only grow between resets.
        title: for people.
    """

    name: str
    quantity: type[Quantity] | None
    kind: RegisterKind
    title: str


REGISTERS = MappingProxyType(
    {
        register.name: register
        for register in (
            Register("energy_import", Energy, RegisterKind.CUMULATIVE, "Energy used"),
            Register("volume", Volume, RegisterKind.CUMULATIVE, "Volume used"),
            Register("credit_balance", None, RegisterKind.INSTANTANEOUS, "Credit left"),
            Register("credit_total", None, RegisterKind.CUMULATIVE, "Credit accepted so far"),
            Register("power", Power, RegisterKind.INSTANTANEOUS, "Power"),
            Register("voltage", Voltage, RegisterKind.INSTANTANEOUS, "Voltage"),
            Register("battery", BatteryLevel, RegisterKind.INSTANTANEOUS, "Battery"),
            Register("signal", SignalStrength, RegisterKind.INSTANTANEOUS, "Signal"),
        )
    }
)
"""Every register name that a driver may report.

``credit_balance`` and ``credit_total`` are in the base unit of the meter's commodity (Wh or mL).
"""
