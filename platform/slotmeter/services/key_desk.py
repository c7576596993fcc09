"""Everything about vending keys, as one thing to hand around."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from slotmeter.ports import Clock, KeyWrapping, UnitOfWork
from slotmeter.services.supply_groups import SupplyGroups
from slotmeter.services.vending_keys import VendingKeys

__all__ = ["KeyDesk"]


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """The services behind the pages and commands of key officers."""

    vending: VendingKeys
    groups: SupplyGroups

    @classmethod
    def of(
        cls,
        uow: UnitOfWork,
        clock: Clock,
        wrapping: KeyWrapping,
        refresh: Callable[[], Awaitable[None]],
    ) -> Self:
        """Make all of them on one database; see :class:`VendingKeys`."""
        return cls(VendingKeys(uow, clock, wrapping, refresh), SupplyGroups(uow, clock))
