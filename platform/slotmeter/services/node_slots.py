"""How a meter comes into a slot behind a node, by a binding or in the place of another; pure."""

from __future__ import annotations

from collections.abc import Mapping

from slotmeter.errors import Refused
from slotmeter.ports import From, Insert, NewId, Read, Row, Rows, SqlValue, Step, Update
from slotmeter.services.parked_addresses import is_parked, parked_address
from slotmeter.services.taken_off import place_of, taken_off_reads

__all__ = ["put_behind_steps", "swap_slot_reads", "swap_slot_steps"]


def put_behind_steps(
    new_id: NewId, node: Row, slot: int, meter: Row, *, at_us: int, now_us: int
) -> list[Step]:
    """Return what binds a meter to a slot of a node, which speaks for it from then on.

    Args:
        new_id: the unit's source of ids.
        node: its device.
        slot: of the node, with nothing bound to it.
        meter: with ``id``, ``number`` and ``device_id``.
        at_us: since when it is so.
        now_us: our clock.
    """
    utility_id: int = node["utility_id"]
    binding: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": utility_id,
        "node_id": node["id"],
        "slot": slot,
        "meter_id": meter["id"],
        "from_us": at_us,
        "to_us": None,
    }
    behind: dict[str, SqlValue] = {
        "medium": node["medium"],
        # Nothing is heard from it: the node speaks.
        "address": parked_address(node["id"], meter["number"]),
        "driver": node["driver"],
    }
    if meter["device_id"] is None:
        device: dict[str, SqlValue] = {
            "id": new_id(),
            "utility_id": utility_id,
            "meter_id": meter["id"],
            **behind,
            "supply": "unknown",
            "tamper": 0,
            "created_us": now_us,
            "node_id": node["id"],
            "slot": slot,
        }
        return [Insert("binding", binding), Insert("device", device)]
    put: dict[str, SqlValue] = {
        "of_utility": utility_id,
        "of_device": meter["device_id"],
        "to_node": node["id"],
        "to_slot": slot,
        **{f"to_{name}": value for name, value in behind.items()},
    }
    return [Insert("binding", binding), Update("device_put_behind", put)]


def swap_slot_reads(utility_id: int, old: str, new: str) -> list[Read]:
    """Return the reads that a swap needs to know what ends with the old meter's place.

    Args:
        utility_id: whose meters they are.
        old: number of the meter that is taken off.
        new: number of the one that is put on.
    """
    node: dict[str, SqlValue | From] = {
        "utility_id": utility_id,
        "serial": From("off_place", "node"),
    }
    return [
        *taken_off_reads(utility_id, old),
        Read("binding_meter", {"utility_id": utility_id, "number": new}, "new_place"),
        Read("node_by_serial", node, "node"),
    ]


def swap_slot_steps(
    old: str, new: Row, rows: Rows, new_id: NewId, *, now_us: int, coding: Mapping[str, str]
) -> list[Step]:
    """Put a new meter into the slot of an old one; nothing when no node speaks for that.

    Args:
        old: number of the meter that is taken off.
        new: the one that is put on, with ``id`` and ``number``.
        rows: of :func:`swap_slot_reads`.
        new_id: the unit's source of ids.
        now_us: our clock.
        coding: what is said of the new one, perhaps a device of its own.

    Raises:
        Refused: ``behind_node``: the new one speaks for itself, or is in another slot.
    """
    place = place_of(rows)
    if place is None:
        return []
    there = rows["new_place"][0] if rows["new_place"] else None
    device_id, address = (there["device_id"], there["address"]) if there else (None, "")
    is_bound = there is not None and there["binding_id"] is not None
    speaks = bool(coding.get("driver")) or (device_id is not None and not is_parked(address))
    if speaks or is_bound:
        which = "is in another slot" if is_bound else "has a device of its own"
        raise Refused(
            "behind_node",
            f"meter {old} is in slot {place['slot']} of node {place['node']}, which speaks for it, "
            f"and meter {new['number']} {which}: take meter {old} from its slot first, or bind "
            f"meter {new['number']} to it, then swap",
            field="new",
        )
    meter = {"id": new["id"], "number": new["number"], "device_id": device_id}
    at_us = max(now_us, place["from_us"])
    return put_behind_steps(
        new_id, rows["node"][0], place["slot"], meter, at_us=at_us, now_us=now_us
    )
