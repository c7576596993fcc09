"""The CBOR of the virtual meter: every field, and a stable code for every way to be wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest

from slotmeter.devices.commands import CommandKind, CommandOut, CommandResult, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEvent, DeviceEventKind, TokenEntry
from slotmeter.errors import FrameError
from slotmeter_drivers.slotmeter_virtual import DRIVER

AT_S = 1_790_000_000
AT = datetime.fromtimestamp(AT_S, tz=UTC)
LEAST: dict[Any, Any] = {1: "62000000017", 2: 1, 3: AT_S, 4: 5, 7: 1}


def refusal(payload: bytes) -> str:
    with pytest.raises(FrameError) as error:
        DRIVER.decode("m", payload)
    return error.value.code


def test_a_frame_with_only_what_is_required_says_only_that() -> None:
    report = DRIVER.decode("m", cbor2.dumps(LEAST))

    assert [(r.register, r.value, r.measured_at) for r in report.readings] == [
        ("energy_import", 5, AT)
    ]
    assert report.serial == "62000000017"
    assert (report.supply, report.tamper) == (SupplyState.ON, None)
    assert (report.results, report.entries, report.events) == ((), (), ())


@pytest.mark.parametrize(("unit", "register"), [(0, "energy_import"), (1, "volume")])
def test_field_15_says_what_the_register_counts(unit: int, register: str) -> None:
    report = DRIVER.decode("m", cbor2.dumps({**LEAST, 15: unit}))

    assert report.readings[0].register == register


def test_results_entries_and_events_come_out_as_they_went_in() -> None:
    report = DRIVER.decode(
        "m",
        cbor2.dumps(
            {
                **LEAST,
                9: [[7, 0, 99, 1_000], [8, 6, None, None]],
                10: [[1, 99, 0, AT_S], [4, None, 0, AT_S]],
                11: [[4, AT_S], [6, AT_S]],
            }
        ),
    )

    assert report.results == (
        CommandResult(7, Outcome.DONE, 99, 1_000),
        CommandResult(8, Outcome.UNSUPPORTED),
    )
    assert report.entries == (
        TokenEntry(Outcome.ALREADY_USED, 99, 0, AT),
        TokenEntry(Outcome.REJECTED, None, 0, AT),
    )
    assert report.events == (
        DeviceEvent(DeviceEventKind.TAMPER, AT),
        DeviceEvent(DeviceEventKind.RESTARTED, AT),
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({1: 5}, "wrong_type"),
        ({1: ""}, "out_of_range"),
        ({1: "x" * 33}, "out_of_range"),
        ({2: -1}, "out_of_range"),
        ({2: True}, "wrong_type"),
        ({3: 0}, "out_of_range"),
        ({3: 1 << 40}, "out_of_range"),
        ({4: -1}, "out_of_range"),
        ({4: "5"}, "wrong_type"),
        ({4: 1 << 60}, "out_of_range"),
        ({7: 3}, "out_of_range"),
        ({8: 1}, "wrong_type"),
        ({9: 1}, "wrong_type"),
        ({9: [[1, 2]]}, "wrong_type"),
        ({9: [[1, 7, None, None]]}, "out_of_range"),
        ({9: [[1, 0, 1 << 24, None]]}, "out_of_range"),
        ({9: [[1, 0, None, None]] * 33}, "too_many_items"),
        ({10: [[0, None, None, AT_S]]}, "wrong_type"),
        ({11: [[7, AT_S]]}, "out_of_range"),
        ({11: [[0, 5]]}, "out_of_range"),
        ({13: 101}, "out_of_range"),
        ({15: 2}, "out_of_range"),
        ({16: 0}, "unknown_field"),
        ({"4": 0}, "unknown_field"),
        ({-1: 0}, "unknown_field"),
        ({9: [[[1], 0, None, None]]}, "cbor_malformed"),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_code(changes: dict[Any, Any], code: str) -> None:
    assert refusal(cbor2.dumps({**LEAST, **changes})) == code


@pytest.mark.parametrize("key", sorted(LEAST))
def test_a_required_field_is_required(key: int) -> None:
    fields = {name: value for name, value in LEAST.items() if name != key}

    assert refusal(cbor2.dumps(fields)) == "missing_field"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "cbor_truncated"),
        (cbor2.dumps(LEAST)[:-1], "cbor_truncated"),
        (cbor2.dumps(LEAST) + b"\0", "cbor_trailing_bytes"),
        (b"\x80", "not_a_map"),
        (b"\x05", "not_a_map"),
        (b"\xbf\x01\x02\xff", "cbor_malformed"),
        (b"\xa2\x01\x02\x01\x03", "cbor_malformed"),
        (b"\xc2\x41\x05", "cbor_malformed"),
        (b"\xd8\x23\x61a", "cbor_malformed"),
        (b"\xfb" + b"\0" * 8, "cbor_malformed"),
        (b"\x1c", "cbor_malformed"),
        (b"\x62\xff\xff", "cbor_malformed"),
        (b"\x9b" + b"\xff" * 8, "cbor_truncated"),
        (b"\x7b" + b"\xff" * 8, "cbor_truncated"),
        (b"\x81" * 500 + b"\x01", "cbor_malformed"),
        (b"\0" * 1_025, "payload_too_large"),
    ],
)
def test_bytes_that_are_no_such_map_are_refused_by_code(payload: bytes, code: str) -> None:
    assert refusal(payload) == code


def test_commands_are_written_as_an_array_of_maps() -> None:
    digits = "12345678901234567890"

    payload = DRIVER.encode(
        (CommandOut(1, CommandKind.LOAD_TOKEN, digits), CommandOut(2, CommandKind.OPEN_RELAY))
    )

    assert cbor2.loads(payload) == [
        {1: 1, 2: "load_token", 3: digits},
        {1: 2, 2: "open_relay"},
    ]


def test_no_refusal_repeats_what_the_frame_held() -> None:
    with pytest.raises(FrameError) as error:
        DRIVER.decode("m", cbor2.dumps({**LEAST, 1: "12345678901234567890" * 2}))

    assert "1234567890" not in error.value.message
