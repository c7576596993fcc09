"""Every published case through the HTTP API: priced by the tariff, and sold where a token can.

Not every case can be a sale of a token:

* ``units_to_money`` is a bill: units are given, money is asked for;
* ``rate_with_vat`` and ``volume_to_energy`` ask for a price or an energy, and nothing is bought;
* PLN's 33.57 kWh and Thornhill's 1,240.44 kWh have hundredths, and a token carries tenths.

These are priced by ``POST /api/v1/tariff-prices``, as all others are too. The rest is quoted and
sold, on meters that have bought before what the case says was bought before.
"""

from __future__ import annotations

import json
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import SmallMeter

VECTORS = Path(__file__).parents[1] / "vectors" / "tariffs.json"
TARIFFS: list[dict[str, Any]] = json.loads(VECTORS.read_text())["tariffs"]
CASES = [
    pytest.param(tariff, case, id=f"{tariff['id']}-{number}")
    for tariff in TARIFFS
    for number, case in enumerate(tariff["cases"], start=1)
]
PRICES = "/api/v1/tariff-prices"


# --- priced by the tariff -------------------------------------------------------------------------


def request_of(tariff: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """Say a published case in the words of the API."""
    source = pack_texts()[tariff["id"]]
    same = ("tender", "units", "prior_units", "fixed_due", "free_units_due", "m3")
    body = {key: case[key] for key in (*same, "units_hundred_ft3") if key in case}
    if "cv" in case:
        body["calorific_value"] = case["cv"]
    if "ppj" in case:  # the region's rate: the class of the customers who pay it
        body["class"] = f"ppj-{Decimal(case['ppj']) * 100:.0f}"
    if "corrected_m3" in case["expect"]:  # this publication rounds the volume first
        source = source.replace("energy_content:\n", "energy_content:\n  volume_step: 0.01\n")
    first_day = re.match(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?", tariff["period"])
    if first_day is not None:
        body["date"] = first_day[0] if first_day[1] else f"{first_day[0]}-15"
    return {**body, "source": source}


def amounts(lines: list[dict[str, Any]]) -> dict[str, Decimal]:
    """Add up the lines by what the publications call them."""
    found: dict[str, Decimal] = {}
    for line in lines:
        names = [line["kind"], line["code"], re.sub(r"-[0-9]+$", "", line["code"] or "")]
        if line["kind"] == "energy":
            names = ["energy", f"{line['code']}_energy"]
            found[f"{line['code']}_units"] = Decimal(line["quantity"])
            found[f"{line['code']}_cost"] = Decimal(line["gross"] or line["amount"])
        for name in dict.fromkeys(names):
            found[name] = found.get(name, Decimal(0)) + Decimal(line["amount"])
    return found


def outcome(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer says under the names of the publications."""
    lines = answer["lines"]
    found: dict[str, Any] = amounts(lines)
    energy = [line for line in lines if line["kind"] == "energy"]
    found["lines"] = [Decimal(line["amount"]) for line in energy]
    found["fixed"] = found["service_fee_excl_vat"] = found.get("charge")
    found["energy_net"] = found.get("energy", Decimal(0)) + found.get("rounding", Decimal(0))
    if answer["units"] is not None:
        found["units"] = units = Decimal(answer["units"])
        found["total"] = found["total_incl_vat"] = total = Decimal(answer["tendered"])
        found["average_c_per_kwh"] = total * 100 / units
    if energy:  # the last block costs what the others leave
        others = sum(found[f"{line['code']}_cost"] for line in energy[:-1])
        found[f"{energy[-1]['code']}_cost"] = total - others
    if answer["free"]:
        found["free_token_units"] = sum(Decimal(free["units"]) for free in answer["free"])
        found["free_token_amount"] = Decimal(0)
    if answer["blocks"]:
        found["rate_incl_vat_c"] = Decimal(answer["blocks"][0]["price_with_all"]) * 100
    if answer["charges"]:
        found["amount_incl_vat"] = Decimal(answer["charges"][0]["amount_with_all"])
    if answer["volume"] is not None:
        found |= {key: Decimal(value) for key, value in answer["volume"].items()}
    return found


TO_PUBLISHED_DECIMALS = {"average_c_per_kwh", "rate_incl_vat_c", "kwh", "corrected_m3"}


def as_published(key: str, found: Any, published: Any) -> Any:
    """Round what is published to some decimals only; money and units are compared as they are."""
    if key in TO_PUBLISHED_DECIMALS:
        return found.quantize(Decimal(published), rounding=ROUND_HALF_UP)
    return found


def expected(case: dict[str, Any]) -> dict[str, Any]:
    return {
        key: [Decimal(each) for each in value] if isinstance(value, list) else Decimal(value)
        for key, value in case["expect"].items()
    }


def test_there_are_cases_of_every_kind() -> None:
    kinds = {case["kind"] for tariff in TARIFFS for case in tariff["cases"]}

    assert kinds == {
        *("money_to_units", "money_split", "units_to_money"),
        *("rate_with_vat", "volume_to_energy"),
    }


@pytest.mark.parametrize(("tariff", "case"), CASES)
async def test_the_api_prices_a_published_case_to_the_cent_and_unit(
    api: ApiTown, tariff: dict[str, Any], case: dict[str, Any]
) -> None:
    await api.join("clerk", "office")

    reply = await api.post(PRICES, "clerk", json=request_of(tariff, case))

    assert reply.status == 200, reply.json
    found = outcome(reply.json)
    got = {key: as_published(key, found.get(key), value) for key, value in case["expect"].items()}
    assert got == expected(case)


# --- sold -----------------------------------------------------------------------------------------


class Counter:
    """A till in a town whose only tariff is a published one, put in force over HTTP."""

    def __init__(self, api: ApiTown, tariff: dict[str, Any]) -> None:
        self.api = api
        self.tariff = tariff
        self.sales = 0

    async def open(self) -> SmallMeter:
        api, code, currency = self.api, self.tariff["id"], self.tariff["currency"]
        api.sql("UPDATE utility SET currency = ?", currency)
        await api.join("till", "vendor")
        await api.join("boss", "supervisor")
        await api.join("clerk", "office")
        # Sold by today, whenever the prices ended.
        source = re.sub(r"^valid_until: .*\n", "", pack_texts()[code], flags=re.MULTILINE)
        body = {"source": source, "note": "", "reason": "published"}
        draft = (await api.post("/api/v1/tariff-drafts", "clerk", json=body)).json
        at = f"/api/v1/tariff-drafts/{draft['id']}"
        act = {"revision": draft["revision"], "reason": "published"}
        draft = (await api.post(f"{at}/submit", "clerk", json=act)).json
        act = {"revision": draft["revision"], "reason": "published", "accept_warnings": True}
        done = await api.post(f"{at}/approve", "boss", json=act)
        assert done.status == 200, done.json
        ((tariff_id,),) = api.sql("SELECT id FROM tariff WHERE code = ?", code)
        api.utility.tariff_ids[code] = tariff_id
        self.meter = await api.utility.add_meter(online=False, tariff=code)
        api.sql("UPDATE account SET currency = ?", currency)
        return self.meter

    async def buy(self, tender: str) -> dict[str, Any]:
        """Ask for the price, buy, and return what the receipt says; both must agree."""
        body = {"meter": self.meter.number, "tendered": tender}
        quoted = await self.api.post("/api/v1/quotes", "till", json=body)
        assert quoted.status == 200, quoted.json
        self.sales += 1
        sale = {**body, "sale_id": f"till-{self.sales}"}
        sold = await self.api.post("/api/v1/sales", "till", json=sale)
        assert sold.status == 201, sold.json
        receipt = (await self.api.get(sold.json["receipt_url"], "till")).json
        quote = quoted.json
        assert (sold.json["units"], receipt["units"]) == (quote["units"], quote["units"])
        assert [line["amount"] for line in receipt["lines"]] == [
            line["amount"] for line in quote["lines"]
        ]
        free = [Decimal(each["units"]) for each in sold.json["tokens"] if each["purpose"] == "free"]
        found = amounts(quote["lines"])
        found["units"] = Decimal(sold.json["units"])
        found["fixed"] = found.get("charge", Decimal(0))
        found["energy_net"] = found["energy"] + found.get("rounding", Decimal(0))
        if free:
            found |= {"free_token_units": sum(free, Decimal(0)), "free_token_amount": Decimal(0)}
        return found


def published(code: str) -> dict[str, Any]:
    return next(tariff for tariff in TARIFFS if tariff["id"] == code)


def same_keys(found: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return {key: found.get(key) for key in case["expect"]}


@pytest.mark.parametrize("code", ["ke-kplc-dc-fixed-charge-era", "zw-zetdc-stepped-2019-11"])
async def test_purchases_published_in_their_order_are_sold_to_the_cent_and_unit(
    api: ApiTown, code: str
) -> None:
    tariff = published(code)
    counter = Counter(api, tariff)
    await counter.open()

    for case in tariff["cases"]:
        if case["kind"] == "money_to_units":
            assert same_keys(await counter.buy(case["tender"]), case) == expected(case)

    assert counter.sales == sum(case["kind"] == "money_to_units" for case in tariff["cases"])


async def test_purchases_with_and_without_the_service_fee_and_with_free_units_are_sold(
    api: ApiTown,
) -> None:
    tariff = published("za-xmlvend-sample-receipts")
    without_fee, with_fee, with_free = tariff["cases"]
    counter = Counter(api, tariff)
    meter = await counter.open()

    first = await counter.buy(with_fee["tender"])
    second = await counter.buy(without_fee["tender"])
    registration = {"account": meter.account_number, "code": "free_basic", "evidence": "list"}
    done = await api.post(
        "/api/v1/free-units", "clerk", json={**registration, "reason": "registered"}
    )
    assert done.status == 201, done.json
    third = await counter.buy(with_free["tender"])

    assert same_keys(first, with_fee) == expected(with_fee)
    assert same_keys(second, without_fee) == expected(without_fee)
    assert same_keys(third, with_free) == expected(with_free)


@pytest.mark.parametrize(
    ("code", "customer_class", "units"),
    [("id-pln-r1-1300va", "ppj-3", "33.5"), ("za-thornhill-prepaid-2018-19", None, "1240.4")],
)
async def test_a_token_carries_the_tenths_of_what_is_published_in_hundredths(
    api: ApiTown, code: str, customer_class: str | None, units: str
) -> None:
    tariff = published(code)
    case = tariff["cases"][0]
    counter = Counter(api, tariff)
    meter = await counter.open()
    if customer_class is not None:
        body = {"code": customer_class, "title": "Region", "reason": "published"}
        assert (await api.post("/api/v1/classes", "clerk", json=body)).status == 201
        body = {"class": customer_class, "reason": "published"}
        url = f"/api/v1/accounts/{meter.account_number}/classes"
        assert (await api.post(url, "clerk", json=body)).status in (200, 201)

    found = await counter.buy(case["tender"])

    assert found["units"] == Decimal(units)
    if "ppj" in case["expect"]:
        assert found["ppj"] == Decimal(case["expect"]["ppj"])
