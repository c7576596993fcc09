"""Virtual meters of both kinds, made at one time under one key, and what to tell them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from slotmeter.devices.commands import CommandKind
from slotmeter.devices.frames import DeviceEventKind
from slotmeter.testing.consumption import Household
from slotmeter.testing.token_maker import TokenMaker
from slotmeter.testing.virtual_meter import VirtualMeter

__all__ = ["MAKER", "START", "cut_kind", "holder", "kinds", "obedient", "restore_kind"]

START: Final = datetime(2026, 9, 21, 6, 0, tzinfo=UTC)
"""When the meters are made."""

MAKER: Final = TokenMaker()
"""Makes tokens that a :func:`holder` takes."""


def holder(commodity: str = "electricity", credit: int = 0, **changes: Any) -> VirtualMeter:
    """Return a meter that holds its credit, in Wh or mL."""
    return MAKER.meter(17, commodity, made_at=START, opening_credit=credit, **changes)


def obedient(commodity: str) -> VirtualMeter:
    """Return a meter whose credit the platform holds."""
    return VirtualMeter.create(
        number="A1",
        commodity=commodity,
        household=Household(seed=1),
        made_at=START,
        credit_mode="platform",
    )


def kinds(meter: VirtualMeter) -> list[DeviceEventKind]:
    """Return the kinds of the events that a meter has to tell, oldest first."""
    return [event.kind for event in meter.report().events]


def cut_kind(commodity: str) -> CommandKind:
    """Return the command that cuts supply."""
    return CommandKind.OPEN_RELAY if commodity == "electricity" else CommandKind.CLOSE_VALVE


def restore_kind(commodity: str) -> CommandKind:
    """Return the command that gives supply back."""
    return CommandKind.CLOSE_RELAY if commodity == "electricity" else CommandKind.OPEN_VALVE
