"""The lists behind the numbers: meters, sales, commands, alarms, events. Their address holds all
of what is chosen, so that a list can be sent to somebody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta, tzinfo

from dash import dcc, html
from dash.development.base_component import Component

from slotmeter_dashboards import words
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.model import Command, Event, Page
from slotmeter_dashboards.pages.page import Drawn, PageKind
from slotmeter_dashboards.pages.rows import (
    alarm_list,
    command_table,
    event_list,
    meter_table,
    sale_table,
)
from slotmeter_dashboards.parts import Body, Piece, View, chips, empty, section

__all__ = [
    "ALARMS",
    "ANY",
    "COMMANDS",
    "EVENTS",
    "METERS",
    "ROWS",
    "SALES",
    "alarms_asked",
    "api_day",
    "chosen",
    "csv_link",
    "list_frame",
    "of_kind",
    "of_severity",
    "paging",
]

ROWS = 50
EVENTS_SHOWN = 200
EVENTS_SIFTED = 500
ROWS_SIFTED = 200
PAGES_SIFTED_MAX = 5
ANY = "All"


def chosen(view_params: dict[str, str], *names: str) -> dict[str, str]:
    """Return those of a list's filters that the address holds."""
    return {name: view_params[name] for name in names if view_params.get(name)}


def api_day(day: str, zone: tzinfo, now: datetime) -> dict[str, str]:
    """Return a local day of the utility as the API's ``from`` and ``to``; nothing for no day.

    The day lasts from midnight to midnight on the wall: 23 or 25 hours when clocks change.
    """
    if not day:
        return {}
    try:
        first = (
            now.astimezone(zone).date() if day == "today" else datetime.fromisoformat(day).date()
        )
    except ValueError:
        return {}
    spans = [datetime.combine(each, time(), zone) for each in (first, first + timedelta(days=1))]
    return dict(zip(("from", "to"), (each.isoformat() for each in spans), strict=True))


def list_frame(title: str, note: str, csv: str = "", search: Piece | None = None) -> Component:
    """Return the frame of a list: its tools, its rows, and where the next page is."""
    tools: list[Piece] = [search] if search is not None else []
    tools.append(section("filters", "filters", waits=False))
    if csv:
        tools.append(section("csv", "csv", waits=False))
    return html.Div(
        [
            html.Div(
                [html.H1(title, tabIndex="-1"), html.P(note, className="page-note")],
                className="page-head",
            ),
            html.Div(tools, className="toolbar"),
            html.Section(section("rows"), className="card list-card"),
            section("paging", "paging", waits=False),
        ],
        className="page",
    )


def csv_link(view: View, subject: str, *names: str) -> Piece:
    """Return the link to a list's file, with the filters of the screen."""
    href = view.link(f"csv/{subject}", **chosen(view.params, *names))
    return html.A("Download CSV", href=href, className="button", download="")


def paging(view: View, path: str, cursor: str, following: str | None, *names: str) -> Body:
    """Return the links to the first and to the next page."""
    filters = chosen(view.params, *names)
    links: list[Piece] = []
    if view.params.get(cursor):
        links.append(
            dcc.Link("Back to the first page", href=view.link(path, **filters), className="button")
        )
    if following is not None:
        href = view.link(path, **filters, **{cursor: following})
        links.append(dcc.Link("Next page", href=href, className="button"))
    return links


def _options(
    view: View, path: str, name: str, options: Sequence[tuple[str, str]], *others: str
) -> Piece:
    filters = chosen(view.params, *others)
    here = view.params.get(name, "")
    return chips(
        words.plain(name),
        [
            (label, view.link(path, **filters, **{name: value or None}), value == here)
            for value, label in (("", ANY), *options)
        ],
    )


COMMODITY_OPTIONS = [(name, label) for name, (label, _) in words.COMMODITIES.items()]
SUPPLY_OPTIONS = [(name, shown.label) for name, shown in words.STATES["supply"].items()]
COMMAND_OPTIONS = [(name, shown.label) for name, shown in words.STATES["command"].items()]


# --- meters --------------------------------------------------------------------------------------

METER_FILTERS = ("commodity", "supply", "q")


def _meters_frame(view: View, _: str) -> Component:
    search = html.Div(
        [
            html.Label("Search", htmlFor="search", className="unseen"),
            dcc.Input(
                id="search",
                type="search",
                value=view.params.get("q", ""),
                placeholder="Number, name or address",
                debounce=0.3,
                maxLength=64,
                className="search",
            ),
        ],
        className="search-box",
    )
    return list_frame("Meters", "Every meter, where it is and how it is.", "meters", search)


async def _meters(client: ApiClient, view: View, _: str) -> Drawn:
    filters = chosen(view.params, *METER_FILTERS)
    page = await client.meters({**filters, **chosen(view.params, "after"), "limit": str(ROWS)})
    nothing = (
        empty("No meter fits.", dcc.Link("Show all meters", href=view.link("meters")))
        if filters
        else empty(
            "No meters yet.",
            ["Bring some in with ", html.Code("slotmeter import meters FILE.csv"), "."],
        )
    )
    return Drawn(
        {
            "filters": [
                _options(view, "meters", "commodity", COMMODITY_OPTIONS, "supply", "q"),
                _options(view, "meters", "supply", SUPPLY_OPTIONS, "commodity", "q"),
            ],
            "csv": csv_link(view, "meters", *METER_FILTERS),
            "rows": meter_table(page.items, view) if page.items else nothing,
            "paging": paging(view, "meters", "after", page.next, *METER_FILTERS),
        }
    )


METERS = PageKind("Meters", _meters_frame, _meters)


# --- sales ---------------------------------------------------------------------------------------

SALE_FILTERS = ("day", "commodity", "meter")


def _sales_frame(view: View, _: str) -> Component:
    note = "What was sold, the newest first."
    return list_frame("Sales", note, "sales")


async def _sales(client: ApiClient, view: View, _: str) -> Drawn:
    overview = await client.overview()
    params = chosen(view.params, "meter", "commodity", "before")
    params |= api_day(view.params.get("day", ""), view.zone, overview.as_of)
    page = await client.sales({**params, "limit": str(ROWS)})
    nothing = empty(
        "No sales here yet.", ["Sell one with ", html.Code("slotmeter sell METER AMOUNT"), "."]
    )
    return Drawn(
        {
            "filters": [
                _options(view, "sales", "day", [("today", "Today")], "commodity", "meter"),
                _options(view, "sales", "commodity", COMMODITY_OPTIONS, "day", "meter"),
                *_of_one_meter(view),
            ],
            "csv": csv_link(view, "sales", *SALE_FILTERS),
            "rows": sale_table(page.items, view) if page.items else nothing,
            "paging": paging(view, "sales", "before", page.next, *SALE_FILTERS),
        }
    )


def _of_one_meter(view: View) -> list[Piece]:
    """Return the filter for one meter, which links set, and the way out of it."""
    number = view.params.get("meter")
    if not number:
        return []
    without = view.link("sales", **chosen(view.params, "day", "commodity"))
    return [
        chips("Meter", [(number, view.link("sales", meter=number), True), (ANY, without, False)])
    ]


SALES = PageKind("Sales", _sales_frame, _sales)


# --- commands, alarms, events --------------------------------------------------------------------


COMMAND_FILTERS = ("state", "kind")
TOKENS = "load_token"
COMMAND_KINDS: Mapping[str, tuple[str, frozenset[str]]] = {
    TOKENS: ("Token deliveries", frozenset({TOKENS})),
    "switching": (
        "Switching",
        frozenset({"open_relay", "close_relay", "open_valve", "close_valve"}),
    ),
    "read_now": ("Readings", frozenset({"read_now"})),
    "setting": (
        "Settings",
        frozenset(
            {
                *("set_valve", "set_load_limit", "set_tariff"),
                *("set_clock", "set_credit_mode", "clear_tamper"),
            }
        ),
    ),
}
KIND_OPTIONS = [(name, label) for name, (label, _) in COMMAND_KINDS.items()]


def of_kind(command: Command, kind: str | None) -> bool:
    """Say whether a command is of a kind that the filter names; any is when it names none."""
    known = COMMAND_KINDS.get(kind or "")
    return known is None or command.kind in known[1]


def _commands_frame(view: View, _: str) -> Component:
    note = "What meters were asked to do, by whom or which rule, and what became of it."
    return list_frame("Commands", note, "commands")


async def _commands(client: ApiClient, view: View, _: str) -> Drawn:
    page = await _commands_of(
        client, chosen(view.params, "state", "before"), view.params.get("kind")
    )
    filters = chosen(view.params, *COMMAND_FILTERS)
    nothing = "No command fits." if filters else "No commands yet."
    if page.next is not None:
        nothing = "None among the newest here. The next page looks further back."
    return Drawn(
        {
            "filters": [
                _options(view, "commands", "kind", KIND_OPTIONS, "state"),
                _options(view, "commands", "state", COMMAND_OPTIONS, "kind"),
            ],
            "csv": csv_link(view, "commands", *COMMAND_FILTERS),
            "rows": command_table(page.items, view) if page.items else empty(nothing),
            "paging": paging(view, "commands", "before", page.next, *COMMAND_FILTERS),
        }
    )


async def _commands_of(
    client: ApiClient, params: dict[str, str], kind: str | None
) -> Page[Command]:
    """Return a page of commands of one kind, which the API itself cannot pick out.

    So pages are read until there are ``ROWS``, at most ``PAGES_SIFTED_MAX``; the cursor leads on
    from there.
    """
    if kind not in COMMAND_KINDS:
        return await client.commands({**params, "limit": str(ROWS)})
    found: list[Command] = []
    page: Page[Command] = Page((), None)
    for _ in range(PAGES_SIFTED_MAX):
        page = await client.commands({**params, "limit": str(ROWS_SIFTED)})
        found += [command for command in page.items if of_kind(command, kind)]
        if page.next is None or len(found) >= ROWS:
            break
        params = {**params, "before": page.next}
    return Page(tuple(found), page.next)


COMMANDS = PageKind("Commands", _commands_frame, _commands)


def alarms_asked(asked: Mapping[str, str]) -> dict[str, str]:
    """Return which alarms an address means: the open ones, or all with ``show=all``."""
    return {"open": "false" if asked.get("show") == "all" else "true"}


def _alarms_frame(view: View, _: str) -> Component:
    return list_frame("Alarms", "The newest first. Open ones wait for somebody.", "alarms")


async def _alarms(client: ApiClient, view: View, _: str) -> Drawn:
    params = alarms_asked(view.params) | chosen(view.params, "before")
    page = await client.alarms({**params, "limit": str(ROWS)})
    show_all = params["open"] == "false"
    options = [
        ("Open", view.link("alarms"), not show_all),
        (ANY, view.link("alarms", show="all"), show_all),
    ]
    nothing = "No alarms yet." if show_all else "No open alarms."
    return Drawn(
        {
            "filters": chips("Show", options),
            "csv": csv_link(view, "alarms", "show"),
            "rows": alarm_list(page.items, view) if page.items else empty(nothing),
            "paging": paging(view, "alarms", "before", page.next, "show"),
        }
    )


ALARMS = PageKind("Alarms", _alarms_frame, _alarms)
SEVERITY_OPTIONS = [(name, shown.label) for name, shown in words.STATES["severity"].items()]


def of_severity(event: Event, severity: str | None) -> bool:
    """Say whether an event is as severe as the filter says; any is when it says nothing."""
    return severity not in words.STATES["severity"] or event.severity == severity


def _events_frame(view: View, _: str) -> Component:
    note = (
        f"The newest {EVENTS_SHOWN}; one severity is picked out of the newest {EVENTS_SIFTED}. "
        "The CSV file holds all of them."
    )
    return list_frame("Events", note, "events")


async def _events(client: ApiClient, view: View, _: str) -> Drawn:
    """Draw the events; the API cannot pick out a severity, so that is done here."""
    severity = view.params.get("severity")
    newest = await client.newest_events(EVENTS_SIFTED if severity else EVENTS_SHOWN)
    events = [event for event in newest if of_severity(event, severity)][:EVENTS_SHOWN]
    nothing = "No such event lately." if newest else "No events yet."
    return Drawn(
        {
            "filters": _options(view, "events", "severity", SEVERITY_OPTIONS),
            "csv": csv_link(view, "events", "severity"),
            "rows": event_list(events, view) if events else empty(nothing),
            "paging": "",
        }
    )


EVENTS = PageKind("Events", _events_frame, _events)
