"""Keys of meters over HTTP: changes, campaigns, management tokens, and who may do them."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from slotmeter.security.software import SoftwareSecurityModule
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import VENDING_KEY, SmallMeter

NEW_KEY = "krn-2"


@pytest.fixture
async def meter(api: ApiTown) -> SmallMeter:
    """A meter, a key that it can be changed to, and people of both kinds."""
    key = replace(VENDING_KEY, key=VENDING_KEY.key[::-1], krn=2)
    vault = SoftwareSecurityModule.open(api.path.parent)
    await vault.load(NEW_KEY, key)
    await vault.close()
    await api.join("boss", "supervisor")
    await api.join("till", "vendor", kind="service")
    return await api.utility.add_meter(online=False)


async def test_a_change_from_the_plan_to_the_proof(api: ApiTown, meter: SmallMeter) -> None:
    path = f"/api/v1/meters/{meter.number}/key-change"
    plan = await api.get(f"{path}?key={NEW_KEY}", "boss")
    assert (plan.json["current"]["krn"], plan.json["wanted"]["krn"]) == (1, 2)

    made = await api.post(path, "boss", json={"key": NEW_KEY, "reason": "new key"})
    again = await api.post(path, "boss", json={"key": NEW_KEY, "reason": "new key"})
    sold = await api.post(
        "/api/v1/sales",
        "till",
        json={"sale_id": "s1", "meter": meter.number, "tendered": "116.00"},
    )
    change = f"/api/v1/key-changes/{made.json['id']}"
    proven = await api.post(f"{change}/declare", "boss", json={"reason": "customer says so"})

    assert (made.status, again.status) == (201, 200)
    assert [token["purpose"] for token in sold.json["tokens"]] == [
        "key_change",
        "key_change",
        "credit",
    ]
    assert [token["digits"] for token in made.json["tokens"]] == [
        token["digits"] for token in sold.json["tokens"][:2]
    ]
    assert (proven.json["state"], proven.json["proof"]) == ("proven", "declared")
    listed = await api.get(f"/api/v1/key-changes?meter={meter.number}", "boss")
    assert [item["id"] for item in listed.json["items"]] == [made.json["id"]]
    assert "digits" not in listed.content.decode()


async def test_with_the_next_sale_and_taken_back(api: ApiTown, meter: SmallMeter) -> None:
    path = f"/api/v1/meters/{meter.number}/key-change"
    body = {"key": NEW_KEY, "when": "with_sale", "reason": "new key"}
    asked = await api.post(path, "boss", json=body)
    forgotten = await api.post(f"{path}/forget", "boss", json={"reason": "not now"})
    assert (asked.status, asked.json["state"], asked.json["id"]) == (202, "with_sale", None)
    assert forgotten.json["state"] == "cancelled"
    nothing = await api.post(f"{path}/forget", "boss", json={"reason": "again"})
    assert nothing.code == "nothing_wanted"


async def test_a_token_from_before_is_replaced(api: ApiTown, meter: SmallMeter) -> None:
    body = {"sale_id": "s1", "meter": meter.number, "tendered": "116.00"}
    await api.post("/api/v1/sales", "till", json=body)
    path = f"/api/v1/meters/{meter.number}/key-change"
    made = await api.post(path, "boss", json={"key": NEW_KEY, "reason": "new key"})
    (unused,) = made.json["unused"]
    change = f"/api/v1/key-changes/{made.json['id']}"
    asked = {"token": unused["token"], "reason": "not typed"}

    early = await api.post(f"{change}/replacements", "boss", json=asked)
    await api.post(f"{change}/declare", "boss", json={"reason": "done"})
    replaced = await api.post(f"{change}/replacements", "boss", json=asked)

    assert early.code == "key_change_not_proven"
    assert (replaced.status, replaced.json["units"]) == (201, "5.0")
    shown = await api.get(change, "boss")
    assert shown.json["unused"][0]["replaced_by"] == replaced.json["token"]


async def test_a_management_token_by_right_only(api: ApiTown, meter: SmallMeter) -> None:
    path = f"/api/v1/meters/{meter.number}/tokens"
    body = {"request_id": "m1", "kind": "clear_tamper", "reason": "inspected"}

    refused = await api.post(path, "till", json=body)
    made = await api.post(path, "boss", json=body)
    again = await api.post(path, "boss", json=body)

    assert (refused.status, refused.code) == (403, "right_missing")
    assert (made.status, again.status) == (201, 200)
    assert made.json["digits"] == again.json["digits"]
    assert api.sql("SELECT what, subject FROM act WHERE what = 'token.manage.refused'") == [
        ("token.manage.refused", f"meter:{meter.number}")
    ]
    listed = await api.get(f"/api/v1/meters/{meter.number}/management-tokens", "boss")
    assert [item["kind"] for item in listed.json["items"]] == ["clear_tamper"]
    assert made.json["digits"] not in listed.content.decode()


async def test_a_campaign_from_its_begin_to_the_printed_sets(
    api: ApiTown, meter: SmallMeter
) -> None:
    path = "/api/v1/key-campaigns"
    body = {"code": "krn2", "key": NEW_KEY, "reason": "new keys"}
    begun = await api.post(path, "boss", json=body)
    selected = await api.post(f"{path}/krn2/select", "boss", json={"reason": "all"})
    unused = await api.get(f"{path}/krn2/unused", "boss")
    ran = await api.post(f"{path}/krn2/run", "boss", json={})
    printed = await api.post(f"{path}/krn2/sets", "boss", json={"reason": "to print"})
    meters = await api.get(f"{path}/krn2/meters", "boss")
    closed = await api.post(f"{path}/krn2/close", "boss", json={"reason": "done"})

    assert (begun.status, selected.json["added"], unused.json["items"]) == (201, 1, [])
    assert (ran.json["meters"], ran.json["waiting"]) == (1, 1)
    (row,) = csv.DictReader(io.StringIO(printed.content.decode()))
    assert row["meter"] == meter.number
    assert meters.json["items"][0]["printed_at"] is not None
    assert closed.json["state"] == "closed"
    listed = await api.get(path, "boss")
    assert [item["code"] for item in listed.json["items"]] == ["krn2"]


async def test_a_till_changes_no_key_and_begins_no_campaign(
    api: ApiTown, meter: SmallMeter
) -> None:
    one = await api.post(
        f"/api/v1/meters/{meter.number}/key-change", "till", json={"reason": "mine"}
    )
    many = await api.post(
        "/api/v1/key-campaigns", "till", json={"code": "c", "key": NEW_KEY, "reason": "mine"}
    )
    assert {one.code, many.code} == {"right_missing"}
    acts = [what for (what,) in api.sql("SELECT what FROM act WHERE what LIKE '%refused'")]
    assert sorted(acts) == ["key.campaign.refused", "key.change.refused"]
