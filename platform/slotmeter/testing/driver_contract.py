"""What every driver must do, as functions that a driver's author calls from a test.

Each raises ``AssertionError`` with the driver's key and everything that was wrong. The shortest
test of a pack asks them all::

    @pytest.mark.parametrize("driver", drivers_of("acme_drivers"), ids=lambda driver: driver.key)
    def test_the_driver_meets_the_contract(driver):
        check_driver(driver)
"""

from __future__ import annotations

from collections.abc import Iterable

from slotmeter.devices.command_checks import command_problems, samples_of
from slotmeter.devices.commands import CommandOut
from slotmeter.devices.disturbances import disturbed, noise, truncations
from slotmeter.devices.driver_checks import (
    RULES,
    declaration_problems,
    decode_problems,
    example_problems,
    frame_problems,
    problems_of,
)
from slotmeter.devices.drivers import Driver
from slotmeter.services.driver_packs import find_drivers

__all__ = [
    "RULES",
    "check_commands_encode",
    "check_declaration",
    "check_decode_is_total",
    "check_disturbed_frames",
    "check_driver",
    "check_examples_decode",
    "disturbed",
    "drivers_of",
    "noise",
    "sample_commands",
    "truncations",
]


def _expect_none(driver: Driver, problems: Iterable[str]) -> None:
    found = list(dict.fromkeys(problems))
    assert not found, "\n".join(f"{driver.key}: {text}" for text in found)


def drivers_of(pack: str) -> list[Driver]:
    """Return the drivers of a pack, whether they meet the contract or not.

    Args:
        pack: name of the package that holds the drivers.

    Raises:
        AssertionError: a module of it cannot be used, or there is no driver in it.
    """
    found = find_drivers([pack], admit=None)
    assert not found.broken, f"{pack}: {dict(found.broken)}"
    assert found.drivers, f"{pack}: no module has a DRIVER"
    return list(found.drivers.values())


def check_driver(driver: Driver) -> None:
    """Check that the driver breaks no rule at all."""
    _expect_none(driver, (f"{each.rule}: {each.text}" for each in problems_of(driver)))


def check_declaration(driver: Driver) -> None:
    """Key, registers, units, commands and examples are ones that the platform can use."""
    _expect_none(driver, declaration_problems(driver))


def check_examples_decode(driver: Driver) -> None:
    """Every example decodes, without I/O, to exactly the values it states."""
    _expect_none(driver, example_problems(driver))


def check_decode_is_total(driver: Driver, path: str, payload: bytes) -> None:
    """Any bytes give a ``Report`` or a ``FrameError``, and the same ones the second time."""
    _expect_none(driver, frame_problems(driver, path, payload))


def check_disturbed_frames(driver: Driver) -> None:
    """Empty, short, changed and senseless frames are read or refused, never a crash."""
    _expect_none(driver, decode_problems(driver))


def sample_commands(driver: Driver) -> tuple[CommandOut, ...]:
    """Return commands of each kind that the driver declares, numbered from 1."""
    samples = [each for kind in sorted(driver.commands) for each in samples_of(kind)]
    return tuple(
        CommandOut(number, each.kind, each.token, each.value, each.text)
        for number, each in enumerate(samples, start=1)
    )


def check_commands_encode(driver: Driver) -> None:
    """Each declared command encodes, alone and with the others, to what decodes as it was meant."""
    _expect_none(driver, command_problems(driver))
