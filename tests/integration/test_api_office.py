"""The office over HTTP: a tariff's life, classes and free units, with their rights."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from slotmeter.testing.api_town import ApiTown

DRAFTS = "/api/v1/tariff-drafts"
SOURCE = """\
tariff: homes
title: Homes
commodity: electricity
currency: KES
energy: {label: Energy, price: 21.50}
taxes: {vat: {label: VAT, percent: 16, on: [energy]}}
"""
BY_CLASS = {
    "tariff": "by-class",
    "title": "By class",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {
        "label": "Energy",
        "tables": {"cheap": {"price": "10"}, "dear": {"price": "40"}},
        "use": [{"class": ["shops"], "table": "dear"}, {"table": "cheap"}],
    },
}


@pytest.fixture
async def office(api: ApiTown) -> ApiTown:
    """A clerk who drafts, a boss who approves, and a service with every right."""
    await api.join("clerk", "office")
    await api.join("boss", "supervisor")
    await api.join("robot", "admin", kind="service")
    await api.join("till", "vendor")
    return api


async def drafted(office: ApiTown, source: str = SOURCE) -> Any:
    reply = await office.post(DRAFTS, "clerk", json={"source": source, "reason": "new year"})
    assert reply.status == 201
    return reply.json


async def act(office: ApiTown, draft: Any, what: str, who: str, **more: Any) -> Any:
    body = {"revision": draft["revision"], "reason": "because", **more}
    return await office.post(f"{DRAFTS}/{draft['id']}/{what}", who, json=body)


async def test_a_tariff_goes_from_draft_to_in_force(office: ApiTown) -> None:
    draft = await drafted(office)
    await act(office, draft, "submit", "clerk")
    approved = await act(office, draft, "approve", "boss")
    listed = await office.get("/api/v1/tariffs", "boss")

    assert (approved.status, approved.json["state"], approved.json["version"]) == (
        200,
        "approved",
        1,
    )
    homes = next(each for each in listed.json["items"] if each["code"] == "homes")
    assert homes["version"] == 1


async def test_a_version_gives_back_the_text_that_was_written(office: ApiTown) -> None:
    draft = await drafted(office)
    await act(office, draft, "submit", "clerk")
    await act(office, draft, "approve", "boss")

    reply = await office.get("/api/v1/tariffs/homes/versions/1", "clerk")

    assert reply.json["source"] == SOURCE
    assert (reply.json["author"], reply.json["approver"]) == ("clerk", "boss")


async def test_a_draft_with_mistakes_is_422_with_all_of_them(office: ApiTown) -> None:
    broken = SOURCE.replace("percent: 16", "percent: much")

    reply = await office.post(DRAFTS, "clerk", json={"source": broken, "reason": "new year"})

    assert (reply.status, reply.code) == (422, "tariff_invalid")
    assert [(each["line"], each["path"]) for each in reply.json["problems"]] == [
        (6, "taxes.vat.percent")
    ]


async def test_a_service_with_every_right_does_not_approve(office: ApiTown) -> None:
    draft = await drafted(office)
    await act(office, draft, "submit", "clerk")

    reply = await act(office, draft, "approve", "robot")

    assert (reply.status, reply.code) == (403, "person_needed")


async def test_a_clerk_does_not_approve(office: ApiTown) -> None:
    draft = await drafted(office)
    await act(office, draft, "submit", "clerk")

    reply = await act(office, draft, "approve", "clerk")

    assert (reply.status, reply.code) == (403, "right_missing")


async def test_an_edit_of_a_stale_revision_is_409(office: ApiTown) -> None:
    draft = await drafted(office)
    body = {"source": SOURCE + "# again\n", "revision": 1, "reason": "again"}
    first = await office.call("PUT", f"{DRAFTS}/{draft['id']}", "clerk", json=body)
    second = await office.call("PUT", f"{DRAFTS}/{draft['id']}", "clerk", json=body)

    assert (first.status, first.json["revision"]) == (200, 2)
    assert (second.status, second.code) == (409, "draft_changed")


async def test_a_draft_says_what_speaks_against_it(office: ApiTown) -> None:
    draft = await drafted(office, SOURCE + "valid_until: 2027-07-01\n")

    assert [(each["code"], each["severity"]) for each in draft["findings"]] == [
        ("ends_by_itself", "warning")
    ]


async def test_a_scheduled_version_can_be_withdrawn(office: ApiTown) -> None:
    draft = await drafted(office)
    await act(office, draft, "submit", "clerk")
    at = (office.clock.now() + timedelta(days=5)).isoformat()
    await act(office, draft, "approve", "boss", valid_from=at)

    reply = await office.post(
        "/api/v1/tariffs/homes/versions/1/withdraw", "boss", json={"reason": "court order"}
    )

    assert reply.status == 200
    assert reply.json["withdrawn_at"] is not None


async def test_the_diff_compares_with_the_version_in_force(office: ApiTown) -> None:
    draft = await drafted(office)
    await act(office, draft, "submit", "clerk")
    await act(office, draft, "approve", "boss")
    cheaper = await drafted(office, SOURCE.replace("21.50", "19.00"))

    reply = await office.get(f"{DRAFTS}/{cheaper['id']}/diff", "clerk")

    assert reply.json["version"] == 1
    assert reply.json["changes"] == [{"path": "energy.price", "old": "21.50", "new": "19.00"}]


async def test_drafts_are_listed_page_by_page(office: ApiTown) -> None:
    made = [(await drafted(office))["id"] for _ in range(3)]

    first = await office.get(f"{DRAFTS}?limit=2", "clerk")
    second = await office.get(f"{DRAFTS}?limit=2&before={first.json['next']}", "clerk")

    assert [each["id"] for each in first.json["items"]] == [made[2], made[1]]
    assert [each["id"] for each in second.json["items"]] == [made[0]]
    assert second.json["next"] is None


# --- classes --------------------------------------------------------------------------------------


async def test_an_account_gets_a_class_from_an_instant_on(office: ApiTown) -> None:
    account = (await office.utility.add_meter()).account_number
    made = {"code": "shop", "title": "Shops", "reason": "new"}
    await office.post("/api/v1/classes", "clerk", json=made)
    at = (office.clock.now() + timedelta(days=10)).isoformat()
    path = f"/api/v1/accounts/{account}/classes"

    reply = await office.post(path, "clerk", json={"class": "shop", "from": at, "reason": "sign"})
    office.clock.advance(days=11)
    later = await office.get(path, "clerk")

    assert (reply.status, reply.json["class"]) == (200, None)
    assert later.json["class"] == "shop"
    assert later.json["items"][0]["by"] == "clerk"


async def test_a_class_does_not_begin_in_the_past(office: ApiTown) -> None:
    account = (await office.utility.add_meter()).account_number
    at = (office.clock.now() - timedelta(days=1)).isoformat()

    reply = await office.post(
        f"/api/v1/accounts/{account}/classes",
        "clerk",
        json={"class": None, "from": at, "reason": "sign"},
    )

    assert (reply.status, reply.code) == (422, "from_in_the_past")


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_class_begins_at_a_time_that_can_be_written(office: ApiTown, at: str) -> None:
    path = f"/api/v1/accounts/{(await office.utility.add_meter()).account_number}/classes"

    reply = await office.post(path, "clerk", json={"class": None, "from": at, "reason": "sign"})

    assert (reply.status, reply.code) == (422, "out_of_range")
    assert (await office.get(path, "clerk")).status == 200


async def test_a_class_that_does_not_exist_is_404(office: ApiTown) -> None:
    account = (await office.utility.add_meter()).account_number

    reply = await office.post(
        f"/api/v1/accounts/{account}/classes", "clerk", json={"class": "x", "reason": "sign"}
    )

    assert (reply.status, reply.code) == (404, "class_unknown")


async def test_a_preview_shows_a_purchase_under_both_classes(office: ApiTown) -> None:
    for code in ("homes", "shops"):
        await office.post(
            "/api/v1/classes", "clerk", json={"code": code, "title": code, "reason": "new"}
        )
    await office.utility.add_tariff(BY_CLASS)
    meter = await office.utility.add_meter(tariff="by-class")
    path = f"/api/v1/accounts/{meter.account_number}/classes"
    await office.post(path, "clerk", json={"class": "homes", "reason": "new"})
    body = {"meter": meter.number, "tendered": "200", "class": "shops"}
    before = office.sql("SELECT count(*) FROM sale")

    reply = await office.post("/api/v1/class-previews", "clerk", json=body)

    both = [(each["class"], each["units"]) for each in (reply.json["now"], reply.json["then"])]
    assert both == [("homes", "20.0"), ("shops", "5.0")]
    assert office.sql("SELECT count(*) FROM sale") == before


async def test_purchases_before_and_after_a_change_of_class_have_their_own_price(
    office: ApiTown,
) -> None:
    for code in ("homes", "shops"):
        await office.post(
            "/api/v1/classes", "clerk", json={"code": code, "title": code, "reason": "new"}
        )
    await office.utility.add_tariff(BY_CLASS)
    meter = await office.utility.add_meter(tariff="by-class")
    path = f"/api/v1/accounts/{meter.account_number}/classes"
    at = (office.clock.now() + timedelta(days=10)).isoformat()
    await office.post(path, "clerk", json={"class": "homes", "reason": "new"})
    await office.post(path, "clerk", json={"class": "shops", "from": at, "reason": "a shop"})
    sold = {"meter": meter.number, "tendered": "200"}

    first = await office.post("/api/v1/sales", "till", json={**sold, "sale_id": "1"})
    office.clock.advance(days=10)
    second = await office.post("/api/v1/sales", "till", json={**sold, "sale_id": "2"})

    assert (first.json["units"], second.json["units"]) == ("20.0", "5.0")


async def test_a_review_proposes_classes_by_average_use(office: ApiTown) -> None:
    for code in ("small", "large"):
        made = {"code": code, "title": code.title(), "reason": "new"}
        await office.post("/api/v1/classes", "clerk", json=made)
    meter = await office.utility.add_meter()
    sold = {"sale_id": "1", "meter": meter.number, "tendered": "1160.00"}
    await office.post("/api/v1/sales", "till", json=sold)  # 50 kWh in two months
    office.clock.advance(days=65)
    office.sql("UPDATE account SET created_us = 0")
    rules = (
        "commodity: electricity\nmonths: 2\n"
        "rules: [{up_to: 20, class: small}, {above: 20, class: large}]\n"
    )

    body = {"rules": rules, "apply": True, "reason": "yearly"}
    reply = await office.post("/api/v1/class-reviews", "clerk", json=body)
    again = await office.post("/api/v1/class-reviews", "clerk", json=body)

    assert reply.json["proposals"] == [
        {
            "account": meter.account_number,
            "average": "25.0",
            "from_class": None,
            "to_class": "large",
        }
    ]
    assert again.json["changes"] == 0


# --- free units -----------------------------------------------------------------------------------


async def test_a_household_is_registered_and_ended(office: ApiTown) -> None:
    account = (await office.utility.add_meter()).account_number
    body = {
        "account": account,
        "code": "fbe",
        "evidence": "list 7",
        "from": "2026-11-01",
        "until": "2027-11-01",
        "reason": "council",
    }

    made = await office.post("/api/v1/free-units", "clerk", json=body)
    twice = await office.post("/api/v1/free-units", "clerk", json=body)
    ended = await office.post(
        f"/api/v1/free-units/{made.json['id']}/end", "clerk", json={"reason": "moved"}
    )

    assert (made.status, made.json["state"]) == (201, "in_force")
    assert (twice.status, twice.code) == (409, "registered_already")
    assert ended.json["state"] == "over"


async def test_a_registration_from_a_year_that_was_not_meant_is_422(office: ApiTown) -> None:
    account = (await office.utility.add_meter()).account_number
    body = {"account": account, "code": "fbe", "evidence": "list 7", "reason": "council"}

    reply = await office.post("/api/v1/free-units", "clerk", json=body | {"from": "0001-01-01"})

    assert (reply.status, reply.code) == (422, "out_of_range")
    assert (await office.get("/api/v1/free-units", "clerk")).json["items"] == []


async def test_who_has_not_come_for_free_units_is_listed(office: ApiTown) -> None:
    account = (await office.utility.add_meter()).account_number
    body = {"account": account, "code": "fbe", "evidence": "list 7", "reason": "council"}
    await office.post("/api/v1/free-units", "clerk", json=body)

    reply = await office.get("/api/v1/free-units-not-collected", "clerk")

    assert [each["account"] for each in reply.json["items"]] == [account]


# --- terms ----------------------------------------------------------------------------------------


async def test_an_account_pays_afterwards_and_in_advance_again(office: ApiTown) -> None:
    meter = await office.utility.add_meter(online=False)
    sold = {"sale_id": "1", "meter": meter.number, "tendered": "116.00"}
    await office.post("/api/v1/sales", "till", json=sold)
    office.clock.advance(seconds=60)
    path = f"/api/v1/accounts/{meter.account_number}/terms"
    reading = {"meter": meter.number, "register": "100.0", "credit_left": "2.5"}

    there = await office.post(
        path, "clerk", json={"terms": "postpaid", "readings": [reading], "reason": "contract"}
    )
    refused = await office.post("/api/v1/sales", "till", json={**sold, "sale_id": "2"})
    office.clock.advance(seconds=60)
    back = await office.post(
        path,
        "clerk",
        json={
            "terms": "prepaid",
            "readings": [{"meter": meter.number, "register": "101.0"}],
            "reason": "ended",
        },
    )

    assert (there.status, there.json["terms"]) == (200, "postpaid")
    assert there.json["items"][0]["settlement"]["after"] == {"credit": "0.00", "owed": "-58.00"}
    assert refused.code == "account_postpaid"
    assert back.json["items"][0]["settlement"]["after"] == {"credit": "34.80", "owed": "0.00"}


async def test_a_reading_that_is_no_number_is_422(office: ApiTown) -> None:
    meter = await office.utility.add_meter(online=False)
    reading = {"meter": meter.number, "register": "much", "credit_left": "0"}

    reply = await office.post(
        f"/api/v1/accounts/{meter.account_number}/terms",
        "clerk",
        json={"terms": "postpaid", "readings": [reading], "reason": "contract"},
    )

    assert (reply.status, reply.code, reply.json["field"]) == (422, "bad_reading", "register")


async def test_a_vendor_does_not_change_terms(office: ApiTown) -> None:
    account = (await office.utility.add_meter()).account_number

    reply = await office.post(
        f"/api/v1/accounts/{account}/terms", "till", json={"terms": "postpaid", "reason": "x"}
    )

    assert (reply.status, reply.code) == (403, "right_missing")
