"""Two vendors and two utilities on one server: neither sees anything of the other by any route."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from slotmeter.services.access import Origin
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import SmallUtility, tariff_document
from slotmeter.units import epoch_us

SALES = "/api/v1/sales"
LOCAL = Origin("local:test", "test")


@dataclass
class Vendors:
    """Two vendors who used the same sale_id, each for another meter, and what each got."""

    api: ApiTown
    meters: dict[str, str]
    sales: dict[str, dict[str, str]]


@pytest.fixture
async def vendors(api: ApiTown) -> Vendors:
    meters: dict[str, str] = {}
    sales: dict[str, dict[str, str]] = {}
    for name, tendered in (("ann", "116.00"), ("ben", "232.00")):
        await api.join(name, "vendor")
        meters[name] = (await api.utility.add_meter("electricity")).number
        body = {"sale_id": "same", "meter": meters[name], "tendered": tendered}
        sales[name] = (await api.post(SALES, name, json=body)).json
    await api.join("eye", "viewer")
    return Vendors(api, meters, sales)


async def test_one_sale_id_is_two_sales_of_two_vendors(vendors: Vendors) -> None:
    ann, ben = vendors.sales["ann"], vendors.sales["ben"]

    assert ann["sale_id"] == ben["sale_id"] == "same"
    assert ann["token"] != ben["token"]
    assert ann["receipt_number"] != ben["receipt_number"]


async def test_a_sale_id_is_looked_up_among_ones_own(vendors: Vendors) -> None:
    for name in ("ann", "ben"):
        reply = await vendors.api.get(f"{SALES}/same", name)

        assert reply.json == vendors.sales[name]


async def test_another_vendors_sale_id_is_simply_unknown(vendors: Vendors) -> None:
    body = {"sale_id": "only-ann", "meter": vendors.meters["ann"], "tendered": "116.00"}
    await vendors.api.post(SALES, "ann", json=body)

    hers = await vendors.api.get(f"{SALES}/only-ann", "ben")
    nobodys = await vendors.api.get(f"{SALES}/never-sold", "ben")
    receipt = await vendors.api.get(f"{SALES}/only-ann/receipt", "ben")

    assert (hers.status, hers.code) == (404, "sale_unknown")
    assert hers.json["detail"] == nobodys.json["detail"]
    assert (receipt.status, receipt.code) == (404, "sale_unknown")


@pytest.mark.parametrize("kind", ["json", "text", "html"])
async def test_another_vendors_receipt_is_as_unknown_as_one_that_never_was(
    vendors: Vendors, kind: str
) -> None:
    url = vendors.sales["ann"]["receipt_url"]

    hers = await vendors.api.get(f"{url}?format={kind}", "ben")
    nobodys = await vendors.api.get(f"/api/v1/receipts/R99999999?format={kind}", "ben")

    assert (hers.status, hers.code) == (404, "receipt_unknown")
    assert hers.json["detail"] == nobodys.json["detail"]


async def test_lists_of_sales_hold_ones_own_only(vendors: Vendors) -> None:
    for name in ("ann", "ben"):
        mine = (await vendors.api.get(SALES, name)).json["items"]

        assert [sale["sold_by"] for sale in mine] == [name]


async def test_the_sales_of_a_meter_are_shown_to_whom_they_belong(vendors: Vendors) -> None:
    of_ann = f"meter={vendors.meters['ann']}"

    by_ben = (await vendors.api.get(f"{SALES}?{of_ann}", "ben")).json["items"]
    by_ann = (await vendors.api.get(f"{SALES}?{of_ann}", "ann")).json["items"]

    assert (len(by_ben), len(by_ann)) == (0, 1)


async def test_the_tokens_of_a_meter_are_shown_to_whom_they_belong_and_never_whole(
    vendors: Vendors,
) -> None:
    path = f"/api/v1/meters/{vendors.meters['ann']}/tokens"

    by_ben = await vendors.api.get(path, "ben")
    by_ann = await vendors.api.get(path, "ann")

    token = vendors.sales["ann"]["token"]
    assert by_ben.json["items"] == []
    assert by_ann.json["items"][0]["token_masked"] == f"****...{token[-4:]}"
    assert token.encode() not in by_ann.content


async def test_events_are_ones_own_sales_only(vendors: Vendors) -> None:
    path = "/api/v1/events?after=0"

    by_ben = (await vendors.api.get(path, "ben")).json["items"]
    by_eye = (await vendors.api.get(path, "eye")).json["items"]

    assert {event["meter"] for event in by_ben} == {vendors.meters["ben"]}
    assert {event["meter"] for event in by_eye} == set(vendors.meters.values())


async def test_events_of_anothers_meter_are_none(vendors: Vendors) -> None:
    path = f"/api/v1/events?after=0&meter={vendors.meters['ann']}"

    assert (await vendors.api.get(path, "ben")).json["items"] == []


async def test_lists_of_commands_are_not_for_vendors(vendors: Vendors) -> None:
    everyones = (await vendors.api.get("/api/v1/commands", "eye")).json["items"]
    command_id = everyones[0]["id"]

    for path in (
        "/api/v1/commands",
        f"/api/v1/commands/{command_id}",
        f"/api/v1/meters/{vendors.meters['ann']}/commands",
    ):
        reply = await vendors.api.get(path, "ann")

        assert (reply.status, reply.code) == (403, "right_missing")


async def test_no_list_and_no_event_holds_a_token(vendors: Vendors) -> None:
    tokens = [sale["token"].encode() for sale in vendors.sales.values()]
    paths = (
        "/api/v1/events?after=0",
        "/api/v1/commands",
        "/api/v1/overview",
        SALES,
        f"/api/v1/meters/{vendors.meters['ann']}/commands",
        f"/api/v1/meters/{vendors.meters['ann']}",
    )
    for path in paths:
        content = (await vendors.api.get(path, "eye")).content

        assert not any(token in content for token in tokens)


async def test_a_vendor_sees_of_a_customer_what_is_needed_to_recognise_them(
    vendors: Vendors,
) -> None:
    path = f"/api/v1/meters/{vendors.meters['ann']}"

    by_ann = (await vendors.api.get(path, "ann")).json
    by_eye = (await vendors.api.get(path, "eye")).json

    assert (by_ann["customer"], by_ann["address"]) == ("A**** O*****", None)
    assert (by_eye["customer"], by_eye["address"]) == ("Amina Otieno", "1 Lake Road")


@pytest.mark.parametrize("text", ["Amina", "Otieno", "Lake Road"])
async def test_a_vendor_cannot_search_for_what_it_may_not_see(vendors: Vendors, text: str) -> None:
    by_ann = await vendors.api.get(f"/api/v1/meters?q={text}", "ann")
    by_eye = await vendors.api.get(f"/api/v1/meters?q={text}", "eye")

    assert (len(by_ann.json["items"]), len(by_eye.json["items"])) == (0, 2)


async def test_a_vendor_still_finds_a_meter_by_part_of_its_number(vendors: Vendors) -> None:
    number = vendors.meters["ann"]

    found = await vendors.api.get(f"/api/v1/meters?q={number[4:]}", "ann")

    assert [each["number"] for each in found.json["items"]] == [number]


async def test_what_a_meter_reported_is_hidden_from_whom_readings_are_not_for(
    vendors: Vendors,
) -> None:
    vendors.api.sql(
        "UPDATE device SET register = 1000, credit_balance = 2000, credit_total = 3000,"
        " measured_us = 5"
    )
    names = ("register", "credit_total", "measured_at", "credit_balance")

    for path, of in (("", lambda body: body["items"][0]), (f"/{vendors.meters['ann']}", dict)):
        by_ann = of((await vendors.api.get(f"/api/v1/meters{path}", "ann")).json)
        by_eye = of((await vendors.api.get(f"/api/v1/meters{path}", "eye")).json)

        # What is left is for whoever sells, who is asked for it; use and habits are not.
        assert [by_ann[name] for name in names] == [None, None, None, "2.0"]
        assert [by_eye[name] for name in names[:2]] == ["1.0", "3.0"]


async def test_who_may_see_all_sales_finds_any_receipt(vendors: Vendors) -> None:
    for name in ("ann", "ben"):
        reply = await vendors.api.get(vendors.sales[name]["receipt_url"], "eye")

        assert reply.json["sale_id"] == "same"


# --- another utility on the same server ---------------------------------------------------------


@pytest.fixture
async def stranger(vendors: Vendors) -> str:
    """An administrator of another utility, who has a meter of their own."""
    api = vendors.api
    other = await SmallUtility(api.database, epoch_us(api.clock.now()), code="other").make()
    await other.add_tariff(tariff_document("electricity"))
    await other.add_principal("stranger", "admin")
    made = await api.principals.add_key(
        LOCAL, other.utility_id, name="stranger", label="test", reason="test"
    )
    api.keys["stranger"] = made.text
    return "stranger"


async def test_nothing_of_one_utility_is_found_from_another(
    vendors: Vendors, stranger: str
) -> None:
    meter = vendors.meters["ann"]
    command_id = (await vendors.api.get("/api/v1/commands", "eye")).json["items"][0]["id"]
    paths = (
        vendors.sales["ann"]["receipt_url"],
        f"{SALES}/same",
        f"{SALES}?meter={meter}",
        f"/api/v1/meters/{meter}",
        f"/api/v1/meters/{meter}/tokens",
        f"/api/v1/meters/{meter}/commands",
        f"/api/v1/meters/{meter}/readings",
        f"/api/v1/commands/{command_id}",
        f"/api/v1/events?meter={meter}",
    )
    for path in paths:
        reply = await vendors.api.get(path, stranger)

        assert reply.status == 404, path


async def test_the_lists_of_another_utility_are_empty(vendors: Vendors, stranger: str) -> None:
    for path in ("sales", "meters", "commands", "events?after=0", "alarms"):
        reply = await vendors.api.get(f"/api/v1/{path}", stranger)

        assert reply.json["items"] == [], path


async def test_the_overview_of_another_utility_counts_nothing_of_ours(
    vendors: Vendors, stranger: str
) -> None:
    ours = (await vendors.api.get("/api/v1/overview", "eye")).json
    theirs = (await vendors.api.get("/api/v1/overview", stranger)).json

    assert (ours["sales"]["count"], theirs["sales"]["count"]) == (2, 0)
    assert (ours["meters"]["total"], theirs["meters"]["total"]) == (2, 0)


async def test_the_overview_counts_frames_set_aside_of_its_own_devices_only(
    vendors: Vendors, stranger: str
) -> None:
    for number, address in ((1, vendors.meters["ann"]), (2, "nobody-knows-me")):
        vendors.api.sql(
            "INSERT INTO frame (id, medium, address, path, payload, received_us)"
            " SELECT ?, min(medium), ?, 'm', x'00', 1 FROM device",
            number,
            address,
        )
        vendors.api.sql(
            "INSERT INTO quarantine (frame_id, code, message, at_us) VALUES (?, 'x', 'x', 1)",
            number,
        )

    ours = (await vendors.api.get("/api/v1/overview", "eye")).json
    theirs = (await vendors.api.get("/api/v1/overview", stranger)).json

    assert (ours["quarantined"], theirs["quarantined"]) == (1, 0)


async def test_a_meter_of_another_utility_cannot_be_sold_for_or_commanded(
    vendors: Vendors, stranger: str
) -> None:
    meter = vendors.meters["ann"]
    sale = {"sale_id": "x", "meter": meter, "tendered": "116.00"}
    command = {"kind": "read_now", "reason": "curious"}

    sold = await vendors.api.post(SALES, stranger, json=sale)
    sent = await vendors.api.post(f"/api/v1/meters/{meter}/commands", stranger, json=command)

    assert (sold.status, sold.code) == (404, "meter_unknown")
    assert (sent.status, sent.code) == (404, "meter_unknown")


async def test_a_command_of_another_utility_cannot_be_confirmed(
    vendors: Vendors, stranger: str
) -> None:
    command_id = (await vendors.api.get("/api/v1/commands", "eye")).json["items"][0]["id"]

    reply = await vendors.api.post(
        f"/api/v1/commands/{command_id}/confirm", stranger, json={"reason": "curious"}
    )

    assert (reply.status, reply.code) == (404, "command_unknown")
