"""The meter's side of the push protocol: what a virtual meter's radio module does.

It shares no code with the head-end's driver, so that the two prove each other.
"""

from __future__ import annotations

from typing import Any, Final

import cbor2

from slotmeter.devices.commands import CommandKind, CommandOut, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEventKind
from slotmeter.testing.meter_reports import MeterReport
from slotmeter.units import Commodity, epoch_us

__all__ = ["decode_commands", "encode_report"]

COMMANDS_MAX: Final = 64

_OUTCOMES: Final = {
    Outcome.DONE: 0,
    Outcome.ALREADY_USED: 1,
    Outcome.OLD_TOKEN: 2,
    Outcome.KEY_EXPIRED: 3,
    Outcome.REJECTED: 4,
    Outcome.WAITING: 5,
    Outcome.UNSUPPORTED: 6,
}
_EVENTS: Final = {
    DeviceEventKind.LOW_CREDIT: 0,
    DeviceEventKind.CREDIT_USED_UP: 1,
    DeviceEventKind.SUPPLY_CUT: 2,
    DeviceEventKind.SUPPLY_RESTORED: 3,
    DeviceEventKind.TAMPER: 4,
    DeviceEventKind.TAMPER_CLEARED: 5,
    DeviceEventKind.RESTARTED: 6,
}
_SUPPLY: Final = {SupplyState.OFF: 0, SupplyState.ON: 1, SupplyState.ARMED: 2}


def encode_report(report: MeterReport) -> bytes:
    """Write a report as one CBOR map (docs/reference/nbiot-push.md); at most about 500 bytes."""
    fields: dict[int, Any] = {
        1: report.number,
        2: report.sequence,
        3: epoch_us(report.at) // 1_000_000,
        4: report.register,
        5: report.credit,
        6: report.credit_total,
        7: _SUPPLY[report.supply],
        8: report.tamper,
        12: report.power_w,
        13: report.battery_percent,
        14: report.voltage_mv,
        15: 0 if report.commodity is Commodity.ELECTRICITY else 1,
    }
    if report.results:
        fields[9] = [[r.command_id, _OUTCOMES[r.outcome], r.tid, r.amount] for r in report.results]
    if report.entries:
        fields[10] = [
            [_OUTCOMES[e.outcome], e.tid, e.amount, epoch_us(e.at) // 1_000_000]
            for e in report.entries
        ]
    if report.events:
        fields[11] = [[_EVENTS[e.kind], epoch_us(e.at) // 1_000_000] for e in report.events]
    return cbor2.dumps({key: value for key, value in fields.items() if value is not None})


def decode_commands(payload: bytes) -> tuple[CommandOut, ...]:
    """Read the commands in an answer; an empty payload holds none.

    Raises:
        ValueError: it is not an array of commands. The meter does none of them.
    """
    if not payload:
        return ()
    try:
        rows = cbor2.loads(payload)
    except cbor2.CBORDecodeError as error:
        raise ValueError("expected a CBOR array of commands") from error
    if not isinstance(rows, list) or len(rows) > COMMANDS_MAX:
        raise ValueError(f"expected an array of at most {COMMANDS_MAX} commands")
    return tuple(_command(row) for row in rows)


def _command(row: object) -> CommandOut:
    if not isinstance(row, dict) or type(row.get(1)) is not int:
        raise ValueError("expected a map with an integer command id")
    kind, token = row.get(2), row.get(3)
    if not isinstance(kind, str):
        raise ValueError("expected a kind as text")
    if token is not None and not isinstance(token, str):
        raise ValueError("expected a token as text")
    return CommandOut(row[1], CommandKind(kind), token)
