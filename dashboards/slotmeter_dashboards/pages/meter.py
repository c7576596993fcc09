"""One meter: its state, credit and use over time, its tokens, commands and events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from dash import dcc, html
from dash.development.base_component import Component

from slotmeter_dashboards import words
from slotmeter_dashboards.charts import Chart, Look, balance, consumption
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.model import Bucket, Meter
from slotmeter_dashboards.pages.page import Drawn, PageKind
from slotmeter_dashboards.pages.rows import (
    command_table,
    event_list,
    is_keypad_only,
    last_contact,
    meter_balance,
    token_table,
)
from slotmeter_dashboards.parts import (
    EMPTY_FIGURE,
    Body,
    Piece,
    View,
    badge,
    card,
    chart_card,
    chart_table,
    chips,
    commodity,
    empty,
    moment,
    section,
)

__all__ = ["METER"]

EVENTS_SHOWN = 10
TOKENS_SHOWN = 12
COMMANDS_SHOWN = 12
AHEAD_MIN = timedelta(minutes=5)
REGISTERS = {"electricity": "energy_import", "water": "volume", "gas": "volume"}


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that both charts show."""

    label: str
    words: str
    span: timedelta
    balance_bucket: timedelta


WINDOWS = {
    "24h": Window("24 hours", "in 24 hours", timedelta(hours=24), timedelta(minutes=5)),
    "3d": Window("3 days", "in 3 days", timedelta(days=3), timedelta(minutes=15)),
    "7d": Window("7 days", "in 7 days", timedelta(days=7), timedelta(minutes=30)),
}
HOUR = timedelta(hours=1)
Span = tuple[datetime, datetime]


def _window(view: View) -> Window:
    return WINDOWS.get(view.params.get("window", ""), WINDOWS["24h"])


def _frame(view: View, number: str) -> Component:
    def csv(subject: str) -> Piece:
        href = view.link(f"csv/meters/{quote(number, safe='')}/{subject}")
        return html.A(f"CSV of {subject}", href=href, className="more", download="")

    return html.Div(
        [
            html.Div(
                [
                    html.P(dcc.Link("Meters", href=view.link("meters")), className="crumb"),
                    html.Div(
                        [
                            html.H1(["Meter ", html.Span(number, className="code")], tabIndex="-1"),
                            section("marks", "marks", waits=False),
                        ],
                        className="title-row",
                    ),
                    section("where", "page-note"),
                ],
                className="page-head",
            ),
            section("facts", "facts"),
            html.Div(section("windows", waits=False), className="toolbar"),
            html.Div(
                [
                    chart_card("Credit left", "", "balance", "half"),
                    chart_card("Used per hour", "", "use", "half"),
                    card("Tokens", section("tokens"), more=csv("tokens"), class_name="half"),
                    card("Events", section("events"), class_name="half"),
                    card("Commands", section("commands"), more=csv("commands"), class_name="full"),
                ],
                className="grid",
            ),
        ],
        className="page",
    )


async def _draw(client: ApiClient, view: View, number: str) -> Drawn:
    meter = await client.meter(number)
    window = _window(view)
    span = _span(meter, window, view)
    (credit, register), tokens, commands, events = await asyncio.gather(
        _series(client, meter, window, span),
        client.tokens(number),
        client.meter_commands(number),
        client.newest_events(EVENTS_SHOWN, number),
    )
    unit = meter.unit
    look = Look(view.zone, view.scheme, window.words, span)
    left = _credit_chart(meter, credit, unit, view, look)
    used = consumption(register, unit, look)
    return Drawn(
        sections={
            "marks": _marks(meter),
            "where": _where(meter),
            "facts": _facts(meter, view),
            "windows": _windows(meter, view, number),
            "balance-summary": _summary(left),
            "balance-table": chart_table(left),
            "use-summary": _summary(used),
            "use-table": chart_table(used),
            "tokens": token_table(tokens[:TOKENS_SHOWN], view)
            if tokens
            else _no_tokens(meter, view),
            "commands": command_table(commands[:COMMANDS_SHOWN], view, with_meter=False)
            if commands
            else empty(
                "No commands yet.", "Tokens on their way, switching and readings appear here."
            ),
            "events": event_list(events, view, with_meter=False)
            if events
            else empty("No events yet."),
        },
        figures={"balance": left.figure or EMPTY_FIGURE, "use": used.figure or EMPTY_FIGURE},
    )


def _span(meter: Meter, window: Window, view: View) -> Span | None:
    """Whole hours of the utility's wall clock, up to the one of the newest report."""
    if meter.measured_at is None:
        return None
    hour = meter.measured_at.astimezone(view.zone).replace(minute=0, second=0, microsecond=0)
    until = hour.astimezone(UTC) + HOUR
    return until - window.span, until


async def _series(
    client: ApiClient, meter: Meter, window: Window, span: Span | None
) -> tuple[tuple[Bucket, ...], tuple[Bucket, ...]]:
    """The credit and the register over a span of the meter's own clock."""
    if span is None:
        return (), ()
    name = REGISTERS.get(meter.commodity, "volume")
    use = client.readings(meter.number, name, span, HOUR)
    if meter.credit_mode == "platform":
        return (), await use
    credit = client.readings(meter.number, "credit_balance", span, window.balance_bucket)
    both = await asyncio.gather(credit, use)
    return both[0], both[1]


def _credit_chart(
    meter: Meter, credit: tuple[Bucket, ...], unit: str, view: View, look: Look
) -> Chart:
    if meter.credit_mode == "platform":
        held = words.money(meter.account_balance, view.currency)
        return Chart(None, f"This meter's credit is money on its account: {held} now.", (), ())
    return balance(credit, unit, look)


def _summary(chart: Chart) -> Body:
    return chart.summary if chart.figure else empty(chart.summary)


def _no_tokens(meter: Meter, view: View) -> Body:
    if meter.credit_mode == "platform":
        paid = dcc.Link("what was paid", href=view.link("sales", meter=meter.number))
        return empty("No tokens.", ["Money goes to the account at once: ", paid, "."])
    return empty(
        "No tokens yet.", ["Sell one with ", html.Code(f"slotmeter sell {meter.number} 100"), "."]
    )


def _marks(meter: Meter) -> Body:
    marks: list[Piece] = [commodity(meter.commodity)]
    if meter.state != "active":
        marks.append(html.Span(words.plain(meter.state), className="badge tone-none"))
    if meter.critical:
        marks.append(html.Span("Critical: never cut by itself", className="badge tone-info"))
    return marks


def _where(meter: Meter) -> str:
    account = f"account {meter.account}" if meter.account else ""
    return " · ".join(part for part in (meter.address, meter.customer, account) if part)


def _fact(title: str, value: Body, note: Body = "") -> html.Div:
    body: list[Piece] = [html.Dt(title), html.Dd(value, className="fact-value")]
    if note:
        body.append(html.Dd(note, className="fact-note"))
    return html.Div(body, className="fact")


def _contact_note(meter: Meter) -> Body:
    if is_keypad_only(meter):
        return "tokens are typed in"
    if meter.online:
        return html.Span("Online", className="badge tone-good")
    return html.Span("Not heard", className="badge tone-warn")


def _tamper(meter: Meter) -> html.Span:
    """Return what the meter said of its cover; one that was never heard has said nothing."""
    if meter.tamper:
        return html.Span("Tampered", className="badge tone-bad")
    if meter.last_contact_at is None:
        return html.Span("Unknown", className="badge tone-none")
    return html.Span("None", className="badge tone-good")


def _facts(meter: Meter, view: View) -> Body:
    platform = meter.credit_mode == "platform"
    unit = meter.unit
    return html.Dl(
        [
            _fact("Supply", badge("supply", meter.supply)),
            _fact(
                "Credit",
                meter_balance(meter, view),
                "money on the account" if platform else "held by the meter",
            ),
            _fact("Last contact", last_contact(meter), _contact_note(meter)),
            _fact("Register", words.quantity(meter.register, unit), "counted in all"),
            _fact("Tamper", _tamper(meter)),
            _fact(
                "Connection",
                words.MEDIA.get(meter.medium, meter.medium) or words.MISSING,
                meter.driver.replace("_", " ") or "no driver",
            ),
        ],
        className="fact-list",
    )


def _windows(meter: Meter, view: View, number: str) -> Body:
    chosen = _window(view)
    path = f"meters/{quote(number, safe='')}"
    links = chips(
        "Show",
        [
            (each.label, view.link(path, window=name), each is chosen)
            for name, each in WINDOWS.items()
        ],
    )
    if is_keypad_only(meter):
        note: Body = "This meter is not connected: its tokens are typed in, and it reports nothing."
    elif meter.measured_at is None:
        note = "This meter has not reported yet."
    else:
        note = [
            "Newest report, by the meter's clock: ",
            moment(meter.measured_at, view),
            _ahead(meter.measured_at, meter.last_contact_at),
        ]
    return html.Div([links, html.P(note, className="soft")], className="window-row")


def _ahead(measured_at: datetime, contact_at: datetime | None) -> str:
    """Say so when a meter's clock runs ahead of ours, as virtual meters' clocks do in a demo."""
    ours = contact_at or datetime.now(UTC)
    if measured_at - ours < AHEAD_MIN:
        return ""
    return ". That clock runs ahead of ours, as in a demo that is sped up."


METER = PageKind("Meter {}", _frame, _draw)
