"""What a meter's own report must show before a command counts as verified; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from slotmeter.devices.commands import CREDIT_MODES, CUTTING, RESTORING, CommandKind
from slotmeter.devices.entities import SupplyState
from slotmeter.ports import Row
from slotmeter.units import MINUTE_US

__all__ = ["CLOCK_US_MAX", "SHOWS_SUPPLY", "VALVE_PERCENT_MAX", "Shown", "shown_by"]

SHOWS_SUPPLY: Final[Mapping[CommandKind, frozenset[SupplyState]]] = MappingProxyType(
    {
        **dict.fromkeys(CUTTING, frozenset({SupplyState.OFF})),
        **dict.fromkeys(RESTORING, frozenset({SupplyState.ON, SupplyState.ARMED})),
    }
)
"""The states of supply that a command leads to."""

VALVE_PERCENT_MAX: Final = 2
"""A valve that stands so near to what was asked for has done it."""

CLOCK_US_MAX: Final = 2 * MINUTE_US
"""A clock that was set is off by less than this: its frame was on its way for a while."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one report shows.

    Args:
        supply: of the relay or valve, if the report tells.
        tamper: the tamper condition, if the report tells.
        readings: value by register.
        measured_us: the meter's clock.
        received_us: our clock.
    """

    supply: SupplyState | None
    tamper: bool | None
    readings: Mapping[str, int]
    measured_us: int
    received_us: int


def _valve(command: Row, shown: Shown) -> str | None:
    position = shown.readings.get("valve_position")
    if position is None or abs(position - command["value"]) > VALVE_PERCENT_MAX:
        return None
    return f"the meter reports its valve {position} % open"


def _load_limit(command: Row, shown: Shown) -> str | None:
    limit_w = shown.readings.get("load_limit")
    return f"the meter reports a limit of {limit_w} W" if limit_w == command["value"] else None


def _tariff(command: Row, shown: Shown) -> str | None:
    number = shown.readings.get("tariff")
    asked: str = command["text"]
    is_it = number is not None and asked.isdigit() and int(asked) == number
    return f"the meter reports tariff {number}" if is_it else None


def _credit_mode(command: Row, shown: Shown) -> str | None:
    mode = shown.readings.get("credit_mode")
    is_it = mode in range(len(CREDIT_MODES)) and CREDIT_MODES[mode or 0] == command["text"]
    return f"the meter reports that it is {command['text']}" if is_it else None


def _clock(_command: Row, shown: Shown) -> str | None:
    is_right = abs(shown.measured_us - shown.received_us) <= CLOCK_US_MAX
    return "the meter's clock is right" if is_right else None


def _tamper(_command: Row, shown: Shown) -> str | None:
    return "the meter reports no tamper condition" if shown.tamper is False else None


def _reading(_command: Row, shown: Shown) -> str | None:
    return "the reading is here" if shown.readings else None


_PROOFS: Final[Mapping[CommandKind, Callable[[Row, Shown], str | None]]] = MappingProxyType(
    {
        CommandKind.SET_VALVE: _valve,
        CommandKind.SET_LOAD_LIMIT: _load_limit,
        CommandKind.SET_TARIFF: _tariff,
        CommandKind.SET_CREDIT_MODE: _credit_mode,
        CommandKind.SET_CLOCK: _clock,
        CommandKind.CLEAR_TAMPER: _tamper,
        CommandKind.READ_NOW: _reading,
    }
)


def shown_by(command: Row, shown: Shown) -> str | None:
    """Return in words how a report shows that a command was done; None when it does not.

    Credit has a proof of its own, see ``services.proof``.
    """
    kind = CommandKind(command["kind"])
    if kind in SHOWS_SUPPLY:
        is_it = shown.supply is not None and shown.supply in SHOWS_SUPPLY[kind]
        return f"the meter reports supply {shown.supply}" if is_it else None
    proof = _PROOFS.get(kind)
    return proof(command, shown) if proof is not None else None
