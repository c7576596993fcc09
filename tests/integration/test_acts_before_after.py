"""Each act that changes master data says what was there before and what is after."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slotmeter.ports import Caller, KeyFacts
from slotmeter.security.master_keys import LocalMasterKey
from slotmeter.security.vault import Vault
from slotmeter.services.access import Origin
from slotmeter.services.campaign_terms import CampaignWish
from slotmeter.services.classes import Classes
from slotmeter.services.key_change_plan import KeyWish
from slotmeter.services.key_desk import KeyDesk
from slotmeter.services.meter_swap import SwapWish
from slotmeter.services.operations import Asked
from slotmeter.services.principals import Principals
from slotmeter.services.vending_keys import NewPart
from slotmeter.testing.key_town import KeyTown, Wire, open_key_town
from slotmeter.testing.small_utility import meter_number
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

WIRE = Wire(DRIVER, RULES.credit_control, encode_report, decode_commands)
FACTS = KeyFacts("600727-2", "600727", 2, 2, "04", 2014, 255)
PARTS = (bytes(range(20)), bytes(range(100, 120)))


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[KeyTown]:
    async with open_key_town(tmp_path, WIRE) as opened:
        yield opened


def said(town: KeyTown, what: str) -> tuple[Any, Any]:
    """What the newest act of a kind says of before and after."""
    rows = town.shop.rows_of("SELECT data FROM act WHERE what = ? ORDER BY id DESC LIMIT 1", what)
    data = json.loads(rows[0]["data"])
    return data["before"], data["after"]


async def bring(desk: KeyDesk, officers: tuple[Caller, Caller], name: str, count: int = 2) -> None:
    for at in range(count):
        part = NewPart(replace(FACTS, name=name), at + 1, 2, PARTS[at])
        await desk.vending.bring(officers[at], part, reason="new key")


async def test_acts_on_vending_keys(town: KeyTown) -> None:
    shop = town.shop
    vault = await Vault.open(shop.database, shop.clock, LocalMasterKey(b"m" * 32))
    desk = KeyDesk.of(shop.database, shop.clock, vault.wrapping, vault.security.refresh)
    one = await shop.utility.add_principal("One", "key_officer")
    officers = one, await shop.utility.add_principal("Two", "key_officer")

    await bring(desk, officers, "whole")
    await desk.vending.retire(one, "whole", reason="old")
    await bring(desk, officers, "half", count=1)
    await desk.vending.withdraw(one, "half", reason="mistake")

    before, after = said(town, "vending_key.add")
    assert before is None
    assert (after["sgc"], after["krn"]) == ("600727", 2)
    assert said(town, "vending_key.retire") == ({"state": "active"}, {"state": "retired"})
    assert said(town, "vending_key.withdraw") == ({"parts": [1]}, None)
    assert said(town, "vending_key.component")[0] is None


async def test_acts_on_keys_of_meters(town: KeyTown) -> None:
    row, _ = await town.meter(online=False)
    boss = town.supervisor
    change, _ = await town.changes.make(boss, row.number, KeyWish(key_id="krn-2"), "new key")
    assert change is not None
    await town.changes.declare(boss, change.row["id"], "done")
    await town.office.campaigns.begin(boss, CampaignWish("c1", "krn-2"), "roll over")
    await town.office.campaigns.close(boss, "c1", "done")

    before, after = said(town, "key.change")
    assert (before["krn"], after["krn"]) == (1, 2)
    assert said(town, "key.change.declare") == (
        {"state": "open", "proof": None},
        {"state": "proven", "proof": "declared"},
    )
    assert said(town, "key.campaign.begin")[0] is None
    assert said(town, "key.campaign.close") == ({"state": "open"}, {"state": "closed"})


async def test_acts_on_people_classes_and_meters(town: KeyTown) -> None:
    shop, boss = town.shop, town.supervisor
    row, _ = await town.meter(online=False)
    people, by = Principals(shop.database, shop.clock), Origin("local:test", "test")
    utility_id = shop.utility.utility_id
    await people.add_principal(
        by,
        utility_id,
        name="Ann",
        kind="person",
        roles=["vendor"],
        branch_code="head",
        reason="new",
    )
    await people.add_key(by, utility_id, name="Ann", label="till", reason="new")
    await Classes(shop.database, shop.clock).create(boss, "hotel", "Hotels", reason="new")
    asked = Asked(boss, "w1", "dark")
    await town.office.swaps.swap(asked, SwapWish(row.number, meter_number(900)))

    assert said(town, "principal.add") == (
        None,
        {"kind": "person", "roles": ["vendor"], "branch": "head"},
    )
    assert said(town, "key.add")[1]["label"] == "till"
    assert said(town, "class.add") == (None, {"title": "Hotels"})
    assert said(town, "ledger.swap") == ({"meter": row.number}, {"meter": meter_number(900)})
