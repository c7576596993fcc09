"""Prices by a tariff alone over HTTP: by code or text, with what is known of a buyer."""

from __future__ import annotations

from typing import Any

import pytest

from slotmeter.testing.api_town import ApiTown, Reply

URL = "/api/v1/tariff-prices"
BLOCKS = """
tariff: blocks
title: Blocks
commodity: electricity
currency: XOF
energy: {blocks: [{to: 50, price: 100}, {price: 200}]}
fixed:
  service: {amount: 500}
  demand: {amount: 42, per: load_kw, when: {class: shop}}
taxes: {vat: {percent: 18, on: [energy, fixed]}}
"""
GAS = """
tariff: gas-by-energy
title: Gas
commodity: gas
currency: KES
energy: {price: 10}
energy_content: {correction: 1.02264, calorific_value: 39.3}
"""


@pytest.fixture
async def office(api: ApiTown) -> ApiTown:
    await api.join("clerk", "office")
    await api.join("till", "vendor")
    return api


async def ask(office: ApiTown, **body: Any) -> Reply:
    return await office.post(URL, "clerk", json=body)


async def test_a_tariff_in_force_prices_by_its_code(office: ApiTown) -> None:
    reply = await ask(office, tariff="domestic-electricity", tender="116.00")

    answer = reply.json
    assert (answer["version"], answer["units"], answer["date"]) == (1, "5.0", "2026-11-21")


async def test_what_is_known_of_the_buyer_counts(office: ApiTown) -> None:
    body = {"source": BLOCKS, "units": "20", "prior_units": "40"}
    reply = await ask(office, **body, **{"class": "shop"}, load_kw="2.5", fixed_due=True)

    # 10 x 100 + 10 x 200, 500, 2.5 x 42, and 18 % of 3,605
    assert reply.json["tendered"] == "4254"
    assert reply.json["version"] is None


async def test_prices_alone_name_blocks_and_charges_with_tax(office: ApiTown) -> None:
    answer = (await ask(office, source=BLOCKS)).json

    assert (answer["units"], answer["tendered"], answer["lines"]) == (None, None, [])
    assert [(each["to"], each["price_with_all"]) for each in answer["blocks"]] == [
        ("50.0", "118"),
        (None, "236"),
    ]
    assert [(each["code"], each["amount_with_all"]) for each in answer["charges"]] == [
        ("service", "590")
    ]


async def test_a_volume_of_gas_is_priced_by_its_energy(office: ApiTown) -> None:
    answer = (await ask(office, source=GAS, m3="46", calorific_value="39.3")).json

    assert answer["volume"]["kwh"] == "513.535720"
    assert (answer["units"], answer["unit"], answer["priced_unit"]) == ("46.0", "m³", "kWh")
    assert answer["tendered"] == "5135.36"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "tariff_or_source", "tariff"),
        ({"tariff": "blocks", "source": BLOCKS}, "tariff_or_source", "tariff"),
        ({"source": BLOCKS, "tender": "1000", "units": "1"}, "one_question", None),
        ({"source": BLOCKS, "m3": "1"}, "no_energy_content", None),
        ({"source": BLOCKS, "date": "2026-02-30"}, "case_wrong", "date"),
        ({"source": BLOCKS, "connection": "9 mm"}, "case_wrong", "connection"),
        ({"source": BLOCKS, "tender": "100.5"}, "case_wrong", "tender"),
        ({"source": BLOCKS, "tender": "600"}, "tender_too_small", None),
        ({"source": BLOCKS.replace("price: 200", "prise: 200")}, "tariff_invalid", None),
    ],
)
async def test_what_cannot_be_priced_is_refused_by_name(
    office: ApiTown, body: dict[str, str], code: str, field: str | None
) -> None:
    reply = await ask(office, **body)

    assert (reply.status, reply.code) == (422, code)
    assert field is None or reply.json["field"] == field


async def test_a_tariff_that_is_not_in_force_is_404(office: ApiTown) -> None:
    reply = await ask(office, tariff="domestic-electricity", date="2020-01-01")

    assert (reply.status, reply.code) == (404, "no_version_in_force")


async def test_a_vendor_does_not_price_by_tariff(office: ApiTown) -> None:
    reply = await office.post(URL, "till", json={"source": BLOCKS})

    assert (reply.status, reply.code) == (403, "right_missing")


async def test_a_quote_of_gas_by_energy_names_its_lines_in_kwh(office: ApiTown) -> None:
    document = {
        "tariff": "gas-by-energy",
        "title": "Gas",
        "commodity": "gas",
        "currency": "KES",
        "energy": {"price": "10"},
        "energy_content": {"correction": "1.02264", "calorific_value": "39.3"},
    }
    await office.utility.add_tariff(document)
    meter = await office.utility.add_meter("gas", tariff="gas-by-energy")

    body = {"meter": meter.number, "tendered": "1000.00"}
    quote = (await office.post("/api/v1/quotes", "till", json=body)).json

    # 100 kWh are 8.957 m³; 8.9 m³ are 99.358 kWh.
    assert (quote["units"], quote["unit"], quote["priced_unit"]) == ("8.9", "m³", "kWh")
    assert quote["lines"][0]["quantity"] == "99.358"
