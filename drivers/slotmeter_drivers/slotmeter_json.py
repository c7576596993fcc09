"""Slotmeter's own JSON, for meters on 2G/4G, Wi-Fi or Ethernet (docs/reference/ip-medium.md).

One frame is one object. ``time`` is needed, in seconds since 1970; all else a meter leaves out when
it has nothing to say. Registers have the names and base units of docs/reference/entities.md; all
numbers are integers::

    {"time": 1790000000, "serial": "62000001",
     "readings": {"energy_import": 1234567, "power": 1850},
     "history": [{"time": 1789996400, "readings": {"energy_import": 1234000}}],
     "supply": "on", "tamper": false,
     "results": [{"id": 1001, "outcome": "done", "tid": 6546802, "amount": 10000}],
     "entries": [{"outcome": "done", "tid": 6546811, "amount": 5000, "time": 1789999900}],
     "events": [{"kind": "restarted", "time": 1789990000}]}

To the meter: ``[{"id": 1001, "kind": "load_token", "token": "20 digits"}, {"id": 1002, "kind":
"set_load_limit", "value": 3000}, {"id": 1003, "kind": "set_tariff", "text": "2"}]``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult, Outcome
from slotmeter.devices.drivers import CommandExample, Driver, Example
from slotmeter.devices.entities import REGISTERS, SupplyState
from slotmeter.devices.frames import DeviceEvent, DeviceEventKind, Reading, Report, TokenEntry
from slotmeter.errors import FrameError
from slotmeter.units import Commodity

__all__ = ["DRIVER"]

PAYLOAD_BYTES_MAX: Final = 65_536
COUNT_MAX: Final = (1 << 53) - 1
"""Beyond this not every language reads an integer of JSON as it was written."""

REASON_CHARACTERS_MAX: Final = 200

_Time = Annotated[int, Meta(ge=946_684_800, le=4_102_444_800)]  # 2000 to 2100
_Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
_Value = Annotated[int, Meta(ge=-COUNT_MAX, le=COUNT_MAX)]
_Id = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
_Tid = Annotated[int, Meta(ge=0, lt=1 << 24)]
_Serial = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[!-~]+$")]
_Values = Annotated[dict[str, _Value], Meta(max_length=64)]

T = TypeVar("T")


class _Closed(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An object without fields that nobody knows."""


class _Past(_Closed, frozen=True):
    time: _Time
    readings: _Values


class _Result(_Closed, frozen=True):
    id: _Id
    outcome: Outcome
    tid: _Tid | None = None
    amount: _Count | None = None


class _Entry(_Closed, frozen=True):
    outcome: Outcome
    time: _Time
    tid: _Tid | None = None
    amount: _Count = 0


class _Event(_Closed, frozen=True):
    kind: DeviceEventKind
    time: _Time


class _Push(_Closed, frozen=True):
    time: _Time
    serial: _Serial | None = None
    readings: _Values = {}
    history: Annotated[tuple[_Past, ...], Meta(max_length=100)] = ()
    supply: SupplyState | None = None
    tamper: bool | None = None
    results: Annotated[tuple[_Result, ...], Meta(max_length=32)] = ()
    entries: Annotated[tuple[_Entry, ...], Meta(max_length=32)] = ()
    events: Annotated[tuple[_Event, ...], Meta(max_length=32)] = ()


class _Out(_Closed, frozen=True, omit_defaults=True):
    id: _Id
    kind: CommandKind
    token: Annotated[str, Meta(pattern=r"^[0-9]{20}$")] | None = None
    value: _Value | None = None
    text: Annotated[str, Meta(max_length=64)] | None = None


_PUSH: Final = msgspec.json.Decoder(_Push)
_OUT: Final = msgspec.json.Decoder(tuple[_Out, ...])


def decode(path: str, payload: bytes) -> Report:
    """Read one object.

    Raises:
        FrameError: ``payload_too_large``, ``not_json``, ``wrong_shape`` or ``unknown_register``.
    """
    push = _read(_PUSH, payload)
    at = _instant(push.time)
    readings = [*_readings(push.readings, at)]
    for past in push.history:
        readings += _readings(past.readings, _instant(past.time))
    return Report(
        measured_at=at,
        readings=tuple(readings),
        supply=push.supply,
        tamper=push.tamper,
        results=tuple(
            CommandResult(each.id, each.outcome, each.tid, each.amount) for each in push.results
        ),
        entries=tuple(
            TokenEntry(each.outcome, each.tid, each.amount, _instant(each.time))
            for each in push.entries
        ),
        events=tuple(DeviceEvent(each.kind, _instant(each.time)) for each in push.events),
        serial=push.serial,
    )


def encode(commands: tuple[CommandOut, ...]) -> bytes:
    """Write commands as the array that a meter gets."""
    return msgspec.json.encode(
        [_Out(each.id, each.kind, each.token, each.value, each.text) for each in commands]
    )


def decode_command(payload: bytes) -> tuple[CommandOut, ...]:
    """Read what :func:`encode` wrote.

    Raises:
        FrameError: ``payload_too_large``, ``not_json`` or ``wrong_shape``.
    """
    return tuple(
        CommandOut(each.id, each.kind, each.token, each.value, each.text)
        for each in _read(_OUT, payload)
    )


def _read(decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise FrameError(
            "payload_too_large", f"expected {PAYLOAD_BYTES_MAX} bytes, got {len(payload)}"
        )
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise FrameError("wrong_shape", str(error)[:REASON_CHARACTERS_MAX]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError("not_json", "expected one JSON object in UTF-8") from error


def _readings(values: dict[str, int], at: datetime) -> list[Reading]:
    for name in values:
        if name not in REGISTERS:
            raise FrameError("unknown_register", f"there is no register {name[:64]!r}")
    return [Reading(name, value, at) for name, value in values.items()]


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


DRIVER = Driver(
    key="slotmeter_json",
    maker="Slotmeter",
    model="JSON over HTTP or MQTT",
    medium="ip",
    commodities=frozenset(Commodity),
    registers=tuple(REGISTERS),
    decode=decode,
    encode=encode,
    decode_command=decode_command,
    commands=frozenset(CommandKind),
    examples=(
        Example(
            note="electricity: supply on; says that command 1001 credited 10 kWh",
            path="frames",
            payload=b'{"time":1790000000,"serial":"62000001","readings":{"energy_import":1234567,'
            b'"credit_balance":42300,"credit_total":150000,"power":1850,"voltage":229400},'
            b'"supply":"on","tamper":false,'
            b'"results":[{"id":1001,"outcome":"done","tid":6546802,"amount":10000}]}',
            values={
                "energy_import": 1_234_567,
                "credit_balance": 42_300,
                "credit_total": 150_000,
                "power": 1_850,
                "voltage": 229_400,
            },
            measured_at=datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC),
            supply=SupplyState.ON,
            tamper=False,
            serial="62000001",
            results=(CommandResult(1001, Outcome.DONE, 6_546_802, 10_000),),
        ),
        Example(
            note="water: two readings that could not be sent in time, and the newest",
            path="frames",
            payload=b'{"time":1790000000,"readings":{"volume":87654321,"battery":97},"history":['
            b'{"time":1789992800,"readings":{"volume":87650000}},'
            b'{"time":1789996400,"readings":{"volume":87652000}}],"supply":"off"}',
            values={"volume": 87_654_321, "battery": 97},
            supply=SupplyState.OFF,
        ),
        Example(
            note="electricity: how the meter is set, by which commands are verified",
            path="frames",
            payload=b'{"time":1790000000,"readings":{"tariff":2,"credit_mode":1,'
            b'"load_limit":3000}}',
            values={"tariff": 2, "credit_mode": "postpaid", "load_limit": "3 kW"},
        ),
        Example(
            note="a meter that confirms a command and has nothing else to say",
            path="results",
            payload=b'{"time":1790000000,"results":[{"id":1002,"outcome":"done"}]}',
            values={},
            results=(CommandResult(1002, Outcome.DONE),),
        ),
    ),
    command_examples=(
        CommandExample(
            note="a token, a load limit of 3 kW and tariff 2",
            commands=(
                CommandOut(1001, CommandKind.LOAD_TOKEN, token="00000000000000000000"),  # noqa: S106  a sample
                CommandOut(1002, CommandKind.SET_LOAD_LIMIT, value=3_000),
                CommandOut(1003, CommandKind.SET_TARIFF, text="2"),
            ),
            payload=b'[{"id":1001,"kind":"load_token","token":"00000000000000000000"},'
            b'{"id":1002,"kind":"set_load_limit","value":3000},'
            b'{"id":1003,"kind":"set_tariff","text":"2"}]',
        ),
    ),
)
