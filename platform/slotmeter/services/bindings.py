"""Nodes and the meters behind them: boxes with many meters in slots, which speak for all of them.

Which meter is in which slot is dated: what a node says of a slot counts for the meter that was
bound to it then. A meter behind a node keeps its device, with its history and its queue; the node's
address takes the place of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.devices.frames import SLOTS_MAX
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
from slotmeter.services.bearers import (
    bearer_row,
    check_bearer,
    end_bearer_steps,
)
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.list_pages import ID_MAX, LIST_ROWS, cut
from slotmeter.services.node_slots import put_behind_steps
from slotmeter.services.parked_addresses import is_parked
from slotmeter.services.slot_alarms import BINDING_DIFFERS, clear_steps, slots_of
from slotmeter.units import epoch_us, iso_utc

__all__ = ["Bindings", "BindingsPage", "NewNode", "Node", "NodesPage"]

SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SLOT_MAX: Final = SLOTS_MAX - 1


@dataclass(frozen=True, slots=True)
class NewNode:
    """A node to register.

    Args:
        serial: its maker's number, 1 to 64 letters, digits, dots, hyphens or underscores; the name
            by which it is known here, and which its frames may carry.
        medium: what it is reached by.
        address: the medium's name for it.
        driver: reads its frames.
    """

    serial: str
    medium: str
    address: str
    driver: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node with what is behind it now, by slot."""

    id: int
    serial: str
    medium: str
    address: str
    driver: str
    last_contact_us: int | None
    is_offline: bool
    created_us: int
    bindings: Sequence[Row]


@dataclass(frozen=True, slots=True)
class NodesPage:
    """Nodes by serial number, and where the next page begins."""

    rows: Sequence[Row]
    next: str | None


@dataclass(frozen=True, slots=True)
class BindingsPage:
    """Bindings, the newest first, and where the next page begins."""

    rows: Sequence[Row]
    next: int | None


class Bindings:
    """The transaction boundary of nodes and of what is behind them."""

    def __init__(self, uow: UnitOfWork, clock: Clock, drivers: Mapping[str, Driver]) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._drivers = drivers

    # --- looking ----------------------------------------------------------------------------------

    async def nodes(self, utility_id: int, *, after: str = "", limit: int = LIST_ROWS) -> NodesPage:
        """Return nodes by serial number, each with how many meters are behind it."""
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "after": after,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("nodes", params)]))["nodes"]
        page, following = cut(rows, limit, lambda row: str(row["serial"]))
        return NodesPage(page, following)

    async def node(self, utility_id: int, serial: str) -> Node:
        """Return a node with the meters behind it now.

        Raises:
            NotFound: ``node_unknown``.
        """
        rows = await self._uow.read(_node_reads(utility_id, serial))
        row = _known_node(rows["node"], serial)
        return Node(
            id=row["id"],
            serial=row["serial"],
            medium=row["medium"],
            address=row["address"],
            driver=row["driver"],
            last_contact_us=row["last_contact_us"],
            is_offline=row["offline_us"] is not None,
            created_us=row["created_us"],
            bindings=rows["live"],
        )

    async def history(
        self, utility_id: int, serial: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> BindingsPage:
        """Return what was ever behind a node, the newest first.

        Raises:
            NotFound: ``node_unknown``.
        """
        node = await self.node(utility_id, serial)
        of_node: dict[str, SqlValue] = {"node_id": node.id}
        return await self._before("bindings_of_node", of_node, utility_id, before, limit)

    async def history_of_meter(
        self, utility_id: int, number: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> BindingsPage:
        """Return behind which nodes a meter was, the newest first.

        Raises:
            NotFound: ``meter_unknown``.
        """
        rows = await self._uow.read([_meter_read(utility_id, number)])
        meter = _known_meter(rows, number)
        of_meter: dict[str, SqlValue] = {"meter_id": meter["id"]}
        return await self._before("bindings_of_meter", of_meter, utility_id, before, limit)

    async def _before(
        self,
        statement: str,
        of: Mapping[str, SqlValue],
        utility_id: int,
        before: int | None,
        limit: int,
    ) -> BindingsPage:
        params: dict[str, SqlValue] = {
            **of,
            "utility_id": utility_id,
            "before": ID_MAX if before is None else before,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read(statement, params, "rows")]))["rows"]
        page, following = cut(rows, limit, lambda row: int(row["id"]))
        return BindingsPage(page, following)

    # --- changing ---------------------------------------------------------------------------------

    async def add_node(self, caller: Caller, new: NewNode, *, reason: str) -> Node:
        """Register a node; the same again changes nothing.

        Raises:
            Conflict: ``node_exists`` or ``address_taken``.
            Refused: ``serial_malformed``, ``driver_unknown``, ``driver_not_carried``,
                ``address_malformed``, ``reason_missing`` or ``reason_too_long``.
        """
        why = check_reason(reason)
        if SERIAL.fullmatch(new.serial) is None:
            raise Refused(
                "serial_malformed",
                "expected 1 to 64 letters, digits, dots, hyphens or underscores",
                field="serial",
            )
        check_bearer(self._drivers, new.medium, new.address, new.driver)
        utility_id, now_us = caller.principal.utility_id, epoch_us(self._clock.now())
        facts = {"medium": new.medium, "address": new.address, "driver": new.driver}

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            if rows["node"]:
                there = {name: rows["node"][0][name] for name in facts}
                if there == facts:
                    return Changes(None)
                raise Conflict("node_exists", f"there is a node {new.serial} already")
            _check_free(rows["taken"], new)
            device_id = new_id()
            device: dict[str, SqlValue] = {
                "id": device_id,
                "utility_id": utility_id,
                "meter_id": None,
                "serial": new.serial,
                **facts,
                "supply": "unknown",
                "tamper": 0,
                "created_us": now_us,
            }
            act = caller_act(
                caller,
                new_id,
                now_us,
                what="node.add",
                subject=new.serial,
                reason=why,
                data=changed(None, facts),
            )
            bearer = bearer_row(new_id, utility_id, device_id, new.medium, new.address, now_us)
            return Changes(None, [Insert("device", device), bearer, act])

        taken: dict[str, SqlValue] = {"medium": new.medium, "address": new.address}
        reads = [*_node_reads(utility_id, new.serial), Read("node_address", taken, "taken")]
        await self._uow.run(reads, decide)
        return await self.node(utility_id, new.serial)

    async def bind(
        self,
        caller: Caller,
        serial: str,
        places: Mapping[int, str | None],
        *,
        reason: str,
        at: datetime | None = None,
    ) -> Node:
        """Bind meters to slots of a node, all at once, so that two can change places.

        A meter leaves the slot that it was in, wherever that is; one that was in a slot and is put
        nowhere else is behind no node any more. Alarms of these slots are cleared: the next read
        says whether all is right.

        Args:
            caller: who does it.
            serial: of the node.
            places: meter number by slot; None for a slot that is to be empty.
            reason: why.
            at: since when it is so; not given, from this moment on. Frames that came since then
                count so when they are replayed.

        Raises:
            NotFound: ``node_unknown`` or ``meter_unknown``.
            Conflict: ``meter_removed``.
            Refused: ``slots_missing``, ``slot_out_of_range``, ``meter_twice``, ``time_in_future``,
                ``binding_out_of_order``, ``reason_missing`` or ``reason_too_long``.
        """
        why = check_reason(reason)
        _check_places(places)
        now_us = epoch_us(self._clock.now())
        at_us = now_us if at is None else epoch_us(at)
        if at_us > now_us:
            raise Refused("time_in_future", "bind meters when they are in their slots", field="at")
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            node = _known_node(rows["node"], serial)
            made = _Binding(caller, node, rows, new_id, at_us, now_us)
            for number in [each for each in places.values() if each is not None]:
                made.meters[number] = _known_meter(rows, number)
            before, after = made.change(places)
            if not made.steps:
                return Changes(None)
            made.clear_alarms()
            act = caller_act(
                caller,
                new_id,
                now_us,
                what="node.bind",
                subject=serial,
                reason=why,
                data={**changed(before, after), "at": iso_utc(at_us)},
            )
            return Changes(None, [*made.steps, act])

        reads = [*_node_reads(utility_id, serial), _alarms_read(utility_id)]
        for number in filter(None, places.values()):
            reads.append(_meter_read(utility_id, number))
            of_device = {"device_id": From(f"meter/{number}", "device_id")}
            reads.append(Read("bearer_live", of_device, f"bearer/{number}"))
        of_node: dict[str, SqlValue | From] = {
            "utility_id": utility_id,
            "node_id": From("node", "id"),
        }
        reads += [
            Read("binding_slot_newest", {**of_node, "slot": slot}, f"slot/{slot}")
            for slot in places
        ]
        await self._uow.run(reads, decide)
        return await self.node(utility_id, serial)


@dataclass(slots=True)
class _Binding:
    """What one call of :meth:`Bindings.bind` writes."""

    caller: Caller
    node: Row
    rows: Rows
    new_id: NewId
    at_us: int
    now_us: int
    meters: dict[str, Row] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    slots: set[int] = field(default_factory=set)

    @property
    def utility_id(self) -> int:
        """Whose node it is."""
        return self.caller.principal.utility_id

    def change(
        self, places: Mapping[int, str | None]
    ) -> tuple[dict[str, str | None], dict[str, str | None]]:
        """Collect the steps; return what was in each slot that changes, and what will be."""
        live = {row["slot"]: row for row in self.rows["live"]}
        wanted = {**self._left(places, live), **places}
        held = {slot: live[slot]["meter"] if slot in live else None for slot in wanted}
        moving = {slot: number for slot, number in wanted.items() if number != held[slot]}
        ended = {live[slot]["id"]: live[slot] for slot in moving if slot in live}
        for coming in filter(None, moving.values()):
            meter = self.meters[coming]
            if meter["binding_id"] is not None:
                was = {"id": meter["binding_id"], "meter": coming, "meter_id": meter["id"]}
                ended[meter["binding_id"]] = {**meter, **was}
        for row in ended.values():
            self._end(row, is_staying=row["meter"] in moving.values())
        for slot, number in moving.items():
            if number is not None:
                self._begin(slot, self.meters[number])
        self.slots = set(moving)
        before = {str(slot): held[slot] for slot in moving}
        return before, {str(slot): number for slot, number in moving.items()}

    def _left(
        self, places: Mapping[int, str | None], live: Mapping[int, Row]
    ) -> dict[int, str | None]:
        """Return slots that are not named and are left empty by meters that go to another."""
        going = {number for number in places.values() if number is not None}
        return {slot: None for slot, row in live.items() if row["meter"] in going}

    def _end(self, row: Row, *, is_staying: bool) -> None:
        self._check_order(row["from_us"])
        params: dict[str, SqlValue] = {
            "of_utility": self.utility_id,
            "of_binding": row["id"],
            "at_us": self.at_us,
        }
        self.steps.append(Update("binding_end", params))
        if not is_staying:
            away: dict[str, SqlValue] = {
                "of_utility": self.utility_id,
                "of_meter": row["meter_id"],
                "of_node": self.node["id"],
            }
            self.steps.append(Update("device_take_away", away, rows=None))

    def _begin(self, slot: int, meter: Row) -> None:
        if meter["state"] == "removed":
            raise Conflict("meter_removed", f"meter {meter['number']} is no longer in use")
        newest = self.rows[f"slot/{slot}"]
        if newest and newest[0]["to_us"] is not None:
            self._check_order(newest[0]["to_us"])
        self.steps += put_behind_steps(
            self.new_id, self.node, slot, meter, at_us=self.at_us, now_us=self.now_us
        )
        if meter["device_id"] is not None and not is_parked(meter["address"]):
            live = self.rows[f"bearer/{meter['number']}"]
            self.steps += end_bearer_steps(self.new_id, self.utility_id, meter, live, self.at_us)

    def _check_order(self, from_us: int) -> None:
        if self.at_us < from_us:
            raise Refused(
                "binding_out_of_order",
                f"expected a time from {iso_utc(from_us)} on: what was before that is settled",
                field="at",
            )

    def clear_alarms(self) -> None:
        """Clear what the node's slots were alarmed for, as far as they change."""
        for alarm in self.rows["alarms"]:
            if slots_of(self.node["serial"], alarm["subject"]) & self.slots:
                text = f"The slots of node {self.node['serial']} were bound again"
                self.steps += clear_steps(
                    self.utility_id, alarm, text, self.new_id, now_us=self.now_us
                )


def _node_reads(utility_id: int, serial: str) -> list[Read]:
    return [
        Read("node_by_serial", {"utility_id": utility_id, "serial": serial}, "node"),
        Read("bindings_live", {"utility_id": utility_id, "node_id": From("node", "id")}, "live"),
    ]


def _meter_read(utility_id: int, number: str) -> Read:
    return Read(
        "binding_meter", {"utility_id": utility_id, "number": number}, key=f"meter/{number}"
    )


def _alarms_read(utility_id: int) -> Read:
    return Read("slot_alarms", {"utility_id": utility_id, "kind": BINDING_DIFFERS}, "alarms")


def _known_node(rows: Sequence[Row], serial: str) -> Row:
    if not rows:
        raise NotFound("node_unknown", f"no node {serial[:64]!r} is known here", field="node")
    return rows[0]


def _known_meter(rows: Rows, number: str) -> Row:
    found = rows[f"meter/{number}"]
    if not found:
        raise NotFound("meter_unknown", f"no meter {number[:32]!r} is known here", field="meter")
    return found[0]


def _check_free(taken: Sequence[Row], new: NewNode) -> None:
    if taken:
        by = taken[0]["meter"] or taken[0]["serial"] or "another device"
        raise Conflict("address_taken", f"{new.address} is the address of {by} on {new.medium}")


def _check_places(places: Mapping[int, str | None]) -> None:
    if not places:
        raise Refused("slots_missing", "say which meter is in which slot", field="places")
    wrong = [slot for slot in places if not 0 <= slot <= SLOT_MAX]
    if wrong:
        raise Refused(
            "slot_out_of_range", f"expected slots 0 to {SLOT_MAX}, got {wrong[0]}", field="places"
        )
    numbers = [number for number in places.values() if number is not None]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice:
        raise Refused(
            "meter_twice", f"meter {twice[0]} cannot be in two slots at once", field="places"
        )
