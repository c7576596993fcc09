"""Commissioning over HTTP: scan a meter, see what was heard, see what waits."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.commissioning_models import (
    Claim,
    ClaimBody,
    ClaimProblem,
    ClaimsPage,
    ClaimsQuery,
    CommissioningSummary,
    FirstReading,
    StrangerDevice,
    StrangerDevicesPage,
    WithdrawBody,
)
from slotmeter.api.route import OK, Route, get, post
from slotmeter.api.sales import instant_text
from slotmeter.errors import Unavailable
from slotmeter.ports import Right
from slotmeter.services.commissioning import Commissioning, Wish
from slotmeter.services.commissioning_match import Claim as ClaimMade
from slotmeter.units import iso_utc

__all__ = ["ROUTES"]

STRANGERS_SHOWN_MAX: Final = 200
_METERS: Final = frozenset({Right.METERS})


async def claim_meter(call: Call[ClaimBody, Nothing]) -> Answer:
    """Say which meter hangs here; its device is registered as soon as it was heard."""
    body = call.body
    wish = Wish(body.scan, body.meter, body.medium, body.address, body.driver)
    claim, is_new = await _commissioning(call).claim(call.caller, wish, reason=body.reason)
    return json_answer(_claim(claim), HTTPStatus.CREATED if is_new else OK)


async def commissioning_claims(call: Call[Nothing, ClaimsQuery]) -> Answer:
    """List meters that were scanned, the newest first."""
    query = call.query
    page = await _commissioning(call).claims(
        call.caller.principal.utility_id, state=query.state, before=query.before, limit=query.limit
    )
    return json_answer(ClaimsPage(items=[_claim(each) for each in page.rows], next=page.next))


async def commissioning_claim(call: Call[Nothing, Nothing]) -> Answer:
    """Return what became of a meter that was scanned."""
    claim = await _commissioning(call).claim_of(call.caller.principal, call.path("number"))
    return json_answer(_claim(claim))


async def withdraw_claim(call: Call[WithdrawBody, Nothing]) -> Answer:
    """Look for a meter no longer."""
    claim = await _commissioning(call).withdraw(
        call.caller, call.path("number"), reason=call.body.reason
    )
    return json_answer(_claim(claim))


async def stranger_devices(call: Call[Nothing, Nothing]) -> Answer:
    """List devices that were heard and that nobody has registered, the newest first."""
    found = await _commissioning(call).strangers()
    items = [
        StrangerDevice(
            medium=each.medium,
            address=each.address,
            frames=each.frames,
            first_at=iso_utc(each.first_us),
            last_at=iso_utc(each.last_us),
            serial=each.serial,
            drivers=[*each.drivers],
        )
        for each in found[:STRANGERS_SHOWN_MAX]
    ]
    return json_answer(StrangerDevicesPage(items=items))


async def commissioning_summary(call: Call[Nothing, Nothing]) -> Answer:
    """Count meters that wait for their device, and devices that wait for their meter."""
    commissioning = _commissioning(call)
    counts = await commissioning.counts(call.caller.principal)
    strangers = await commissioning.strangers()
    return json_answer(CommissioningSummary(**counts, strangers=len(strangers)))


def _claim(claim: ClaimMade) -> Claim:
    problem = claim.problem
    return Claim(
        meter=claim.meter,
        commodity=claim.commodity,
        scan=claim.scan,
        state=claim.state,
        medium=claim.medium,
        address=claim.address,
        driver=claim.driver,
        problem=None
        if problem is None
        else ClaimProblem(code=problem.code, text=problem.text, choices=[*problem.choices]),
        first_readings=[
            FirstReading(register_name=name, value=value, at=iso_utc(at_us))
            for name, value, at_us in _told(claim)
        ],
        scanned_by=claim.by,
        reason=claim.reason,
        scanned_at=iso_utc(claim.at_us),
        done_at=instant_text(claim.done_us),
    )


def _told(claim: ClaimMade) -> list[tuple[str, int, int]]:
    return [(each.register, each.value, each.measured_us) for each in claim.readings]


def _commissioning(call: Call[Any, Any]) -> Commissioning:
    if call.services.commissioning is None:
        raise Unavailable("devices_not_served", "this server serves no devices")
    return call.services.commissioning


_OF_ONE: Final = "/commissioning/claims/{number}"

ROUTES: Final[tuple[Route, ...]] = (
    get("/commissioning", commissioning_summary, "devices", _METERS, CommissioningSummary),
    post(
        "/commissioning/claims",
        claim_meter,
        "devices",
        Right.METERS_INSTALL,
        {HTTPStatus.CREATED: Claim, OK: Claim},
        body=ClaimBody,
        problems=(404, 409),
    ),
    get(
        "/commissioning/claims",
        commissioning_claims,
        "devices",
        _METERS,
        ClaimsPage,
        query=ClaimsQuery,
    ),
    get(_OF_ONE, commissioning_claim, "devices", _METERS, Claim),
    post(
        f"{_OF_ONE}/withdraw",
        withdraw_claim,
        "devices",
        Right.METERS_INSTALL,
        {OK: Claim},
        body=WithdrawBody,
        problems=(409,),
    ),
    get(
        "/commissioning/strangers",
        stranger_devices,
        "devices",
        _METERS,
        StrangerDevicesPage,
    ),
)
