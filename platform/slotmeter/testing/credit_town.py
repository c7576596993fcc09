"""What happens in a device town to a meter whose credit the platform holds.

Each step comes a second after the one before and ends with a look at the credit.
"""

from __future__ import annotations

from typing import Any, Final

from slotmeter.devices.commands import CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

__all__ = ["M3", "do", "pay", "report", "use_up", "with_credit"]

M3: Final = 1_000_000
"""A cubic metre in mL; at 20.00 and 16 % tax it costs 23.20."""

_PAID_MINOR: Final = 2_320


async def with_credit(town: DeviceTown, commodity: str) -> SmallMeter:
    """Add a meter that delivers, with 23.20 to its account."""
    meter = await town.utility.add_meter(commodity, credit_mode="platform")
    await town.pay(meter, _PAID_MINOR)
    await report(town, meter, 0)
    return meter


async def report(
    town: DeviceTown,
    meter: SmallMeter,
    used: int,
    supply: SupplyState = SupplyState.ON,
    **told: Any,
) -> None:
    """Have a meter report its register, in Wh or mL, and its supply; look at its credit.

    ``told`` are further fields of a ``Report``.
    """
    register = "energy_import" if meter.commodity == "electricity" else "volume"
    town.side.clock.advance(seconds=1)
    await town.side.report(meter, {register: used}, supply=supply, **told)
    await town.side.credit.evaluate_credit(meter.id)


async def do(town: DeviceTown, meter: SmallMeter, used: int, supply: SupplyState) -> str:
    """Let a meter do the next command and report it; return the command's kind."""
    (taken,) = await town.side.take(meter)
    done = CommandResult(taken["id"], Outcome.DONE)
    await report(town, meter, used, supply, results=(done,))
    return str(taken["kind"])


async def pay(town: DeviceTown, meter: SmallMeter, minor: int) -> None:
    """Pay into a meter's account and look at its credit."""
    town.side.clock.advance(seconds=1)
    await town.pay(meter, minor)
    await town.side.credit.after_payment(meter.id)


async def use_up(town: DeviceTown, meter: SmallMeter) -> None:
    """Use all of the credit; the first look warns, the next one cuts."""
    await report(town, meter, M3)
    await report(town, meter, M3)
