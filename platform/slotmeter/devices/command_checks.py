"""Whether the octets that a driver writes for a meter say what was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from slotmeter.devices.commands import CREDIT_MODES, CommandKind, CommandOut
from slotmeter.devices.disturbances import NOISE_FRAMES, noise
from slotmeter.devices.drivers import Driver
from slotmeter.errors import FrameError, Refused
from slotmeter.units import Commodity

__all__ = ["command_problems", "samples_of"]

_SAMPLE_TOKEN_DIGITS: Final = "12345678901234567890"  # noqa: S105  twenty digits, no meter's token
_LARGE_ID: Final = (1 << 40) + 77
_RELAY: Final = frozenset(
    {CommandKind.OPEN_RELAY, CommandKind.CLOSE_RELAY, CommandKind.SET_LOAD_LIMIT}
)
_VALVE: Final = frozenset({CommandKind.OPEN_VALVE, CommandKind.CLOSE_VALVE, CommandKind.SET_VALVE})
_FLOWING: Final = frozenset({Commodity.WATER, Commodity.GAS})

_Back = Callable[[bytes], tuple[CommandOut, ...]]

_ARGUMENTS: Final[Mapping[CommandKind, tuple[CommandOut, ...]]] = MappingProxyType(
    {
        kind: tuple(CommandOut(0, kind, **argument) for argument in arguments)
        for kind, arguments in (
            (CommandKind.LOAD_TOKEN, [{"token": _SAMPLE_TOKEN_DIGITS}]),
            (CommandKind.SET_VALVE, [{"value": percent} for percent in (50, 1, 100)]),
            (CommandKind.SET_LOAD_LIMIT, [{"value": watts} for watts in (5_000, 1_000, 0)]),
            (CommandKind.SET_CLOCK, [{"value": 1_790_000_000}]),
            (CommandKind.SET_CREDIT_MODE, [{"text": mode} for mode in CREDIT_MODES]),
            (CommandKind.SET_TARIFF, [{"text": name} for name in ("1", "2")]),
        )
    }
)


def samples_of(kind: CommandKind) -> tuple[CommandOut, ...]:
    """Return commands of a kind that a meter may be sent, without ids."""
    return _ARGUMENTS.get(kind, (CommandOut(0, kind),))


def command_problems(driver: Driver) -> Iterator[str]:
    """Each command's octets, alone and with others, say what was meant, and nothing else."""
    yield from _part_problems(driver)
    if not driver.commands:
        return
    back = driver.decode_command
    if back is None:
        yield (
            "it has commands and no decode_command (of a CommandLayout: its decode), so nobody can "
            "say that they are right"
        )
        return
    taken: list[CommandOut] = []
    for kind in sorted(driver.commands):
        samples = [*_own_samples(driver, kind), *samples_of(kind)]
        accepted = [each for each in samples if _is_accepted(driver, each)]
        if not accepted:
            yield f"{kind.value} is among its commands, and encode takes none of its values"
        taken += accepted
    numbered = [replace(each, id=number) for number, each in enumerate(taken, start=1)]
    alone = [text for each in numbered for text in _batch_problems(driver, back, (each,))]
    yield from alone
    if not alone:  # else the same again
        for batch in ((), *((replace(each, id=_LARGE_ID),) for each in numbered), tuple(numbered)):
            yield from _batch_problems(driver, back, batch)
        yield from _slot_problems(driver, back, numbered)
    yield from _command_example_problems(driver)
    yield from _command_noise_problems(driver, back)


def _slot_problems(driver: Driver, back: _Back, commands: list[CommandOut]) -> Iterator[str]:
    """Of a command to a meter behind a node, the octets say which one, or there are none."""
    reports = (driver.decode(example.path, example.payload) for example in driver.examples)
    if not any(report.slots for report in reports):
        return
    for each in commands:
        behind = replace(each, slot=1)
        if _is_accepted(driver, behind):
            yield from _batch_problems(driver, back, (behind,))


def _part_problems(driver: Driver) -> Iterator[str]:
    for kinds, needed in ((_RELAY, {Commodity.ELECTRICITY}), (_VALVE, _FLOWING)):
        if driver.commands & kinds and not driver.commodities & needed:
            named = ", ".join(sorted(driver.commands & kinds))
            yield f"{named}: nothing that it meters has such a part"


def _own_samples(driver: Driver, kind: CommandKind) -> Iterator[CommandOut]:
    for example in driver.command_examples:
        yield from (each for each in example.commands if each.kind is kind)


def _is_accepted(driver: Driver, command: CommandOut) -> bool:
    try:
        driver.encode((command,))
    except Refused:
        return False
    return True


def _batch_problems(driver: Driver, back: _Back, batch: tuple[CommandOut, ...]) -> Iterator[str]:
    what = "; ".join(_meant(each) for each in batch) or "no command"
    payload = driver.encode(batch)
    if not isinstance(payload, bytes):
        yield f"{what}: encode gave {type(payload).__name__}, expected bytes"
        return
    if payload != driver.encode(batch):
        yield f"{what}: encode gave something else the second time"
    modulus = 1 << 8 * driver.command_id_octets
    expected = tuple(replace(each, id=each.id % modulus) for each in batch)
    try:
        read_back = back(payload)
    except FrameError as error:
        yield f"{what}: decode_command refuses what encode wrote: {error.code}: {error.message}"
        return
    if tuple(read_back) != expected:
        got = "; ".join(_meant(each) for each in read_back) or "no command"
        yield f"{what}: encoded, it reads as {got}"


def _meant(command: CommandOut) -> str:
    said = [f"{command.kind.value} (id {command.id})"]
    if command.slot is not None:
        said.append(f"in slot {command.slot}")
    if command.value is not None:
        said.append(str(command.value))
    if command.text is not None:
        said.append(repr(command.text))
    if command.token is not None:
        is_whole = command.token == _SAMPLE_TOKEN_DIGITS
        said.append("with the token" if is_whole else "with another token")
    return " ".join(said)


def _command_example_problems(driver: Driver) -> Iterator[str]:
    for example in driver.command_examples:
        kinds = {each.kind for each in example.commands}
        if kinds - driver.commands:
            missing = ", ".join(sorted(kinds - driver.commands))
            yield f"example {example.note!r}: {missing} is not among its commands"
            continue
        payload = driver.encode(example.commands)
        if payload != example.payload:
            yield f"example {example.note!r}: stated {example.payload.hex()}, got {payload.hex()}"


def _command_noise_problems(driver: Driver, back: _Back) -> Iterator[str]:
    for number in range(NOISE_FRAMES):
        payload = noise(driver.key, "commands", number)
        try:
            read = back(payload)
        except FrameError:
            continue
        if not all(isinstance(each, CommandOut) for each in read):
            yield "decode_command gave something that is no CommandOut"
            return
