"""A database that was restored: it may not know the newest tokens of the one that it was copied of.

The original may have sold until the instant of the restore, and what it sold after the backup is
lost. A token identifier stands for a minute, at most ``AHEAD_MINUTES_MAX`` minutes after the
present. So a restored copy gives only identifiers later than every one that the original can have
given: later than the restore by that many minutes. Two copies that sell at once cannot be told
apart by any database; who restores says that the original is stopped.
"""

from __future__ import annotations

from slotmeter.ports import Changes, Clock, Insert, NewId, Read, Rows, Step, UnitOfWork, Update
from slotmeter.services.access import Origin, act_row
from slotmeter.services.tid_allocator import AHEAD_MINUTES_MAX, TidAllocator
from slotmeter.units import epoch_us
from slotmeter.vending.sts import minute_1993_of_us

__all__ = ["mark_restored", "tid_allocator"]


async def tid_allocator(uow: UnitOfWork) -> TidAllocator:
    """Return what gives the token identifiers of this database."""
    rows = await uow.read([Read("restore_floor")])
    floor = rows["restore_floor"][0]["position"] if rows["restore_floor"] else 0
    return TidAllocator(floor=floor)


async def mark_restored(
    uow: UnitOfWork, clock: Clock, origin: Origin, backup: str, *, last_floor: int = 0
) -> int:
    """Remember that this database is a copy, and record it with every utility.

    Args:
        uow: the restored database.
        clock: our time.
        origin: who restored it.
        backup: what was restored, for the auditor.
        last_floor: the floor of a copy that was restored less than a day ago and has sold, or 0: it
            gave identifiers that are not in this backup either.

    Returns:
        The minute since 1993 that every token identifier will be later than.
    """
    now_us = epoch_us(clock.now())
    floor = max(minute_1993_of_us(now_us), last_floor) + AHEAD_MINUTES_MAX

    def decide(rows: Rows, new_id: NewId) -> Changes[int]:
        steps: list[Step] = []
        known = rows["restore_floor"]
        if known:
            raised = max(floor, known[0]["position"] + AHEAD_MINUTES_MAX)
            steps.append(Update("restore_floor_raise", {"floor": raised, "now_us": now_us}))
        else:
            raised = floor
            steps.append(
                Insert("cursor", {"name": "tid_floor", "position": floor, "at_us": now_us})
            )
        steps += [
            act_row(
                new_id,
                origin,
                utility["id"],
                now_us,
                what="database.restored",
                subject=utility["code"],
                reason=f"restored from {backup}",
                data={"tid_floor_minute": raised},
            )
            for utility in rows["restore_utilities"]
        ]
        return Changes(raised, steps)

    return await uow.run([Read("restore_floor"), Read("restore_utilities")], decide)
