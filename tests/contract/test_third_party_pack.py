"""A pack that is no part of slotmeter: built to a wheel, installed by pip, and in the list."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
FIXTURES = TESTS / "fixtures"
RUN_TIMEOUT_S = 200

pytestmark = pytest.mark.timeout(3 * RUN_TIMEOUT_S)  # pip compiles what it installs


def run(*arguments: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment, as if ``site`` were a part of it, without a network."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )


def installed(project: Path, folder: Path) -> Path:
    """Build a pack's wheel and install it; return where."""
    source, wheels, site = folder / "source", folder / "wheels", folder / "site"
    shutil.copytree(project, source, ignore=shutil.ignore_patterns("__pycache__"))
    quiet = ("-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
    offline = ("--no-deps", "--no-index")
    made = run(
        *quiet, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels), str(source)
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,) = wheels.glob("*.whl")
    put = run(*quiet, "install", *offline, "--target", str(site), str(wheel))
    assert put.returncode == 0, put.stdout + put.stderr
    return site


@pytest.fixture(scope="module")
def meridian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a good pack of a third party is installed."""
    return installed(FIXTURES / "meridian", tmp_path_factory.mktemp("meridian"))


@pytest.fixture(scope="module")
def sloppy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a bad one is installed."""
    return installed(FIXTURES / "sloppy", tmp_path_factory.mktemp("sloppy"))


def listed(site: Path) -> dict[str, Any]:
    answer = run("-m", "slotmeter", "driver", "list", "--json", site=site)
    assert answer.returncode == 0, answer.stderr
    document: dict[str, Any] = json.loads(answer.stdout)
    return document


def test_an_installed_pack_stands_in_the_list_beside_our_own(meridian: Path) -> None:
    drivers = {each["key"]: each for each in listed(meridian)["drivers"]}

    assert {"meridian_e7", "meridian_box", "slotmeter_virtual"} <= drivers.keys()
    assert drivers["meridian_e7"]["distribution"] == "meridian-drivers 2.1.0"
    assert drivers["meridian_e7"]["media"] == ["ip", "nbiot"]


def test_an_installed_pack_is_checked_by_its_distribution_s_name(meridian: Path) -> None:
    answer = run("-m", "slotmeter", "driver", "check", "meridian-drivers", site=meridian)

    assert answer.returncode == 0, answer.stdout
    assert answer.stdout.count("keeps the contract") == 2


def test_our_contract_tests_run_over_an_installed_pack(meridian: Path) -> None:
    answer = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "meridian"),
        str(TESTS / "contract" / "test_drivers.py"),
        site=meridian,
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "14 passed" in answer.stdout  # seven tests of a driver, two drivers


def test_a_sloppy_pack_is_installed_but_not_used_and_says_why(sloppy: Path) -> None:
    document = listed(sloppy)

    assert {each["key"] for each in document["drivers"]} == {"slotmeter_json", "slotmeter_virtual"}
    reasons = document["not_used"]
    assert "an empty frame: decode raised IndexError" in reasons["sloppy_drivers.empty_frame"]
    assert "energy_import is counted in Wh" in reasons["sloppy_drivers.wrong_unit"]
    assert "encoded, it reads as open_valve" in reasons["sloppy_drivers.wrong_command"]


def test_a_new_pack_is_built_installed_and_meets_its_own_tests(tmp_path: Path) -> None:
    project = tmp_path / "fresh"
    made = run("-m", "slotmeter", "driver", "new", "fresh_w1", "--folder", str(project))
    assert made.returncode == 0, made.stderr

    site = installed(project, tmp_path / "made")
    answer = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", str(project / "tests")), site=site
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "fresh_w1" in {each["key"] for each in listed(site)["drivers"]}
