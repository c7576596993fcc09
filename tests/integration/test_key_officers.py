"""Vending keys come from two officers, are never readable, end in time, and can be retired."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import Conflict, NotAllowed, NotFound, Refused, SlotmeterError
from slotmeter.ports import Caller, KeyFacts
from slotmeter.security.master_keys import LocalMasterKey
from slotmeter.security.vault import Vault
from slotmeter.services.bus import Bus
from slotmeter.services.key_dates import days_left, key_expires_us
from slotmeter.services.key_desk import KeyDesk
from slotmeter.services.key_watch import KeyWatch
from slotmeter.services.vending_keys import NewPart
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import KEY_ID
from slotmeter.units import epoch_us
from slotmeter.vending.sts import vending_key_check_value

pytestmark = pytest.mark.both_databases

FACTS = KeyFacts("600727-2", "600727", 2, 2, "04", 2014, 255)
ONE, OTHER = bytes(range(20)), bytes(range(100, 120))
WHOLE = bytes(a ^ b for a, b in zip(ONE, OTHER, strict=True))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


@pytest.fixture
async def vault(shop: Shop) -> Vault:
    return await Vault.open(shop.database, shop.clock, LocalMasterKey(b"m" * 32))


@pytest.fixture
def desk(shop: Shop, vault: Vault) -> KeyDesk:
    return KeyDesk.of(shop.database, shop.clock, vault.wrapping, vault.security.refresh)


@pytest.fixture
async def officers(shop: Shop) -> tuple[Caller, Caller]:
    first = await shop.utility.add_principal("First officer", "key_officer")
    return first, await shop.utility.add_principal("Second officer", "key_officer")


def part(number: int, material: bytes, parts: int = 2, **changes: Any) -> NewPart:
    return NewPart(replace(FACTS, **changes), number, parts, material)


async def code_of(attempt: Any) -> str:
    with pytest.raises(SlotmeterError) as refusal:
        await attempt
    return refusal.value.code


# --- two officers -------------------------------------------------------------------------------


async def test_components_of_two_officers_make_the_key(
    desk: KeyDesk, vault: Vault, officers: tuple[Caller, Caller]
) -> None:
    first = await desk.vending.bring(officers[0], part(1, ONE), reason="new key")
    second = await desk.vending.bring(officers[1], part(2, OTHER), reason="new key")

    assert first.key_check_value is None
    assert second.key_check_value == vending_key_check_value(WHOLE, "04")
    assert (await vault.security.describe(FACTS.name)).check_value == second.key_check_value


async def test_a_complete_key_says_who_brought_it_and_its_components_are_erased(
    desk: KeyDesk, shop: Shop, officers: tuple[Caller, Caller]
) -> None:
    await desk.vending.bring(officers[0], part(2, OTHER), reason="new key")
    await desk.vending.bring(officers[1], part(1, ONE), reason="new key")

    line = await desk.vending.key(shop.utility.utility_id, FACTS.name)

    assert (line.officer, line.second_officer) == ("First officer", "Second officer")
    assert shop.column("SELECT wrapped FROM vault_component") == [None, None]
    assert shop.column("SELECT state FROM vault_component") == ["used", "used"]
    acts = shop.column("SELECT what FROM act WHERE what LIKE 'vending_key%' ORDER BY id")
    assert acts == ["vending_key.component", "vending_key.component", "vending_key.add"]


async def test_one_officer_does_not_make_a_key_alone(
    desk: KeyDesk, officers: tuple[Caller, Caller]
) -> None:
    await desk.vending.bring(officers[0], part(1, ONE), reason="new key")

    code = await code_of(desk.vending.bring(officers[0], part(2, OTHER), reason="new key"))

    assert code == "second_person_needed"


async def test_a_proposed_key_is_confirmed_by_another_with_its_check_value(
    desk: KeyDesk, vault: Vault, officers: tuple[Caller, Caller]
) -> None:
    await desk.vending.bring(officers[0], part(1, WHOLE, parts=1), reason="new key")
    value = vending_key_check_value(WHOLE, "04")

    own = await code_of(desk.vending.confirm(officers[0], FACTS.name, value, reason="mine"))
    wrong = await code_of(desk.vending.confirm(officers[1], FACTS.name, "000000", reason="hm"))
    made = await desk.vending.confirm(officers[1], FACTS.name, value.lower(), reason="seen")

    assert (own, wrong) == ("second_person_needed", "check_value_differs")
    assert made.check_value == value
    assert (await vault.security.describe(FACTS.name)).sgc == FACTS.sgc


async def test_a_service_brings_no_key(desk: KeyDesk, shop: Shop) -> None:
    service = await shop.utility.add_principal("Robot", "key_officer")
    service = replace(service, principal=replace(service.principal, kind="service"))

    with pytest.raises(NotAllowed, match="persons"):
        await desk.vending.bring(service, part(1, ONE), reason="new key")


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (part(1, OTHER), "component_there"),
        (part(2, ONE), "components_equal"),
        (part(2, OTHER, krn=3), "component_differs"),
        (part(2, OTHER, parts=3), "component_differs"),
        (part(2, OTHER[:8]), "bad_vending_key"),
        (part(3, OTHER), "bad_component"),
    ],
)
async def test_a_component_that_does_not_fit_is_refused(
    desk: KeyDesk, officers: tuple[Caller, Caller], second: NewPart, code: str
) -> None:
    await desk.vending.bring(officers[0], part(1, ONE), reason="new key")

    assert await code_of(desk.vending.bring(officers[1], second, reason="new key")) == code


async def test_what_was_withdrawn_is_erased_and_can_be_brought_anew(
    desk: KeyDesk, shop: Shop, officers: tuple[Caller, Caller]
) -> None:
    await desk.vending.bring(officers[0], part(1, OTHER), reason="typing error")

    erased = await desk.vending.withdraw(officers[1], FACTS.name, reason="typing error")

    assert erased == 1
    assert shop.column("SELECT wrapped FROM vault_component") == [None]
    await desk.vending.bring(officers[0], part(1, ONE), reason="new key")
    with pytest.raises(NotFound):
        await desk.vending.confirm(officers[1], "nothing", "000000", reason="hm")


async def test_a_name_that_is_taken_is_refused(
    desk: KeyDesk, vault: Vault, officers: tuple[Caller, Caller]
) -> None:
    await desk.vending.bring(officers[0], part(1, ONE), reason="new key")
    await desk.vending.bring(officers[1], part(2, OTHER), reason="new key")

    with pytest.raises(Conflict, match="taken"):
        await desk.vending.bring(officers[0], part(1, ONE), reason="again")


async def test_what_waits_is_listed_without_its_material(
    desk: KeyDesk, shop: Shop, officers: tuple[Caller, Caller]
) -> None:
    await desk.vending.bring(officers[0], part(1, ONE), reason="new key")

    [row] = await desk.vending.components(shop.utility.utility_id)

    assert (row["name"], row["part"], row["officer"]) == (FACTS.name, 1, "First officer")
    assert "wrapped" not in row


async def test_nobody_brings_a_key_alone_once_the_utility_has_sold(
    desk: KeyDesk, shop: Shop
) -> None:
    utility_id = shop.utility.utility_id
    await desk.vending.check_alone(utility_id, two_officers=False)
    meter = await shop.utility.add_meter("electricity")

    await shop.sell(meter.number)

    for two_officers in (False, True):
        attempt = desk.vending.check_alone(utility_id, two_officers=two_officers)
        assert await code_of(attempt) == "two_officers_needed"


# --- the end of a key ---------------------------------------------------------------------------


def test_a_key_ends_with_the_last_identifier_that_its_expiry_number_allows() -> None:
    end = datetime(2035, 4, 23, 9, 36, tzinfo=UTC)

    assert key_expires_us(2014, 170) == epoch_us(end)
    assert key_expires_us(1993, 255) == epoch_us(datetime(2024, 11, 24, 20, 16, tzinfo=UTC))


def test_days_left_are_whole_days_and_below_zero_after_the_end() -> None:
    end = datetime(2035, 4, 23, 9, 36, tzinfo=UTC)
    us = epoch_us(end)

    assert days_left(us, epoch_us(end - timedelta(days=30))) == 30
    assert days_left(us, epoch_us(end - timedelta(days=30) + timedelta(minutes=1))) == 29
    assert days_left(us, epoch_us(end + timedelta(minutes=1))) == -1


async def _key_with_30_days(shop: Shop, vault: Vault) -> datetime:
    """Load a key, and set the clock to 31 days before its end."""
    from slotmeter.testing.small_utility import VENDING_KEY

    await vault.security.load(KEY_ID, replace(VENDING_KEY, ken=106))
    end = datetime.fromtimestamp(key_expires_us(2014, 106) / 1e6, tz=UTC)
    shop.clock.set(end - timedelta(days=31))
    return end


async def test_an_alarm_tells_30_days_ahead_that_a_key_ends_and_again_each_week(
    shop: Shop, vault: Vault
) -> None:
    end = await _key_with_30_days(shop, vault)
    watch = KeyWatch(shop.database, shop.clock, Bus())
    told = []

    for days in (31, 29.9, 28, 22.8, 6.5, 6, 5.4, -1):
        shop.clock.set(end - timedelta(days=days))
        told.append(await watch.check())

    assert told == [0, 1, 0, 1, 1, 0, 1, 0]
    alarms = shop.column("SELECT kind FROM event WHERE severity = 'alarm'")
    assert alarms == ["vending_key_expires"] * 4


async def test_a_key_that_has_ended_is_told_of_for_as_long_as_meters_need_it(
    shop: Shop, vault: Vault
) -> None:
    end = await _key_with_30_days(shop, vault)
    watch = KeyWatch(shop.database, shop.clock, Bus())
    await shop.utility.add_meter("electricity")

    shop.clock.set(end + timedelta(days=1))

    assert await watch.check() == 1
    assert watch.expiring == 1
    assert shop.column("SELECT kind FROM event WHERE severity = 'alarm'") == ["vending_key_expired"]


async def test_one_alarm_is_open_from_30_days_ahead_until_the_key_is_needed_no_more(
    shop: Shop, vault: Vault
) -> None:
    end = await _key_with_30_days(shop, vault)
    watch = KeyWatch(shop.database, shop.clock, Bus())
    meter = await shop.utility.add_meter("electricity")
    alarms = "SELECT kind, severity, subject, cleared_us FROM alarm ORDER BY id"
    seen = []

    for days in (31, 29.9, 22, 1, -1):
        shop.clock.set(end - timedelta(days=days))
        await watch.check()
        seen.append([(row["kind"], row["subject"]) for row in shop.rows_of(alarms)])
    still_open = shop.rows_of(alarms)[0]["cleared_us"]
    shop.sql("UPDATE meter SET state = 'removed' WHERE id = ?", meter.id)
    await watch.check()
    await watch.check()

    raised = [("vending_key_expires", f"vending_key:{KEY_ID}")]
    assert seen == [[], raised, raised, raised, raised]
    assert still_open is None
    assert [row["cleared_us"] for row in shop.rows_of(alarms)] == [epoch_us(shop.clock.now())]
    cleared = "SELECT count(*) FROM event WHERE kind = 'vending_key_expires_cleared'"
    assert shop.column(cleared) == [1]


# --- retiring -----------------------------------------------------------------------------------


async def test_a_key_that_nothing_needs_is_retired_and_makes_no_token(
    desk: KeyDesk, vault: Vault, officers: tuple[Caller, Caller]
) -> None:
    await desk.vending.bring(officers[0], part(1, ONE), reason="new key")
    await desk.vending.bring(officers[1], part(2, OTHER), reason="new key")

    line = await desk.vending.retire(officers[0], FACTS.name, reason="never used")

    assert line.state == "retired"
    with pytest.raises(Refused, match="retired"):
        await vault.security.describe(FACTS.name)
    with pytest.raises(Conflict, match="already"):
        await desk.vending.retire(officers[0], FACTS.name, reason="again")


async def test_a_key_that_meters_need_is_not_retired(
    desk: KeyDesk, vault: Vault, shop: Shop, officers: tuple[Caller, Caller]
) -> None:
    from slotmeter.testing.small_utility import VENDING_KEY

    await vault.security.load(KEY_ID, VENDING_KEY)
    await shop.utility.add_meter("electricity")

    code = await code_of(desk.vending.retire(officers[0], KEY_ID, reason="too early"))

    assert code == "vending_key_in_use"


# --- supply groups and HTTP -----------------------------------------------------------------------


async def test_a_supply_group_names_a_key_of_its_own_only(
    desk: KeyDesk, shop: Shop, officers: tuple[Caller, Caller]
) -> None:
    await desk.vending.bring(officers[0], part(1, ONE), reason="new key")
    await desk.vending.bring(officers[1], part(2, OTHER), reason="new key")

    await desk.groups.put(officers[0], "600727", title="Town", key_name=FACTS.name, reason="set up")

    [group] = await desk.groups.groups(shop.utility.utility_id)
    assert (group["sgc"], group["title"], group["key_name"]) == ("600727", "Town", FACTS.name)
    for sgc, key, code in (
        ("600728", FACTS.name, "vending_key_differs"),
        ("600727", "nobody", "vending_key_unknown"),
        ("60072", None, "bad_sgc"),
    ):
        attempt = desk.groups.put(officers[0], sgc, title="Town", key_name=key, reason="no")
        assert await code_of(attempt) == code


async def test_keys_are_seen_over_http_by_those_who_may_and_by_no_others(api: ApiTown) -> None:
    await api.join("officer", "key_officer")
    await api.join("till", "vendor")

    allowed = await api.get("/api/v1/vending-keys?expiring=true", "officer")
    refused = await api.get("/api/v1/vending-keys", "till")

    assert (allowed.status, allowed.json) == (200, {"items": [], "next": None})
    assert refused.status == 403
