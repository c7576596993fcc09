"""Search over HTTP: who finds what, by what, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from slotmeter.services.selling import SellRequest
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import SmallMeter


async def find(api: ApiTown, q: str, who: str = "office", **more: Any) -> list[dict[str, Any]]:
    reply = await api.post("/api/v1/search", who, json={"q": q, **more})
    assert reply.status == 200, reply.json
    items: list[dict[str, Any]] = reply.json["items"]
    return items


@pytest.fixture
async def meters(api: ApiTown) -> list[SmallMeter]:
    await api.join("office", "office")
    await api.join("till", "vendor")
    await api.join("other till", "vendor")
    return [await api.utility.add_meter(online=False) for _ in range(3)]


async def sell(api: ApiTown, meter: SmallMeter) -> Any:
    sale, _ = await api.selling.sell(api.callers["till"], SellRequest("s1", meter.number, "116.00"))
    return sale


async def test_a_number_is_found_by_how_it_begins(api: ApiTown, meters: list[SmallMeter]) -> None:
    whole = await find(api, meters[1].number)
    begins = await find(api, meters[1].number[:8])

    assert [(hit["by"], hit["meter"]) for hit in whole] == [("meter", meters[1].number)]
    assert [hit["meter"] for hit in begins] == sorted(meter.number for meter in meters)


async def test_an_account_and_a_customer_are_found_by_number(
    api: ApiTown, meters: list[SmallMeter]
) -> None:
    by_account = await find(api, "A0002")
    by_customer = await find(api, "C0003")

    assert [(hit["by"], hit["meter"]) for hit in by_account] == [("account", meters[1].number)]
    assert [(hit["by"], hit["meter"]) for hit in by_customer] == [("customer", meters[2].number)]


@pytest.mark.parametrize("q", ["otieno", "OTIÉNO am", "lake 2", "2 Lake Road", "north amina"])
async def test_words_are_found_in_any_order_without_case_and_accents(
    api: ApiTown, meters: list[SmallMeter], q: str
) -> None:
    found = await find(api, q)

    assert meters[1].number in [hit["meter"] for hit in found]
    assert {hit["by"] for hit in found} == {"words"}


async def test_every_word_must_be_there(api: ApiTown, meters: list[SmallMeter]) -> None:
    assert await find(api, "amina harbour") == []


async def test_pages_follow_each_other_without_gap_or_repeat(
    api: ApiTown, meters: list[SmallMeter]
) -> None:
    seen, after = [], None
    for _ in range(4):
        body = {"q": "lake", "limit": 1, **({} if after is None else {"after": after})}
        reply = await api.post("/api/v1/search", "office", json=body)
        seen += [hit["meter"] for hit in reply.json["items"]]
        after = reply.json["next"]
        if after is None:
            break

    assert seen == [meter.number for meter in meters]
    assert after is None


async def test_a_page_goes_on_with_the_next_kind(api: ApiTown, meters: list[SmallMeter]) -> None:
    api.sql("UPDATE customer SET number = ? || 'x' WHERE number = 'C0001'", meters[0].number)
    first = await api.post("/api/v1/search", "office", json={"q": meters[0].number, "limit": 1})
    second = await find(api, meters[0].number, limit=1, after=first.json["next"])

    assert [hit["by"] for hit in first.json["items"]] == ["meter"]
    assert [(hit["by"], hit["meter"]) for hit in second] == [("customer", meters[0].number)]


@pytest.mark.parametrize("written", ["plain", "spaced"])
async def test_a_token_leads_to_its_sale_and_is_not_repeated(
    api: ApiTown, meters: list[SmallMeter], written: str
) -> None:
    sale = await sell(api, meters[0])
    digits = sale.token
    q = digits if written == "plain" else " ".join(digits[at : at + 4] for at in range(0, 20, 4))

    reply = await api.post("/api/v1/search", "office", json={"q": q})

    (hit,) = reply.json["items"]
    assert (hit["by"], hit["receipt_number"]) == ("token", sale.receipt_number)
    assert (hit["meter"], hit["sold_by"], hit["tendered"]) == (meters[0].number, "till", "116.00")
    assert digits.encode() not in reply.content


async def test_a_receipt_is_found_in_any_case(api: ApiTown, meters: list[SmallMeter]) -> None:
    sale = await sell(api, meters[0])

    (hit,) = await find(api, sale.receipt_number.lower())

    assert (hit["by"], hit["state"]) == ("receipt", "issued")


async def test_a_till_finds_its_own_sales_alone(api: ApiTown, meters: list[SmallMeter]) -> None:
    sale = await sell(api, meters[0])

    own = await find(api, sale.token, "till")
    foreign = await find(api, sale.token, "other till")

    assert [hit["receipt_number"] for hit in own] == [sale.receipt_number]
    assert foreign == []


async def test_a_till_learns_no_names_and_addresses_by_asking(
    api: ApiTown, meters: list[SmallMeter]
) -> None:
    by_name = await find(api, "otieno", "till")
    (by_number,) = await find(api, meters[0].number, "till")

    assert by_name == []
    assert (by_number["address"], by_number["account"]) == (None, None)
    assert "Otieno" not in by_number["customer"]


@pytest.mark.parametrize(("body", "code"), [({"q": "x"}, "search_too_short")])
async def test_too_little_to_search_for_is_refused(
    api: ApiTown, meters: list[SmallMeter], body: dict[str, Any], code: str
) -> None:
    reply = await api.post("/api/v1/search", "office", json=body)

    assert (reply.status, reply.code) == (422, code)


async def test_a_cursor_of_ones_own_making_is_refused(
    api: ApiTown, meters: list[SmallMeter]
) -> None:
    reply = await api.post("/api/v1/search", "office", json={"q": "lake", "after": "nonsense"})

    assert (reply.status, reply.code) == (422, "bad_cursor")
