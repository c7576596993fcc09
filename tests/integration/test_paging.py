"""Every list of the API that can grow comes in pages: all of it, in the same order, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import pytest

from slotmeter.api.models import ROWS_MAX
from slotmeter.api.openapi import openapi_document
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.office_folder import OFFICE_TARIFF
from slotmeter.testing.small_utility import tariff_document

DOCUMENT: Final = openapi_document("test")
BOUNDED: Final = {
    "readings": "values of a span of time, at most as many as a page has; the next span follows",
    "overview": "the newest few alarms and commands, and sums",
    "command": "the steps of one command",
    "draft": "what one document says, and what speaks against it",
    "draft_diff": "what differs between two documents",
    "draft_preview": "the newest preview of one draft, as long as was asked for",
    "debt": "a thousand of the newest lines at most",
    "arrears": "a row for each area and kind",
    "trial_balance": "a row for each control account",
    "receipt": "what one receipt says",
    "sale_receipt": "what one receipt says",
    "explanation": "what one receipt says",
    "sale": "the tokens of one sale",
    "key_change": "the tokens of one key change",
    "meter_life": "what happened to one meter, five hundred of the newest at most",
    "node": "a row for each slot of one node",
    "key_change_plan": "the unused tokens of one meter, as many as a warning names",
    "commissioning_claim": "what the first frame of one meter said",
    "stranger_devices": "who sent the newest frames of strangers, of which so many are looked at",
    "quarantine_counts": "a row for each code",
    "integrations": "the packages that are installed",
    "entry": "names of secrets and addresses of one entry",
    "readyz": "what one server warns of",
}
"""Lists without pages, and what bounds them."""


def operations() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the path, the operation and the answer of every GET that answers with JSON."""
    for path, methods in DOCUMENT["paths"].items():
        operation = methods.get("get")
        content = ((operation or {}).get("responses", {}).get("200", {})).get("content", {})
        if "application/json" in content:
            yield path, operation, resolved(content["application/json"]["schema"])


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name] if name else schema
    return found


def lists_of(schema: dict[str, Any]) -> list[str]:
    """Return the names of the lists of things that an answer has."""
    return [
        name
        for name, field in schema.get("properties", {}).items()
        if field.get("type") == "array"
        or any(each.get("type") == "array" for each in field.get("anyOf", ()))
    ]


def parameters(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in operation.get("parameters", ()) if each["in"] == "query"}


def is_paged(operation: dict[str, Any], schema: dict[str, Any]) -> bool:
    asked = parameters(operation)
    return (
        {"limit"} <= asked.keys()
        and bool(asked.keys() & {"before", "after"})
        and ("next" in schema["properties"])
    )


PAGED: Final = {
    operation["operationId"]: path
    for path, operation, schema in operations()
    if lists_of(schema) and is_paged(operation, schema)
}


def test_each_list_comes_in_pages_or_is_bounded_by_what_it_lists() -> None:
    lists = {
        operation["operationId"]
        for _, operation, schema in operations()
        if lists_of(schema) and not is_paged(operation, schema)
    }

    assert lists - BOUNDED.keys() == set()


def test_no_page_is_longer_than_a_page_may_be() -> None:
    limits = {
        operation["operationId"]: parameters(operation)["limit"]["schema"].get("maximum")
        for _, operation, schema in operations()
        if operation["operationId"] in PAGED
    }

    assert {
        name: limit for name, limit in limits.items() if limit is None or limit > ROWS_MAX
    } == {}


ROWS = 3
SPAN: Final = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}
MADE: Final = {
    "account_blocks",
    "account_classes",
    "account_debts",
    "areas",
    "classes",
    "commission_plans",
    "debts",
    "device_keys",
    "drafts",
    "entries",
    "free_not_collected",
    "free_registrations",
    "journal",
    "ledger_accounts",
    "ledger_operations",
    "meter_bearers",
    "meter_keypads",
    "meter_lives",
    "meter_tokens",
    "meters",
    "node_bindings",
    "nodes",
    "periods",
    "receipt_prints",
    "sales",
    "supply_groups",
    "tariff",
    "tariffs",
}
"""Lists of which the town has several rows."""


async def full_town(api: ApiTown) -> dict[str, str]:
    """Make several of everything; return what paths are filled with."""
    await api.join("boss", "admin")
    meters = [await api.utility.add_meter(online=at == 0) for at in range(ROWS)]
    first = meters[0]
    receipts = []
    for at in range(ROWS):
        sale = {"sale_id": f"s{at}", "meter": first.number, "tendered": "116.00"}
        receipts.append((await posted(api, "/sales", sale))["receipt_number"])
    for at, meter in enumerate(meters):
        await put(api, f"/meters/{first.number}/keypad", {"serial": f"KP-{at}", "reason": "test"})
        reached = {"medium": "nbiot", "address": f"ep-{at}", "reason": "test"}
        await posted(api, f"/meters/{first.number}/bearers", reached)
        await one_more_of_each(api, at, meter.account_number, first.account_number, receipts[0])
        await api.utility.add_tariff(tariff_document("electricity"), version=at + 2)
        api.clock.advance(days=1)
        yesterday = (api.clock.now() - timedelta(days=1)).date()
        await posted(api, "/ledger/periods", {"through": f"{yesterday}", "reason": "month"})
    for meter in meters[1:]:
        places = {"places": [{"slot": 0, "meter": meter.number}], "reason": "test"}
        await posted(api, "/nodes/BOX-0/bindings", places)
    return {
        "/tariffs/{code}": "/tariffs/domestic-electricity",
        "/key-campaigns/{code}": "/key-campaigns/none",
        "{level}/{code}": "region/r0",
        "{serial}": "BOX-0",
        "{key}": "entry-0",
        "{account}": first.account_number,
        "{number}": first.number,
        "{receipt_number}": receipts[0],
    }


async def one_more_of_each(api: ApiTown, at: int, account: str, busy: str, receipt: str) -> None:
    why = {"reason": "test"}
    evidence = {"account": account, "code": "fbe", "evidence": "list", "from": "2026-11-01"}
    region = {"name": f"Region {at}", **why}
    box = {"medium": "nbiot", "address": f"box-{at}", "driver": "slotmeter_virtual", **why}
    deposit = {"request_id": f"d{at}", "amount": "1.00", "reference": f"S{at}"}
    source = OFFICE_TARIFF.replace("DOM-E", f"DOM-{at}")
    debt = {"account": busy, "kind": "fine", "amount": "5.00", "number": f"F-{at}"}
    await put(api, f"/areas/region/r{at}", region)
    await posted(api, "/nodes", {"serial": f"BOX-{at}", **box})
    await posted(api, "/entries", {"key": f"entry-{at}", "medium": "nbiot", **why})
    await posted(api, "/entries/entry-0/device-keys", {"device": f"dev-{at}", **why})
    await posted(api, "/classes", {"code": f"c{at}", "title": f"Class {at}", **why})
    await posted(api, f"/accounts/{busy}/classes", {"class": f"c{at}", **why})
    await posted(api, "/free-units", {**evidence, **why})
    await posted(api, f"/accounts/{account}/block", why)
    await posted(api, f"/receipts/{receipt}/prints", {"form": "text80"})
    await posted(api, "/debts", {**debt, **why})
    await posted(api, "/floats/head/deposits", {**deposit, **why})
    await posted(api, "/tariff-drafts", {"source": source, **why})
    await put(api, f"/supply-groups/12345{at}", {"title": f"Group {at}", **why})
    bands = [{"from_tender": "0", "percent": f"{at}"}]
    await put(api, "/floats/head/commission-plan", {"when": "settlement", "bands": bands, **why})


async def posted(api: ApiTown, path: str, body: dict[str, Any]) -> Any:
    return await sent(api, "POST", path, body)


async def put(api: ApiTown, path: str, body: dict[str, Any]) -> Any:
    return await sent(api, "PUT", path, body)


async def sent(api: ApiTown, method: str, path: str, body: dict[str, Any]) -> Any:
    reply = await api.call(method, f"/api/v1{path}", "boss", json=body)
    assert reply.status in (200, 201), (path, reply.content)
    return reply.json


async def walked(api: ApiTown, path: str, cursor: str, name: str) -> list[Any]:
    """Return a whole list, a row at a time."""
    rows: list[Any] = []
    place = "&after=0" if "/events" in path else ""  # without it, the newest
    while True:
        reply = await api.get(f"{path}&limit=1{place}", "boss")
        assert reply.status == 200, (path, reply.content)
        assert len(reply.json[name]) <= 1
        rows += reply.json[name]
        if reply.json["next"] is None or (cursor == "after" and not reply.json[name]):
            return rows
        place = f"&{cursor}={quote(str(reply.json['next']))}"


@pytest.mark.both_databases
async def test_pages_of_one_row_make_the_whole_list(api: ApiTown) -> None:
    filled = await full_town(api)
    by_name = {one["operationId"]: (one, schema) for _, one, schema in operations()}
    several = set()
    for name, path in PAGED.items():
        for what, value in filled.items():
            path = path.replace(what, value)
        operation, schema = by_name[name]
        [items] = lists_of(schema)
        cursor = "before" if "before" in parameters(operation) else "after"
        needed = [each for each in parameters(operation).values() if each.get("required")]
        path += "?" + "&".join(f"{each['name']}={SPAN[each['name']]}" for each in needed)
        whole = await api.get(f"{path}&limit={ROWS_MAX}", "boss")
        if "none" in path:
            assert whole.status == 404
            continue

        assert await walked(api, path, cursor, items) == whole.json[items], name
        if len(whole.json[items]) > 1:
            several.add(name)

    assert several >= MADE
