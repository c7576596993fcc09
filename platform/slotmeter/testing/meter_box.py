"""A box with many meters that one node speaks for, as it really hangs and as it is bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec.structs import replace as changed

from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import Frame, Reading, Report, SlotReport
from slotmeter.ports import Caller
from slotmeter.services.bindings import Bindings, NewNode
from slotmeter.services.slot_alarms import BINDING_DIFFERS
from slotmeter.testing.device_side import DRIVER_KEY, MEDIUM, DeviceTown
from slotmeter.testing.small_utility import SmallMeter

__all__ = ["ADDRESS", "BOX", "NEW_BOX", "MeterBox", "hang_box"]

BOX: Final = "BOX-1"
ADDRESS: Final = "box-1"
NEW_BOX: Final = NewNode(BOX, MEDIUM, ADDRESS, DRIVER_KEY)
METERS: Final = 10


class MeterBox:
    """Ten meters in one box, as they really hang: slot by slot."""

    def __init__(self, town: DeviceTown, boss: Caller, meters: Sequence[SmallMeter]) -> None:
        """Hold the town, who binds, and the meters, slot by slot."""
        self.town, self.boss, self.meters = town, boss, meters
        self.bindings = Bindings(town.side.uow, town.side.clock, town.side.drivers)
        self.hanging = {slot: meter.number for slot, meter in enumerate(meters)}
        self.frames = 0
        self.registers = {meter.number: 1_000 * at for at, meter in enumerate(meters, start=1)}

    async def bind(self, places: dict[int, str | None] | None = None, **more: Any) -> None:
        """Say which meters are in which slots; as they hang, unless told otherwise."""
        wanted = self.hanging if places is None else places
        await self.bindings.bind(self.boss, BOX, wanted, reason="as they hang", **more)

    def swap(self, one: int, other: int) -> None:
        """Change the places of two meters in the box, and tell nobody."""
        self.hanging[one], self.hanging[other] = self.hanging[other], self.hanging[one]

    def report(self, **told: Any) -> Report:
        """Return what the box reads in its slots now."""
        now = self.town.side.clock.now()
        slots = tuple(
            SlotReport(
                slot,
                number,
                (Reading("energy_import", self.registers[number], now),),
                SupplyState.ON,
                tamper=False,
            )
            for slot, number in self.hanging.items()
        )
        return changed(Report(measured_at=now, serial=BOX, slots=slots), **told)

    async def read(self, report: Report | None = None) -> int:
        """Have the box report, a minute later and 10 Wh on each meter; return the frame's id."""
        self.town.side.clock.advance(seconds=60)
        self.registers = {number: value + 10 for number, value in self.registers.items()}
        self.frames += 1
        payload = f"box {self.frames}".encode()
        self.town.side.script.reports[payload] = report or self.report()
        now = self.town.side.clock.now()
        frame_id = await self.town.side.frames.hand_in(Frame(MEDIUM, ADDRESS, "m", payload, now))
        await self.town.side.consumer.step()
        return frame_id

    def shown(self) -> dict[str, int | None]:
        """Return the register that the platform shows of each meter."""
        rows = self.town.rows(
            "SELECT meter.number, device.register FROM device"
            " JOIN meter ON meter.id = device.meter_id"
        )
        return {row["number"]: row["register"] for row in rows}

    def alarms(self) -> list[dict[str, Any]]:
        """Return alarms of slots, the oldest first."""
        return self.town.rows(
            "SELECT subject, text, cleared_us FROM alarm WHERE kind = ? ORDER BY id",
            BINDING_DIFFERS,
        )

    def open_alarms(self) -> list[str]:
        """Return what is alarmed now."""
        return [row["subject"] for row in self.alarms() if row["cleared_us"] is None]

    def parked(self, slot: int) -> str:
        """Return the address that the tables have for the meter that was delivered in a slot."""
        meter = self.meters[slot]
        address: str = self.town.row("SELECT address FROM device WHERE meter_id = ?", meter.id)[
            "address"
        ]
        return address

    async def sell(self, slot: int, tid: int) -> int:
        """Sell a token to the meter that was delivered in a slot; return its command."""
        meter = self.meters[slot]
        device = self.town.row("SELECT id FROM device WHERE meter_id = ?", meter.id)
        bound = replace(meter, device_id=device["id"])
        _, command_id = await self.town.sell_token(bound, 5_000, tid=tid)
        return command_id


async def hang_box(town: DeviceTown) -> MeterBox:
    """Register a box, and bind ten meters that have no radio of their own to its slots."""
    boss = await town.utility.add_principal("Boss", "supervisor")
    meters = [await town.utility.add_meter(online=False) for _ in range(METERS)]
    box = MeterBox(town, boss, meters)
    await box.bindings.add_node(boss, NEW_BOX, reason="new box")
    await box.bind()
    return box
