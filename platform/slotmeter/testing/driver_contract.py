"""What every driver must do, as functions that a driver's author calls from a test.

Each raises ``AssertionError`` with the driver's key and what was wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

from slotmeter.devices.commands import CommandKind, CommandOut
from slotmeter.devices.drivers import Driver, valid_key
from slotmeter.devices.entities import REGISTERS
from slotmeter.devices.frames import Report
from slotmeter.errors import FrameError

__all__ = [
    "check_commands_encode",
    "check_declaration",
    "check_decode_is_total",
    "check_examples_decode",
    "sample_commands",
    "truncations",
]

_SAMPLE_TOKEN_DIGITS = "12345678901234567890"  # noqa: S105  twenty digits, no meter's token


def check_declaration(driver: Driver) -> None:
    """Key, registers, commands and examples are ones that the platform can use."""
    assert valid_key(driver.key), f"{driver.key}: not a lower-case identifier"
    assert driver.registers, f"{driver.key}: reports nothing"
    assert len(set(driver.registers)) == len(driver.registers), f"{driver.key}: register twice"
    unknown = set(driver.registers) - set(REGISTERS)
    assert not unknown, f"{driver.key}: registers outside the vocabulary: {sorted(unknown)}"
    assert driver.commodities, f"{driver.key}: meters nothing"
    assert driver.examples, f"{driver.key}: has no example"


def check_examples_decode(driver: Driver) -> None:
    """Every example decodes, without I/O, to exactly the values it states."""
    for example in driver.examples:
        report = driver.decode(example.path, example.payload)
        values = {reading.register: reading.value for reading in report.readings}
        assert values == example.counted(), f"{driver.key}: example {example.note!r}: {values}"
        undeclared = set(values) - set(driver.registers)
        assert not undeclared, f"{driver.key}: {sorted(undeclared)} is not in its registers"


def check_decode_is_total(driver: Driver, path: str, payload: bytes) -> None:
    """Any bytes give a ``Report`` or a ``FrameError``, and the same ones the second time."""
    first, second = _decoded(driver, path, payload), _decoded(driver, path, payload)
    assert first == second, f"{driver.key}: the same frame was read differently the second time"


def _decoded(driver: Driver, path: str, payload: bytes) -> Report | str:
    """Return the report, or the code of the refusal."""
    try:
        report = driver.decode(path, payload)
    except FrameError as error:
        return error.code
    assert isinstance(report, Report), f"{driver.key}: decode gave {type(report).__name__}"
    for reading in report.readings:
        assert reading.register in driver.registers, f"{driver.key}: undeclared {reading.register}"
        assert type(reading.value) is int, f"{driver.key}: {reading.register} is not an integer"
    times = [report.measured_at, *(r.measured_at for r in report.readings)]
    assert all(at.tzinfo is not None for at in times), f"{driver.key}: a time without a zone"
    return report


def truncations(payload: bytes) -> Iterator[bytes]:
    """Yield a frame cut short after each byte but the last."""
    for length in range(len(payload)):
        yield payload[:length]


def sample_commands(driver: Driver) -> tuple[CommandOut, ...]:
    """Return one command of each kind that the driver declares."""
    return tuple(
        CommandOut(number, kind, _SAMPLE_TOKEN_DIGITS if kind is CommandKind.LOAD_TOKEN else None)
        for number, kind in enumerate(sorted(driver.commands), start=1)
    )


def check_commands_encode(driver: Driver) -> None:
    """Each declared command encodes, alone and with the others, to the same bytes each time."""
    commands = sample_commands(driver)
    batches = [*((command,) for command in commands), commands]
    encoded = [driver.encode(batch) for batch in batches]
    assert all(isinstance(each, bytes) for each in encoded), f"{driver.key}: encode gave no bytes"
    assert encoded == [driver.encode(batch) for batch in batches], f"{driver.key}: encode differs"
    single = encoded[:-1]
    assert len(set(single)) == len(single), f"{driver.key}: two commands have the same bytes"
