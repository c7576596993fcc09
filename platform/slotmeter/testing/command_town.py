"""Commands that people ask for in a device town."""

from __future__ import annotations

from typing import Any

from slotmeter.devices.entities import SupplyState
from slotmeter.ports import Caller
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

__all__ = ["cut", "cuttable", "log_of"]


async def cuttable(town: DeviceTown, commodity: str = "electricity") -> SmallMeter:
    """Add a meter that may be cut: heard just now, warned, its credit known."""
    meter = await town.utility.add_meter(commodity)
    await town.side.report(meter, {"credit_balance": 5, "credit_total": 5}, supply=SupplyState.ON)
    await town.notice(meter)
    return meter


async def cut(town: DeviceTown, caller: Caller, meter: SmallMeter, **more: Any) -> dict[str, Any]:
    """Ask for a cut because of an unpaid bill; ``more`` goes into the request."""
    kind = "open_relay" if meter.commodity == "electricity" else "close_valve"
    return await town.side.requests.request_command(caller, meter.number, kind, "unpaid", **more)


def log_of(town: DeviceTown, command: dict[str, Any]) -> list[str]:
    """Return the states that a command went through, oldest first."""
    sql = "SELECT state FROM command_log WHERE command_id = ? ORDER BY id"
    return [row["state"] for row in town.rows(sql, command["id"])]
