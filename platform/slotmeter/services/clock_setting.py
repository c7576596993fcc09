"""Asks meters whose clocks are wrong to set them, once a day at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from slotmeter.devices.commands import CommandKind
from slotmeter.devices.drivers import Driver
from slotmeter.ports import Changes, Clock, From, NewId, Read, Rows, SqlValue, UnitOfWork
from slotmeter.services.bus import Bus, CommandsChanged
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.control import Queued, queue_steps
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.orders import Order, Target
from slotmeter.units import DAY_US, SECOND_US, Commodity, epoch_us

__all__ = ["SET_FROM_US", "ClockSetting"]

SET_FROM_US: Final = 120 * SECOND_US
"""A clock that is off by less is left alone."""


class ClockSetting:
    """Queues commands that set clocks, where a meter's driver knows how."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        *,
        drivers: Mapping[str, Driver],
        metrics: DeviceMetrics,
        bus: Bus,
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._drivers = drivers
        self._metrics = metrics
        self._bus = bus

    async def ask(self, device_id: int, offset_us: int) -> bool:
        """Ask a device to set its clock, unless it is right, or was asked today; say whether."""
        if abs(offset_us) < SET_FROM_US:
            return False
        now_us = epoch_us(self._clock.now())
        of_device: dict[str, SqlValue | From] = {"device_id": device_id}
        of_meter: dict[str, SqlValue | From] = {
            name: From("device", name) for name in ("utility_id", "meter_id")
        }
        reads = [
            Read("clock_device", of_device, "device"),
            Read("clock_asked", {**of_device, "since_us": now_us - DAY_US}, "asked"),
            Read("control_pending", of_meter, "pending"),
        ]

        def decide(rows: Rows, new_id: NewId) -> Changes[Queued | None]:
            queued = self._decide(rows, new_id, offset_us, now_us)
            return Changes(queued, queued.steps if queued is not None else ())

        queued = await self._uow.run(reads, decide)
        if queued is None or not queued.is_new:
            return False
        self._metrics.count_command(queued.command["state"])
        self._bus.publish(CommandsChanged(device_id))
        return True

    def _decide(self, rows: Rows, new_id: NewId, offset_us: int, now_us: int) -> Queued | None:
        if not rows["device"] or rows["asked"]:
            return None
        device = rows["device"][0]
        driver = self._drivers.get(device["driver"])
        if driver is None or CommandKind.SET_CLOCK not in driver.commands:
            return None
        seconds = offset_us // SECOND_US
        how = f"{abs(seconds)} s {'ahead' if seconds > 0 else 'behind'}"
        order = Order(CommandKind.SET_CLOCK, CommandCause.RULE, f"the meter's clock is {how}")
        target = Target(
            device["utility_id"],
            device["meter_id"],
            device["id"],
            Commodity(device["commodity"]),
            device["expected_us"],
        )
        return queue_steps(order, target, pending=rows["pending"], now_us=now_us, new_id=new_id)
