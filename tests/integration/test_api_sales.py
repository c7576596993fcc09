"""Selling over HTTP: quotes, sales, receipts, and everything that must be refused."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import meter_number

pytestmark = pytest.mark.both_databases

SALES = "/api/v1/sales"
QUOTES = "/api/v1/quotes"
WRITTEN = ("sale", "token", "journal", "posting", "event")


def sale_of(meter: str, /, **changes: Any) -> dict[str, Any]:
    return {"sale_id": "till-1", "meter": meter, "tendered": "116.00"} | changes


def rows_written(api: ApiTown) -> dict[str, int]:
    return {table: api.sql(f"SELECT count(*) FROM {table}")[0][0] for table in WRITTEN}  # noqa: S608  our own names


@pytest.fixture
async def meter(api: ApiTown) -> str:
    """The number of an electricity meter; a vendor named till may sell for it."""
    await api.join("till", "vendor")
    return (await api.utility.add_meter("electricity", purchase_max_minor=100_000)).number


async def test_a_sale_is_answered_201_with_its_token_and_the_price_of_it(
    api: ApiTown, meter: str
) -> None:
    reply = await api.post(SALES, "till", json=sale_of(meter))

    assert reply.status == 201
    assert len(reply.json["token"]) == 20
    assert (reply.json["tendered"], reply.json["currency"]) == ("116.00", "KES")
    assert (reply.json["units"], reply.json["unit"]) == ("5.0", "kWh")
    assert reply.json["sold_at"] == "2026-11-21T09:30:00.000000Z"
    assert reply.json["delivery"]["state"] == "pending"


async def test_the_same_request_again_is_answered_200_with_the_same_body(
    api: ApiTown, meter: str
) -> None:
    first = await api.post(SALES, "till", json=sale_of(meter))
    api.clock.advance(seconds=60)
    again = await api.post(SALES, "till", json=sale_of(meter))

    assert (first.status, again.status) == (201, 200)
    assert again.content == first.content


async def test_an_amount_may_be_a_whole_number(api: ApiTown, meter: str) -> None:
    first = await api.post(SALES, "till", json=sale_of(meter, tendered=116))
    again = await api.post(SALES, "till", json=sale_of(meter, tendered="116.00"))

    assert (first.status, again.status) == (201, 200)


async def test_the_same_sale_id_for_another_amount_is_409(api: ApiTown, meter: str) -> None:
    await api.post(SALES, "till", json=sale_of(meter))

    reply = await api.post(SALES, "till", json=sale_of(meter, tendered="117.00"))

    assert (reply.status, reply.code, reply.json["field"]) == (409, "sale_id_reused", "sale_id")


async def test_a_quote_shows_the_lines_and_books_nothing(api: ApiTown, meter: str) -> None:
    before = rows_written(api)

    reply = await api.post(QUOTES, "till", json={"meter": meter, "tendered": "116.00"})

    assert reply.status == 200
    assert reply.json["trial"] is True
    assert reply.json["customer"] == "A**** O*****"
    assert [line["amount"] for line in reply.json["lines"]] == ["100.00", "16.00"]
    assert rows_written(api) == before


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"meter": meter_number(1)[:-1] + "9"}, 422, "wrong_check_digit", "meter"),
        ({"meter": "123"}, 422, "bad_drn", "meter"),
        ({"meter": meter_number(999)}, 404, "meter_unknown", "meter"),
        ({"meter": 7}, 422, "not_text", "meter"),
        ({"meter": ""}, 422, "too_short", "meter"),
        ({"meter": "1" * 65}, 422, "too_long", "meter"),
        ({"tendered": "0"}, 422, "amount_not_positive", "tendered"),
        ({"tendered": 0}, 422, "amount_not_positive", "tendered"),
        ({"tendered": "-5.00"}, 422, "amount_not_positive", "tendered"),
        ({"tendered": "116.005"}, 422, "amount_too_precise", "tendered"),
        ({"tendered": "1000.01"}, 422, "above_maximum", "tendered"),
        ({"tendered": "9.99"}, 422, "below_minimum", "tendered"),
        ({"tendered": "9" * 13}, 422, "amount_too_large", "tendered"),
        ({"tendered": "1e3"}, 422, "amount_malformed", "tendered"),
        ({"tendered": "NaN"}, 422, "amount_malformed", "tendered"),
        ({"tendered": "\u0661\u0660\u0660"}, 422, "amount_malformed", "tendered"),
        ({"tendered": ""}, 422, "too_short", "tendered"),
        ({"tendered": "1" * 33}, 422, "too_long", "tendered"),
        ({"tendered": 116.5}, 422, "amount_is_float", "tendered"),
        ({"tendered": True}, 422, "not_text", "tendered"),
        ({"tendered": None}, 422, "not_text", "tendered"),
        ({"sale_id": "with space"}, 422, "bad_format", "sale_id"),
        ({"sale_id": ""}, 422, "too_short", "sale_id"),
        ({"sale_id": "x" * 65}, 422, "too_long", "sale_id"),
        ({"channel": "pigeon"}, 422, "not_one_of", "channel"),
        ({"discount": "10"}, 422, "unknown_field", "discount"),
    ],
)
async def test_a_bad_field_is_named_with_its_code_and_nothing_is_written(
    api: ApiTown, meter: str, change: dict[str, Any], status: int, code: str, field: str
) -> None:
    before = rows_written(api)

    reply = await api.post(SALES, "till", json=sale_of(meter, **change))

    assert (reply.status, reply.code, reply.json["field"]) == (status, code, field)
    assert rows_written(api) == before


@pytest.mark.parametrize("name", ["sale_id", "meter", "tendered"])
async def test_a_field_that_is_missing_is_named(api: ApiTown, meter: str, name: str) -> None:
    body = sale_of(meter)
    del body[name]

    reply = await api.post(SALES, "till", json=body)

    assert (reply.status, reply.code, reply.json["field"]) == (422, "field_missing", name)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"not json", b'{"sale_id": "a",}', b"\xff\xfe", b"[" * 5_000]
)
async def test_a_body_that_is_not_json_is_400(api: ApiTown, meter: str, content: bytes) -> None:
    before = rows_written(api)

    reply = await api.post(SALES, "till", data=content)

    assert (reply.status, reply.code) == (400, "not_json")
    assert rows_written(api) == before


@pytest.mark.parametrize("content", [b"[]", b'"sale"', b"1", b"null"])
async def test_json_that_is_no_object_is_422(api: ApiTown, meter: str, content: bytes) -> None:
    reply = await api.post(SALES, "till", data=content)

    assert (reply.status, reply.code) == (422, "not_an_object")


async def test_a_body_above_the_limit_is_413_and_nothing_is_written(
    api: ApiTown, meter: str
) -> None:
    before = rows_written(api)

    reply = await api.post(SALES, "till", data=b" " * 65_537)

    assert (reply.status, reply.code) == (413, "body_too_large")
    assert rows_written(api) == before


async def test_what_a_body_held_is_not_repeated_in_a_problem(api: ApiTown, meter: str) -> None:
    reply = await api.post(SALES, "till", json=sale_of(meter, tendered="sesame"))

    assert b"sesame" not in reply.content


@pytest.mark.parametrize(
    ("query", "kind", "holds"),
    [
        ("", "application/json", b'"title":"TAX INVOICE"'),
        ("?format=text", "text/plain; charset=utf-8", b"TAX INVOICE"),
        ("?format=text&width=58", "text/plain; charset=utf-8", b"TAX INVOICE"),
        ("?format=html", "text/html; charset=utf-8", b"<h1>Small Town Utilities</h1>"),
    ],
)
async def test_a_receipt_is_json_text_or_a_page(
    api: ApiTown, meter: str, query: str, kind: str, holds: bytes
) -> None:
    sold = (await api.post(SALES, "till", json=sale_of(meter))).json

    by_number = await api.get(sold["receipt_url"] + query, "till")
    by_sale = await api.get(f"{SALES}/till-1/receipt{query}", "till")

    assert (by_number.status, by_number.headers["Content-Type"]) == (200, kind)
    assert holds in by_number.content
    assert by_sale.content == by_number.content


async def test_a_receipt_in_another_format_is_refused(api: ApiTown, meter: str) -> None:
    sold = (await api.post(SALES, "till", json=sale_of(meter))).json

    reply = await api.get(sold["receipt_url"] + "?format=pdf", "till")

    assert (reply.status, reply.code, reply.json["field"]) == (422, "not_one_of", "format")


async def test_a_sale_between_its_two_commits_has_no_receipt_yet(api: ApiTown, meter: str) -> None:
    await api.post(SALES, "till", json=sale_of(meter))
    api.sql("UPDATE sale SET state = 'pending', receipt = NULL")

    reply = await api.get(f"{SALES}/till-1/receipt", "till")

    assert (reply.status, reply.code) == (404, "receipt_unknown")


async def test_sales_are_listed_newest_first_in_pages(api: ApiTown, meter: str) -> None:
    for number in range(5):
        await api.post(SALES, "till", json=sale_of(meter, sale_id=f"s{number}"))

    first = (await api.get(f"{SALES}?limit=3", "till")).json
    second = (await api.get(f"{SALES}?limit=3&before={first['next']}", "till")).json

    assert [sale["sale_id"] for sale in first["items"]] == ["s4", "s3", "s2"]
    assert [sale["sale_id"] for sale in second["items"]] == ["s1", "s0"]
    assert second["next"] is None


async def test_sales_are_listed_by_meter_and_by_time(api: ApiTown, meter: str) -> None:
    other = (await api.utility.add_meter("water")).number
    await api.post(SALES, "till", json=sale_of(meter, sale_id="old"))
    api.clock.advance(hours=2)
    await api.post(SALES, "till", json=sale_of(meter, sale_id="new"))
    await api.post(SALES, "till", json=sale_of(other, sale_id="water"))

    of_meter = (await api.get(f"{SALES}?meter={meter}&from=2026-11-21T10:00:00Z", "till")).json
    of_time = (await api.get(f"{SALES}?to=2026-11-21T10:00:00Z", "till")).json

    assert [sale["sale_id"] for sale in of_meter["items"]] == ["new"]
    assert [sale["sale_id"] for sale in of_time["items"]] == ["old"]


@pytest.mark.parametrize(
    ("query", "sale_ids"),
    [
        ("commodity=water", ["w2", "w1"]),
        ("commodity=water&limit=1", ["w2"]),
        ("commodity=electricity", ["e1"]),
        ("commodity=gas", []),
    ],
)
async def test_sales_are_listed_by_commodity(
    api: ApiTown, meter: str, query: str, sale_ids: list[str]
) -> None:
    water = (await api.utility.add_meter("water")).number
    for sale_id, number in (("w1", water), ("e1", meter), ("w2", water)):
        await api.post(SALES, "till", json=sale_of(number, sale_id=sale_id))

    found = (await api.get(f"{SALES}?{query}", "till")).json

    assert [sale["sale_id"] for sale in found["items"]] == sale_ids


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("limit=0", "out_of_range", "limit"),
        ("limit=501", "out_of_range", "limit"),
        ("limit=ten", "not_an_integer", "limit"),
        ("before=99999999999999999999", "out_of_range", "before"),
        ("from=yesterday", "not_a_time", "from"),
        ("from=2026-11-21T10:00:00", "not_a_time", "from"),
        ("colour=red", "unknown_field", "colour"),
        ("commodity=steam", "not_one_of", "commodity"),
        ("limit=1&limit=2", "field_doubled", "limit"),
    ],
)
async def test_a_bad_parameter_is_named(
    api: ApiTown, meter: str, query: str, code: str, field: str
) -> None:
    reply = await api.get(f"{SALES}?{query}", "till")

    assert (reply.status, reply.code, reply.json["field"]) == (422, code, field)


async def test_a_parameter_on_a_path_without_any_is_refused(api: ApiTown, meter: str) -> None:
    reply = await api.post(f"{SALES}?sale_id=x", "till", json=sale_of(meter))

    assert (reply.status, reply.code, reply.json["field"]) == (422, "unknown_field", "sale_id")


async def test_two_hundred_sales_at_once_to_one_meter_give_two_hundred_tokens(
    api: ApiTown, meter: str
) -> None:
    replies = await asyncio.gather(
        *(api.post(SALES, "till", json=sale_of(meter, sale_id=f"s{at}")) for at in range(200))
    )

    assert {reply.status for reply in replies} == {201}
    assert len({reply.json["token"] for reply in replies}) == 200


async def test_a_key_that_cannot_be_used_now_is_503_and_the_sale_waits(
    api: ApiTown, meter: str
) -> None:
    await api.selling._security.close()

    reply = await api.post(SALES, "till", json=sale_of(meter))

    assert (reply.status, reply.code) == (503, "token_not_made")
    assert reply.headers["Retry-After"] == "1"
    assert api.sql("SELECT state FROM sale WHERE sale_id = 'till-1'") == [("pending",)]


async def test_a_key_that_is_gone_is_422_and_the_sale_is_voided(api: ApiTown, meter: str) -> None:
    api.sql("UPDATE meter SET key_id = 'gone'")

    reply = await api.post(SALES, "till", json=sale_of(meter))
    again = await api.post(SALES, "till", json=sale_of(meter))

    assert (reply.status, reply.code) == (422, "token_cannot_be_made")
    assert (again.status, again.code) == (422, "token_cannot_be_made")
    assert (await api.get(f"{SALES}/till-1", "till")).json["state"] == "voided"


async def test_a_quote_explains_every_part_of_the_tender(api: ApiTown) -> None:
    await api.utility.add_tariff(
        {
            "tariff": "explained",
            "title": "Explained",
            "commodity": "electricity",
            "currency": "KES",
            "energy": {"blocks": [{"to": "50", "price": "2"}, {"price": "10"}]},
            "taxes": {"vat": {"label": "VAT", "percent": "16", "on": ["energy", "service"]}},
            "fixed": {"service": {"label": "Service", "amount": "20"}},
            "free_units": {"basic": {"label": "Basic", "units": "5", "registered": False}},
        }
    )
    meter = await api.utility.add_meter(tariff="explained")
    await api.join("till", "vendor")

    quote = await api.post(QUOTES, "till", json={"meter": meter.number, "tendered": "100"})

    body = quote.json
    assert sum(Decimal(line["amount"]) for line in body["lines"]) == 100
    assert [line["code"] for line in body["lines"]][:2] == ["service", "block1"]
    assert body["lines"][0]["period"] == "2026-11"
    assert [free["code"] for free in body["free"]] == ["basic"]
    assert (body["outlook"]["block"], body["outlook"]["first_of_month_units"]) == (1, body["units"])
