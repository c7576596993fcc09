"""Receipts over HTTP: looked at, handed out once as the original, explained, in four languages."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.sample_receipts import full_receipt
from slotmeter.testing.small_utility import tariff_document

pytestmark = pytest.mark.both_databases

SALES = "/api/v1/sales"


@pytest.fixture
async def receipt_url(api: ApiTown) -> str:
    """A sale by the till that is seen by an auditor too; its receipt holds all there can be."""
    await api.join("till", "vendor")
    await api.join("other till", "vendor")
    await api.join("auditor", "auditor")
    await api.join("manager", "supervisor")
    meter = await api.utility.add_meter("electricity")
    body = {"sale_id": "till-1", "meter": meter.number, "tendered": "116.00"}
    sold = (await api.post(SALES, "till", json=body)).json
    stored = json.dumps({**full_receipt().to_dict(), "receipt_number": sold["receipt_number"]})
    api.sql("UPDATE sale SET receipt = ?", stored)
    return str(sold["receipt_url"])


async def handed_out(api: ApiTown, url: str, who: str = "till", **body: Any) -> dict[str, Any]:
    reply = await api.post(f"{url}/prints", who, json=body)
    assert reply.status == 201
    answer: dict[str, Any] = reply.json
    return answer


@pytest.mark.parametrize("form", ["text58", "text80", "html", "message"])
async def test_the_first_of_each_form_is_the_original_and_later_ones_are_copies(
    api: ApiTown, receipt_url: str, form: str
) -> None:
    first, second = [await handed_out(api, receipt_url, form=form) for _ in range(2)]

    assert (first["reprint"], second["reprint"]) == (False, True)
    assert "REPRINT" not in first["text"]
    assert "REPRINT" in second["text"]


async def test_each_form_has_an_original_of_its_own(api: ApiTown, receipt_url: str) -> None:
    made = [
        await handed_out(api, receipt_url, form=form)
        for form in ("text58", "text80", "html", "message")
    ]

    assert [each["reprint"] for each in made] == [False, False, False, False]


async def test_many_at_one_instant_give_one_original(api: ApiTown, receipt_url: str) -> None:
    made = await asyncio.gather(*(handed_out(api, receipt_url) for _ in range(20)))

    assert sorted(each["reprint"] for each in made) == [False] + [True] * 19


async def test_the_original_is_for_the_seller(api: ApiTown, receipt_url: str) -> None:
    theirs = await handed_out(api, receipt_url, "manager")
    mine = await handed_out(api, receipt_url, form="text58")

    assert (theirs["reprint"], mine["reprint"]) == (True, False)


@pytest.mark.parametrize("roles", [["auditor"], ["viewer"], ["auditor", "vendor"]])
async def test_who_only_looks_hands_nothing_out(
    api: ApiTown, receipt_url: str, roles: list[str]
) -> None:
    await api.join("looker", *roles)

    reply = await api.post(f"{receipt_url}/prints", "looker", json={})

    assert (reply.status, reply.code) == (403, "right_missing")
    assert api.sql("SELECT count(*) FROM receipt_print") == [(0,)]


async def test_another_sellers_receipt_is_not_found_and_not_counted(
    api: ApiTown, receipt_url: str
) -> None:
    reply = await api.post(f"{receipt_url}/prints", "other till", json={})

    assert (reply.status, reply.code) == (404, "receipt_unknown")
    assert api.sql("SELECT count(*) FROM receipt_print") == [(0,)]


async def test_looking_is_not_handing_out_and_what_is_looked_at_is_a_copy(
    api: ApiTown, receipt_url: str
) -> None:
    for query in ("", "?format=text", "?format=html", "?format=message"):
        reply = await api.get(receipt_url + query, "till")
        assert reply.status == 200
        assert (b"REPRINT" in reply.content) == (query != "")

    assert (await handed_out(api, receipt_url))["reprint"] is False


async def test_what_was_sold_before_hand_outs_were_counted_is_a_copy(
    api: ApiTown, receipt_url: str
) -> None:
    old = full_receipt().to_dict() | {"format": 1}
    api.sql("UPDATE sale SET receipt = ?", json.dumps(old))

    assert (await handed_out(api, receipt_url))["reprint"] is True


async def test_every_hand_out_is_listed_with_who_and_when(api: ApiTown, receipt_url: str) -> None:
    await handed_out(api, receipt_url, form="text58")
    api.clock.advance(seconds=60)
    await handed_out(api, receipt_url, "manager", form="html")

    listed = (await api.get(f"{receipt_url}/prints", "auditor")).json["items"]

    assert listed == [
        {"printed_at": "2026-11-21T09:30:00.000000Z", "form": "text58", "by": "till"},
        {"printed_at": "2026-11-21T09:31:00.000000Z", "form": "html", "by": "manager"},
    ]


async def test_a_message_comes_with_its_length(api: ApiTown, receipt_url: str) -> None:
    made = await handed_out(api, receipt_url, form="message", language="pt")

    assert made["text"].startswith("Token 1 de 4: 0000 1111 2222 3333 4444.")
    assert (made["encoding"], made["parts"]) == ("gsm7", 2)
    assert made["characters"] == len(made["text"])
    assert made["content_type"] == "text/plain"


async def test_a_printer_without_a_code_page_gets_plain_letters(
    api: ApiTown, receipt_url: str
) -> None:
    made = await handed_out(api, receipt_url, form="text58", language="fr", letters="ascii")
    looked_at = await api.get(f"{receipt_url}?format=text&language=fr&letters=ascii", "till")

    assert made["text"].isascii()
    assert looked_at.content.isascii()
    assert "Numero de recu" in made["text"]


@pytest.mark.parametrize(
    ("query", "header", "language", "first"),
    [
        ("", None, "en", "On 2026-11-21 12:30:00 EAT you paid KES 2000.00"),
        ("?language=fr", "pt", "fr", "Le 2026-11-21 12:30:00 EAT, vous avez payé KES 2000.00"),
        ("", "es-MX, en;q=0.5", "es", "El 2026-11-21 12:30:00 EAT usted pagó KES 2000.00"),
        ("", "de", "en", "On 2026-11-21 12:30:00 EAT you paid KES 2000.00"),
    ],
)
async def test_an_explanation_is_given_in_the_language_asked_for(
    api: ApiTown, receipt_url: str, query: str, header: str | None, language: str, first: str
) -> None:
    headers = {} if header is None else {"Accept-Language": header}

    reply = await api.get(f"{receipt_url}/explanation{query}", "till", headers=headers)

    assert reply.json["language"] == language
    assert reply.json["sentences"][0].startswith(first)


@pytest.mark.parametrize(
    ("asked", "header", "language"),
    [({}, None, "pt"), ({"language": "fr"}, None, "fr"), ({}, "es", "es"), ({}, "de", "pt")],
)
async def test_who_asks_for_no_language_gets_that_of_the_utility(
    api: ApiTown, receipt_url: str, asked: dict[str, str], header: str | None, language: str
) -> None:
    api.sql('UPDATE utility SET policy = \'{"language": "pt"}\'')
    headers = {} if header is None else {"Accept-Language": header}

    made = await api.post(
        f"{receipt_url}/prints", "till", json={"form": "text58", **asked}, headers=headers
    )

    assert made.json["language"] == language


async def test_a_page_says_its_language(api: ApiTown, receipt_url: str) -> None:
    reply = await api.get(f"{receipt_url}?format=html&language=pt", "till")

    assert b'<html lang="pt">' in reply.content
    assert b"SEGUNDA VIA" in reply.content


@pytest.mark.parametrize(
    ("path", "field"),
    [("?format=text&language=de", "language"), ("/explanation?language=x", "language")],
)
async def test_a_language_that_is_not_spoken_is_refused(
    api: ApiTown, receipt_url: str, path: str, field: str
) -> None:
    reply = await api.get(receipt_url + path, "till")

    assert (reply.status, reply.code, reply.json["field"]) == (422, "not_one_of", field)


async def test_a_form_that_does_not_exist_is_refused_and_not_counted(
    api: ApiTown, receipt_url: str
) -> None:
    reply = await api.post(f"{receipt_url}/prints", "till", json={"form": "json"})

    assert (reply.status, reply.code, reply.json["field"]) == (422, "not_one_of", "form")
    assert api.sql("SELECT count(*) FROM receipt_print") == [(0,)]


async def test_the_document_of_format_2_is_complete(api: ApiTown, receipt_url: str) -> None:
    document = (await api.get(receipt_url, "till")).json

    assert document == full_receipt().document() | {"receipt_number": document["receipt_number"]}
    assert document["format"] == 2


async def test_a_real_sale_names_its_till_and_explains_itself(api: ApiTown) -> None:
    await api.join("till", "vendor")
    meter = await api.utility.add_meter("electricity")
    body = {"sale_id": "till-1", "meter": meter.number, "tendered": "200.00"}
    sold = (await api.post(SALES, "till", json=body)).json

    document = (await api.get(sold["receipt_url"], "till")).json
    told = (await api.get(sold["receipt_url"] + "/explanation", "till")).json["sentences"]

    assert (document["format"], document["terminal"]) == (2, "test")
    assert (await handed_out(api, sold["receipt_url"]))["reprint"] is False
    assert told[1:4] == [
        "KES 172.00 bought 8.6 kWh, at KES 20.00 for each kWh.",
        'KES 27.59 is "VAT": 16 % of KES 172.41.',
        "KES 0.41 is lost to rounding, because units are sold in whole steps.",
    ]


async def test_a_receipt_stays_as_it_was_when_its_tariff_and_its_meter_change(
    api: ApiTown,
) -> None:
    await api.join("till", "vendor")
    meter = await api.utility.add_meter("electricity")
    body = {"sale_id": "till-1", "meter": meter.number, "tendered": "200.00"}
    url = (await api.post(SALES, "till", json=body)).json["receipt_url"]
    paths = (url, f"{url}?format=text", f"{url}?format=html&language=es", f"{url}/explanation")
    before = [(await api.get(path, "till")).content for path in paths]

    dearer = tariff_document("electricity", price="40.00", title="Dearer")
    await api.utility.add_tariff(dearer, version=2)
    api.sql("UPDATE customer SET name = 'Somebody Else'")
    api.sql("UPDATE meter SET number = '07999999990'")
    api.clock.advance(days=365)

    assert [(await api.get(path, "till")).content for path in paths] == before


@pytest.mark.parametrize("form", ["text58", "text80", "html", "message"])
async def test_a_quote_is_a_trial_with_zeros_that_names_nobody_and_books_nothing(
    api: ApiTown, form: str
) -> None:
    await api.join("till", "vendor")
    meter = await api.utility.add_meter("electricity")
    body = {"meter": meter.number, "tendered": "200.00", "form": form}

    reply = await api.post("/api/v1/quotes/slip", "till", json=body)

    slip = reply.json
    assert reply.status == 200
    assert "TRIAL" in slip["text"]
    assert "0000 0000 0000 0000 0000" in slip["text"]
    assert "8.6 kWh" in slip["text"]
    assert "Amina" not in slip["text"]
    assert "Lake Road" not in slip["text"]
    assert "So you would get 8.6 kWh." in slip["sentences"]
    assert api.sql("SELECT count(*) FROM sale") == [(0,)]


async def test_a_quote_for_an_account_shows_no_token(api: ApiTown) -> None:
    await api.join("till", "vendor")
    meter = await api.utility.add_meter("water", credit_mode="platform")
    body = {"meter": meter.number, "tendered": "200.00"}

    slip = (await api.post("/api/v1/quotes/slip", "till", json=body)).json

    assert "TRIAL" in slip["text"]
    assert "0000 0000" not in slip["text"]


async def test_a_quote_that_cannot_be_is_refused_as_a_sale_is(api: ApiTown) -> None:
    await api.join("till", "vendor")
    meter = await api.utility.add_meter("electricity")

    reply = await api.post(
        "/api/v1/quotes/slip", "till", json={"meter": meter.number, "tendered": "0"}
    )

    assert (reply.status, reply.code) == (422, "amount_not_positive")
