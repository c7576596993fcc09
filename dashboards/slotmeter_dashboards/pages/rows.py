"""How the rows of each list look: one place for every table of the same things."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from dash import html

from slotmeter_dashboards import words
from slotmeter_dashboards.model import Alarm, Command, Event, Meter, Sale, Token
from slotmeter_dashboards.parts import (
    Column,
    Piece,
    View,
    ago,
    badge,
    commodity,
    meter_link,
    moment,
    table,
)

__all__ = [
    "alarm_list",
    "command_table",
    "event_list",
    "is_keypad_only",
    "last_contact",
    "meter_balance",
    "meter_table",
    "sale_table",
    "token_table",
]

COMMAND_KINDS = {
    "load_token": "Load token",
    "open_relay": "Switch off (open relay)",
    "close_relay": "Switch on (close relay)",
    "open_valve": "Open valve",
    "close_valve": "Close valve",
    "read_now": "Read now",
    "set_valve": "Set valve",
    "set_load_limit": "Set load limit",
    "set_tariff": "Set tariff",
    "set_clock": "Set clock",
    "set_credit_mode": "Set credit mode",
    "clear_tamper": "Clear tamper",
}
CAUSES = {"sale": "Sale", "rule": "Rule", "person": "Person", "service": "Service"}
RESULTS = {"already_used": "Typed at the meter before it was delivered"}
ACCEPTED_BY = {"delivery": "By delivery", "keypad": "By keypad"}


def command_kind(kind: str) -> str:
    """Return what a command does, in words."""
    return COMMAND_KINDS.get(kind, words.plain(kind))


def _why(command: Command) -> Piece:
    """Return who or what asked and why, and below it what holds or ended the command."""
    cause = CAUSES.get(command.cause, words.plain(command.cause))
    if command.cause in ("person", "service") and command.asked_by:
        cause = command.asked_by
    asked = f"{cause}: {command.reason}" if command.reason else cause
    if command.reason.casefold().startswith(cause.casefold()):
        asked = words.sentence(command.reason)
    notes = [words.sentence(each) for each in command.hold]
    if command.result and command.result != "done":
        notes.append(RESULTS.get(command.result) or words.plain(command.result))
    if not notes:
        return asked
    return html.Div([asked, html.Div("; ".join(notes), className="note")])


def command_table(commands: Sequence[Command], view: View, *, with_meter: bool = True) -> Piece:
    """Return commands, the newest first."""
    columns = [
        *([Column("Meter")] if with_meter else []),
        Column("Command"),
        Column("State"),
        Column("Cause"),
        Column("Asked", "time"),
        *([] if with_meter else [Column("Sent", "time"), Column("Ended", "time")]),
    ]
    rows: list[list[Piece]] = []
    for command in commands:
        rows.append(
            [
                *([meter_link(command.meter, view)] if with_meter else []),
                command_kind(command.kind),
                badge("command", command.state),
                _why(command),
                ago(command.created_at) if with_meter else moment(command.created_at, view),
                *(
                    []
                    if with_meter
                    else [moment(command.sent_at, view), moment(command.ended_at, view)]
                ),
            ]
        )
    return table("Commands to meters", columns, rows)


def event_list(events: Sequence[Event], view: View, *, with_meter: bool = True) -> Piece:
    """Return events as a feed, the newest first."""
    items = []
    for event in events:
        line: list[Piece] = [html.Span(event.text or words.plain(event.kind), className="what")]
        if with_meter and event.meter is not None:
            line.append(meter_link(event.meter, view))
        items.append(
            html.Li(
                [
                    badge("severity", event.severity),
                    html.Div(line, className="feed-line"),
                    _time_of(event.at, view),
                ],
                className="feed-item",
            )
        )
    return html.Ol(items, className="feed")


def _time_of(at: datetime, view: View) -> Piece:
    return html.Time(
        ago(at),
        dateTime=words.iso(at, view.zone),
        title=f"{words.day_and_clock(at, view.zone)} {view.zone_name}",
        className="feed-time",
    )


CLEARED = html.Span("Cleared", className="badge tone-none")


def _cleared(alarm: Alarm, view: View) -> list[Piece]:
    if alarm.cleared_at is None:
        return []
    return [html.Span(["cleared ", moment(alarm.cleared_at, view)], className="note")]


def alarm_list(alarms: Sequence[Alarm], view: View) -> Piece:
    """Return alarms, each with what it says, its meter and since when."""
    items = [
        html.Li(
            [
                badge("severity", alarm.severity) if alarm.cleared_at is None else CLEARED,
                html.Div(
                    [
                        html.Span(alarm.text or words.plain(alarm.kind), className="what"),
                        meter_link(alarm.meter, view),
                        *_cleared(alarm, view),
                    ],
                    className="feed-line",
                ),
                _time_of(alarm.raised_at, view),
            ],
            className="feed-item",
        )
        for alarm in alarms
    ]
    return html.Ol(items, className="feed")


def meter_balance(meter: Meter, view: View) -> str:
    """Return the credit, wherever it is held."""
    if meter.credit_mode == "platform":
        return words.money(meter.account_balance, view.currency)
    return words.quantity(meter.credit_balance, meter.unit)


def is_keypad_only(meter: Meter) -> bool:
    """Say whether no driver listens to this meter: whatever it does, nobody hears it."""
    return not meter.driver and meter.last_contact_at is None


def last_contact(meter: Meter) -> Piece:
    """Return when the meter was heard last, or that it cannot be."""
    return "Keypad only" if is_keypad_only(meter) else ago(meter.last_contact_at)


def _customer(meter: Meter) -> Piece:
    """Return who lives at the meter and where."""
    if not meter.customer:
        return meter.address or words.MISSING
    if not meter.address:
        return meter.customer
    return html.Div([meter.customer, html.Div(meter.address, className="note")])


def meter_table(meters: Sequence[Meter], view: View) -> Piece:
    """Return meters as the list shows them."""
    columns = [
        Column("Meter"),
        Column("Commodity"),
        Column("Customer"),
        Column("Supply"),
        Column("Credit", "number"),
        Column("Last contact", "time"),
    ]
    rows: list[list[Piece]] = []
    for meter in meters:
        marks: list[Piece] = [badge("supply", meter.supply)]
        if meter.tamper:
            marks.append(html.Span("Tamper", className="badge tone-bad"))
        if meter.critical:
            marks.append(html.Span("Critical", className="badge tone-info"))
        rows.append(
            [
                meter_link(meter.number, view),
                commodity(meter.commodity),
                _customer(meter),
                html.Span(marks, className="marks"),
                meter_balance(meter, view),
                last_contact(meter),
            ]
        )
    return table("Meters", columns, rows)


def receipt_link(number: str, view: View, *, issued: bool) -> Piece:
    """Return a receipt's number that opens the receipt; one not issued yet has none."""
    if not issued:
        return html.Span(number, className="code")
    href = view.link(f"receipts/{quote(number, safe='')}")
    return html.A(number, href=href, className="code", target="_blank", rel="noopener")


def _sold_units(sale: Sale) -> str:
    """Return what was sold; a payment to an account is money and sells no units."""
    if sale.credit_mode == "platform":
        return words.MISSING
    return words.quantity(sale.units, sale.unit)


def sale_table(sales: Sequence[Sale], view: View) -> Piece:
    """Return sales, the newest first."""
    columns = [
        Column("Sold", "time"),
        Column("Receipt"),
        Column("Meter"),
        Column("Commodity"),
        Column("Money", "number"),
        Column("Units", "number"),
        Column("Sold by"),
        Column("Delivery"),
    ]
    rows: list[list[Piece]] = [
        [
            moment(sale.sold_at, view),
            receipt_link(sale.receipt_number, view, issued=sale.state == "issued"),
            meter_link(sale.meter, view),
            commodity(sale.commodity),
            words.money(sale.tendered, sale.currency),
            _sold_units(sale),
            sale.sold_by or words.MISSING,
            badge("delivery", sale.delivery)
            if sale.state == "issued"
            else html.Span(words.plain(sale.state), className="badge tone-info"),
        ]
        for sale in sales
    ]
    return table("Sales", columns, rows)


def _accepted_when(token: Token, view: View) -> str:
    """Return when a token was accepted; the time alone when it was the day of the sale."""
    if token.accepted_at is None:
        return words.MISSING
    local = token.accepted_at.astimezone(view.zone)
    if local.date() == token.sold_at.astimezone(view.zone).date():
        return local.strftime("%H:%M")
    return words.day_and_clock(token.accepted_at, view.zone)


def _token_badge(token: Token) -> html.Span:
    """Return the state; of a token that only the keypad can take, nobody hears what became."""
    if token.delivery == "keypad" and token.state == "issued":
        return html.Span("Given to the customer", className="badge tone-none")
    return badge("token", token.state)


def _token_note(token: Token, view: View) -> str:
    """Return how the token came in, or how it is to come in."""
    if token.is_free and token.accepted_by:  # the delivery is that of the paid one
        return f"{ACCEPTED_BY.get(token.accepted_by, '')} {_accepted_when(token, view)}".strip()
    delivered = words.state("delivery", token.delivery).label
    how = ACCEPTED_BY.get(token.accepted_by or "")
    if not how:
        return delivered
    outcome = "delivery not needed" if token.delivery == "already_used" else delivered.lower()
    return f"{how} {_accepted_when(token, view)}, {outcome}"


def _token_units(token: Token) -> Piece:
    """Return the units; of those that were given, that they are free."""
    units = words.quantity(token.units, token.unit)
    if not token.is_free:
        return units
    return html.Div([html.Span(units), html.Span("free", className="note")], className="stack")


def token_table(tokens: Sequence[Token], view: View) -> Piece:
    """Return one meter's tokens, masked, and how each was accepted."""
    columns = [
        Column("Sold", "time"),
        Column("Receipt"),
        Column("Token", "code"),
        Column("Units", "number"),
        Column("State"),
    ]
    rows: list[list[Piece]] = []
    for token in tokens:
        parts = [_token_badge(token), html.Span(_token_note(token, view), className="note")]
        rows.append(
            [
                moment(token.sold_at, view),
                receipt_link(token.receipt_number, view, issued=token.state != "reserved"),
                token.masked or words.MISSING,
                _token_units(token),
                html.Div(parts, className="stack"),
            ]
        )
    return table("Tokens", columns, rows)
