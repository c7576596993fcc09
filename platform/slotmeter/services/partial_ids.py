"""Results of meters that repeat only a part of a command's id, or nothing of it.

Such a result means one of the commands that the device was sent and that are not ended, found by
the part that it repeats. Meters with short numbers repeat their last result in each report: once
its command is ended it means nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping

from slotmeter.devices.drivers import COMMAND_ID_OCTETS, Driver
from slotmeter.devices.frames import Report
from slotmeter.ports import Read, Row, UnitOfWork

__all__ = ["named_whole"]


async def named_whole(
    uow: UnitOfWork, frame: Row, report: Report, drivers: Mapping[str, Driver]
) -> Report:
    """Return a report whose results name commands by their whole ids.

    Costs a read only for reports with results of models that repeat ids in part.

    Args:
        uow: where the commands are.
        frame: with its device, as ``ingest_frames`` gives it.
        report: what it says, checked.
        drivers: by key; the frame's is among them, for it has read the frame.
    """
    driver = drivers[frame["driver"]]
    if driver.command_id_octets >= COMMAND_ID_OCTETS or not report.results:
        return report
    of_device = {"utility_id": frame["utility_id"], "device_id": frame["device_id"]}
    found = await uow.read([Read("partial_ids_sent", of_device, "sent")])
    return driver.in_flight(report, [row["id"] for row in found["sent"]])
