"""Any token leads back to who sold it; to see one that somebody else sold is itself an act."""

from __future__ import annotations

from typing import Any

import pytest

from slotmeter.testing.api_town import ApiTown, Reply

pytestmark = pytest.mark.both_databases

SALES = "/api/v1/sales"
TRACES = "/api/v1/audit/traces"


@pytest.fixture
async def sold(api: ApiTown) -> dict[str, Any]:
    await api.join("till", "vendor")
    await api.join("auditor", "auditor")
    await api.join("viewer", "viewer")
    meter = await api.utility.add_meter("electricity")
    body = {"sale_id": "till-1", "meter": meter.number, "tendered": "116.00"}
    reply = await api.post(SALES, "till", json=body)
    assert reply.status == 201
    answer: dict[str, Any] = reply.json
    return answer


async def traced(api: ApiTown, who: str, **body: Any) -> Reply:
    return await api.post(TRACES, who, json=body)


async def acts(api: ApiTown) -> list[tuple[Any, ...]]:
    rows = api.sql("SELECT subject, principal_id FROM act WHERE what = 'token.read'")
    return [tuple(row) for row in rows]


async def test_a_token_leads_to_who_sold_it_where_when_and_for_how_much(
    api: ApiTown, sold: dict[str, Any]
) -> None:
    reply = await traced(api, "auditor", token=sold["token"])

    found = reply.json
    assert reply.status == 200
    assert found["receipt_number"] == sold["receipt_number"]
    assert (found["seller"]["principal"], found["seller"]["branch"]) == ("till", "head")
    assert (found["tendered"], found["quantity"]) == ("116.00", sold["units"])
    assert found["sold_at"] == sold["sold_at"]
    assert found["meter"] == sold["meter"]


async def test_a_trace_names_the_version_of_the_tariff(api: ApiTown, sold: dict[str, Any]) -> None:
    found = (await traced(api, "auditor", token=sold["token"])).json

    assert found["tariff"]["code"] == "domestic-electricity"
    assert found["tariff"]["version"] == 1


async def test_a_trace_says_how_the_token_goes_to_the_meter(
    api: ApiTown, sold: dict[str, Any]
) -> None:
    found = (await traced(api, "auditor", token=sold["token"])).json

    assert found["delivery"]["state"] == "pending"
    assert [step["state"] for step in found["steps"]] == ["queued"]
    assert [token["state"] for token in found["tokens"]] == ["issued"]


async def test_the_postings_of_a_trace_sum_to_zero(api: ApiTown, sold: dict[str, Any]) -> None:
    found = (await traced(api, "auditor", receipt_number=sold["receipt_number"])).json

    amounts = [int(posting["amount"].replace(".", "")) for posting in found["postings"]]
    assert len(amounts) >= 2
    assert sum(amounts) == 0


async def test_two_entries_of_the_chain_vouch_for_a_sale(
    api: ApiTown, sold: dict[str, Any]
) -> None:
    found = (await traced(api, "auditor", receipt_number=sold["receipt_number"])).json

    begun, booked = found["entries"]
    assert begun["entry"] < booked["entry"]
    assert begun["group"] <= booked["group"]


async def test_blanks_in_a_token_do_not_matter(api: ApiTown, sold: dict[str, Any]) -> None:
    token = sold["token"]
    blanks = " ".join(token[at : at + 4] for at in range(0, 20, 4))

    assert (await traced(api, "auditor", token=blanks)).status == 200


async def test_who_sees_the_token_of_somebody_elses_sale_leaves_an_act(
    api: ApiTown, sold: dict[str, Any]
) -> None:
    found = (await traced(api, "auditor", receipt_number=sold["receipt_number"])).json

    who = api.callers["auditor"].principal.id
    assert found["tokens"][0]["digits"] == sold["token"]
    assert await acts(api) == [(sold["receipt_number"], who)]


async def test_who_may_not_see_tokens_gets_them_masked_and_leaves_no_act(
    api: ApiTown, sold: dict[str, Any]
) -> None:
    found = (await traced(api, "viewer", receipt_number=sold["receipt_number"])).json

    assert found["tokens_in_clear"] is False
    assert found["tokens"][0]["digits"] == "*" * 16 + sold["token"][-4:]
    assert await acts(api) == []


async def test_a_seller_alone_may_not_trace(api: ApiTown, sold: dict[str, Any]) -> None:
    reply = await traced(api, "till", token=sold["token"])

    assert (reply.status, reply.json["code"]) == (403, "right_missing")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"token": "1" * 20}, "token_unknown"),
        ({"token": "x" * 20}, "token_unknown"),
        ({"receipt_number": "R99999999"}, "receipt_unknown"),
    ],
)
async def test_what_was_not_sold_here_is_not_found(
    api: ApiTown, sold: dict[str, Any], body: dict[str, Any], code: str
) -> None:
    reply = await traced(api, "auditor", **body)

    assert (reply.status, reply.json["code"]) == (404, code)


@pytest.mark.parametrize("body", [{}, {"token": "1" * 20, "receipt_number": "R1"}])
async def test_a_trace_is_of_a_token_or_of_a_receipt(
    api: ApiTown, sold: dict[str, Any], body: dict[str, Any]
) -> None:
    assert (await traced(api, "auditor", **body)).status == 422
