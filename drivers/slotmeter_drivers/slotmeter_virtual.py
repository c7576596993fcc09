"""Slotmeter's own virtual meter: one CBOR map per push (docs/reference/nbiot-push.md).

::

    1 serial text       6 credit total       11 events  [[kind, time]]
    2 sequence          7 supply 0, 1, 2     12 power W
    3 time, epoch s     8 tamper bool        13 battery %
    4 register Wh|mL    9 results            14 voltage mV
    5 credit left      10 entries            15 unit of 4: 0 Wh, 1 mL

    9 = [[command id, outcome, tid|null, amount|null]]   10 = [[outcome, tid|null, amount, time]]
    to the meter: [{1: command id, 2: kind text, 3: token digits}]

The map must hold 1 to 4 and 7; what a meter does not have it leaves out. Credit (5, 6 and amounts)
is in the unit of the register; without 15 that is Wh.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import cbor2

from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult, Outcome
from slotmeter.devices.drivers import CommandExample, Driver, Example
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEvent, DeviceEventKind, Reading, Report, TokenEntry
from slotmeter.errors import FrameError
from slotmeter.units import Commodity

__all__ = ["DRIVER"]

PAYLOAD_BYTES_MAX: Final = 1_024
ITEMS_MAX: Final = 32
COMMANDS_MAX: Final = 64
DEPTH_MAX: Final = 3
COUNT_MAX: Final = (1 << 53) - 1
SEQUENCE_MAX: Final = (1 << 32) - 1
TID_MAX: Final = (1 << 24) - 1
EARLIEST_S: Final = 946_684_800  # 2000-01-01
LATEST_S: Final = 4_102_444_800  # 2100-01-01

_OUTCOMES: Final = (
    Outcome.DONE,
    Outcome.ALREADY_USED,
    Outcome.OLD_TOKEN,
    Outcome.KEY_EXPIRED,
    Outcome.REJECTED,
    Outcome.WAITING,
    Outcome.UNSUPPORTED,
)
_EVENTS: Final = (
    DeviceEventKind.LOW_CREDIT,
    DeviceEventKind.CREDIT_USED_UP,
    DeviceEventKind.SUPPLY_CUT,
    DeviceEventKind.SUPPLY_RESTORED,
    DeviceEventKind.TAMPER,
    DeviceEventKind.TAMPER_CLEARED,
    DeviceEventKind.RESTARTED,
)
_SUPPLY: Final = (SupplyState.OFF, SupplyState.ON, SupplyState.ARMED)
_VALUES: Final = (  # key, register, lowest, highest
    (5, "credit_balance", -COUNT_MAX, COUNT_MAX),
    (6, "credit_total", 0, COUNT_MAX),
    (12, "power", 0, 1_000_000),
    (13, "battery", 0, 100),
    (14, "voltage", 0, 1_000_000),
)
_COMMANDS: Final = frozenset(
    {
        *(CommandKind.LOAD_TOKEN, CommandKind.READ_NOW),
        *(CommandKind.OPEN_RELAY, CommandKind.CLOSE_RELAY),
        *(CommandKind.OPEN_VALVE, CommandKind.CLOSE_VALVE),
    }
)
_KINDS: Final = frozenset(kind.value for kind in _COMMANDS)
_KEYS: Final = frozenset(range(1, 16))
_COUNTERS: Final = ("energy_import", "volume")
_REQUIRED: Final = (1, 2, 3, 4, 7)

_MAJOR_BYTES, _MAJOR_TEXT, _MAJOR_ARRAY, _MAJOR_MAP, _MAJOR_TAG, _MAJOR_SIMPLE = 2, 3, 4, 5, 6, 7
_ARGUMENT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}


def decode(path: str, payload: bytes) -> Report:
    """Read one push.

    Raises:
        FrameError: ``payload_too_large``, ``cbor_truncated``, ``cbor_malformed``,
            ``cbor_trailing_bytes``, ``not_a_map``, ``unknown_field``, ``missing_field``,
            ``wrong_type``, ``out_of_range`` or ``too_many_items``.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise FrameError(
            "payload_too_large", f"expected {PAYLOAD_BYTES_MAX} bytes, got {len(payload)}"
        )
    _check_shape(payload)
    fields = _load(payload)
    serial = _serial(fields[1])
    _whole(fields, 2, 0, SEQUENCE_MAX)
    at = _time(_whole(fields, 3, EARLIEST_S, LATEST_S))
    counter = _COUNTERS[_whole(fields, 15, 0, 1) if 15 in fields else 0]
    readings = [Reading(counter, _whole(fields, 4, 0, COUNT_MAX), at)]
    for key, register, low, high in _VALUES:
        if key in fields:
            readings.append(Reading(register, _whole(fields, key, low, high), at))
    return Report(
        measured_at=at,
        readings=tuple(readings),
        supply=_SUPPLY[_whole(fields, 7, 0, len(_SUPPLY) - 1)],
        tamper=_flag(fields, 8) if 8 in fields else None,
        results=tuple(_result(item) for item in _rows(fields, 9, 4)),
        entries=tuple(_entry(item) for item in _rows(fields, 10, 4)),
        events=tuple(_event(item) for item in _rows(fields, 11, 2)),
        serial=serial,
    )


def encode(commands: tuple[CommandOut, ...]) -> bytes:
    """Write commands as the array that a meter takes from a response."""
    rows: list[dict[int, int | str]] = []
    for command in commands:
        row: dict[int, int | str] = {1: command.id, 2: command.kind.value}
        if command.token is not None:
            row[3] = command.token
        rows.append(row)
    return cbor2.dumps(rows)


def decode_command(payload: bytes) -> tuple[CommandOut, ...]:
    """Read the commands in an answer, as the meter does.

    Raises:
        FrameError: ``cbor_truncated``, ``cbor_malformed``, ``cbor_trailing_bytes``,
            ``wrong_type``, ``out_of_range`` or ``too_many_items``.
    """
    _check_shape(payload)
    rows = _loaded(payload)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FrameError("wrong_type", "expected an array of maps")
    if len(rows) > COMMANDS_MAX:
        raise FrameError("too_many_items", f"expected at most {COMMANDS_MAX}, got {len(rows)}")
    return tuple(_command(row) for row in rows)


def _command(row: dict[object, object]) -> CommandOut:
    kind, token = row.get(2), row.get(3)
    if kind not in _KINDS or not (token is None or isinstance(token, str)):
        raise FrameError("wrong_type", "expected a kind of command and a token as text")
    return CommandOut(_integer(row.get(1), 1, 0, COUNT_MAX), CommandKind(kind), token)


def _check_shape(payload: bytes) -> None:
    """Walk the items once and refuse all that a meter has no use for, before anything is built.

    Tags, floats, byte strings and indefinite lengths are not part of the protocol; without them a
    decoder cannot be led into large numbers, regular expressions or shared references.
    """
    position, awaited = 0, 1
    while awaited:
        if position >= len(payload):
            raise FrameError("cbor_truncated", f"the frame ends early, after {position} bytes")
        major, info = payload[position] >> 5, payload[position] & 31
        size = _ARGUMENT_BYTES.get(info, 0)
        if info > 27 or major in (_MAJOR_BYTES, _MAJOR_TAG) or (major == _MAJOR_SIMPLE and size):
            raise FrameError("cbor_malformed", f"an item that is not used here, at byte {position}")
        argument = int.from_bytes(payload[position + 1 : position + 1 + size], "big")
        argument = argument if size else info
        position += 1 + size + (argument if major == _MAJOR_TEXT else 0)
        awaited -= 1
        if major in (_MAJOR_ARRAY, _MAJOR_MAP):
            awaited += argument * (2 if major == _MAJOR_MAP else 1)
        if position > len(payload) or awaited > len(payload):
            raise FrameError("cbor_truncated", f"the frame ends early, after {len(payload)} bytes")
    if position != len(payload):
        raise FrameError("cbor_trailing_bytes", f"{len(payload) - position} bytes after the end")


def _loaded(payload: bytes) -> object:
    try:
        return cbor2.loads(
            payload, max_depth=DEPTH_MAX, allow_indefinite=False, allow_duplicate_keys=False
        )
    except cbor2.CBORDecodeError as error:
        raise FrameError("cbor_malformed", "expected one CBOR map or array") from error


def _load(payload: bytes) -> dict[int, Any]:
    fields = _loaded(payload)
    if not isinstance(fields, dict):
        raise FrameError("not_a_map", f"expected a CBOR map, got {type(fields).__name__}")
    for key in fields:
        if type(key) is not int or key not in _KEYS:
            raise FrameError("unknown_field", "expected the keys 1 to 15 only")
    for key in _REQUIRED:
        if key not in fields:
            raise FrameError("missing_field", f"field {key} is missing", field=str(key))
    return fields


def _integer(value: object, key: int, low: int, high: int) -> int:
    if type(value) is not int:
        raise FrameError(
            "wrong_type", f"field {key}: expected an integer, got {type(value).__name__}"
        )
    if not low <= value <= high:
        raise FrameError("out_of_range", f"field {key}: expected {low} to {high}, got {value}")
    return value


def _whole(fields: dict[int, Any], key: int, low: int, high: int) -> int:
    return _integer(fields[key], key, low, high)


def _flag(fields: dict[int, Any], key: int) -> bool:
    value = fields[key]
    if not isinstance(value, bool):
        raise FrameError(
            "wrong_type", f"field {key}: expected a boolean, got {type(value).__name__}"
        )
    return value


def _serial(value: object) -> str:
    if not isinstance(value, str):
        raise FrameError("wrong_type", f"field 1: expected text, got {type(value).__name__}")
    if not (1 <= len(value) <= 32 and value.isascii() and value.isalnum()):
        raise FrameError("out_of_range", "field 1: expected 1 to 32 letters and digits")
    return value


def _time(epoch_s: int) -> datetime:
    return datetime.fromtimestamp(epoch_s, tz=UTC)


def _rows(fields: dict[int, Any], key: int, length: int) -> list[list[Any]]:
    rows = fields.get(key, [])
    if not isinstance(rows, list):
        raise FrameError("wrong_type", f"field {key}: expected an array")
    if len(rows) > ITEMS_MAX:
        raise FrameError(
            "too_many_items", f"field {key}: expected at most {ITEMS_MAX}, got {len(rows)}"
        )
    for row in rows:
        if not isinstance(row, list) or len(row) != length:
            raise FrameError("wrong_type", f"field {key}: expected arrays of {length} values")
    return rows


def _optional(value: object, key: int, high: int) -> int | None:
    return None if value is None else _integer(value, key, 0, high)


def _result(row: list[Any]) -> CommandResult:
    command_id, outcome, tid, amount = row
    return CommandResult(
        command_id=_integer(command_id, 9, 0, COUNT_MAX),
        outcome=_OUTCOMES[_integer(outcome, 9, 0, len(_OUTCOMES) - 1)],
        tid=_optional(tid, 9, TID_MAX),
        amount=_optional(amount, 9, COUNT_MAX),
    )


def _entry(row: list[Any]) -> TokenEntry:
    outcome, tid, amount, at_s = row
    return TokenEntry(
        outcome=_OUTCOMES[_integer(outcome, 10, 0, len(_OUTCOMES) - 1)],
        tid=_optional(tid, 10, TID_MAX),
        amount=_integer(amount, 10, 0, COUNT_MAX),
        at=_time(_integer(at_s, 10, EARLIEST_S, LATEST_S)),
    )


def _event(row: list[Any]) -> DeviceEvent:
    kind, at_s = row
    return DeviceEvent(
        kind=_EVENTS[_integer(kind, 11, 0, len(_EVENTS) - 1)],
        at=_time(_integer(at_s, 11, EARLIEST_S, LATEST_S)),
    )


DRIVER = Driver(
    key="slotmeter_virtual",
    maker="Slotmeter",
    model="virtual meter",
    medium="nbiot",
    commodities=frozenset(Commodity),
    registers=(
        *("energy_import", "volume", "credit_balance", "credit_total"),
        *("power", "battery", "voltage"),
    ),
    decode=decode,
    encode=encode,
    decode_command=decode_command,
    commands=_COMMANDS,
    command_examples=(
        CommandExample(
            note="read now, then close the valve",
            commands=(CommandOut(7, CommandKind.READ_NOW), CommandOut(8, CommandKind.CLOSE_VALVE)),
            payload=bytes.fromhex("82a201070268726561645f6e6f77a20108026b636c6f73655f76616c7665"),
        ),
    ),
    examples=(
        Example(
            note="electricity: supply on, reports that command 1001 credited 10 kWh",
            path="m",
            payload=bytes.fromhex(
                "ab016b363230303030303030313702191267031a6ab13b80041a0012d6870519a53c061a000249f0"
                "070108f40981841903e9001a0063f26b1927100c19073a0e1a00038018"
            ),
            values={
                "energy_import": 1_234_567,
                "credit_balance": 42_300,
                "credit_total": 150_000,
                "power": 1_850,
                "voltage": 229_400,
            },
        ),
        Example(
            note="water: credit used up, the meter shut its valve 200 s before this report",
            path="m",
            payload=bytes.fromhex(
                "ab016b3632303030303030303235020c031a6ab13f04041a05397fb10500061a001e8480"
                "070008f40b8282011a6ab13e3c82021a6ab13e3c0d18610f01"
            ),
            values={
                "volume": 87_654_321,
                "credit_balance": 0,
                "credit_total": 2_000_000,
                "battery": 97,
            },
        ),
        Example(
            note="gas: a token typed on the keypad armed the valve; the cover was opened",
            path="m",
            payload=bytes.fromhex(
                "ab016b36323030303030303033330207031a6ab14288041a00501bd0051a000f4240061a000f4240"
                "070208f50a8184001a0063f2721a000f42401a6ab1427e0d18580f01"
            ),
            values={
                "volume": 5_250_000,
                "credit_balance": 1_000_000,
                "credit_total": 1_000_000,
                "battery": 88,
            },
        ),
    ),
)
