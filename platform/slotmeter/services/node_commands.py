"""Commands for the meters behind a node: the node takes them, one meter at a time."""

from __future__ import annotations

from typing import Final

from slotmeter.ports import From, Read, Row, SqlValue, UnitOfWork
from slotmeter.services.slot_alarms import BINDING_DIFFERS, slots_of

__all__ = ["next_behind"]

LOOKED_AT_MAX: Final = 256
"""As many commands as a node has slots: the first that may go is among them."""


async def next_behind(uow: UnitOfWork, node: Row, now_us: int) -> str | None:
    """Return the address of the meter behind a node that is the next to be given a command.

    A slot in which another meter speaks than the one bound to it gets none: a token would not fit
    there, and a cut would hit the wrong household.

    Args:
        uow: the database.
        node: its device, with ``id`` and ``utility_id``.
        now_us: our clock.
    """
    of_node: dict[str, SqlValue | From] = {
        "utility_id": node["utility_id"],
        "node_id": node["id"],
        "now_us": now_us,
        "limit": LOOKED_AT_MAX,
    }
    alarms: dict[str, SqlValue] = {"utility_id": node["utility_id"], "kind": BINDING_DIFFERS}
    rows = await uow.read(
        [Read("control_behind", of_node, "due"), Read("slot_alarms", alarms, "alarms")]
    )
    for row in rows["due"]:
        wrong = {
            slot
            for alarm in rows["alarms"]
            for slot in slots_of(row["node_serial"] or row["node_address"], alarm["subject"])
        }
        if row["slot"] not in wrong:
            address: str = row["address"]
            return address
    return None
