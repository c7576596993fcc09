"""Registrations for free units."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.office_models import (
    NotCollectedQuery,
    RegistrationBody,
    RegistrationLine,
    RegistrationQuery,
    RegistrationsPage,
)
from slotmeter.api.route import OK, Route, get, post
from slotmeter.api.sales import instant_text
from slotmeter.api.tariff_models import ReasonBody
from slotmeter.errors import NotFound
from slotmeter.ports import Right, Row
from slotmeter.services.account_lookup import start_of_day_us
from slotmeter.services.free_units import NewRegistration
from slotmeter.units import epoch_us, iso_utc

__all__ = ["ROUTES"]

ID_DIGITS_MAX: Final = 18


async def register_free_units(call: Call[RegistrationBody, Nothing]) -> Answer:
    """Register an account for free units."""
    body, principal = call.body, call.caller.principal
    zone = principal.time_zone
    today = call.services.clock.now().astimezone(ZoneInfo(zone)).date()
    new = NewRegistration(
        account=body.account,
        code=body.code,
        evidence=body.evidence,
        from_us=start_of_day_us(body.from_day or today, zone),
        until_us=None if body.until_day is None else start_of_day_us(body.until_day, zone),
    )
    made = await call.services.office.free_units.register(call.caller, new, reason=body.reason)
    return await _registration_answer(call, made, HTTPStatus.CREATED)


async def free_registrations(call: Call[Nothing, RegistrationQuery]) -> Answer:
    """List registrations for free units."""
    query = call.query
    rows = await call.services.office.free_units.registrations(
        call.caller.principal.utility_id,
        code=query.code,
        account=query.account,
        in_force=query.in_force,
        before=query.before,
        limit=query.limit,
    )
    following = rows[-1]["id"] if len(rows) == query.limit else None
    now = call.services.clock.now()
    return json_answer(
        RegistrationsPage(items=[_registration(row, now) for row in rows], next=following)
    )


async def end_free_units(call: Call[ReasonBody, Nothing]) -> Answer:
    """End a registration now; units claimed stay claimed."""
    registration_id = _id(call)
    await call.services.office.free_units.end(call.caller, registration_id, reason=call.body.reason)
    return await _registration_answer(call, registration_id)


async def free_not_collected(call: Call[Nothing, NotCollectedQuery]) -> Answer:
    """List those registered who have not come for a month's free units: remind them."""
    office, principal = call.services.office.free_units, call.caller.principal
    query = call.query
    period = query.period or office.this_month(principal.time_zone)
    rows = await office.not_collected(
        principal.utility_id, period, code=query.code, after_id=query.after, limit=query.limit
    )
    following = rows[-1]["id"] if len(rows) == query.limit else None
    now = call.services.clock.now()
    return json_answer(
        RegistrationsPage(items=[_registration(row, now) for row in rows], next=following)
    )


async def _registration_answer(
    call: Call[Any, Any], registration_id: int, status: int = OK
) -> Answer:
    row = await call.services.office.free_units.registration(
        call.caller.principal.utility_id, registration_id
    )
    return json_answer(_registration(row, call.services.clock.now()), status)


def _id(call: Call[Any, Any]) -> int:
    text = call.path("registration_id")
    if not (text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX):
        raise NotFound("registration_unknown", "there is no such registration")
    return int(text)


def _registration(row: Row, now: datetime) -> RegistrationLine:
    return RegistrationLine(
        id=row["id"],
        account=row["account"],
        customer=row["customer_name"],
        code=row["code"],
        evidence=row["evidence"],
        from_at=iso_utc(row["from_us"]),
        until_at=instant_text(row["until_us"]),
        ended_at=instant_text(row["ended_us"]),
        by=row["by"],
        state=_state(row, epoch_us(now)),
    )


def _state(row: Row, now_us: int) -> Literal["to_come", "in_force", "over"]:
    if row["ended_us"] is not None or (row["until_us"] is not None and row["until_us"] <= now_us):
        return "over"
    return "to_come" if row["from_us"] > now_us else "in_force"


_LOOK: Final = frozenset({Right.TARIFFS, Right.FREE_WRITE})

ROUTES: Final[tuple[Route, ...]] = (
    get(
        "/free-units",
        free_registrations,
        "free units",
        _LOOK,
        RegistrationsPage,
        query=RegistrationQuery,
    ),
    post(
        "/free-units",
        register_free_units,
        "free units",
        Right.FREE_WRITE,
        {HTTPStatus.CREATED: RegistrationLine},
        body=RegistrationBody,
        problems=(404, 409),
    ),
    post(
        "/free-units/{registration_id}/end",
        end_free_units,
        "free units",
        Right.FREE_WRITE,
        {OK: RegistrationLine},
        body=ReasonBody,
        problems=(409,),
    ),
    get(
        "/free-units-not-collected",
        free_not_collected,
        "free units",
        _LOOK,
        RegistrationsPage,
        query=NotCollectedQuery,
    ),
)
"""What the API answers about free units."""
