"""Every route in one table, from which both the handlers and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from slotmeter.api import commands, health, meters, overview, sales
from slotmeter.api import device_models as device
from slotmeter.api import models as model
from slotmeter.api import query_models as query
from slotmeter.api.call import Answer, Call, Nothing
from slotmeter.api.event_stream import EVENT_RIGHTS, events
from slotmeter.ports import Right

__all__ = ["API", "DOCUMENT_PATH", "ROUTES", "Handler", "Route"]

API: Final = "/api/v1"
DOCUMENT_PATH: Final = f"{API}/openapi.json"

Handler = Callable[[Call[Any, Any]], Awaitable[Answer | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Args:
        name: unique; the operation's id and its name in metrics.
        tag: the chapter it stands under.
        rights: the caller needs one of these; None leaves the route open to all.
        answers: what it gives by status, below 400.
        body: the model of the JSON body; ``Nothing`` for none.
        query: the model of the parameters; ``Nothing`` for none.
        also: other media types that it answers with 200.
        problems: statuses of problems beside those that follow from the above.
        timed: bound by the time for one request.
    """

    method: str
    path: str
    name: str
    tag: str
    handler: Handler
    rights: frozenset[Right] | None
    answers: Mapping[int, type[BaseModel]]
    body: type[BaseModel] = Nothing
    query: type[BaseModel] = Nothing
    also: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()
    timed: bool = field(default=True)

    @property
    def summary(self) -> str:
        """The first sentence of the handler."""
        return (self.handler.__doc__ or "").partition("\n")[0]

    @property
    def statuses(self) -> frozenset[int]:
        """Every status that this route answers."""
        found = {*self.answers, *self.problems, 500, 503}
        if self.rights is not None:
            found |= {401, 403, 429}
        if self.body is not Nothing:
            found |= {400, 408, 413, 422}
        if self.query is not Nothing:
            found |= {422}
        if "{" in self.path:
            found |= {404}
        return frozenset(found)


_ALL_SALES: Final = frozenset({Right.SALES_ALL})
_SALES: Final = frozenset({Right.SALES_OWN, Right.SALES_ALL})
_METERS: Final = frozenset({Right.METERS})
_COMMANDS: Final = frozenset({Right.COMMANDS})
OK: Final = HTTPStatus.OK


def _get(
    path: str,
    handler: Handler,
    tag: str,
    rights: frozenset[Right],
    answer: type[BaseModel],
    **more: Any,
) -> Route:
    return Route(
        "GET", f"{API}{path}", handler.__name__, tag, handler, rights, {OK: answer}, **more
    )


def _post(
    path: str,
    handler: Handler,
    tag: str,
    right: Right,
    answers: Mapping[int, type[BaseModel]],
    **more: Any,
) -> Route:
    return Route(
        "POST", f"{API}{path}", handler.__name__, tag, handler, frozenset({right}), answers, **more
    )


_PRINTS: Final = ("text/plain", "text/html")

ROUTES: Final[tuple[Route, ...]] = (
    _post(
        "/quotes",
        sales.quote,
        "sales",
        Right.QUOTE,
        {OK: model.Quote},
        body=model.QuoteBody,
        problems=(404,),
    ),
    _post(
        "/sales",
        sales.sell,
        "sales",
        Right.SELL,
        {HTTPStatus.CREATED: model.Sale, OK: model.Sale},
        body=model.SaleBody,
        problems=(404, 409),
    ),
    _get(
        "/sales",
        sales.sales,
        "sales",
        _SALES,
        model.SalesPage,
        query=query.SalesQuery,
        problems=(404,),
    ),
    _get("/sales/{sale_id}", sales.sale, "sales", _SALES, model.Sale),
    _get(
        "/sales/{sale_id}/receipt",
        sales.sale_receipt,
        "sales",
        _SALES,
        model.ReceiptDocument,
        query=query.ReceiptQuery,
        also=_PRINTS,
    ),
    _get(
        "/receipts/{receipt_number}",
        sales.receipt,
        "sales",
        _SALES,
        model.ReceiptDocument,
        query=query.ReceiptQuery,
        also=_PRINTS,
    ),
    _get("/meters", meters.meters, "meters", _METERS, device.MetersPage, query=query.MetersQuery),
    _get("/meters/{number}", meters.meter, "meters", _METERS, device.Meter),
    _get(
        "/meters/{number}/readings",
        meters.readings,
        "meters",
        frozenset({Right.READINGS}),
        device.Readings,
        query=query.ReadingsQuery,
    ),
    _get(
        "/meters/{number}/tokens",
        meters.meter_tokens,
        "meters",
        _SALES,
        device.MeterTokensPage,
        query=query.PageQuery,
    ),
    _get(
        "/meters/{number}/commands",
        meters.meter_commands,
        "commands",
        _COMMANDS,
        device.CommandsPage,
        query=query.PageQuery,
    ),
    _post(
        "/meters/{number}/commands",
        commands.send_command,
        "commands",
        Right.COMMAND_SEND,
        {HTTPStatus.ACCEPTED: device.Command},
        body=model.CommandBody,
        problems=(409,),
    ),
    _get(
        "/commands",
        commands.commands,
        "commands",
        _COMMANDS,
        device.CommandsPage,
        query=query.CommandsQuery,
    ),
    _get("/commands/{command_id}", commands.command, "commands", _COMMANDS, device.CommandDetail),
    _post(
        "/commands/{command_id}/confirm",
        commands.confirm,
        "commands",
        Right.COMMAND_CONFIRM,
        {OK: device.Command},
        body=model.ConfirmBody,
        problems=(409,),
    ),
    _get(
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
    _get(
        "/alarms",
        overview.alarms,
        "events",
        frozenset({Right.EVENTS}),
        device.AlarmsPage,
        query=query.AlarmsQuery,
    ),
    _get("/overview", overview.overview, "events", _ALL_SALES, device.Overview),
    Route("GET", "/healthz", "healthz", "health", health.healthz, None, {OK: device.Alive}),
    Route("GET", "/readyz", "readyz", "health", health.readyz, None, {OK: device.Ready}),
    Route("GET", "/metrics", "metrics", "health", health.metrics, None, {}, also=("text/plain",)),
)
"""What the server answers; the OpenAPI document itself is at ``DOCUMENT_PATH``."""
