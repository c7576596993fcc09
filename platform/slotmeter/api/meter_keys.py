"""Changes of the keys of meters, tokens in place of old ones, and management tokens."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final, Literal

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.meter_key_models import (
    Coding,
    KeyChange,
    KeyChangeBody,
    KeyChangeLine,
    KeyChangePlan,
    KeyChangePlanQuery,
    KeyChangeReasonBody,
    KeyChangesPage,
    KeyChangesQuery,
    ManagementBody,
    ManagementLine,
    ManagementToken,
    ManagementTokensPage,
    ReplaceBody,
    ReplacementToken,
    SetToken,
    UnusedToken,
)
from slotmeter.api.query_models import PageQuery
from slotmeter.api.route import API, OK, Handler, Route, get
from slotmeter.api.sales import instant_text, sold_units
from slotmeter.errors import NotFound
from slotmeter.ports import Principal, Right, Row
from slotmeter.services.key_change_plan import ChangeView, KeyWish
from slotmeter.services.key_wanted import Coding as Coded
from slotmeter.services.management_tokens import ManagementWish
from slotmeter.services.tid_allocator import stored_parameters
from slotmeter.units import iso_utc

__all__ = ["ROUTES", "following", "guarded_post", "mark_of", "unused_fields"]

ID_DIGITS_MAX: Final = 18
_KEYS: Final = frozenset({Right.KEYS_CHANGE})
_METERS: Final = frozenset({Right.METERS})


async def change_key(call: Call[KeyChangeBody, Nothing]) -> Answer:
    """Make the key change tokens of a meter, or let its next sale make them."""
    body, number = call.body, call.path("number")
    wish = KeyWish(
        body.key, body.tariff_index, body.three_tokens, with_sale=body.when == "with_sale"
    )
    changes = call.services.codings.changes
    view, is_new = await changes.make(call.caller, number, wish, body.reason)
    if view is not None:
        return json_answer(_change(call, view), HTTPStatus.CREATED if is_new else OK)
    row = await changes.wish(call.caller, number)
    return json_answer(_with_sale(call, row), HTTPStatus.ACCEPTED)


async def key_change_plan(call: Call[Nothing, KeyChangePlanQuery]) -> Answer:
    """Say what changing a meter's key would do, and write nothing."""
    wish = KeyWish(call.query.key, call.query.tariff_index)
    plan = await call.services.codings.changes.plan(call.caller, call.path("number"), wish)
    row = plan.meter
    return json_answer(
        KeyChangePlan(
            meter=row["number"],
            current=_coding(row["key_id"], row["parameters"]),
            wanted=_coding(plan.coding.key_id, plan.coding.text),
            unused=[UnusedToken(**unused_fields(each, row["commodity"])) for each in plan.unused],
        )
    )


async def forget_key_change(call: Call[KeyChangeReasonBody, Nothing]) -> Answer:
    """Let the next sale of a meter make no set, where none was made yet."""
    changes = call.services.codings.changes
    row = await changes.wish(call.caller, call.path("number"))
    await changes.forget_wish(call.caller, call.path("number"), call.body.reason)
    return json_answer(_with_sale(call, row, state="cancelled"))


async def key_changes(call: Call[Nothing, KeyChangesQuery]) -> Answer:
    """List key changes."""
    query = call.query
    page = await call.services.codings.changes.changes(
        call.caller, state=query.state, meter=query.meter, before=query.before, limit=query.limit
    )
    items = [KeyChangeLine(**_line(call.caller.principal, row)) for row in page.rows]
    return json_answer(KeyChangesPage(items=items, next=following(page.next)))


async def key_change(call: Call[Nothing, Nothing]) -> Answer:
    """Return a key change with its set of tokens."""
    view = await call.services.codings.changes.show(call.caller, _change_id(call))
    return json_answer(_change(call, view))


async def declare_key_change(call: Call[KeyChangeReasonBody, Nothing]) -> Answer:
    """Take a person's word that the meter has its new key."""
    changes = call.services.codings.changes
    view = await changes.declare(call.caller, _change_id(call), call.body.reason)
    return json_answer(_change(call, view))


async def cancel_key_change(call: Call[KeyChangeReasonBody, Nothing]) -> Answer:
    """Undo a key change that no meter took."""
    changes = call.services.codings.changes
    view = await changes.cancel(call.caller, _change_id(call), call.body.reason)
    return json_answer(_change(call, view))


async def send_key_change(call: Call[KeyChangeReasonBody, Nothing]) -> Answer:
    """Send the set of an open key change to its meter once more."""
    changes = call.services.codings.changes
    view = await changes.send(call.caller, _change_id(call), call.body.reason)
    return json_answer(_change(call, view))


async def replace_token(call: Call[ReplaceBody, Nothing]) -> Answer:
    """Replace a token that a key change made worthless, once and for nothing."""
    codings, change_id = call.services.codings, _change_id(call)
    made, is_new = await codings.replacements.replace(
        call.caller, change_id, call.body.token, call.body.reason
    )
    view = await codings.changes.show(call.caller, change_id)
    answer = ReplacementToken(
        token=made.new_token_id,
        replaces=made.old_token_id,
        digits=made.digits,
        units=sold_units(view.row["commodity"], made.amount)[0],
        mark=mark_of(call.caller.principal),
    )
    return json_answer(answer, HTTPStatus.CREATED if is_new else OK)


async def make_management_token(call: Call[ManagementBody, Nothing]) -> Answer:
    """Make a token that manages a meter, and send it to a meter within reach."""
    body = call.body
    wish = ManagementWish(body.request_id, body.kind, body.value, body.reason)
    management = call.services.codings.management
    made, is_new = await management.make(call.caller, call.path("number"), wish)
    answer = ManagementToken(
        **_managed(made.row),
        digits=made.digits,
        key_change=made.key_change_id or None,
        mark=mark_of(call.caller.principal),
    )
    return json_answer(answer, HTTPStatus.CREATED if is_new else OK)


async def management_tokens(call: Call[Nothing, PageQuery]) -> Answer:
    """List the management tokens of a meter, without their digits."""
    query = call.query
    page = await call.services.codings.management.tokens(
        call.caller, call.path("number"), before=query.before, limit=query.limit
    )
    items = [ManagementLine(**_managed(row)) for row in page.rows]
    return json_answer(ManagementTokensPage(items=items, next=following(page.next)))


# --- rows into answers ----------------------------------------------------------------------------


def mark_of(principal: Principal) -> Literal["", "training"]:
    """Return the mark of everything that is made for practice."""
    return "training" if principal.training else ""


def following(place: int | str | None) -> int | None:
    """Return where the next page starts."""
    return None if place is None else int(place)


def unused_fields(row: Row, commodity: str) -> dict[str, Any]:
    """Return the fields of ``UnusedToken``."""
    return {
        "token": row["id"],
        "receipt_number": row["receipt_number"],
        "sold_at": iso_utc(row["created_us"]),
        "units": sold_units(commodity, row["amount"])[0],
        "state": row["state"],
        "replaced_by": row["new_token_id"],
    }


def _coding(key_id: str, parameters: str) -> Coding:
    coded = stored_parameters(parameters)
    names = ("sgc", "krn", "kt", "ti", "ken", "base_date", "ea")
    return Coding(key=key_id, **{name: getattr(coded, name) for name in names})


def _line(principal: Principal, row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "meter": row["meter"],
        "state": row["state"],
        "current": _coding(row["from_key_id"], row["from_parameters"]),
        "wanted": _coding(row["to_key_id"], row["to_parameters"]),
        "three_tokens": bool(row["three_tokens"]),
        "proof": row["proof"],
        "reason": row["reason"],
        "asked_by": row["asked_by"],
        "created_at": iso_utc(row["created_us"]),
        "ended_at": instant_text(row["ended_us"]),
        "ended_by": row["ended_by"],
        "end_reason": row["end_reason"],
        "mark": mark_of(principal),
    }


def _change(call: Call[Any, Any], view: ChangeView) -> KeyChange:
    return KeyChange(
        **_line(call.caller.principal, view.row),
        tokens=[
            SetToken(
                place=token.place,
                subclass=token.subclass,
                digits=token.digits,
                state=token.state,
                delivery=token.command,
            )
            for token in view.tokens
        ],
        unused=[UnusedToken(**unused_fields(row, view.row["commodity"])) for row in view.unused],
    )


def _with_sale(call: Call[Any, Any], row: Row, *, state: str = "with_sale") -> KeyChange:
    """Return what the next sale of a meter will make."""
    wanted: dict[str, Any] = json.loads(row["wanted"])
    coded = Coded.from_wanted(row["wanted"])
    fields: dict[str, Any] = {"state": state}
    return KeyChange(
        id=None,
        meter=row["number"],
        current=_coding(row["key_id"], row["parameters"]),
        wanted=_coding(coded.key_id, coded.text),
        three_tokens=bool(wanted["three_tokens"]),
        proof=None,
        reason=str(wanted["reason"]),
        asked_by=None,
        created_at=None,
        ended_at=None,
        ended_by=None,
        end_reason=None,
        mark=mark_of(call.caller.principal),
        tokens=[],
        unused=[],
        **fields,
    )


def _managed(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "meter": row["meter"],
        "kind": row["kind"],
        "value": row["value"],
        "reason": row["reason"],
        "asked_by": row["asked_by"],
        "made_at": iso_utc(row["at_us"]),
        "state": row["state"],
        "delivery": row["command_state"],
        "accepted_at": instant_text(row["accepted_us"]),
    }


def _change_id(call: Call[Any, Any]) -> int:
    text = call.path("change_id")
    if not (text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX):
        raise NotFound("key_change_unknown", "there is no such key change")
    return int(text)


def guarded_post(
    path: str, handler: Handler, right: Right, answers: dict[int, Any], **more: Any
) -> Route:
    """Return a POST that who may look at meters reaches too, so that an attempt is kept."""
    rights = frozenset({right, Right.METERS})
    return Route(
        "POST", f"{API}{path}", handler.__name__, "meter keys", handler, rights, answers, **more
    )


_ENDED: Final = {"body": KeyChangeReasonBody, "problems": (409,)}

ROUTES: Final[tuple[Route, ...]] = (
    guarded_post(
        "/meters/{number}/key-change",
        change_key,
        Right.KEYS_CHANGE,
        {HTTPStatus.CREATED: KeyChange, OK: KeyChange, HTTPStatus.ACCEPTED: KeyChange},
        body=KeyChangeBody,
        problems=(409,),
    ),
    get(
        "/meters/{number}/key-change",
        key_change_plan,
        "meter keys",
        _KEYS,
        KeyChangePlan,
        query=KeyChangePlanQuery,
        problems=(409,),
    ),
    guarded_post(
        "/meters/{number}/key-change/forget",
        forget_key_change,
        Right.KEYS_CHANGE,
        {OK: KeyChange},
        **_ENDED,
    ),
    get(
        "/key-changes",
        key_changes,
        "meter keys",
        _METERS,
        KeyChangesPage,
        query=KeyChangesQuery,
    ),
    get("/key-changes/{change_id}", key_change, "meter keys", _KEYS, KeyChange),
    *(
        guarded_post(
            f"/key-changes/{{change_id}}/{name}",
            handler,
            Right.KEYS_CHANGE,
            {OK: KeyChange},
            **_ENDED,
        )
        for name, handler in (
            ("declare", declare_key_change),
            ("cancel", cancel_key_change),
            ("send", send_key_change),
        )
    ),
    guarded_post(
        "/key-changes/{change_id}/replacements",
        replace_token,
        Right.KEYS_CHANGE,
        {HTTPStatus.CREATED: ReplacementToken, OK: ReplacementToken},
        body=ReplaceBody,
        problems=(409,),
    ),
    guarded_post(
        "/meters/{number}/tokens",
        make_management_token,
        Right.TOKENS_MANAGE,
        {HTTPStatus.CREATED: ManagementToken, OK: ManagementToken},
        body=ManagementBody,
        problems=(409,),
    ),
    get(
        "/meters/{number}/management-tokens",
        management_tokens,
        "meter keys",
        _METERS,
        ManagementTokensPage,
        query=PageQuery,
    ),
)
