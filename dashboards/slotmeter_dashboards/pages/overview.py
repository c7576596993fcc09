"""The first page: sales of the day, meters, alarms, the command queue and what just happened."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from dash import dcc, html
from dash.development.base_component import Component

from slotmeter_dashboards import words
from slotmeter_dashboards.charts import sales_by_hour
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.model import Overview
from slotmeter_dashboards.pages.page import Drawn, PageKind
from slotmeter_dashboards.pages.rows import alarm_list, command_table, event_list
from slotmeter_dashboards.parts import (
    EMPTY_FIGURE,
    Body,
    Piece,
    View,
    badge,
    card,
    chart_card,
    chart_table,
    commodity,
    empty,
    named,
    section,
)

__all__ = ["OVERVIEW"]

EVENTS_SHOWN = 9
COMMANDS_SHOWN = 10
ALARMS_SHOWN = 5
ALARM_HINT = (
    "An open cover, a register that runs backwards, credit that does not add up or a wrong clock "
    "would stand here."
)
SELL_HINT = "slotmeter sell METER AMOUNT"


def _frame(view: View, _: str) -> Component:
    def more(text: str, path: str, **params: str) -> Piece:
        return dcc.Link(text, href=view.link(path, **params), className="more")

    head = html.Div(
        [html.H1("Today", tabIndex="-1"), section("day", "page-note")], className="page-head"
    )
    queue = [section("command-states", waits=False), section("commands")]
    alarms = card(
        "Open alarms",
        section("alarms"),
        more=more("All alarms", "alarms", show="all"),
        class_name="second",
    )
    main = [
        chart_card("Sales by hour", "money taken", "sales", "first"),
        card("Command queue", queue, more=more("All commands", "commands"), class_name="third"),
    ]
    side = [
        alarms,
        card("Latest events", section("events"), more=more("All events", "events"),
             class_name="fourth"),
    ]  # fmt: skip
    columns = html.Div(
        [html.Div(main, className="column"), html.Div(side, className="column")],
        className="columns",
    )
    return html.Div([head, section("tiles", "tiles"), columns], className="page")


async def _draw(client: ApiClient, view: View, _: str) -> Drawn:
    overview, events = await asyncio.gather(client.overview(), client.newest_events(EVENTS_SHOWN))
    chart = sales_by_hour(overview, view.zone, view.scheme)
    local = overview.as_of.astimezone(view.zone)
    day = f"{local.strftime('%A')}, {local.day} {local.strftime('%B %Y')}"
    return Drawn(
        sections={
            "day": " · ".join(part for part in (day, overview.utility) if part),
            "tiles": [
                _money_tile(overview, view),
                _units_tile(overview, view),
                _meters_tile(overview, view),
                _attention_tile(overview, view),
            ],
            "sales-summary": chart.summary
            if chart.figure
            else empty(chart.summary, ["Sell one with ", html.Code(SELL_HINT), "."]),
            "sales-table": chart_table(chart),
            "alarms": _alarms(overview, view),
            "command-states": _command_states(overview, view),
            "commands": _commands(overview, view),
            "events": event_list(events, view)
            if events
            else empty(
                "Nothing has happened yet.", "What meters and people do appears here at once."
            ),
        },
        figures={"sales": chart.figure or EMPTY_FIGURE},
        as_of=overview.as_of,
    )


def _tile(title: str, body: Body, class_name: str = "") -> html.Section:
    return html.Section(
        [html.H2(title, className="tile-title"), html.Div(body, className="tile-body")],
        className=f"tile {class_name}".strip(),
    )


def _money_tile(overview: Overview, view: View) -> Component:
    noun = "sale" if overview.sale_count == 1 else "sales"
    if not overview.sale_count:
        under: Piece = "No sales yet today"
    else:
        average = overview.tendered / overview.sale_count
        under = f"{words.money(average, overview.currency)} each on average"
    return _tile(
        "Sales today",
        [
            dcc.Link(
                words.money(overview.tendered, overview.currency),
                href=view.link("sales", day="today"),
                className="big",
            ),
            html.P(
                [
                    dcc.Link(
                        f"{words.count(overview.sale_count)} {noun}",
                        href=view.link("sales", day="today"),
                    ),
                    html.Span(under, className="soft"),
                ]
                if overview.sale_count
                else html.Span(under, className="soft"),
                className="under",
            ),
        ],
    )


def _units_tile(overview: Overview, view: View) -> Component:
    lines = [
        html.Li(
            [
                commodity(name),
                dcc.Link(
                    words.quantity(overview.units.get(name, Decimal(0)), unit),
                    href=view.link("sales", day="today", commodity=name),
                    className="figure",
                ),
            ]
        )
        for name, (_, unit) in words.COMMODITIES.items()
    ]
    return _tile("Units sold today", html.Ul(lines, className="lines"))


def _hidden(what: str) -> html.Div:
    return empty(f"{what} are not shown.", "This console's API key has no right to see them.")


def _meters_tile(overview: Overview, view: View) -> Component:
    if "meters" in overview.hidden:
        return _tile("Meters", _hidden("Meters"))
    total = overview.meter_count
    present = [(name, overview.by_supply.get(name, 0)) for name in words.STATES["supply"]]
    bar = html.Div(
        [
            html.Span(
                className=f"part tone-{words.state('supply', name).tone}", style={"flexGrow": n}
            )
            for name, n in present
            if n
        ],
        className="parts",
        **named(aria_hidden="true"),
    )
    legend = html.Ul(
        [
            html.Li(
                dcc.Link(
                    [badge("supply", name), html.Span(words.count(n), className="figure")],
                    href=view.link("meters", supply=name),
                )
            )
            for name, n in present
        ],
        className="legend",
    )
    return _tile(
        "Meters",
        [
            html.Div(
                [
                    dcc.Link(words.count(total), href=view.link("meters"), className="big"),
                    html.Span(
                        f"{words.count(overview.heard)} heard lately" if total else "none yet",
                        className="soft",
                    ),
                ],
                className="big-row",
            ),
            bar,
            legend,
        ],
    )


def _attention_tile(overview: Overview, view: View) -> Component:
    held = overview.commands_by_state.get("held", 0)
    ledger = (
        html.Span("Balanced", className="badge tone-good")
        if overview.ledger_balanced
        else html.Span("Not balanced", className="badge tone-bad")
    )
    lines = [
        html.Li(
            [
                "Open alarms",
                words.MISSING
                if "alarms" in overview.hidden
                else dcc.Link(
                    words.count(overview.alarm_count), href=view.link("alarms"), className="figure"
                ),
            ]
        ),
        html.Li(
            [
                "Commands held",
                words.MISSING
                if "commands" in overview.hidden
                else dcc.Link(
                    words.count(held), href=view.link("commands", state="held"), className="figure"
                ),
            ]
        ),
        html.Li(
            [
                "Unreadable frames",
                html.Span(words.count(overview.quarantined), className="figure"),
            ]
        ),
        html.Li(["Ledger", ledger]),
    ]
    return _tile("Needs attention", html.Ul(lines, className="lines"))


def _alarms(overview: Overview, view: View) -> Body:
    if "alarms" in overview.hidden:
        return _hidden("Alarms")
    if not overview.alarms:
        return empty("No open alarms.", ALARM_HINT)
    return alarm_list(overview.alarms[:ALARMS_SHOWN], view)


def _command_states(overview: Overview, view: View) -> Body:
    states = [(name, n) for name, n in overview.commands_by_state.items() if n]
    if not states:
        return ""
    return html.Ul(
        [
            html.Li(
                dcc.Link(
                    [badge("command", name), html.Span(words.count(n), className="figure")],
                    href=view.link("commands", state=name),
                )
            )
            for name, n in states
        ],
        className="legend",
    )


def _commands(overview: Overview, view: View) -> Body:
    if "commands" in overview.hidden:
        return _hidden("Commands")
    if not overview.commands:
        return empty("The queue is empty.", "A sale to a meter puts its token here until it is in.")
    return command_table(overview.commands[:COMMANDS_SHOWN], view)


OVERVIEW = PageKind("Today", _frame, _draw)
