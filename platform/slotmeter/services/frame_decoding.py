"""What a logged frame says, by its device's driver, whatever a driver may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from slotmeter.devices.drivers import UNTIMED, Driver
from slotmeter.devices.frames import Report
from slotmeter.errors import FrameError
from slotmeter.ports import ReadingRow, Row
from slotmeter.services.clock_drift import Corrections
from slotmeter.services.device_effects import SERIAL_MISMATCH, check_report
from slotmeter.services.report_unit import credible_readings
from slotmeter.units import epoch_us, instant

__all__ = ["DEVICE_UNKNOWN", "decode", "decode_bytes", "reading_rows"]

DEVICE_UNKNOWN: Final = "device_unknown"
"""Code of a frame from an address that nobody registered."""


def decode_bytes(driver: Driver, path: str, payload: bytes, received_us: int) -> Report:
    """Read a frame with a driver; one that tells no time is of the moment it was received.

    Raises:
        FrameError: ``driver_failed``, or what the driver says.
    """
    try:
        report = driver.decode(path, payload)
        if report.measured_at == UNTIMED:
            return driver.read(path, payload, instant(received_us))
        return report
    except FrameError:
        raise
    except Exception as error:
        # The border to a third party's code, which may fail in any way on bytes it did not expect.
        raise FrameError(
            "driver_failed", f"the driver {driver.key} failed: {type(error).__name__}"
        ) from error


def decode(row: Row, drivers: Mapping[str, Driver]) -> Report:
    """Read a logged frame with its device's driver.

    Args:
        row: as ``ingest_frames`` gives it.
        drivers: by key.

    Raises:
        FrameError: ``device_unknown``, ``driver_missing``, ``driver_failed``,
            ``serial_mismatch``, ``slots_unexpected`` or ``node_differs``, what
            :func:`check_report` refuses, or what the driver says.
    """
    if row["device_id"] is None:
        raise FrameError(DEVICE_UNKNOWN, "no device with this address is registered")
    driver = drivers.get(row["driver"])
    if driver is None:
        raise FrameError("driver_missing", f"the driver {row['driver']} is not installed")
    report = decode_bytes(driver, row["path"], row["payload"], row["received_us"])
    try:
        check_report(report)
    except FrameError:
        raise
    except Exception as error:  # what the driver gave is no report
        raise FrameError(
            "driver_failed", f"the driver {driver.key} failed: {type(error).__name__}"
        ) from error
    if row["meter_id"] is None:
        return _of_node(row, report)
    if report.slots:
        raise FrameError(
            "slots_unexpected",
            "a meter told of meters in slots; only a node does, so register it as one",
        )
    if report.serial is not None and report.serial != row["meter_number"]:
        raise FrameError(
            SERIAL_MISMATCH,
            f"the meter says that it is {report.serial}, and its address is registered for "
            f"{row['meter_number']}",
        )
    return report


def _of_node(row: Row, report: Report) -> Report:
    own = row["device_serial"]
    if report.serial is not None and report.serial != own:
        raise FrameError(
            "node_differs",
            f"the node says that it is {report.serial}, and its address is registered for {own}",
        )
    return report


def reading_rows(
    row: Row, report: Report, corrections: Corrections | None = None
) -> list[ReadingRow]:
    """Return what the readings store keeps of a report, at the times that it really was."""
    measured_us = epoch_us(report.measured_at)
    off_us = corrections.offset_us(measured_us) if corrections is not None else 0
    return [
        ReadingRow(
            row["meter_id"],
            reading.register,
            epoch_us(reading.measured_at) - off_us,
            reading.value,
            row["id"],
        )
        for reading in credible_readings(report, row["commodity"])
    ]
