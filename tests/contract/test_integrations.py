"""What every installed integration says of itself holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from slotmeter.services.integrations import Integration, find_integrations
from slotmeter.services.quality_scale import check_integration

ROOT = Path(__file__).parents[2]
FOUND = find_integrations()


def test_every_installed_integration_has_a_manifest() -> None:
    assert FOUND.broken == {}
    assert {"ip", "nbiot", "slotmeter_drivers"} <= set(FOUND.integrations)
    assert FOUND.media <= set(FOUND.integrations)


@pytest.mark.parametrize("each", FOUND.integrations.values(), ids=list(FOUND.integrations))
def test_what_an_integration_says_of_its_quality_holds(each: Integration) -> None:
    assert check_integration(each, {}, tree=ROOT) == []
