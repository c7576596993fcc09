"""Nodes with the meters behind them, keypads of split meters, and bearers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.paging import AfterQuery, BeforeQuery
from slotmeter.api.registry_models import (
    BearerBody,
    BearerLine,
    BearersPage,
    BindBody,
    BindingLine,
    BindingsPage,
    KeypadBody,
    KeypadLine,
    KeypadsPage,
    NodeBody,
    NodeDetail,
    NodeLine,
    NodesPage,
)
from slotmeter.api.route import OK, Route, get, post, put
from slotmeter.errors import Refused
from slotmeter.ports import Right, Row
from slotmeter.services.bearers import BearerWish
from slotmeter.services.bindings import NewNode, Node
from slotmeter.services.registries import Registries
from slotmeter.units import iso_utc

__all__ = ["ROUTES"]


async def nodes(call: Call[Nothing, AfterQuery]) -> Answer:
    """List nodes by serial number."""
    page = await _registries(call).bindings.nodes(
        _utility_id(call), after=call.query.after, limit=call.query.limit
    )
    return json_answer(
        NodesPage(items=[NodeLine(**_node_facts(row)) for row in page.rows], next=page.next)
    )


async def add_node(call: Call[NodeBody, Nothing]) -> Answer:
    """Register a node; the same again is the same node."""
    body = call.body
    new = NewNode(body.serial, body.medium, body.address, body.driver)
    node = await _registries(call).bindings.add_node(call.caller, new, reason=body.reason)
    return json_answer(_node(node), HTTPStatus.CREATED)


async def node(call: Call[Nothing, Nothing]) -> Answer:
    """Show a node with the meters behind it now."""
    return json_answer(
        _node(await _registries(call).bindings.node(_utility_id(call), call.path("serial")))
    )


async def bind_meters(call: Call[BindBody, Nothing]) -> Answer:
    """Bind meters to slots of a node, all at once: two can change places."""
    body = call.body
    places = {each.slot: each.meter for each in body.places}
    if len(places) < len(body.places):
        raise Refused("slot_twice", "name each slot once", field="places")
    bound = await _registries(call).bindings.bind(
        call.caller, call.path("serial"), places, reason=body.reason, at=body.at
    )
    return json_answer(_node(bound))


async def node_bindings(call: Call[Nothing, BeforeQuery]) -> Answer:
    """List what was ever behind a node, the newest first."""
    page = await _registries(call).bindings.history(
        _utility_id(call), call.path("serial"), before=call.query.before, limit=call.query.limit
    )
    return json_answer(BindingsPage(items=[_binding(row) for row in page.rows], next=page.next))


async def meter_bindings(call: Call[Nothing, BeforeQuery]) -> Answer:
    """List behind which nodes a meter was, the newest first."""
    page = await _registries(call).bindings.history_of_meter(
        _utility_id(call), call.path("number"), before=call.query.before, limit=call.query.limit
    )
    return json_answer(BindingsPage(items=[_binding(row) for row in page.rows], next=page.next))


async def node_bearers(call: Call[Nothing, BeforeQuery]) -> Answer:
    """List what a node was reached by, the newest first."""
    page = await _registries(call).bearers.bearers_of_node(
        _utility_id(call), call.path("serial"), before=call.query.before, limit=call.query.limit
    )
    return json_answer(BearersPage(items=[_bearer(row) for row in page.rows], next=page.next))


async def move_node(call: Call[BearerBody, Nothing]) -> Answer:
    """Reach a node, and all meters behind it, by another medium or address."""
    serial, bearers = call.path("serial"), _registries(call).bearers
    await bearers.change_node(call.caller, serial, _wish(call.body), reason=call.body.reason)
    return json_answer(_node(await _registries(call).bindings.node(_utility_id(call), serial)))


async def meter_bearers(call: Call[Nothing, BeforeQuery]) -> Answer:
    """List what a meter was reached by, the newest first."""
    page = await _registries(call).bearers.bearers(
        _utility_id(call), call.path("number"), before=call.query.before, limit=call.query.limit
    )
    return json_answer(BearersPage(items=[_bearer(row) for row in page.rows], next=page.next))


async def move_meter(call: Call[BearerBody, Nothing]) -> Answer:
    """Reach a meter by another medium or address; its history and its queue stay."""
    number, bearers = call.path("number"), _registries(call).bearers
    await bearers.change(call.caller, number, _wish(call.body), reason=call.body.reason)
    page = await bearers.bearers(_utility_id(call), number)
    return json_answer(BearersPage(items=[_bearer(row) for row in page.rows], next=page.next))


async def meter_keypads(call: Call[Nothing, BeforeQuery]) -> Answer:
    """List which keypads a meter had, the newest first."""
    return json_answer(await _keypads(call, call.query.before, call.query.limit))


async def give_keypad(call: Call[KeypadBody, Nothing]) -> Answer:
    """Give a meter a keypad in the place of the one it had."""
    body = call.body
    await _registries(call).keypads.give(
        call.caller, call.path("number"), body.serial, reason=body.reason, is_moved=body.moved
    )
    return json_answer(await _keypads(call))


async def _keypads(call: Call[Any, Any], before: int | None = None, limit: int = 50) -> KeypadsPage:
    page = await _registries(call).keypads.keypads(
        _utility_id(call), call.path("number"), before=before, limit=limit
    )
    items = [
        KeypadLine(serial=row["serial"], from_at=iso_utc(row["from_us"]), to_at=_end(row))
        for row in page.rows
    ]
    return KeypadsPage(items=items, next=page.next)


def _registries(call: Call[Any, Any]) -> Registries:
    return call.services.office.registries


def _utility_id(call: Call[Any, Any]) -> int:
    return call.caller.principal.utility_id


def _wish(body: BearerBody) -> BearerWish:
    return BearerWish(body.medium, body.address, body.driver)


def _end(row: Row) -> str | None:
    return None if row["to_us"] is None else iso_utc(row["to_us"])


def _binding(row: Row) -> BindingLine:
    return BindingLine(
        node=row["node"],
        slot=row["slot"],
        meter=row["meter"],
        from_at=iso_utc(row["from_us"]),
        to_at=_end(row),
    )


def _bearer(row: Row) -> BearerLine:
    return BearerLine(
        medium=row["medium"],
        address=row["address"],
        from_at=iso_utc(row["from_us"]),
        to_at=_end(row),
    )


def _node_facts(row: Row) -> dict[str, Any]:
    heard_us = row["last_contact_us"]
    return {
        **{name: row[name] for name in ("serial", "medium", "address", "driver", "meters")},
        "last_contact_at": None if heard_us is None else iso_utc(heard_us),
        "offline": row["offline_us"] is not None,
        "created_at": iso_utc(row["created_us"]),
    }


def _node(found: Node) -> NodeDetail:
    heard_us = found.last_contact_us
    return NodeDetail(
        serial=found.serial,
        medium=found.medium,
        address=found.address,
        driver=found.driver,
        meters=len(found.bindings),
        last_contact_at=None if heard_us is None else iso_utc(heard_us),
        offline=found.is_offline,
        created_at=iso_utc(found.created_us),
        bindings=[_binding(row) for row in found.bindings],
    )


_LOOK: Final = frozenset({Right.METERS})
_WRITE: Final = Right.METERS_WRITE

ROUTES: Final[tuple[Route, ...]] = (
    get("/nodes", nodes, "nodes", _LOOK, NodesPage, query=AfterQuery),
    post(
        "/nodes",
        add_node,
        "nodes",
        _WRITE,
        {HTTPStatus.CREATED: NodeDetail},
        body=NodeBody,
        problems=(409,),
    ),
    get("/nodes/{serial}", node, "nodes", _LOOK, NodeDetail),
    get("/nodes/{serial}/bindings", node_bindings, "nodes", _LOOK, BindingsPage, query=BeforeQuery),
    post(
        "/nodes/{serial}/bindings",
        bind_meters,
        "nodes",
        _WRITE,
        {OK: NodeDetail},
        body=BindBody,
        problems=(409,),
    ),
    get("/nodes/{serial}/bearers", node_bearers, "nodes", _LOOK, BearersPage, query=BeforeQuery),
    post(
        "/nodes/{serial}/bearers",
        move_node,
        "nodes",
        _WRITE,
        {OK: NodeDetail},
        body=BearerBody,
        problems=(409,),
    ),
    get(
        "/meters/{number}/bindings",
        meter_bindings,
        "meters",
        _LOOK,
        BindingsPage,
        query=BeforeQuery,
    ),
    get("/meters/{number}/bearers", meter_bearers, "meters", _LOOK, BearersPage, query=BeforeQuery),
    post(
        "/meters/{number}/bearers",
        move_meter,
        "meters",
        _WRITE,
        {OK: BearersPage},
        body=BearerBody,
        problems=(409,),
    ),
    get("/meters/{number}/keypads", meter_keypads, "meters", _LOOK, KeypadsPage, query=BeforeQuery),
    put(
        "/meters/{number}/keypad",
        give_keypad,
        "meters",
        _WRITE,
        {OK: KeypadsPage},
        body=KeypadBody,
        problems=(409,),
    ),
)
"""Routes of nodes, keypads and bearers."""
