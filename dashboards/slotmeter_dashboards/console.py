"""The console: the shell around the pages, the addresses, and the callback that keeps them live.

One callback draws every page. It asks the API, makes the page's parts, and sends those whose
content changed since this browser last saw them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component
from fastapi import FastAPI

from slotmeter.errors import NotFound, SlotmeterError
from slotmeter_dashboards import words
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.downloads import add_downloads
from slotmeter_dashboards.headers import add_headers
from slotmeter_dashboards.model import Overview
from slotmeter_dashboards.pages.devices import COMMISSIONING, DEVICES
from slotmeter_dashboards.pages.lists import ALARMS, COMMANDS, EVENTS, METERS, SALES
from slotmeter_dashboards.pages.meter import METER
from slotmeter_dashboards.pages.overview import OVERVIEW
from slotmeter_dashboards.pages.page import Drawn, PageKind
from slotmeter_dashboards.parts import View, empty, named, section
from slotmeter_dashboards.receipts import add_receipts

__all__ = ["build", "find_page", "skeleton", "title_of"]

TICK_MS = 2_000
QUERY_CHARS_MAX = 2_000
SUBJECT_CHARS_MAX = 64
PAGES: Mapping[str, PageKind] = {
    "": OVERVIEW,
    "meters": METERS,
    "devices": DEVICES,
    "commissioning": COMMISSIONING,
    "sales": SALES,
    "commands": COMMANDS,
    "alarms": ALARMS,
    "events": EVENTS,
}
NAVIGATION = (
    ("Overview", ""),
    ("Meters", "meters"),
    ("Devices", "devices"),
    ("Commissioning", "commissioning"),
    ("Sales", "sales"),
    ("Commands", "commands"),
    ("Alarms", "alarms"),
    ("Events", "events"),
)
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="PREFIXassets/favicon.svg">
<link rel="preload" as="font" type="font/woff2" crossorigin
  href="PREFIXassets/fonts/inter-latin.woff2">
<script src="PREFIXassets/scheme.js"></script>
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>
"""


def find_page(path: str, prefix: str) -> tuple[PageKind | None, str]:
    """Return the page at an address and its subject; None when there is none."""
    within = path.removeprefix(prefix) if path.startswith(prefix) else path.lstrip("/")
    name, _, subject = within.strip("/").partition("/")
    if name == "meters" and subject and "/" not in subject:
        return METER, unquote(subject)[:SUBJECT_CHARS_MAX]
    return (PAGES.get(name) if not subject else None), ""


def title_of(kind: PageKind | None, subject: str) -> str:
    """Return the window's title."""
    return f"{kind.title.format(subject) if kind else 'No such page'} · Slotmeter"


def _view(prefix: str, search: str | None, scheme: str | None, site: Overview | None) -> View:
    query = (search or "")[:QUERY_CHARS_MAX].removeprefix("?")
    zone_name = site.time_zone if site else "UTC"
    return View(
        prefix=prefix,
        params=dict(parse_qsl(query)),
        scheme=scheme or "light",
        zone=words.zone_of(zone_name),
        zone_name=zone_name,
        currency=site.currency if site else "",
    )


def skeleton(prefix: str) -> list[Component]:
    """Return what all pages share: the bar with its links, the connection's state, the page."""
    links = [
        dcc.Link(label, href=prefix + path, className="nav-link") for label, path in NAVIGATION
    ]
    brand = dcc.Link(
        [html.Span(className="mark"), html.Span("Slotmeter", className="brand-name")],
        href=prefix,
        className="brand",
    )
    return [
        dcc.Location(id="location", refresh=False),
        dcc.Interval(id="tick", interval=TICK_MS),
        dcc.Store(id="scheme"),
        dcc.Store(id="shown"),
        dcc.Store(id="seen"),
        dcc.Store(id="arrived"),
        html.A("Skip to the content", href="#main", className="skip"),
        html.Header(
            [
                html.Div(brand, className="bar-start"),
                html.Nav(links, className="nav", **named(aria_label="Pages")),
                html.Div(
                    [
                        html.Div(id="status", className="status"),
                        html.Button(
                            html.Span("Change colours", className="unseen"),
                            id="scheme-button",
                            className="scheme-button",
                            title="Light or dark",
                        ),
                    ],
                    className="bar-end",
                ),
            ],
            className="bar",
        ),
        html.Div(id="banner", role="alert"),
        html.Div(
            [
                html.Strong("Not live. "),
                "Nothing new comes from the console. This page keeps trying.",
            ],
            id="stale",
            className="banner",
            role="alert",
            hidden=True,
        ),
        html.Main(html.Div(id="page"), id="main"),
        html.Footer(section("foot", waits=False), className="foot"),
    ]


# --- what changed --------------------------------------------------------------------------------


def _digest(content: object) -> str:
    text = json.dumps(content, default=lambda part: part.to_plotly_json(), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _changed(
    wanted: list[dict[str, Any]],
    drawn: Mapping[str, object],
    kind: str,
    before: Mapping[str, str],
    after: dict[str, str],
) -> list[object]:
    """Return the content of each place on the page, or that it stays; notes what was sent."""
    answer: list[object] = []
    for place in wanted:
        name = place["id"]["name"]
        key = f"{kind}:{name}"
        if name not in drawn:
            answer.append(no_update)
            continue
        after[key] = _digest(drawn[name])
        answer.append(no_update if after[key] == before.get(key) else drawn[name])
    return answer


def _status(overview: Overview, view: View) -> list[Component | str]:
    return [
        html.Span("Live", className="badge tone-good live"),
        html.Span(
            [
                html.Span("data as of ", className="wide-only"),
                html.Time(
                    words.clock(overview.as_of, view.zone),
                    dateTime=words.iso(overview.as_of, view.zone),
                    **named(data_now=overview.as_of.isoformat()),
                ),
            ],
            className="as-of",
        ),
    ]


def _shell(overview: Overview, view: View) -> dict[str, object]:
    return {
        "foot": f"Times are those of {view.zone_name.replace('_', ' ')}. "
        "The times of readings are those of the meter's own clock.",
    }


def _not_found(message: str, view: View) -> Component:
    return html.Div(
        [
            html.Div(html.H1("Not found", tabIndex="-1"), className="page-head"),
            empty(words.sentence(message), dcc.Link("To the overview", href=view.prefix)),
        ],
        className="page",
    )


def _broken(error: SlotmeterError, client: ApiClient) -> Component:
    """Say what is wrong and that nobody has to reload the page."""
    if error.code == "api_unreachable":
        text = f"The platform does not answer at {client.base_url}."
    else:
        text = f"The platform did not give the data: {error.message}."
    return html.Div(
        [html.Strong("Not live. "), text, " This page keeps trying and needs no reload."],
        className="banner",
    )


def _register_addresses(app: Dash, prefix: str) -> None:
    """Register what shows the frame of the page at an address."""

    @app.callback(
        Output("page", "children"),
        Output("shown", "data"),
        Input("location", "pathname"),
        State("location", "search"),
    )
    def show(path: str | None, search: str | None) -> tuple[Component, dict[str, str]]:
        kind, subject = find_page(path or prefix, prefix)
        view = _view(prefix, search, None, None)
        shown = {"id": uuid4().hex, "path": path or prefix, "title": title_of(kind, subject)}
        if kind is None:
            return _not_found("there is no such page.", view), shown
        return kind.frame(view, subject), shown


def _register_data(app: Dash, client: ApiClient, prefix: str) -> None:
    """Register what fills the frame, and fills it again whenever something changed."""

    @app.callback(
        Output({"type": "section", "name": ALL}, "children"),
        Output({"type": "figure", "name": ALL}, "figure"),
        Output("status", "children"),
        Output("banner", "children"),
        Output("page", "children", allow_duplicate=True),
        Output("seen", "data"),
        Input("tick", "n_intervals"),
        Input("shown", "data"),
        Input("scheme", "data"),
        Input("location", "search"),
        State("seen", "data"),
        prevent_initial_call="initial_duplicate",
    )
    async def refresh(
        _: int | None,
        shown: dict[str, str] | None,
        scheme: str | None,
        search: str | None,
        seen: dict[str, Any] | None,
    ) -> tuple[object, ...]:
        sections, figures = ctx.outputs_list[0], ctx.outputs_list[1]
        still = ([no_update] * len(sections), [no_update] * len(figures))
        if shown is None or scheme is None:
            return (*still, no_update, no_update, no_update, no_update)
        same = seen is not None and seen.get("of") == shown["id"]
        before: dict[str, str] = seen["parts"] if seen is not None and same else {}
        kind, subject = find_page(shown["path"], prefix)
        try:
            overview = await client.overview()
            view = _view(prefix, search, scheme, overview)
            drawn, lost = await _drawn(client, view, kind, subject)
        except SlotmeterError as error:
            status = html.Span("Not live", className="badge tone-bad")
            return (*still, status, _broken(error, client), no_update, no_update)
        after = {"lost": "yes"} if lost is not None else {}
        page: object = no_update
        if lost is not None and "lost" not in before:
            page = lost
        elif lost is None and "lost" in before and kind is not None:
            page = kind.frame(view, subject)
        parts = {**_shell(overview, view), **drawn.sections}
        return (
            _changed(sections, parts, "section", before, after),
            _changed(figures, drawn.figures, "figure", before, after),
            _status(overview, view),
            "",
            page,
            {"of": shown["id"], "parts": after},
        )


async def _drawn(
    client: ApiClient, view: View, kind: PageKind | None, subject: str
) -> tuple[Drawn, Component | None]:
    """Return the page's parts, or what to show instead when its subject is not there."""
    if kind is None:
        return Drawn({}), None
    try:
        return await kind.draw(client, view, subject), None
    except NotFound as error:
        return Drawn({}), _not_found(error.message, view)


def _register_browser_side(app: Dash) -> None:
    """Register what needs no server: colours, titles, and the search that becomes an address."""
    register: Any = app.clientside_callback
    register(
        ClientsideFunction("slotmeter", "scheme"),
        Output("scheme", "data"),
        Input("scheme-button", "n_clicks"),
    )
    register(
        ClientsideFunction("slotmeter", "arrived"),
        Output("arrived", "data"),
        Input("shown", "data"),
    )
    register(
        ClientsideFunction("slotmeter", "search"),
        Output("location", "search"),
        Input("search", "value"),
        State("location", "search"),
        prevent_initial_call=True,
    )


def build(client: ApiClient, prefix: str = "/") -> FastAPI:
    """Return the whole console as an ASGI application.

    Args:
        client: asks the platform; closed when the application ends.
        prefix: where it is mounted, with a slash at both ends.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await client.close()

    # The document pages that the framework offers fetch their scripts from outside.
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    add_downloads(server, client, prefix)
    add_receipts(server, client, prefix)
    app = Dash(
        "slotmeter_dashboards",
        server=cast("Any", server),
        backend="fastapi",
        assets_folder=str(Path(__file__).parent / "assets"),
        assets_ignore=r"^scheme\.js$",
        requests_pathname_prefix=prefix,
        routes_pathname_prefix=prefix,
        index_string=INDEX.replace("PREFIX", prefix),
        serve_locally=True,
        suppress_callback_exceptions=True,
        title="Slotmeter",
        update_title="",
    )
    # Callbacks go over HTTP here; without this every page would hold an idle WebSocket as well.
    app.backend.websocket_capability = False
    app.layout = html.Div(skeleton(prefix), className="shell")
    _register_addresses(app, prefix)
    _register_data(app, client, prefix)
    _register_browser_side(app)
    # Dash would do this with the first request for "/": until then, any other page would come
    # without the assets.
    cast("Any", app)._setup_server()
    add_headers(server, app.csp_hashes())
    return server
