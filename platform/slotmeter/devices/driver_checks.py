"""What every driver must do, as rules that say what is wrong with one that does not.

The platform asks them when it loads a pack, ``slotmeter driver check`` when somebody writes one,
and ``slotmeter.testing.driver_contract`` in tests. They need nothing but the driver: its examples
are decoded, cut short, changed and followed by noise, always the same, so that a driver that is
refused once is refused each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.command_checks import command_problems
from slotmeter.devices.commands import CommandKind, Outcome
from slotmeter.devices.disturbances import disturbed
from slotmeter.devices.drivers import UNTIMED, Driver, Example, valid_key
from slotmeter.devices.entities import REGISTERS, Entity, not_a_register
from slotmeter.devices.frames import ITEMS_MAX, SLOTS_MAX, Reading, Report
from slotmeter.errors import FrameError

__all__ = [
    "RULES",
    "Problem",
    "Rule",
    "declaration_problems",
    "decode_problems",
    "example_problems",
    "frame_problems",
    "problems_of",
]

VALUES: Final = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule that a driver breaks.

    Args:
        rule: the rule's name.
        text: what was expected and what came, for the driver's author.
    """

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that every driver must do.

    Args:
        name: snake_case.
        title: what it asks, as a sentence.
        problems: what breaks it, each as a sentence.
    """

    name: str
    title: str
    problems: Callable[[Driver], Iterable[str]]


def problems_of(driver: Driver) -> tuple[Problem, ...]:
    """Return everything that is wrong with a driver; nothing for a good one.

    Whatever the driver's own code raises is a problem like any other, after those found before.
    """
    found: dict[Problem, None] = {}
    for rule in RULES:
        try:
            for text in rule.problems(driver):
                found[Problem(rule.name, text)] = None
        except Exception as error:  # noqa: BLE001  a third party's code may fail in any way
            found[Problem(rule.name, f"raises {_named(error)}")] = None
    return tuple(found)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# --- what it says of itself ---------------------------------------------------------------------


def declaration_problems(driver: Driver) -> Iterator[str]:
    """Key, media, commodities, registers and entities are ones that the platform can use."""
    if not valid_key(driver.key):
        yield f"the key {driver.key!r} is not a lower-case identifier"
    if not (driver.maker.strip() and driver.model.strip()):
        yield "maker and model are what people look for; one is empty"
    media = (driver.medium, *driver.media)
    yield from (f"the medium {key!r} is not a key" for key in media if not valid_key(key))
    lists = {
        "medium": media,
        "commodity": tuple(driver.commodities),
        "register": driver.registers,
        "example": driver.examples,
    }
    for what, items in lists.items():
        if not items:
            yield f"it has no {what}"
        elif what in ("medium", "register") and len(set(items)) < len(items):
            yield f"a {what} is named twice"
    if not 0 <= driver.command_id_octets <= 8:
        yield f"a command's id has 0 to 8 octets, not {driver.command_id_octets}"
    yield from _register_problems(driver)
    yield from _entity_problems(driver)


def _register_problems(driver: Driver) -> Iterator[str]:
    for name in driver.registers:
        if name not in REGISTERS:
            yield not_a_register(name)
        elif not REGISTERS[name].commodities & driver.commodities:
            meters = ", ".join(sorted(driver.commodities))
            yield f"{name} is not a register of {meters}"


def _entity_problems(driver: Driver) -> Iterator[str]:
    names = [entity.name for entity in driver.entities]
    if len(set(names)) < len(names):
        yield "an entity is described twice"
    for entity in driver.entities:
        yield from entity.problems()
        if entity.name not in driver.registers:
            yield f"the entity {entity.name} is not among its registers"


# --- what it reads ------------------------------------------------------------------------------


def example_problems(driver: Driver) -> Iterator[str]:
    """Every example decodes to exactly what it states, and is claimed."""
    for example in driver.examples:
        try:
            stated = example.counted()
        except ValueError as error:
            yield f"example {example.note!r}: {error}"
            continue
        try:
            report = driver.decode(example.path, example.payload)
        except FrameError as error:
            yield f"example {example.note!r} is refused: {error.code}: {error.message}"
            continue
        differing = _differing(driver, example, stated, report)
        yield from (f"example {example.note!r}: {text}" for text in differing)
        if not driver.recognises(example.path, example.payload):
            yield f"example {example.note!r} is not claimed"
    yield from _setting_problems(driver)


_SHOWN_IN: Final = (
    (CommandKind.SET_TARIFF, "tariff"),
    (CommandKind.SET_CREDIT_MODE, "credit_mode"),
)


def _setting_problems(driver: Driver) -> Iterator[str]:
    """Yield the codes by which commands are verified and that no example shows.

    A meter's own numbers for them are seldom the platform's, and nothing else would notice.
    """
    stated = {name for example in driver.examples for name in example.values}
    for kind, name in _SHOWN_IN:
        if kind in driver.commands and name in driver.registers and name not in stated:
            yield f"{kind.value} is verified by {name}, and no example states it"


def _differing(
    driver: Driver, example: Example, stated: dict[str, int], report: Report
) -> Iterator[str]:
    given = _newest(report.readings)
    for name in sorted(stated.keys() | given.keys()):
        if stated.get(name) != given.get(name):
            yield f"{name}: stated {_shown(name, stated)}, decoded {_shown(name, given)}"
        elif not _fits_resolution(driver.entity(name), given[name]):
            step = driver.entity(name).unit
            yield f"{name}: {given[name]} is no number of {step}, in which the model counts"
        elif (wrap := driver.entity(name).wrap) is not None and given[name] >= wrap:
            yield f"{name}: {_shown(name, given)}, and it is said to start at 0 again at {wrap}"
    pairs = (
        ("measured_at", example.measured_at, report.measured_at),
        ("supply", example.supply, report.supply),
        ("tamper", example.tamper, report.tamper),
        ("serial", example.serial, report.serial),
        ("results", example.results, report.results),
        ("slots", example.slots, report.slots),
    )
    for what, expected, got in pairs:
        if expected is not None and expected != got:
            yield f"{what}: stated {expected}, decoded {got}"


def _newest(readings: Iterable[Reading]) -> dict[str, int]:
    return {each.register: each.value for each in sorted(readings, key=lambda r: r.measured_at)}


def _shown(name: str, values: dict[str, int]) -> str:
    if name not in values:
        return "nothing"
    return f"{values[name]} {'/'.join(REGISTERS[name].units)}" if name in REGISTERS else "a value"


def _fits_resolution(entity: Entity, value: int) -> bool:
    if not entity.unit or entity.problems():
        return True
    scale = entity.register.measure(entity.unit)
    return scale.factor.denominator != 1 or (value - scale.zero) % int(scale.factor) == 0


def decode_problems(driver: Driver) -> Iterator[str]:
    """Any octets at all give a report or a ``FrameError``, and the same ones the second time."""
    for path, payload, what in disturbed(driver):
        for text in frame_problems(driver, path, payload):
            yield f"{what}: {text}"
            return  # the first says enough; the others are mostly the same


def frame_problems(driver: Driver, path: str, payload: bytes) -> Iterator[str]:
    """What is wrong with how a driver reads one frame; nothing if it reads or refuses it well."""
    first = _decoded(driver, path, payload)
    if isinstance(first, Report):
        yield from _report_problems(driver, first)
    elif first is None or not isinstance(first, str):
        yield f"decode gave {type(first).__name__}, expected a Report or a FrameError"
    elif first.startswith(_RAISED):
        yield first
    if first != _decoded(driver, path, payload):
        yield "decode gave something else the second time"
    if driver.claims is not None and not isinstance(claimed := driver.claims(path, payload), bool):
        yield f"claims gave {type(claimed).__name__}, expected a bool"


_RAISED: Final = "decode raised "


def _decoded(driver: Driver, path: str, payload: bytes) -> object:
    """Return what decode gave, the code of its refusal, or what it raised."""
    try:
        return driver.decode(path, payload)
    except FrameError as error:
        return error.code
    except Exception as error:  # noqa: BLE001  a third party's code may fail in any way
        return f"{_RAISED}{_named(error)}, expected a Report or a FrameError"


def _report_problems(driver: Driver, report: Report) -> Iterator[str]:
    behind = [each for slot in report.slots for each in slot.readings]
    for reading in (*report.readings, *behind):
        if reading.register not in driver.registers:
            yield f"{reading.register} is not among its registers"
        elif type(reading.value) is not int or reading.value not in VALUES:
            yield f"{reading.register}: {reading.value!r} is not an integer of 64 bits"
        elif not REGISTERS[reading.register].admits(reading.value):
            low, high = REGISTERS[reading.register].low, REGISTERS[reading.register].high
            yield f"{reading.register}: {reading.value} is not within {low} and {high}"
    yield from _size_problems(report)
    times = [
        report.measured_at,
        *(each.measured_at for each in (*report.readings, *behind)),
        *(each.at for each in report.entries),
        *(each.at for each in report.events),
    ]
    if any(at.tzinfo is None for at in times):
        yield "a time has no zone"
    elif any(at != UNTIMED and at.utcoffset() for at in times):
        yield "a time is not in UTC"
    for result in report.results:
        if type(result.command_id) is not int or result.command_id < 0:
            yield f"a result's command id is {result.command_id!r}"
    outcomes = [
        *(each.outcome for each in report.results),
        *(each.outcome for each in report.entries),
    ]
    if not all(isinstance(outcome, Outcome) for outcome in outcomes):
        yield "an outcome is not an Outcome"


def _size_problems(report: Report) -> Iterator[str]:
    of_slots = (slot.readings for slot in report.slots)
    for items in (report.readings, report.results, report.entries, report.events, *of_slots):
        if len(items) > ITEMS_MAX:
            yield f"{len(items)} readings, results or events in one report; {ITEMS_MAX} are taken"
    if len(report.slots) > SLOTS_MAX:
        yield f"{len(report.slots)} slots in one report; {SLOTS_MAX} are taken"


RULES: Final = (
    Rule(
        "declaration",
        "key, media, registers, units and commodities are ones that the platform knows",
        declaration_problems,
    ),
    Rule(
        "examples",
        "every example decodes to exactly what it states",
        example_problems,
    ),
    Rule(
        "decode",
        "an empty, short, changed or senseless frame is read or refused, never a crash, and the "
        "same each time",
        decode_problems,
    ),
    Rule(
        "commands",
        "what encode writes, decode_command reads back as what was meant",
        command_problems,
    ),
)
"""Every rule, in the order in which they are asked."""
