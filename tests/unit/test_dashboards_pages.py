"""The dashboards' pages from the API's answers, without a browser."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dash import dcc, html
from dash.development.base_component import Component

import slotmeter_dashboards
from slotmeter.errors import NotFound
from slotmeter_dashboards import words
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.console import PAGES, skeleton
from slotmeter_dashboards.pages.lists import ALARMS, COMMANDS, EVENTS, METERS, SALES
from slotmeter_dashboards.pages.meter import METER
from slotmeter_dashboards.pages.overview import OVERVIEW
from slotmeter_dashboards.pages.page import PageKind
from slotmeter_dashboards.parts import View

AT = "2026-11-21T08:00:00.000000Z"
METER_ROW = {
    "number": "07100000003", "commodity": "electricity", "credit_mode": "meter", "area": "north",
    "address": "1 Acacia Road", "customer": "Thandi Mbeki", "account": "A1", "critical": False,
    "supply": "on", "unit": "kWh", "register": "120.0", "credit_balance": "3.2",
    "credit_total": "90", "account_balance": None, "currency": "ZAR", "tamper": False,
    "online": True, "last_contact_at": AT, "measured_at": AT, "driver": "slotmeter_virtual",
    "medium": "nbiot", "state": "active",
}  # fmt: skip
SALE_ROW = {
    "sale_id": "t:1", "receipt_number": "R1", "state": "issued", "meter": "07100000003",
    "commodity": "electricity", "tendered": "50.00", "currency": "ZAR", "units": "12.5",
    "unit": "kWh", "sold_by": "till-1", "sold_at": AT, "delivery": {"state": "verified"},
}  # fmt: skip
TOKEN_ROW = {
    "receipt_number": "R1", "sold_at": AT, "units": "12.5", "unit": "kWh", "state": "accepted",
    "delivery": "already_used", "accepted_by": "keypad", "accepted_at": AT,
    "token_masked": "****...4321",
}  # fmt: skip
COMMAND_ROW = {
    "id": 7, "meter": "07100000003", "kind": "open_relay", "state": "held", "cause": "rule",
    "reason": "credit at zero", "causes": [{"code": "c", "text": "protected hours"}],
    "created_at": AT,
}  # fmt: skip
EVENT_ROW = {"id": 5, "at": AT, "kind": "tamper", "severity": "alarm", "text": "cover opened",
             "meter": "07100000003"}  # fmt: skip
ALARM_ROW = {**EVENT_ROW, "raised_at": AT}
OVERVIEW_DOCUMENT = {
    "as_of": AT, "time_zone": "Africa/Johannesburg", "currency": "ZAR",
    "sales": {"count": 1, "tendered": "50.00", "units": {"electricity": "12.5"}},
    "sales_by_hour": [{"hour": AT, "count": 1, "tendered": "50.00"}],
    "meters": {"total": 1, "heard": 1, "by_supply": {"on": 1, "off": 0}},
    "alarms": {"open": 1, "items": [ALARM_ROW]},
    "commands": {"by_state": {"held": 1}, "items": [COMMAND_ROW]},
    "quarantined": 0, "ledger_balanced": True,
}  # fmt: skip
EMPTY_OVERVIEW = {**OVERVIEW_DOCUMENT, "sales": {}, "sales_by_hour": [], "alarms": {},
                  "commands": {}, "meters": {}}  # fmt: skip
BUCKET = {"start": AT, "end": "2026-11-21T09:00:00Z", "first": 1_000, "last": 2_000}


def listed(*rows: Mapping[str, Any]) -> dict[str, Any]:
    return {"items": list(rows), "next": None}


class Answers(ApiClient):
    """A client whose platform is a dictionary of paths; it keeps what was asked."""

    def __init__(self, **changed: Mapping[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1", "smk_test")
        self.asked: list[tuple[str, dict[str, str]]] = []
        number = METER_ROW["number"]
        self.documents: dict[str, Mapping[str, Any]] = {
            "/overview": OVERVIEW_DOCUMENT,
            "/meters": listed(METER_ROW),
            f"/meters/{number}": METER_ROW,
            f"/meters/{number}/readings": {"unit": "Wh", "buckets": [BUCKET]},
            f"/meters/{number}/tokens": listed(TOKEN_ROW),
            f"/meters/{number}/commands": listed(COMMAND_ROW),
            "/sales": listed(SALE_ROW),
            "/commands": listed(COMMAND_ROW),
            "/alarms": listed(ALARM_ROW),
            "/events": listed(EVENT_ROW),
            "/device-health": listed(),
            "/device-health/counts": {},
            "/commissioning/claims": listed(),
            "/commissioning/strangers": listed(),
        }
        self.documents |= {f"/{name}": document for name, document in changed.items()}

    async def ask(self, path: str, params: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        self.asked.append((path, dict(params or {})))
        if path not in self.documents:
            raise NotFound("unknown", "there is no such thing")
        return self.documents[path]


def view(**params: str) -> View:
    zone = "Africa/Johannesburg"
    return View("/", params, "light", ZoneInfo(zone), zone, "ZAR")


def walk(part: object) -> Iterator[Component]:
    if isinstance(part, list | tuple):
        for each in part:
            yield from walk(each)
    elif isinstance(part, Component):
        yield part
        yield from walk(getattr(part, "children", None))


def text_of(part: object) -> str:
    if isinstance(part, list | tuple):
        return " ".join(text_of(each) for each in part)
    if isinstance(part, Component):
        return text_of(getattr(part, "children", None))
    return "" if part is None else str(part)


def props(part: object, kind: type[Component], name: str) -> list[Any]:
    """One property of all components of a kind."""
    return [getattr(each, name) for each in walk(part) if isinstance(each, kind)]


def links_of(part: object) -> set[str]:
    return set(props(part, dcc.Link, "href"))


def places(part: object, kind: str) -> set[str]:
    identities = (getattr(each, "id", None) for each in walk(part))
    return {
        identity["name"]
        for identity in identities
        if isinstance(identity, dict) and identity["type"] == kind
    }


EVERY_PAGE = [*((kind, "") for kind in PAGES.values()), (METER, str(METER_ROW["number"]))]
PAGE_NAMES = [kind.title for kind, _ in EVERY_PAGE]


@pytest.mark.parametrize(("kind", "subject"), EVERY_PAGE, ids=PAGE_NAMES)
async def test_what_a_page_draws_and_the_places_of_its_frame_are_the_same(
    kind: PageKind, subject: str
) -> None:
    frame = kind.frame(view(), subject)

    drawn = await kind.draw(Answers(), view(), subject)

    assert set(drawn.sections) == places(frame, "section")
    assert set(drawn.figures) == places(frame, "figure")


def test_no_chart_of_any_page_offers_to_send_its_data_away() -> None:
    frames = [kind.frame(view(), subject) for kind, subject in EVERY_PAGE]
    configs = props(frames, dcc.Graph, "config")

    assert len(configs) == 3
    for config in configs:
        assert config["showSendToCloud"] is False
        assert config["plotlyServerURL"] == ""
        assert config["displaylogo"] is False


def test_charts_are_made_in_one_place_only() -> None:
    folder = Path(slotmeter_dashboards.__file__).parent
    makers = [
        path.name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "Graph"
    ]

    assert makers == ["charts.py"]


@pytest.mark.parametrize(("kind", "subject"), EVERY_PAGE, ids=PAGE_NAMES)
async def test_a_page_stays_small_enough_to_draw_at_once(kind: PageKind, subject: str) -> None:
    drawn = await kind.draw(Answers(), view(), subject)

    parts = {"sections": drawn.sections, "figures": drawn.figures}
    sent = json.dumps(parts, default=lambda each: each.to_plotly_json())

    assert len(sent) < 300_000


async def test_each_number_of_the_overview_leads_to_its_list() -> None:
    drawn = await OVERVIEW.draw(Answers(), view(), "")

    assert {
        "/sales?day=today",
        "/sales?day=today&commodity=electricity",
        "/meters",
        "/meters?supply=off",
        "/alarms",
        "/commands?state=held",
        "/meters/07100000003",
    } <= links_of(list(drawn.sections.values()))


async def test_a_day_without_anything_says_what_to_do_next() -> None:
    drawn = await OVERVIEW.draw(Answers(overview=EMPTY_OVERVIEW, events=listed()), view(), "")

    assert "slotmeter sell" in text_of(drawn.sections["sales-summary"])
    assert "No open alarms" in text_of(drawn.sections["alarms"])
    assert "queue is empty" in text_of(drawn.sections["commands"])
    assert "Nothing has happened" in text_of(drawn.sections["events"])


async def test_a_ledger_that_does_not_balance_is_said_in_words() -> None:
    document = {**OVERVIEW_DOCUMENT, "ledger_balanced": False}

    drawn = await OVERVIEW.draw(Answers(overview=document), view(), "")

    assert "Not balanced" in text_of(drawn.sections["tiles"])


async def test_a_held_command_shows_what_holds_it() -> None:
    drawn = await OVERVIEW.draw(Answers(), view(), "")

    assert "Protected hours" in text_of(drawn.sections["commands"])


async def test_a_meter_shows_how_its_token_was_taken_and_not_the_token() -> None:
    drawn = await METER.draw(Answers(), view(), "07100000003")

    shown = text_of(drawn.sections["tokens"])
    assert "****...4321" in shown
    assert "By keypad" in shown
    assert "delivery not needed" in shown


async def test_free_units_are_told_from_what_was_paid_for() -> None:
    free = {**TOKEN_ROW, "purpose": "free", "accepted_by": "delivery"}
    drawn = await METER.draw(
        Answers(**{"meters/07100000003/tokens": listed(free)}), view(), "07100000003"
    )

    shown = text_of(drawn.sections["tokens"])
    assert "free" in shown
    assert "delivery not needed" not in shown, "that is of the token that was paid for"


async def test_a_command_that_a_typed_token_ended_is_called_as_its_filter_is() -> None:
    row = {**COMMAND_ROW, "state": "superseded", "result": "already_used", "causes": []}

    drawn = await COMMANDS.draw(Answers(commands=listed(row)), view(state="superseded"), "")

    chosen = [
        getattr(link, "children", None)
        for link in walk(drawn.sections["filters"])
        if "is-chosen" in str(getattr(link, "className", ""))
    ]
    badges = [
        each.children
        for each in walk(drawn.sections["rows"])
        if "badge" in str(getattr(each, "className", ""))
    ]
    assert "Not needed" in chosen
    assert badges == ["Not needed"]


async def test_a_command_of_a_service_names_the_service() -> None:
    row = {**COMMAND_ROW, "cause": "service", "asked_by": "billing"}

    drawn = await COMMANDS.draw(Answers(commands=listed(row)), view(), "")

    assert "billing: credit at zero" in text_of(drawn.sections["rows"])


UNHEARD_ROW = {**METER_ROW, "supply": "unknown", "credit_balance": None, "register": None,
               "last_contact_at": None, "measured_at": None, "online": False}  # fmt: skip
KEYPAD_ROW = {**UNHEARD_ROW, "driver": None, "medium": None}


async def test_nothing_is_claimed_of_a_meter_that_only_has_a_keypad() -> None:
    token = {**TOKEN_ROW, "state": "issued", "delivery": "keypad", "accepted_by": None,
             "accepted_at": None}  # fmt: skip
    number = KEYPAD_ROW["number"]
    client = Answers(**{f"meters/{number}": KEYPAD_ROW, f"meters/{number}/tokens": listed(token)})

    drawn = await METER.draw(client, view(), str(number))

    facts = text_of(drawn.sections["facts"])
    assert "Tamper Unknown" in facts
    assert "Last contact Keypad only" in facts
    assert "Not heard" not in facts
    assert "Given to the customer Keypad only" in text_of(drawn.sections["tokens"])


async def test_a_meter_that_could_be_heard_and_never_was_is_not_called_keypad_only() -> None:
    number = UNHEARD_ROW["number"]

    drawn = await METER.draw(Answers(**{f"meters/{number}": UNHEARD_ROW}), view(), str(number))

    facts = text_of(drawn.sections["facts"])
    assert "Not heard" in facts
    assert "Tamper Unknown" in facts
    assert "Keypad only" not in facts


async def test_a_payment_to_an_account_shows_no_units() -> None:
    row = {**SALE_ROW, "commodity": "water", "credit_mode": "platform", "units": "0.000",
           "unit": "m³"}  # fmt: skip

    drawn = await SALES.draw(Answers(sales=listed(row)), view(), "")

    shown = text_of(drawn.sections["rows"])
    assert "m³" not in shown
    assert words.MISSING in shown


async def test_an_issued_receipt_can_be_opened_from_its_sale() -> None:
    drawn = await SALES.draw(Answers(), view(), "")

    assert "/receipts/R1" in props(drawn.sections["rows"], html.A, "href")


async def test_a_sale_that_is_not_issued_yet_offers_no_receipt() -> None:
    row = {**SALE_ROW, "state": "pending"}

    drawn = await SALES.draw(Answers(sales=listed(row)), view(), "")

    assert props(drawn.sections["rows"], html.A, "href") == []


async def test_readings_are_asked_for_in_whole_hours_by_the_meters_own_clock() -> None:
    client = Answers()

    await METER.draw(client, view(), "07100000003")

    spans = {
        (params["register"], params["from"], params["to"])
        for path, params in client.asked
        if path.endswith("/readings")
    }
    day = ("2026-11-20T09:00:00.000000Z", "2026-11-21T09:00:00.000000Z")
    assert spans == {("energy_import", *day), ("credit_balance", *day)}


async def test_a_meter_whose_credit_is_money_has_no_chart_of_credit() -> None:
    row = {
        **METER_ROW,
        "credit_mode": "platform",
        "credit_balance": None,
        "account_balance": "9.50",
    }
    client = Answers(**{"meters/07100000003": row})

    drawn = await METER.draw(client, view(), "07100000003")

    registers = [params.get("register") for _, params in client.asked]
    assert "credit_balance" not in registers
    assert "9.50" in text_of(drawn.sections["balance-summary"])
    assert drawn.figures["balance"]["data"] == []


async def test_a_meter_that_never_reported_is_shown_without_asking_for_readings() -> None:
    row = {**METER_ROW, "measured_at": None, "last_contact_at": None, "supply": "unknown"}
    client = Answers(**{"meters/07100000003": row})

    drawn = await METER.draw(client, view(), "07100000003")

    assert not [path for path, _ in client.asked if path.endswith("/readings")]
    assert "has not reported yet" in text_of(drawn.sections["windows"])
    assert "never" in text_of(drawn.sections["facts"])


@pytest.mark.parametrize(
    ("measured_at", "ahead"), [("2026-11-23T08:00:00Z", True), ("2026-11-21T08:00:03Z", False)]
)
async def test_a_meters_clock_that_runs_ahead_is_explained(measured_at: str, ahead: bool) -> None:
    client = Answers(**{"meters/07100000003": {**METER_ROW, "measured_at": measured_at}})

    drawn = await METER.draw(client, view(), "07100000003")

    assert ("runs ahead" in text_of(drawn.sections["windows"])) is ahead


async def test_sales_of_one_commodity_are_asked_for_as_such() -> None:
    client = Answers()

    await SALES.draw(client, view(commodity="gas"), "")

    assert [asked["commodity"] for path, asked in client.asked if path == "/sales"] == ["gas"]


@pytest.mark.parametrize(
    ("kind", "shown"), [("load_token", ["1"]), ("switching", ["2"]), ("", ["1", "2"])]
)
async def test_commands_of_one_kind_are_picked_out_of_all(kind: str, shown: list[str]) -> None:
    token = {**COMMAND_ROW, "kind": "load_token", "meter": "1"}
    cut = {**COMMAND_ROW, "kind": "close_valve", "meter": "2"}

    drawn = await COMMANDS.draw(Answers(commands=listed(token, cut)), view(kind=kind), "")

    links = props(drawn.sections["rows"], dcc.Link, "children")
    assert links == shown


async def test_commands_of_a_rare_kind_are_looked_for_on_the_pages_that_follow() -> None:
    client = Answers(commands={"items": [COMMAND_ROW], "next": 7})

    drawn = await COMMANDS.draw(client, view(kind="read_now"), "")

    befores = [asked.get("before") for path, asked in client.asked if path == "/commands"]
    assert befores == [None, "7", "7", "7", "7"]
    assert "next page looks further" in text_of(drawn.sections["rows"])
    assert "/commands?kind=read_now&before=7" in links_of(drawn.sections["paging"])


async def test_events_of_one_severity_are_picked_out_of_all() -> None:
    mild = {**EVENT_ROW, "severity": "info", "text": "supply is on"}

    drawn = await EVENTS.draw(Answers(events=listed(EVENT_ROW, mild)), view(severity="alarm"), "")

    assert "cover opened" in text_of(drawn.sections["rows"])
    assert "supply is on" not in text_of(drawn.sections["rows"])


@pytest.mark.parametrize(("show", "asked"), [("", "true"), ("all", "false"), ("x", "true")])
async def test_alarms_are_the_open_ones_until_all_are_chosen(show: str, asked: str) -> None:
    client = Answers()

    await ALARMS.draw(client, view(show=show), "")

    assert [params["open"] for path, params in client.asked if path == "/alarms"] == [asked]


async def test_an_alarm_that_is_over_is_marked_as_cleared() -> None:
    row = {**ALARM_ROW, "cleared_at": "2026-11-21T09:30:00.000000Z"}

    drawn = await ALARMS.draw(Answers(alarms=listed(row)), view(show="all"), "")

    shown = text_of(drawn.sections["rows"]).replace(words.NO_BREAK, " ")
    assert "Cleared" in shown
    assert "21 Nov 11:30" in shown


async def test_what_the_key_has_no_right_to_is_not_shown_as_nothing() -> None:
    document = {**OVERVIEW_DOCUMENT, "meters": None, "alarms": None, "commands": None}

    drawn = await OVERVIEW.draw(Answers(overview=document), view(), "")

    assert "Alarms are not shown" in text_of(drawn.sections["alarms"])
    assert "Commands are not shown" in text_of(drawn.sections["commands"])
    assert "Meters are not shown" in text_of(drawn.sections["tiles"])


def test_all_alarms_of_the_overview_are_really_all() -> None:
    assert "/alarms?show=all" in links_of(OVERVIEW.frame(view(), ""))


async def test_the_overview_names_the_utility() -> None:
    document = {**OVERVIEW_DOCUMENT, "utility": "Riverside Power"}

    drawn = await OVERVIEW.draw(Answers(overview=document), view(), "")

    assert "Riverside Power" in text_of(drawn.sections["day"])


async def test_the_list_of_meters_names_who_lives_there() -> None:
    drawn = await METERS.draw(Answers(), view(), "")

    assert "Thandi Mbeki 1 Acacia Road" in text_of(drawn.sections["rows"])


def test_links_of_the_bar_stay_under_the_prefix() -> None:
    links = links_of(skeleton("/console/"))

    assert links
    assert all(href.startswith("/console/") for href in links)
