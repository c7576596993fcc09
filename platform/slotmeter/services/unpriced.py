"""A meter without a price in force: its purchase is refused, and somebody is told, once.

The alarm is cleared by the next purchase that finds a price.
"""

from __future__ import annotations

from typing import Final

from slotmeter.errors import Refused
from slotmeter.ports import (
    Changes,
    Insert,
    NewId,
    Principal,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.events import Event, event_step

__all__ = ["NO_PRICE", "clear_steps", "raise_unpriced"]

NO_PRICE: Final = "no_price_in_force"
"""Code of the refusal, and kind of the alarm and of its event."""


def clear_steps(meter: Row, utility_id: int, new_id: NewId, *, now_us: int) -> list[Step]:
    """Return what clears the alarm of a meter that has a price again; nothing mostly."""
    alarm_id = meter["unpriced_alarm_id"]
    if alarm_id is None:
        return []
    params: dict[str, SqlValue] = {
        "of_utility": utility_id,
        "of_alarm": alarm_id,
        "to_cleared_us": now_us,
    }
    event = Event(
        utility_id=utility_id,
        at_us=now_us,
        kind=f"{NO_PRICE}_cleared",
        text=f"There is a price for meter {meter['number']} again",
        meter_id=meter["meter_id"],
        data={},
    )
    return [Update("ingest_alarm_clear", params), event_step(event, new_id)]


async def raise_unpriced(
    uow: UnitOfWork, principal: Principal, meter: str, error: Refused, *, now_us: int
) -> bool:
    """Raise the alarm of a meter for which nothing can be sold, unless it is raised already.

    Returns:
        Whether it was raised by this call.
    """
    read = Read("meter_unpriced", {"utility_id": principal.utility_id, "number": meter}, "meter")

    def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
        if not rows["meter"] or rows["meter"][0]["unpriced_alarm_id"] is not None:
            return Changes(False)
        meter_id = rows["meter"][0]["meter_id"]
        text = f"Nothing can be sold for meter {meter}: {error.message}"
        alarm: dict[str, SqlValue] = {
            "id": new_id(),
            "utility_id": principal.utility_id,
            "meter_id": meter_id,
            "kind": NO_PRICE,
            "severity": "alarm",
            "text": text,
            "raised_us": now_us,
            "cleared_us": None,
        }
        event = Event(
            utility_id=principal.utility_id,
            at_us=now_us,
            kind=NO_PRICE,
            severity="alarm",
            text=text,
            meter_id=meter_id,
            data={"meter": meter},
        )
        return Changes(True, [Insert("alarm", alarm), event_step(event, new_id)])

    rows = await uow.read([read])
    if not rows["meter"] or rows["meter"][0]["unpriced_alarm_id"] is not None:
        return False
    return await uow.run([read], decide)
