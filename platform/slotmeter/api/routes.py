"""Every route in one table, from which both the handlers and the OpenAPI document are made."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from slotmeter.api import (
    accounts,
    areas,
    audit,
    bindings,
    classes,
    commands,
    commissioning,
    debts,
    device_keys,
    entries,
    free_units,
    health,
    health_of_devices,
    key_campaigns,
    ledger,
    ledger_acts,
    lifecycle,
    meter_keys,
    meters,
    overview,
    quarantine,
    receipts,
    sales,
    search,
    tariff_prices,
    tariffs,
    vending_keys,
)
from slotmeter.api import device_models as device
from slotmeter.api import models as model
from slotmeter.api import query_models as query
from slotmeter.api.event_stream import EVENT_RIGHTS, events
from slotmeter.api.route import API, DOCUMENT_PATH, OK, Handler, Route, get, post
from slotmeter.ports import Right

__all__ = ["API", "DOCUMENT_PATH", "ROUTES", "Handler", "Route"]

_ALL_SALES: Final = frozenset({Right.SALES_ALL})
_SALES: Final = frozenset({Right.SALES_OWN, Right.SALES_ALL})
_METERS: Final = frozenset({Right.METERS})
_COMMANDS: Final = frozenset({Right.COMMANDS})
_ASKS: Final = frozenset({Right.COMMAND_SEND, Right.METERS_ASK})
"""The second one for ``read_now`` only, which ``CommandRequests`` sees to."""

ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/quotes",
        sales.quote,
        "sales",
        Right.QUOTE,
        {OK: model.Quote},
        body=model.QuoteBody,
        problems=(404,),
    ),
    post(
        "/sales",
        sales.sell,
        "sales",
        Right.SELL,
        {HTTPStatus.CREATED: model.Sale, OK: model.Sale},
        body=model.SaleBody,
        problems=(404, 409),
    ),
    get(
        "/sales",
        sales.sales,
        "sales",
        _SALES,
        model.SalesPage,
        query=query.SalesQuery,
        problems=(404,),
    ),
    get("/sales/{sale_id}", sales.sale, "sales", _SALES, model.Sale),
    *receipts.ROUTES,
    get("/meters", meters.meters, "meters", _METERS, device.MetersPage, query=query.MetersQuery),
    get("/meters/{number}", meters.meter, "meters", _METERS, device.Meter),
    get(
        "/meters/{number}/readings",
        meters.readings,
        "meters",
        frozenset({Right.READINGS}),
        device.Readings,
        query=query.ReadingsQuery,
    ),
    get(
        "/meters/{number}/tokens",
        meters.meter_tokens,
        "meters",
        _SALES,
        device.MeterTokensPage,
        query=query.PageQuery,
    ),
    get(
        "/meters/{number}/commands",
        meters.meter_commands,
        "commands",
        _COMMANDS,
        device.CommandsPage,
        query=query.PageQuery,
    ),
    post(
        "/meters/{number}/commands",
        commands.send_command,
        "commands",
        _ASKS,
        {HTTPStatus.ACCEPTED: device.Command},
        body=model.CommandBody,
        problems=(409,),
    ),
    get(
        "/commands",
        commands.commands,
        "commands",
        _COMMANDS,
        device.CommandsPage,
        query=query.CommandsQuery,
    ),
    get("/commands/{command_id}", commands.command, "commands", _COMMANDS, device.CommandDetail),
    post(
        "/commands/{command_id}/confirm",
        commands.confirm,
        "commands",
        Right.COMMAND_CONFIRM,
        {OK: device.Command},
        body=model.ConfirmBody,
        problems=(409,),
    ),
    *commands.ROUTES,
    get(
        "/events",
        events,
        "events",
        EVENT_RIGHTS,
        device.EventsPage,
        query=query.EventsQuery,
        also=("text/event-stream",),
        problems=(404,),
        timed=False,
    ),
    get(
        "/alarms",
        overview.alarms,
        "events",
        frozenset({Right.EVENTS}),
        device.AlarmsPage,
        query=query.AlarmsQuery,
    ),
    get("/overview", overview.overview, "events", _ALL_SALES, device.Overview),
    *commissioning.ROUTES,
    *health_of_devices.ROUTES,
    *quarantine.ROUTES,
    *accounts.ROUTES,
    *tariffs.ROUTES,
    *tariff_prices.ROUTES,
    *classes.ROUTES,
    *free_units.ROUTES,
    *debts.ROUTES,
    *audit.ROUTES,
    *search.ROUTES,
    *entries.ROUTES,
    *device_keys.ROUTES,
    *vending_keys.ROUTES,
    *meter_keys.ROUTES,
    *key_campaigns.ROUTES,
    *ledger.ROUTES,
    *ledger_acts.ROUTES,
    *areas.ROUTES,
    *lifecycle.ROUTES,
    *bindings.ROUTES,
    Route("GET", "/healthz", "healthz", "health", health.healthz, None, {OK: device.Alive}),
    Route("GET", "/readyz", "readyz", "health", health.readyz, None, {OK: device.Ready}),
    Route("GET", "/metrics", "metrics", "health", health.metrics, None, {}, also=("text/plain",)),
)
"""What the server answers; the OpenAPI document itself is at ``DOCUMENT_PATH``."""
