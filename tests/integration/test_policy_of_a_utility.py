"""A utility's policy is checked where it is kept, whoever brings it."""

from __future__ import annotations

import pytest

from slotmeter.errors import Refused
from slotmeter.services.access import Origin
from slotmeter.services.registry import Registry, UtilityInfo
from slotmeter.testing.device_side import DeviceTown

ORIGIN = Origin("local:test", "r1")


@pytest.fixture
def registry(town: DeviceTown) -> Registry:
    return Registry(town.side.uow, town.side.clock)


@pytest.fixture
async def utility(registry: Registry) -> UtilityInfo:
    return await registry.utility(None)


def kept(town: DeviceTown) -> str:
    policy = town.row("SELECT policy FROM utility")["policy"]
    assert isinstance(policy, str)
    return policy


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"cuts_per_hour": "many"}, "cuts_per_hour"),
        ({"cuts_per_hour": -1}, "cuts_per_hour"),
        ({"reading_age_hours_max": 48}, "reading_age_hours_max"),
        ({"holidays": ["christmas"]}, "holidays.0"),
        ({"never_cut": True}, "never_cut"),
        ({"language": "de"}, "language"),
        ({"language": ["pt"]}, "language"),
    ],
)
async def test_a_policy_that_cannot_be_understood_is_not_kept(
    town: DeviceTown,
    registry: Registry,
    utility: UtilityInfo,
    policy: dict[str, object],
    field: str,
) -> None:
    before = kept(town)

    with pytest.raises(Refused) as refused:
        await registry.set_policy(ORIGIN, utility, policy, reason="new rules")

    assert (refused.value.code, refused.value.field) == ("policy_invalid", field)
    assert kept(town) == before
    assert town.rows("SELECT * FROM act WHERE what = 'utility.policy'") == []


async def test_a_policy_that_is_understood_is_kept_with_its_act(
    town: DeviceTown, registry: Registry, utility: UtilityInfo
) -> None:
    await registry.set_policy(ORIGIN, utility, {"cuts_per_hour": 3}, reason="new rules")

    assert kept(town) == '{"cuts_per_hour":3}'
    act = town.row("SELECT reason FROM act WHERE what = 'utility.policy'")
    assert act["reason"] == "new rules"
