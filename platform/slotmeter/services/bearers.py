"""How devices are reached: a device that changes its bearer keeps its history and its queue.

Readings belong to the meter and commands to the device; neither knows the medium. Only where frames
are expected from, and where commands are handed out, changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.act_changes import changed
from slotmeter.services.events import Event, event_step
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.list_pages import ID_MAX, LIST_ROWS, cut
from slotmeter.services.parked_addresses import is_parked
from slotmeter.units import epoch_us

__all__ = [
    "BearerWish",
    "Bearers",
    "BearersPage",
    "bearer_row",
    "check_bearer",
    "end_bearer_steps",
]

ADDRESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:+-]{0,63}")


@dataclass(frozen=True, slots=True)
class BearerWish:
    """What a device is to be reached by.

    Args:
        medium: key of the medium.
        address: the medium's name for the device.
        driver: reads its frames there; None for the one that it has.
    """

    medium: str
    address: str
    driver: str | None = None


@dataclass(frozen=True, slots=True)
class BearersPage:
    """Bearers of a device, the newest first, and where the next page begins."""

    rows: Sequence[Row]
    next: int | None


def bearer_row(
    new_id: NewId,
    utility_id: int,
    device_id: int,
    medium: str,
    address: str,
    from_us: int,
    to_us: int | None = None,
) -> Insert:
    """Return the row of one bearer."""
    row: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": utility_id,
        "device_id": device_id,
        "medium": medium,
        "address": address,
        "from_us": from_us,
        "to_us": to_us,
    }
    return Insert("bearer", row)


def end_bearer_steps(
    new_id: NewId, utility_id: int, device: Row, live: Sequence[Row], at_us: int
) -> list[Step]:
    """End the bearer that a device has; one that was never written down is, with its end.

    Args:
        new_id: the unit's source of ids.
        utility_id: whose device it is.
        device: with ``device_id``, ``medium``, ``address`` and ``device_created_us``.
        live: its bearer without an end, if there is a row.
        at_us: since when it is not reached so.
    """
    if live:
        ended: dict[str, SqlValue] = {"of_utility": utility_id, "of_bearer": live[0]["id"]}
        return [Update("bearer_end", {**ended, "at_us": max(at_us, live[0]["from_us"])})]
    was = (device["device_id"], device["medium"], device["address"], device["device_created_us"])
    return [bearer_row(new_id, utility_id, *was, to_us=max(at_us, device["device_created_us"]))]


def check_bearer(drivers: Mapping[str, Driver], medium: str, address: str, driver: str) -> Driver:
    """Refuse an address that is none, and a driver that does not speak over a medium.

    Raises:
        Refused: ``address_malformed``, ``driver_unknown`` or ``driver_not_carried``.
    """
    if ADDRESS.fullmatch(address) is None:
        raise Refused(
            "address_malformed",
            "expected 1 to 64 letters, digits and . _ / : + - (no spaces)",
            field="address",
        )
    found = drivers.get(driver)
    if found is None:
        known = ", ".join(sorted(drivers)) or "none"
        raise Refused(
            "driver_unknown",
            f"no driver {driver[:64]!r} is installed; there are {known}",
            field="driver",
        )
    if not found.carried_by(medium):
        spoken = ", ".join((found.medium, *found.media))
        raise Refused(
            "driver_not_carried",
            f"driver {driver} speaks over {spoken}, not {medium[:32]!r}; name a driver that does",
            field="medium",
        )
    return found


class Bearers:
    """The transaction boundary of bearers."""

    def __init__(self, uow: UnitOfWork, clock: Clock, drivers: Mapping[str, Driver]) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._drivers = drivers

    async def bearers(
        self, utility_id: int, number: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> BearersPage:
        """Return what a meter's device was reached by, the newest first.

        Raises:
            NotFound: ``meter_unknown``, also of a meter without a device.
        """
        rows = await self._uow.read([_device_read(utility_id, number)])
        device = _known(rows["device"], number)
        return await self._page(utility_id, device, before, limit)

    async def bearers_of_node(
        self, utility_id: int, serial: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> BearersPage:
        """Return what a node was reached by, the newest first.

        Raises:
            NotFound: ``node_unknown``.
        """
        rows = await self._uow.read([_node_read(utility_id, serial)])
        return await self._page(utility_id, _known_node(rows["device"], serial), before, limit)

    async def change(self, caller: Caller, number: str, wish: BearerWish, *, reason: str) -> None:
        """Reach a meter's device by another medium or address; the same again changes nothing.

        Raises:
            NotFound: ``meter_unknown``, also of a meter without a device.
            Conflict: ``address_taken``, ``behind_node``: bind the meter elsewhere, or move its
                node; ``changed_meanwhile``.
            Refused: ``driver_unknown``, ``driver_not_carried``, ``commodity_not_metered``,
                ``address_malformed``, ``reason_missing`` or ``reason_too_long``.
        """
        why = check_reason(reason)
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            device = _known(rows["device"], number)
            if device["node_id"] is not None:
                raise Conflict(
                    "behind_node",
                    f"meter {number} is behind node {device['node']}, which speaks for it; take it "
                    "from its slot, or move the node",
                )
            driver = self._driver(device, wish)
            if device["commodity"] not in {each.value for each in driver.commodities}:
                raise Refused(
                    "commodity_not_metered",
                    f"driver {driver.key} does not meter {device['commodity']}",
                    field="driver",
                )
            return Changes(None, self._steps(caller, new_id, rows, wish, number, why))

        await self._uow.run([_device_read(utility_id, number), *_more(utility_id, wish)], decide)

    async def change_node(
        self, caller: Caller, serial: str, wish: BearerWish, *, reason: str
    ) -> None:
        """Reach a node, and so all meters behind it, by another medium or address.

        Raises:
            NotFound: ``node_unknown``.
            Conflict: ``address_taken`` or ``changed_meanwhile``.
            Refused: ``driver_unknown``, ``driver_not_carried``, ``address_malformed``,
                ``reason_missing`` or ``reason_too_long``.
        """
        why = check_reason(reason)
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            node = _known_node(rows["device"], serial)
            driver = self._driver(node, wish)
            steps = self._steps(caller, new_id, rows, wish, serial, why)
            behind: dict[str, SqlValue] = {
                "of_utility": utility_id,
                "of_node": node["id"],
                "to_medium": wish.medium,
                "to_driver": driver.key,
            }
            return Changes(None, [*steps, Update("devices_behind_move", behind, rows=None)])

        await self._uow.run([_node_read(utility_id, serial), *_more(utility_id, wish)], decide)

    def _driver(self, device: Row, wish: BearerWish) -> Driver:
        return check_bearer(
            self._drivers, wish.medium, wish.address, wish.driver or device["driver"]
        )

    def _steps(
        self, caller: Caller, new_id: NewId, rows: Rows, wish: BearerWish, name: str, reason: str
    ) -> list[Step]:
        device, utility_id = rows["device"][0], caller.principal.utility_id
        now_us = epoch_us(self._clock.now())
        before = {each: device[each] for each in ("medium", "address", "driver")}
        after = {
            "medium": wish.medium,
            "address": wish.address,
            "driver": wish.driver or device["driver"],
        }
        if before == after:
            return []
        for taken in rows["taken"]:
            if taken["id"] != device["id"]:
                by = taken["meter"] or taken["serial"] or "another device"
                raise Conflict(
                    "address_taken", f"{wish.address} is the address of {by} on {wish.medium}"
                )
        move: dict[str, SqlValue] = {
            "of_utility": utility_id,
            "of_device": device["id"],
            "of_medium": device["medium"],
            "of_address": device["address"],
            "at_us": now_us,
            **{f"to_{each}": value for each, value in after.items()},
        }
        was = {**device, "device_id": device["id"], "device_created_us": device["created_us"]}
        act = caller_act(
            caller,
            new_id,
            now_us,
            what="device.bearer",
            subject=name,
            reason=reason,
            data=changed(before, after),
        )
        event = Event(
            utility_id=utility_id,
            at_us=now_us,
            kind="bearer_changed",
            text=f"{name} is reached by {wish.medium} from now on, before by {device['medium']}",
            meter_id=device["meter_id"],
            data={"before": before, "after": after},
        )
        ended: list[Step] = []
        if not is_parked(device["address"]):
            ended = end_bearer_steps(new_id, utility_id, was, rows["live"], now_us)
        return [
            *ended,
            Update("device_move", move),
            bearer_row(new_id, utility_id, device["id"], wish.medium, wish.address, now_us),
            event_step(event, new_id),
            act,
        ]

    async def _page(
        self, utility_id: int, device: Row, before: int | None, limit: int
    ) -> BearersPage:
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "device_id": device["id"],
            "before": ID_MAX if before is None else before,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("bearers", params)]))["bearers"]
        page, following = cut(rows, limit, lambda row: int(row["id"]))
        is_own = not is_parked(device["address"])
        if not page and before is None and is_own:
            # Registered before bearers were written down, and never moved.
            first = {"id": 0, "medium": device["medium"], "address": device["address"]}
            return BearersPage([{**first, "from_us": device["created_us"], "to_us": None}], None)
        return BearersPage(page, following)


def _device_read(utility_id: int, number: str) -> Read:
    return Read("bearer_device", {"utility_id": utility_id, "number": number}, "device")


def _node_read(utility_id: int, serial: str) -> Read:
    return Read("node_by_serial", {"utility_id": utility_id, "serial": serial}, "device")


def _more(utility_id: int, wish: BearerWish) -> list[Read]:
    return [
        Read("bearer_live", {"device_id": From("device", "id")}, "live"),
        Read("node_address", {"medium": wish.medium, "address": wish.address}, "taken"),
    ]


def _known(rows: Sequence[Row], number: str) -> Row:
    if not rows:
        raise NotFound(
            "meter_unknown", f"no meter {number[:32]!r} with a device is known here", field="meter"
        )
    return rows[0]


def _known_node(rows: Sequence[Row], serial: str) -> Row:
    if not rows:
        raise NotFound("node_unknown", f"no node {serial[:64]!r} is known here", field="node")
    return rows[0]
