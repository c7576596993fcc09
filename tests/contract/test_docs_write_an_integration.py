"""The integration of the how-to is what it says, and its own tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from slotmeter.services.integrations import Integration, read_manifest, read_toml
from slotmeter.services.quality_scale import check_integration

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-integration.md"
FILES = {
    "acme/pyproject.toml": "pyproject.toml",
    "slotmeter_acme/__init__.py": "slotmeter_acme/__init__.py",
    "slotmeter_acme/integration.toml": "slotmeter_acme/integration.toml",
    "slotmeter_acme/QUALITY.toml": "slotmeter_acme/QUALITY.toml",
    "tests/test_acme.py": "tests/test_acme.py",
}
MEDIUM_LINES_MAX = 65


def block(name: str) -> str:
    """Return the block that follows the first naming of a file by a line of its own."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"`{re.escape(name)}`[^\n]*:\n\n```\w+\n(.*?)^```$", text, re.S | re.M)
    assert found, name
    return found[1]


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    folder = tmp_path / "acme"
    for name, place in FILES.items():
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block(name), encoding="utf-8")
    (folder / "slotmeter_acme" / "py.typed").touch()
    return folder


def test_the_medium_of_the_how_to_is_short() -> None:
    assert len(block("slotmeter_acme/__init__.py").splitlines()) <= MEDIUM_LINES_MAX


def test_what_the_how_to_says_of_its_integration_holds(acme: Path) -> None:
    package = acme / "slotmeter_acme"
    manifest = read_manifest(read_toml(package / "integration.toml"))

    found = check_integration(Integration(manifest, "slotmeter_acme", package), {}, tree=acme)

    points = tomllib.loads(block("acme/pyproject.toml"))["project"]["entry-points"]
    assert found == []
    assert points == {"slotmeter.media": {manifest.key: "slotmeter_acme:MEDIUM"}}


@pytest.mark.timeout(600)
def test_the_tests_of_the_how_to_pass(acme: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:dash", "."],
        cwd=acme,
        env={**os.environ, "PYTHONPATH": str(acme)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
