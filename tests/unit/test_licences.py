"""What is installed at run time comes under licences that leave Apache-2.0 alone."""

from __future__ import annotations

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FORBIDDEN = re.compile(
    r"\bA?GPL|\bSSPL|\bBSL\b|\bBUSL|Affero|GNU General Public|Business Source|Server Side Public",
    flags=re.IGNORECASE,
)


def packages_at_run_time() -> list[str]:
    """Names of everything that ``slotmeter[all]`` brings with it here, slotmeter itself apart."""
    seen: set[tuple[str, str]] = set()
    waiting = [("slotmeter", "all")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, each) for each in ("", *requirement.extras)]
    return sorted({name for name, _ in seen} - {"slotmeter"})


def licence_of(name: str) -> str:
    """The licence as the package declares it: its expression, its classifiers, or its own words."""
    about = metadata.metadata(name)
    declared = [
        *(about.get_all("License-Expression") or ()),
        *(each for each in about.get_all("Classifier") or () if each.startswith("License")),
        *(about.get_all("License") or ()),
    ]
    return "; ".join(each.splitlines()[0] for each in declared if each)


@pytest.mark.parametrize("name", packages_at_run_time())
def test_a_package_needed_at_run_time_declares_a_licence_we_can_live_with(name: str) -> None:
    licence = licence_of(name)

    assert licence, f"{name} declares no licence"
    assert not FORBIDDEN.search(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "GPL-3.0-or-later",
        "AGPL-3.0-only",
        "License :: OSI Approved :: GNU General Public License v2 (GPLv2)",
        "License :: OSI Approved :: GNU Affero General Public License v3",
        "BUSL-1.1",
        "Business Source License 1.1",
        "SSPL-1.0",
    ],
)
def test_the_search_knows_the_licences_it_looks_for(licence: str) -> None:
    assert FORBIDDEN.search(licence)


@pytest.mark.parametrize("licence", ["MIT", "BSD-3-Clause", "MPL-2.0", "Apache-2.0", "PSF-2.0"])
def test_the_search_leaves_free_licences_alone(licence: str) -> None:
    assert not FORBIDDEN.search(licence)
