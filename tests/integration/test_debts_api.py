"""Debts over HTTP: made once, arranged, suspended, ended; who may, and what is said when not."""

from __future__ import annotations

from typing import Any

import pytest

from slotmeter.errors import NotFound
from slotmeter.services.debt_terms import Books
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import SmallMeter, SmallUtility


@pytest.fixture
async def meter(api: ApiTown) -> SmallMeter:
    await api.join("clerk", "office")
    return await api.utility.add_meter("electricity")


def loan(meter: SmallMeter, **changes: Any) -> dict[str, Any]:
    body = {
        "account": meter.account_number,
        "kind": "loan",
        "amount": "240.00",
        "number": "L-1",
        "plan": {"shape": "instalments", "amount": "20.00", "every": "month"},
        "reason": "cooker",
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


async def test_a_debt_is_made_once_however_often_it_is_sent(
    api: ApiTown, meter: SmallMeter
) -> None:
    replies = [await api.post("/api/v1/debts", "clerk", json=loan(meter)) for _ in range(3)]

    assert [reply.status for reply in replies] == [201, 200, 200]
    assert [reply.json["left"] for reply in replies] == ["240.00"] * 3
    assert api.sql("SELECT count(*), sum(amount_minor) FROM debt") == [(1, 24000)]


async def test_a_debt_without_a_number_is_refused_because_it_could_be_made_twice(
    api: ApiTown, meter: SmallMeter
) -> None:
    reply = await api.post("/api/v1/debts", "clerk", json=loan(meter, number=None))

    assert reply.status == 422
    assert api.sql("SELECT count(*) FROM debt") == [(0,)]


async def test_a_debt_shows_its_plan_as_it_was_asked_for(api: ApiTown, meter: SmallMeter) -> None:
    made = (await api.post("/api/v1/debts", "clerk", json=loan(meter))).json

    assert made["plans"] == [
        {
            "starts_at": "2026-11-21T09:30:00.000000Z",
            "shape": "instalments",
            "percent": None,
            "amount": "20.00",
            "every": "month",
            "missed": "accumulate",
            "first": "2026-11-21",
        }
    ]


async def test_another_debt_under_the_same_number_is_a_conflict(
    api: ApiTown, meter: SmallMeter
) -> None:
    await api.post("/api/v1/debts", "clerk", json=loan(meter))

    reply = await api.post("/api/v1/debts", "clerk", json=loan(meter, amount="250.00"))

    assert (reply.status, reply.code) == (409, "debt_number_used")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"amount": 24.5}, "amount_is_float", "amount"),
        ({"starts": "2026-13-01"}, "not_a_date", "starts"),
        ({"starts": "1 December"}, "not_a_date", "starts"),
        ({"plan": {"shape": "percent", "percent": 30}}, "not_text", "plan.percent"),
        ({"plan": {"shape": "percent", "percent": "130"}}, "bad_percent", "plan.percent"),
        ({"plan": {"shape": "often"}}, "not_one_of", "plan.shape"),
        ({"interest": {"percent": "2", "per": "month", "form": "x"}}, "unknown_field", None),
        ({"currency": "UGX"}, "currency_mismatch", "currency"),
        ({"reason": None}, "field_missing", "reason"),
    ],
)
async def test_what_is_wrong_with_a_debt_is_named(
    api: ApiTown, meter: SmallMeter, changes: dict[str, Any], code: str, field: str | None
) -> None:
    reply = await api.post("/api/v1/debts", "clerk", json=loan(meter, **changes))

    assert (reply.status, reply.code) == (422, code)
    assert field is None or reply.json["field"] == field


async def test_interest_terms_are_asked_and_shown_by_the_same_names(
    api: ApiTown, meter: SmallMeter
) -> None:
    terms = {"percent": "1.5", "per": "month", "from": "2026-12-01"}

    made = await api.post("/api/v1/debts", "clerk", json=loan(meter, interest=terms))

    assert made.json["interest"] == {**terms, "posted_through": None, "posted": "0.00"}


async def test_a_debt_lives_from_plan_to_end(api: ApiTown, meter: SmallMeter) -> None:
    await api.post("/api/v1/debts", "clerk", json=loan(meter))
    path = "/api/v1/debts/L-1"

    arranged = await api.post(
        f"{path}/plan",
        "clerk",
        json={
            "plan": {"shape": "percent", "percent": "20"},
            "starts": "2026-12-01",
            "reason": "agreed",
        },
    )
    suspended = await api.post(
        f"{path}/suspend", "clerk", json={"until": "2026-12-24", "reason": "ill"}
    )
    api.clock.advance(seconds=60)
    resumed = await api.post(f"{path}/resume", "clerk", json={"reason": "well"})
    ended = await api.post(f"{path}/cancel", "clerk", json={"reason": "gone"})
    again = await api.post(f"{path}/cancel", "clerk", json={"reason": "gone"})
    detail = await api.get(path, "clerk")

    assert [plan["shape"] for plan in arranged.json["plans"]] == ["instalments", "percent"]
    states = [reply.json["state"] for reply in (suspended, resumed, ended)]
    assert states == ["suspended", "open", "cancelled"]
    assert (again.status, again.code) == (422, "debt_ended")
    assert [line["what"] for line in detail.json["log"]] == [
        "cancelled",
        "resumed",
        "suspended",
        "arranged",
        "created",
    ]
    assert [row["amount"] for row in detail.json["movements"]] == ["-240.00", "240.00"]


async def test_a_plan_that_has_ended_is_shown_no_more(api: ApiTown, meter: SmallMeter) -> None:
    await api.post("/api/v1/debts", "clerk", json=loan(meter))
    later = {"plan": {"shape": "once"}, "starts": "2026-12-01", "reason": "agreed"}
    await api.post("/api/v1/debts/L-1/plan", "clerk", json=later)

    before = await api.get("/api/v1/debts/L-1", "clerk")
    api.clock.advance(seconds=10 * 86_400)
    after = await api.get("/api/v1/debts/L-1", "clerk")

    shapes = [[plan["shape"] for plan in reply.json["plans"]] for reply in (before, after)]
    assert shapes == [["instalments", "once"], ["once"]]


async def test_debts_are_listed_by_pages_and_by_account(api: ApiTown, meter: SmallMeter) -> None:
    for number in ("L-1", "L-2", "L-3"):
        await api.post("/api/v1/debts", "clerk", json=loan(meter, number=number))

    first = await api.get("/api/v1/debts?limit=2", "clerk")
    second = await api.get(f"/api/v1/debts?limit=2&before={first.json['next']}", "clerk")
    mine = await api.get(f"/api/v1/accounts/{meter.account_number}/debts?state=open", "clerk")

    numbers = [[item["number"] for item in reply.json["items"]] for reply in (first, second, mine)]
    assert numbers == [["L-3", "L-2"], ["L-1"], ["L-3", "L-2", "L-1"]]
    assert second.json["next"] is None


@pytest.mark.parametrize("path", ["/api/v1/debts/L-9", "/api/v1/accounts/A9/debts"])
async def test_what_is_not_there_is_not_found(api: ApiTown, meter: SmallMeter, path: str) -> None:
    reply = await api.get(path, "clerk")

    assert reply.status == 404


async def test_who_may_look_at_debts_may_not_make_them(api: ApiTown, meter: SmallMeter) -> None:
    await api.join("auditor", "auditor")
    await api.join("till", "vendor")

    made = await api.post("/api/v1/debts", "auditor", json=loan(meter))
    seen = [(await api.get("/api/v1/debts", who)).status for who in ("auditor", "till")]
    blocked = await api.post(
        f"/api/v1/accounts/{meter.account_number}/block", "auditor", json={"reason": "x"}
    )

    assert (made.status, seen, blocked.status) == (403, [200, 403], 403)


async def test_another_utilitys_debts_are_not_there(api: ApiTown, meter: SmallMeter) -> None:
    await api.post("/api/v1/debts", "clerk", json=loan(meter))
    other = await SmallUtility(api.database, api.utility.now_us, code="other").make()
    stranger = Books.of((await other.add_principal("stranger", "office")).principal)
    theirs = api.services.office.debts.debts

    page = await theirs.debts(stranger, limit=5)

    assert list(page.rows) == []
    with pytest.raises(NotFound):
        await theirs.debt(stranger, "L-1")


async def test_an_account_is_blocked_and_released(api: ApiTown, meter: SmallMeter) -> None:
    path = f"/api/v1/accounts/{meter.account_number}"

    blocked = await api.post(f"{path}/block", "clerk", json={"reason": "no arrangement"})
    twice = await api.post(f"{path}/block", "clerk", json={"reason": "no arrangement"})
    listed = await api.get("/api/v1/account-blocks", "clerk")
    released = await api.post(f"{path}/release", "clerk", json={"reason": "arranged"})
    after = await api.get("/api/v1/account-blocks", "clerk")

    assert (blocked.status, twice.code) == (200, "account_blocked_already")
    assert [item["blocked_by"] for item in listed.json["items"]] == ["clerk"]
    assert released.json["release_reason"] == "arranged"
    assert after.json["items"] == []


async def test_interest_and_arrears_are_told_in_major_units(
    api: ApiTown, meter: SmallMeter
) -> None:
    terms = {"percent": "3", "per": "month"}
    await api.post(
        "/api/v1/debts", "clerk", json=loan(meter, kind="fine", amount="1000.00", interest=terms)
    )
    api.clock.advance(seconds=12 * 86_400)

    posted = await api.post(
        "/api/v1/debt-interest", "clerk", json={"through": "2026-11-30", "reason": "monthly"}
    )
    report = await api.get("/api/v1/reports/arrears?month=2026-12&level=1", "clerk")

    assert (posted.json["total"], posted.json["posted"]) == ("10.00", 1)
    assert report.json["items"] == [
        {
            "area": "Town",
            "kind": None,
            "debts": 1,
            "before": "1000.00",
            "billed": "0.00",
            "interest": "10.00",
            "collected": "0.00",
            "written_off": "0.00",
            "other": "0.00",
            "outstanding": "1010.00",
        }
    ]
    assert report.json["total"]["outstanding"] == "1010.00"


@pytest.mark.parametrize("query", ["month=2026-13", "month=November", "level=21"])
async def test_a_report_of_no_month_is_refused(api: ApiTown, meter: SmallMeter, query: str) -> None:
    reply = await api.get(f"/api/v1/reports/arrears?{query}", "clerk")

    assert reply.status == 422
