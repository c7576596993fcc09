"""Any token leads back to who sold it; to see one that somebody else sold is itself an act."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slotmeter.security.software import SoftwareSecurityModule
from slotmeter.testing.api_town import ApiTown, Reply
from slotmeter.testing.small_utility import VENDING_KEY, SmallMeter, meter_number

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


# --- tokens that no sale made ---------------------------------------------------------------------

SOLE_TRACES = "/api/v1/audit/token-traces"
NEW_KEY = "krn-2"


@pytest.fixture
async def meter(api: ApiTown) -> SmallMeter:
    """A meter, a key that it can be changed to, and people who make and who look."""
    vault = SoftwareSecurityModule.open(api.path.parent)
    await vault.load(NEW_KEY, replace(VENDING_KEY, key=VENDING_KEY.key[::-1], krn=2))
    await vault.close()
    await api.join("till", "vendor", kind="service")
    await api.join("boss", "supervisor")
    await api.join("auditor", "auditor")
    await api.join("viewer", "viewer")
    return await api.utility.add_meter(online=False)


async def cleared(api: ApiTown, meter: SmallMeter) -> dict[str, Any]:
    """Make a token that clears tamper."""
    body = {"request_id": "m1", "kind": "clear_tamper", "reason": "a truck hit the wall"}
    reply = await api.post(f"/api/v1/meters/{meter.number}/tokens", "boss", json=body)
    assert reply.status == 201
    made: dict[str, Any] = reply.json
    return made


async def test_a_management_token_leads_to_who_asked_for_it_from_where_and_why(
    api: ApiTown, meter: SmallMeter
) -> None:
    made = await cleared(api, meter)

    reply = await api.post(SOLE_TRACES, "auditor", json={"token": made["digits"]})

    found, act = reply.json, reply.json["act"]
    assert (found["meter"], found["token"]["purpose"]) == (meter.number, "clear_tamper")
    assert (act["what"], act["by"], act["reason"]) == (
        "token.manage",
        "boss",
        "a truck hit the wall",
    )
    assert act["address"] == "127.0.0.1"
    assert act["api_key_id"] is not None
    assert found["management_token"] == made["id"]
    assert found["receipts"] == []
    assert len(found["entries"]) == 1


async def test_it_is_masked_for_who_may_not_see_it_and_a_look_is_an_act(
    api: ApiTown, meter: SmallMeter
) -> None:
    made = await cleared(api, meter)

    [seen, masked, own] = [
        (await api.post(SOLE_TRACES, who, json={"token": made["digits"]})).json
        for who in ("auditor", "viewer", "boss")
    ]

    who = api.callers["auditor"].principal.id
    assert (seen["token_in_clear"], seen["token"]["digits"]) == (True, made["digits"])
    assert masked["token"]["digits"] == "*" * 16 + made["digits"][-4:]
    assert own["token_in_clear"] is True
    assert await acts(api) == [(f"token:{seen['token_id']}", who)]


async def test_a_token_of_a_set_leads_to_the_change_and_to_the_sales_that_list_it(
    api: ApiTown, meter: SmallMeter
) -> None:
    path = f"/api/v1/meters/{meter.number}/key-change"
    made = await api.post(path, "boss", json={"key": NEW_KEY, "reason": "new key"})
    body = {"sale_id": "s1", "meter": meter.number, "tendered": "116.00"}
    sold = await api.post(SALES, "till", json=body)
    digits = made.json["tokens"][0]["digits"]

    found = (await api.post(SOLE_TRACES, "boss", json={"token": digits})).json

    assert found["key_change"] == made.json["id"]
    assert (found["act"]["what"], found["act"]["reason"]) == ("key.change", "new key")
    assert found["act"]["data"]["before"]["krn"] == 1
    assert found["act"]["data"]["after"]["krn"] == 2
    assert found["receipts"] == [sold.json["receipt_number"]]


async def test_a_replacement_leads_to_the_token_that_it_stands_for(
    api: ApiTown, meter: SmallMeter
) -> None:
    body = {"sale_id": "s1", "meter": meter.number, "tendered": "116.00"}
    sold = await api.post(SALES, "till", json=body)
    path = f"/api/v1/meters/{meter.number}/key-change"
    change = await api.post(path, "boss", json={"key": NEW_KEY, "reason": "new key"})
    at = f"/api/v1/key-changes/{change.json['id']}"
    await api.post(f"{at}/declare", "boss", json={"reason": "the customer says so"})
    asked = {"token": change.json["unused"][0]["token"], "reason": "never typed"}
    made = await api.post(f"{at}/replacements", "boss", json=asked)

    found = (await api.post(SOLE_TRACES, "boss", json={"token": made.json["digits"]})).json

    assert (found["token"]["purpose"], found["token"]["amount"]) == ("replacement", "5.0")
    assert found["act"]["what"] == "key.replace"
    assert found["act"]["data"]["before"]["receipt_number"] == sold.json["receipt_number"]


async def test_the_credit_of_a_swapped_meter_leads_to_the_swap(
    api: ApiTown, meter: SmallMeter
) -> None:
    body = {
        "request_id": "w1",
        "new": meter_number(900),
        "credit": "12.3",
        "reason": "the display was dark",
    }
    swapped = await api.post(f"/api/v1/meters/{meter.number}/swap", "boss", json=body)
    assert swapped.status == 201, swapped.content

    found = (await api.post(SOLE_TRACES, "boss", json={"token": swapped.json["token"]})).json

    assert (found["act"]["what"], found["act"]["by"]) == ("ledger.swap", "boss")
    assert found["act"]["data"]["old"] == meter.number
    assert found["meter"] == meter_number(900)


async def test_a_token_is_traced_by_its_id_as_well(api: ApiTown, meter: SmallMeter) -> None:
    made = await cleared(api, meter)
    by_digits = (await api.post(SOLE_TRACES, "boss", json={"token": made["digits"]})).json

    reply = await api.post(SOLE_TRACES, "boss", json={"token_id": by_digits["token_id"]})

    assert reply.json == by_digits


@pytest.mark.parametrize(
    ("body", "status"),
    [({"token": "1" * 20}, 404), ({"token_id": 1}, 404), ({}, 422), ({"token_id": 0}, 422)],
)
async def test_what_was_not_made_here_has_no_trace(
    api: ApiTown, meter: SmallMeter, body: dict[str, Any], status: int
) -> None:
    assert (await api.post(SOLE_TRACES, "auditor", json=body)).status == status
