"""What is known of meters beside what is sold to them: places, lives, nodes, keypads, bearers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from slotmeter.devices.drivers import Driver
from slotmeter.ports import Clock, UnitOfWork
from slotmeter.services.areas import Areas
from slotmeter.services.bearers import Bearers
from slotmeter.services.bindings import Bindings
from slotmeter.services.keypads import Keypads
from slotmeter.services.lifecycle import Lifecycle

__all__ = ["Registries"]


@dataclass(frozen=True, slots=True)
class Registries:
    """The registries, as one thing to hand around."""

    areas: Areas
    lives: Lifecycle
    bindings: Bindings
    keypads: Keypads
    bearers: Bearers

    @classmethod
    def of(cls, uow: UnitOfWork, clock: Clock, drivers: Mapping[str, Driver]) -> Self:
        """Make all of them on one database."""
        return cls(
            areas=Areas(uow, clock),
            lives=Lifecycle(uow, clock),
            bindings=Bindings(uow, clock, drivers),
            keypads=Keypads(uow, clock),
            bearers=Bearers(uow, clock, drivers),
        )
