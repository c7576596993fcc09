"""The pieces that pages are built from: cards, tiles, badges, tables, empty states.

Names, roles and states are in the text; colour and shape only repeat them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from urllib.parse import quote, urlencode

from dash import dcc, html
from dash.development.base_component import Component

from slotmeter_dashboards import words
from slotmeter_dashboards.charts import Chart, graph

__all__ = [
    "Column",
    "View",
    "ago",
    "badge",
    "card",
    "chart_card",
    "chart_table",
    "chips",
    "commodity",
    "empty",
    "figure_id",
    "meter_link",
    "moment",
    "named",
    "section",
    "section_id",
    "table",
]

Piece = Component | str
Body = Piece | Sequence[Piece]
EMPTY_FIGURE: dict[str, object] = {
    "data": [],
    "layout": {
        "xaxis": {"visible": False},
        "yaxis": {"visible": False},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    },
}


@dataclass(frozen=True, slots=True)
class View:
    """How one viewer looks at one page.

    Args:
        prefix: the path under which the console is mounted, with a slash at both ends.
        params: the address's query, one value per name.
        scheme: ``light`` or ``dark``.
        zone: the utility's time zone.
        zone_name: its name, for people.
        currency: ISO 4217 code.
    """

    prefix: str
    params: dict[str, str]
    scheme: str
    zone: tzinfo
    zone_name: str
    currency: str

    def link(self, path: str, **params: str | None) -> str:
        """Return the address of a page within the console."""
        given = {key: value for key, value in params.items() if value}
        return self.prefix + path.lstrip("/") + (f"?{urlencode(given)}" if given else "")


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; numbers and times stand to the right in figures of one width."""

    title: str
    kind: str = "text"


def named(**attributes: str) -> dict[str, Any]:
    """Return attributes whose names hold hyphens: ``data_at`` stands for ``data-at``."""
    return {name.replace("_", "-"): value for name, value in attributes.items()}


def section_id(name: str) -> dict[str, str]:
    """Return the identity of a part of a page that is drawn anew when it changed."""
    return {"type": "section", "name": name}


def figure_id(name: str) -> dict[str, str]:
    """Return the identity of a chart that is drawn anew when it changed."""
    return {"type": "figure", "name": name}


def section(name: str, class_name: str = "", *, waits: bool = True) -> html.Div:
    """Return a place for a part, with a grey bar in it until there is data."""
    bar = html.Div(html.Span("Waiting for data", className="unseen"), className="waiting")
    return html.Div(bar if waits else None, id=section_id(name), className=class_name)


def card(
    title: str, body: Body, *, more: Piece | None = None, class_name: str = ""
) -> html.Section:
    """Return a card with a heading, and at its right perhaps a link to more."""
    head: list[Piece] = [html.H2(title, className="card-title")]
    if more is not None:
        head.append(more)
    return html.Section(
        [html.Div(head, className="card-head"), html.Div(body, className="card-body")],
        className=f"card {class_name}".strip(),
    )


def chart_card(title: str, unit: str, name: str, class_name: str = "") -> html.Section:
    """Return a card for a chart: heading, sentence, drawing, table."""
    body = [
        html.Div(section(f"{name}-summary"), className="chart-summary"),
        html.Div(graph(figure_id(name), dict(EMPTY_FIGURE)), className="chart-box"),
        html.Details(
            [html.Summary("Show as table"), section(f"{name}-table", waits=False)],
            className="as-table",
        ),
    ]
    label = html.Span(unit, className="card-unit") if unit else None
    return card(title, body, more=label, class_name=class_name)


def chart_table(chart: Chart) -> Piece:
    """Return the chart as a table."""
    if not chart.rows:
        return ""
    columns = [
        Column(title, "number" if index else "text") for index, title in enumerate(chart.columns)
    ]
    return table("The chart as a table", columns, chart.rows)


def badge(subject: str, name: str) -> html.Span:
    """Return a state as a shape and a word."""
    shown = words.state(subject, name)
    return html.Span(shown.label, className=f"badge tone-{shown.tone}")


def commodity(name: str) -> html.Span:
    """Return a commodity as a sign and a word."""
    label = words.COMMODITIES.get(name, (words.plain(name), ""))[0]
    return html.Span(label, className=f"commodity is-{name}")


def moment(at: datetime | None, view: View) -> Piece:
    """Return a time for people that also carries itself for machines."""
    if at is None:
        return words.MISSING
    return html.Time(words.day_and_clock(at, view.zone), dateTime=words.iso(at, view.zone))


def ago(at: datetime | None) -> Piece:
    """Return a time that the page itself counts on from, as ``3 s ago``."""
    if at is None:
        return "never"
    return html.Span(className="ago", **named(data_at=at.isoformat()))


def meter_link(number: str | None, view: View) -> Piece:
    """Return a meter's number that leads to its page."""
    if number is None:
        return words.MISSING
    return dcc.Link(number, href=view.link(f"meters/{quote(number, safe='')}"), className="meter")


def empty(title: str, hint: Body = "") -> html.Div:
    """Return what stands where there is nothing yet, with what to do about it."""
    body: list[Piece] = [html.P(title, className="empty-title")]
    if hint:
        body.append(html.P(hint, className="empty-hint"))
    return html.Div(body, className="empty")


def table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Piece]]) -> html.Table:
    """Return a table; on a narrow screen each row becomes a block of named values."""
    head = html.Tr([html.Th(each.title, scope="col", className=each.kind) for each in columns])
    body = [
        html.Tr(
            [
                html.Td(cell, className=column.kind, **named(data_label=column.title))
                for column, cell in zip(columns, row, strict=True)
            ]
        )
        for row in rows
    ]
    return html.Table(
        [html.Caption(caption, className="unseen"), html.Thead(head), html.Tbody(body)],
        className="table",
    )


def chips(label: str, options: Sequence[tuple[str, str, bool]]) -> html.Nav:
    """Return links of which one is chosen: (text, address, chosen)."""
    links = [
        dcc.Link(text, href=href, className="chip is-chosen" if chosen else "chip")
        for text, href, chosen in options
    ]
    return html.Nav(
        [html.Span(label, className="chips-label"), *links],
        className="chips",
        **named(aria_label=label),
    )
