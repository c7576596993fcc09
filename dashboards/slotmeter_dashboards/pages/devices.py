"""Devices and how they are; and meters that are being commissioned."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from dash import dcc, html
from dash.development.base_component import Component

from slotmeter_dashboards import words
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.device_model import Claim, Device, Stranger, sold_value
from slotmeter_dashboards.model import Page
from slotmeter_dashboards.pages.lists import ANY, ROWS, chosen, csv_link, list_frame, paging
from slotmeter_dashboards.pages.page import Drawn, PageKind
from slotmeter_dashboards.parts import (
    Body,
    Column,
    Piece,
    View,
    ago,
    badge,
    card,
    chips,
    commodity,
    empty,
    meter_link,
    moment,
    section,
    table,
)

__all__ = ["COMMISSIONING", "DEVICES", "DEVICE_FILTERS"]

DEVICE_FILTERS = ("state", "q")
BATTERY_LOW = 20
CLOCK_OFF_S = 60
CLAIMS_SHOWN = 50
SCAN = "slotmeter commission scan LABEL"
STRANGERS_SHOWN = 50


# --- devices --------------------------------------------------------------------------------------


def _devices_frame(view: View, _: str) -> Component:
    search = html.Div(
        [
            html.Label("Search", htmlFor="search", className="unseen"),
            dcc.Input(
                id="search",
                type="search",
                value=view.params.get("q", ""),
                placeholder="Number, address or serial",
                debounce=0.3,
                maxLength=64,
                className="search",
            ),
        ],
        className="search-box",
    )
    note = "When each was heard, how many of its contacts come, and what it says of itself."
    return list_frame("Devices", note, "devices", search)


async def _devices(client: ApiClient, view: View, _: str) -> Drawn:
    filters = chosen(view.params, *DEVICE_FILTERS)
    asked = {**filters, **chosen(view.params, "after"), "limit": str(ROWS)}
    page, counts = await asyncio.gather(client.devices(asked), client.health_counts())
    nothing = (
        empty("No device fits.", dcc.Link("Show all devices", href=view.link("devices")))
        if filters
        else empty(
            "No devices yet.",
            [
                "Bring meters in with ",
                html.Code("slotmeter import meters FILE.csv"),
                ", or ",
                dcc.Link("commission", href=view.link("commissioning")),
                " what is heard.",
            ],
        )
    )
    return Drawn(
        {
            "filters": _states(view, counts),
            "csv": csv_link(view, "devices", *DEVICE_FILTERS),
            "rows": device_table(page.items, view) if page.items else nothing,
            "paging": paging(view, "devices", "after", page.next, *DEVICE_FILTERS),
        }
    )


def _states(view: View, counts: Mapping[str, int]) -> Piece:
    filters = chosen(view.params, "q")
    here = view.params.get("state", "")
    options = [(ANY, view.link("devices", **filters), not here)]
    for state, count in counts.items():
        label = f"{words.state('health', state).label} {words.count(count)}"
        options.append((label, view.link("devices", **filters, state=state), state == here))
    return chips("State", options)


def device_table(devices: Sequence[Device], view: View) -> Piece:
    """Return devices as the list shows them."""
    columns = [
        Column("Device"),
        Column("State"),
        Column("Last contact", "time"),
        Column("Next expected", "time"),
        Column("Came", "number"),
        Column("Battery", "number"),
        Column("Signal", "number"),
        Column("Clock", "number"),
        Column("Connection"),
    ]
    rows: list[list[Piece]] = [
        [
            _name(device, view),
            badge("health", device.state),
            ago(device.last_contact_at),
            _expected(device, view),
            _came(device),
            _battery(device.battery),
            words.MISSING if device.signal is None else f"{device.signal}{words.NO_BREAK}dBm",
            _clock(device.clock_offset_s),
            _connection(device),
        ]
        for device in devices
    ]
    return table("Devices", columns, rows)


def _name(device: Device, view: View) -> Piece:
    notes = []
    if device.behind:
        notes.append(f"{words.count(device.behind)} behind it")
    if device.node:
        notes.append(f"behind {device.node}")
    name: Piece = html.Span(f"Node {device.name}", className="code")
    if device.meter is not None:
        name = meter_link(device.meter, view)
    if not notes:
        return name
    return html.Div([name, html.Div(", ".join(notes), className="note")])


def _expected(device: Device, view: View) -> Piece:
    if device.expected_at is None:
        return words.MISSING
    every = "not learned yet"
    if device.interval is not None:
        every = f"every {span(device.interval)}"
    return html.Div([moment(device.expected_at, view), html.Div(every, className="note")])


def _came(device: Device) -> Piece:
    if device.success is None:
        return words.MISSING
    shown = f"{device.success}{words.NO_BREAK}%"
    if not device.missed:
        return shown
    return html.Div([shown, html.Div(f"{device.missed} missed", className="note")])


def _battery(percent: int | None) -> Piece:
    if percent is None:
        return words.MISSING
    shown = f"{percent}{words.NO_BREAK}%"
    if percent > BATTERY_LOW:
        return shown
    return html.Span(f"{shown} low", className="badge tone-warn")


def _clock(offset_s: Decimal | None) -> Piece:
    if offset_s is None:
        return words.MISSING
    whole_s = round(offset_s)
    shown = span(timedelta(seconds=abs(whole_s)))
    if whole_s:
        shown = f"{'+' if whole_s > 0 else '-'}{shown}"
    if abs(offset_s) < CLOCK_OFF_S:
        return shown
    return html.Span(shown, className="badge tone-warn")


def _connection(device: Device) -> Piece:
    medium = words.MEDIA.get(device.medium, device.medium)
    return html.Div([medium, html.Div(device.driver.replace("_", " "), className="note")])


def span(length: timedelta) -> str:
    """Write a length of time as people say it: in the greatest unit of which it has two."""
    seconds = int(length.total_seconds())
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{round(seconds / size)}{words.NO_BREAK}{unit}"
    return f"{seconds}{words.NO_BREAK}s"


DEVICES = PageKind("Devices", _devices_frame, _devices)


# --- commissioning --------------------------------------------------------------------------------


def _commissioning_frame(view: View, _: str) -> Component:
    def csv(subject: str) -> Piece:
        href = view.link(f"csv/{subject}")
        return html.A(f"CSV of {subject}", href=href, className="more", download="")

    note = (
        "Scan or type what the label says: the meter is there with the right driver after one "
        "contact."
    )
    return html.Div(
        [
            html.Div(
                [html.H1("Commissioning", tabIndex="-1"), html.P(note, className="page-note")],
                className="page-head",
            ),
            html.Div(
                [
                    card(
                        "Waiting for a person or a contact",
                        section("open"),
                        more=csv("claims"),
                        class_name="full",
                    ),
                    card(
                        "Heard, and registered by nobody",
                        section("strangers"),
                        more=csv("strangers"),
                        class_name="full",
                    ),
                    card("Commissioned lately", section("done"), class_name="full"),
                ],
                className="grid",
            ),
        ],
        className="page",
    )


async def _commissioning(client: ApiClient, view: View, _: str) -> Drawn:
    some = {"limit": str(CLAIMS_SHOWN)}
    unclear, waiting, done, strangers = await asyncio.gather(
        client.claims({**some, "state": "unclear"}),
        client.claims({**some, "state": "waiting"}),
        client.claims({**some, "state": "done"}),
        client.strangers(),
    )
    found = [*unclear.items, *waiting.items]
    return Drawn(
        {
            "open": _all_or_some(claim_table(found, view), unclear, waiting)
            if found
            else empty("No meter waits.", ["Scan one with ", html.Code(SCAN), "."]),
            "strangers": _stranger_cards(strangers.items, view),
            "done": done_table(done.items, view)
            if done.items
            else empty("None yet.", "A meter appears here with its first reading."),
        }
    )


def _all_or_some(shown: Piece, *pages: Page[Claim]) -> Body:
    """Return a table, and where the rest is when it does not hold all."""
    if all(page.next is None for page in pages):
        return shown
    note = f"Of each state the newest {CLAIMS_SHOWN} are shown; the file holds all."
    return [shown, html.P(note, className="soft")]


def _stranger_cards(strangers: Sequence[Stranger], view: View) -> Body:
    if not strangers:
        return empty(
            "Nobody speaks who is not registered.",
            "A meter that is mounted and not scanned yet would stand here.",
        )
    shown = stranger_table(strangers[:STRANGERS_SHOWN], view)
    if len(strangers) <= STRANGERS_SHOWN:
        return shown
    return [shown, html.P(f"And {len(strangers) - STRANGERS_SHOWN} more.", className="soft")]


def claim_table(claims: Sequence[Claim], view: View) -> Piece:
    """Return meters that were scanned and are not there yet."""
    columns = [
        Column("Meter"),
        Column("Commodity"),
        Column("State"),
        Column("What is missing"),
        Column("Scanned by"),
        Column("Scanned", "time"),
    ]
    rows: list[list[Piece]] = [
        [
            meter_link(claim.meter, view),
            commodity(claim.commodity),
            badge("claim", claim.state),
            _missing(claim),
            claim.scanned_by or words.MISSING,
            ago(claim.scanned_at),
        ]
        for claim in claims
    ]
    return table("Meters that wait", columns, rows)


def _missing(claim: Claim) -> Piece:
    if not claim.problem:
        return "Its first contact: it does the rest"
    if not claim.choices:
        return words.sentence(claim.problem)
    choices = ", ".join(claim.choices)
    return html.Div([words.sentence(claim.problem), html.Div(choices, className="note")])


def stranger_table(strangers: Sequence[Stranger], view: View) -> Piece:
    """Return devices that nobody has registered."""
    columns = [
        Column("Address"),
        Column("Connection"),
        Column("Says that it is"),
        Column("Read by"),
        Column("Frames kept", "number"),
        Column("Heard", "time"),
    ]
    rows: list[list[Piece]] = [
        [
            html.Span(stranger.address, className="code"),
            words.MEDIA.get(stranger.medium, stranger.medium),
            stranger.serial or words.MISSING,
            ", ".join(each.replace("_", " ") for each in stranger.drivers) or "no driver",
            words.count(stranger.frames),
            ago(stranger.last_at),
        ]
        for stranger in strangers
    ]
    return table("Devices that nobody has registered", columns, rows)


def done_table(claims: Sequence[Claim], view: View) -> Piece:
    """Return meters that were commissioned, with their first reading."""
    columns = [
        Column("Meter"),
        Column("First reading", "number"),
        Column("Driver"),
        Column("Connection"),
        Column("Scanned by"),
        Column("Commissioned", "time"),
    ]
    rows: list[list[Piece]] = [
        [
            meter_link(claim.meter, view),
            _first(claim),
            claim.driver.replace("_", " "),
            html.Div(
                [
                    words.MEDIA.get(claim.medium, claim.medium),
                    html.Div(claim.address, className="note"),
                ]
            ),
            claim.scanned_by or words.MISSING,
            moment(claim.done_at, view),
        ]
        for claim in claims
    ]
    return table("Meters that were commissioned", columns, rows)


def _first(claim: Claim) -> str:
    for reading in claim.readings:
        sold = sold_value(reading, claim.commodity)
        if sold is not None:
            return words.quantity(*sold)
    return words.MISSING


COMMISSIONING = PageKind("Commissioning", _commissioning_frame, _commissioning)
