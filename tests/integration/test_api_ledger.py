"""The ledger over HTTP: what is looked at, what is done once, and who may."""

from __future__ import annotations

from typing import Any

import pytest

from slotmeter.services.sale_begin import SellRequest
from slotmeter.services.sale_views import SaleView
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import meter_number

DECLARED = "the customer, at the counter"


@pytest.fixture
async def sale(api: ApiTown) -> SaleView:
    """A sale of 116.00 for a keypad meter; boss, clerk, auditor and till have keys."""
    for name, role in (("boss", "supervisor"), ("clerk", "office"), ("auditor", "auditor")):
        await api.join(name, role)
    await api.join("till", "vendor")
    meter = await api.utility.add_meter(online=False)
    till = await api.utility.add_principal("seller", "vendor")
    view, _ = await api.selling.sell(till, SellRequest("s1", meter.number, "116.00"))
    return view


def body(**more: Any) -> dict[str, Any]:
    return {"request_id": "q1", "reason": "wrong customer", **more}


async def test_a_sale_is_taken_back_once_however_often_it_is_sent(
    api: ApiTown, sale: SaleView
) -> None:
    path = f"/api/v1/receipts/{sale.receipt_number}/reversal"

    replies = [await api.post(path, "boss", json=body(declared=DECLARED)) for _ in range(2)]

    assert [reply.status for reply in replies] == [201, 200]
    assert replies[0].json == replies[1].json
    assert replies[0].json["number"] == "K00000001"
    assert replies[0].json["detail"]["evidence"] == "declared"


async def test_a_vendor_takes_nothing_back(api: ApiTown, sale: SaleView) -> None:
    path = f"/api/v1/receipts/{sale.receipt_number}/reversal"

    reply = await api.post(path, "till", json=body(declared=DECLARED))

    assert (reply.status, reply.json["code"]) == (403, "right_missing")


async def test_a_clerk_takes_no_declaration(api: ApiTown, sale: SaleView) -> None:
    path = f"/api/v1/receipts/{sale.receipt_number}/reversal"

    reply = await api.post(path, "clerk", json=body(declared=DECLARED))

    assert (reply.status, reply.json["code"]) == (403, "right_missing")


async def test_a_replacement_answers_with_the_new_sale(api: ApiTown, sale: SaleView) -> None:
    right = await api.utility.add_meter(online=False)
    path = f"/api/v1/receipts/{sale.receipt_number}/replacement"
    wanted = body(meter=right.number, declared=DECLARED)

    replies = [await api.post(path, "boss", json=wanted) for _ in range(2)]

    assert [reply.status for reply in replies] == [201, 200]
    assert replies[0].json["sale"] == replies[1].json["sale"]
    assert replies[0].json["sale"]["meter"] == right.number
    assert len(replies[0].json["sale"]["token"]) == 20
    new = replies[0].json["operation"]["new_receipt_number"]
    assert new == replies[0].json["sale"]["receipt_number"]


async def test_the_trial_balance_is_balanced(api: ApiTown, sale: SaleView) -> None:
    reply = await api.get("/api/v1/ledger/trial-balance", "auditor")

    assert reply.json["balanced"] is True
    till = next(line for line in reply.json["items"] if line["code"] == "till:head")
    assert (till["title"], till["closing"]) == ("Till of head", "116.00")


async def test_the_journal_has_every_posting_of_a_time(api: ApiTown, sale: SaleView) -> None:
    path = "/api/v1/ledger/journal?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z"

    first = (await api.get(f"{path}&limit=2", "auditor")).json
    rest = (await api.get(f"{path}&after={first['next']}", "auditor")).json

    lines = [*first["items"], *rest["items"]]
    assert len(lines) == api.sql("SELECT count(*) FROM posting")[0][0]
    assert {line["receipt_number"] for line in lines} == {sale.receipt_number}


async def test_the_books_are_closed_once(api: ApiTown, sale: SaleView) -> None:
    api.clock.advance(days=1)
    wanted = {"through": "2026-11-21", "reason": "end of day"}

    replies = [await api.post("/api/v1/ledger/periods", "boss", json=wanted) for _ in range(2)]

    assert [reply.status for reply in replies] == [201, 200]
    listed = (await api.get("/api/v1/ledger/periods", "auditor")).json
    assert listed["items"] == [replies[0].json]


async def test_an_auditor_closes_nothing(api: ApiTown, sale: SaleView) -> None:
    wanted = {"through": "2026-11-20", "reason": "end of day"}

    reply = await api.post("/api/v1/ledger/periods", "auditor", json=wanted)

    assert reply.status == 403


async def test_a_seller_pays_in_and_the_list_of_floats_shows_it(
    api: ApiTown, sale: SaleView
) -> None:
    await api.call("PUT", "/api/v1/floats/head/limit", "boss", json=body(limit="200.00"))
    wanted = body(amount="100.00", reference="SLIP 1")

    replies = [
        await api.post("/api/v1/floats/head/deposits", "clerk", json=wanted) for _ in range(2)
    ]

    assert [reply.status for reply in replies] == [201, 200]
    [line] = (await api.get("/api/v1/floats", "auditor")).json["items"]
    assert (line["owes"], line["limit"], line["left"]) == ("16.00", "200.00", "184.00")


async def test_a_slip_is_not_paid_in_twice(api: ApiTown, sale: SaleView) -> None:
    wanted = body(amount="100.00", reference="SLIP 1")
    await api.post("/api/v1/floats/head/deposits", "clerk", json=wanted)

    reply = await api.post(
        "/api/v1/floats/head/deposits", "clerk", json={**wanted, "request_id": "q2"}
    )

    assert (reply.status, reply.json["code"]) == (409, "slip_used")


async def test_a_clerk_sets_no_limit(api: ApiTown, sale: SaleView) -> None:
    reply = await api.call("PUT", "/api/v1/floats/head/limit", "clerk", json=body(limit="200.00"))

    assert reply.status == 403


async def test_commission_is_planned_and_settled(api: ApiTown, sale: SaleView) -> None:
    plan = {
        "when": "settlement",
        "bands": [{"from_tender": "0", "percent": "5"}],
        "per_unit": {"electricity": "0.10"},
        "reason": "contract",
    }
    api.clock.advance(seconds=1)
    made = await api.call("PUT", "/api/v1/floats/head/commission-plan", "boss", json=plan)
    till = await api.utility.add_principal("seller2", "vendor")
    await api.selling.sell(till, SellRequest("s2", sale.meter, "116.00"))
    api.clock.advance(days=1)

    settled = await api.post(
        "/api/v1/floats/head/commission-settlements", "boss", json=body(through="2026-11-21")
    )

    assert (made.status, made.json["bands"]) == (200, [{"from_tender": "0.00", "percent": "5"}])
    # 5 % of 116.00 and 0.10 for each of 5.0 kWh; the sale before the plan earns nothing
    assert (settled.status, settled.json["amount"]) == (201, "6.30")


async def test_a_refund_of_what_is_not_held_is_refused(api: ApiTown, sale: SaleView) -> None:
    path = "/api/v1/accounts/A0001/refunds"

    reply = await api.post(path, "boss", json=body(amount="1.00"))

    assert (reply.status, reply.json["code"]) == (422, "not_so_much_held")


async def test_operations_are_listed_the_newest_first(api: ApiTown, sale: SaleView) -> None:
    for at in range(3):
        wanted = {**body(amount="1.00", reference=f"S{at}"), "request_id": f"q{at}"}
        await api.post("/api/v1/floats/head/deposits", "clerk", json=wanted)

    first = (await api.get("/api/v1/ledger/operations?limit=2", "auditor")).json
    rest = (await api.get(f"/api/v1/ledger/operations?before={first['next']}", "auditor")).json

    assert [line["subject"] for line in (*first["items"], *rest["items"])] == ["S2", "S1", "S0"]
    one = (await api.get("/api/v1/ledger/operations/K00000002", "auditor")).json
    assert one == first["items"][1]


async def test_a_swap_answers_with_the_token_for_what_was_left(
    api: ApiTown, sale: SaleView
) -> None:
    path = f"/api/v1/meters/{sale.meter}/swap"
    wanted = body(new=meter_number(900), credit="4.2", old_register="100", new_register="0")

    replies = [await api.post(path, "boss", json=wanted) for _ in range(2)]

    assert [reply.status for reply in replies] == [201, 200]
    assert replies[0].json == replies[1].json
    assert len(replies[0].json["token"]) == 20
    assert replies[0].json["operation"]["detail"]["unused_receipts"] == [sale.receipt_number]


async def test_a_clerk_swaps_no_meter(api: ApiTown, sale: SaleView) -> None:
    path = f"/api/v1/meters/{sale.meter}/swap"

    reply = await api.post(path, "clerk", json=body(new=meter_number(900)))

    assert reply.status == 403
