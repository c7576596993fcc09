"""The lives of meters: where each is and what has become of it, now and at any time before."""

from __future__ import annotations

from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.registry_models import (
    InstallBody,
    LifeBody,
    LifeEventLine,
    LifeEvents,
    LifeLine,
    LifeQuery,
    LivesPage,
    LivesQuery,
    StateCounts,
    TakeOffBody,
)
from slotmeter.api.route import OK, Route, get, post
from slotmeter.ports import Right
from slotmeter.services.lifecycle import STATES, Life, Lifecycle
from slotmeter.units import iso_utc

__all__ = ["ROUTES"]


async def meter_lives(call: Call[Nothing, LivesQuery]) -> Answer:
    """List state and place of meters at a time, by number."""
    query = call.query
    page = await _lives(call).lives(
        _utility_id(call), at=query.at, state=query.state, after=query.after, limit=query.limit
    )
    return json_answer(LivesPage(items=[_line(each) for each in page.rows], next=page.next))


async def meter_life_counts(call: Call[Nothing, LifeQuery]) -> Answer:
    """Count meters by state at a time."""
    counts = await _lives(call).counts(_utility_id(call), at=call.query.at)
    return json_answer(StateCounts(**{name: counts.get(name, 0) for name in (*STATES, "unknown")}))


async def meter_life(call: Call[Nothing, LifeQuery]) -> Answer:
    """Show where a meter is at a time, and everything that happened to it."""
    utility_id, number = _utility_id(call), call.path("number")
    life = await _lives(call).life(utility_id, number, at=call.query.at)
    events = await _lives(call).history(utility_id, number)
    return json_answer(
        LifeEvents.model_validate(
            {
                **_line(life).model_dump(),
                "events": [
                    LifeEventLine.model_validate(
                        {
                            "state": each.state,
                            "at": iso_utc(each.at_us),
                            "place": each.place,
                            "by": each.by,
                            "reason": each.reason,
                        }
                    )
                    for each in events
                ],
            }
        )
    )


async def record_meter_life(call: Call[LifeBody, Nothing]) -> Answer:
    """Record that a meter was stored, repaired or scrapped."""
    body = call.body
    return json_answer(
        _line(
            await _lives(call).record(
                call.caller,
                call.path("number"),
                body.state,
                place=body.place,
                reason=body.reason,
                at=body.at,
            )
        )
    )


async def install_meter(call: Call[InstallBody, Nothing]) -> Answer:
    """Hang a meter at a supply point that has none; another one in its place is a swap."""
    body = call.body
    life = await _lives(call).install(
        call.caller, call.path("number"), body.supply_point, reason=body.reason
    )
    return json_answer(_line(life))


async def take_off_meter(call: Call[TakeOffBody, Nothing]) -> Answer:
    """Take a meter off its supply point without putting another one there."""
    body = call.body
    life = await _lives(call).take_off(
        call.caller, call.path("number"), place=body.place, reason=body.reason
    )
    return json_answer(_line(life))


def _lives(call: Call[Any, Any]) -> Lifecycle:
    return call.services.office.registries.lives


def _utility_id(call: Call[Any, Any]) -> int:
    return call.caller.principal.utility_id


def _line(life: Life) -> LifeLine:
    return LifeLine.model_validate(
        {
            "meter": life.meter,
            "commodity": life.commodity,
            "state": life.state,
            "place": life.place,
            "since": None if life.since_us is None else iso_utc(life.since_us),
        }
    )


_LOOK: Final = frozenset({Right.METERS})

ROUTES: Final[tuple[Route, ...]] = (
    get("/meter-lives", meter_lives, "meters", _LOOK, LivesPage, query=LivesQuery),
    get("/meter-lives/counts", meter_life_counts, "meters", _LOOK, StateCounts, query=LifeQuery),
    get("/meters/{number}/life", meter_life, "meters", _LOOK, LifeEvents, query=LifeQuery),
    post(
        "/meters/{number}/life",
        record_meter_life,
        "meters",
        Right.METERS_WRITE,
        {OK: LifeLine},
        body=LifeBody,
        problems=(409,),
    ),
    post(
        "/meters/{number}/install",
        install_meter,
        "meters",
        Right.METER_SWAP,
        {OK: LifeLine},
        body=InstallBody,
        problems=(409,),
    ),
    post(
        "/meters/{number}/take-off",
        take_off_meter,
        "meters",
        Right.METER_SWAP,
        {OK: LifeLine},
        body=TakeOffBody,
        problems=(409,),
    ),
)
"""Routes of the lives of meters."""
