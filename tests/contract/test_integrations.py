"""What every installed integration says of itself holds."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from slotmeter.services.integrations import Integration, find_integrations
from slotmeter.services.quality_scale import check_integration
from slotmeter_ip.options import Options as IpOptions
from slotmeter_nbiot.options import Options as NbiotOptions

ROOT = Path(__file__).parents[2]
FOUND = find_integrations()


def test_every_installed_integration_has_a_manifest() -> None:
    assert FOUND.broken == {}
    assert {"ip", "nbiot", "slotmeter_drivers"} <= set(FOUND.integrations)
    assert FOUND.media <= set(FOUND.integrations)


@pytest.mark.parametrize("each", FOUND.integrations.values(), ids=list(FOUND.integrations))
def test_what_an_integration_says_of_its_quality_holds(each: Integration) -> None:
    assert check_integration(each, {}, tree=ROOT) == []


@pytest.mark.parametrize(("key", "options"), [("ip", IpOptions), ("nbiot", NbiotOptions)])
def test_a_manifest_names_the_options_of_its_medium(key: str, options: type[Any]) -> None:
    assert FOUND.options_of(key) == tuple(field.name for field in fields(options))
