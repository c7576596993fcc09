"""Frames that were set aside, over HTTP: how many, which, and once more."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.models import Body, Instant, Out, Reason
from slotmeter.api.query_models import PageQuery
from slotmeter.api.route import OK, Route, get, post
from slotmeter.api.sales import instant_text
from slotmeter.errors import NotFound, Unavailable
from slotmeter.ports import Right, Row
from slotmeter.services.quarantine import Quarantine
from slotmeter.units import iso_utc

__all__ = ["ROUTES"]

ID_DIGITS_MAX: Final = 18
PAYLOAD_SHOWN_BYTES: Final = 1_024
_SEES: Final = frozenset({Right.METERS})

Name = Annotated[str, Field(min_length=1, max_length=64)]


class QuarantineQuery(PageQuery):
    """Which frames."""

    code: Name | None = Field(default=None, description="Only those set aside for this cause.")
    medium: Name | None = None
    replayed: bool = Field(default=False, description="Also those that were handed in again.")


class QuarantineCount(Out):
    """How many frames one cause has set aside."""

    code: str
    waiting: int = Field(description="Not handed in again yet.")
    replayed: int
    first_at: Instant
    last_at: Instant


class QuarantineCounts(Out):
    """Frames that were set aside, by cause."""

    items: list[QuarantineCount]
    waiting: int = Field(description="Frames that wait, of all causes.")


class QuarantinedFrame(Out):
    """A frame that could not be read."""

    id: int
    code: str
    message: str
    medium: str
    address: str
    path: str
    meter: str | None = Field(description="Registered at its address now; null for a stranger.")
    driver: str | None
    payload: str = Field(description="Hexadecimal, the first 1,024 octets.")
    payload_bytes: int
    received_at: Instant
    set_aside_at: Instant
    replayed_at: Instant | None


class QuarantinePage(Out):
    """Frames, the newest first."""

    items: list[QuarantinedFrame]
    next: int | None = Field(description="Give it as before for the next page; null at the end.")


class ReplayBody(Body):
    """Why a frame is handed in again."""

    reason: Reason


class ReplayAllBody(Body):
    """Which frames are handed in again, and why."""

    code: Name
    medium: Name | None = None
    reason: Reason


class ReplayedFrames(Out):
    """What was handed in again."""

    frames: int
    newest: int | None = Field(description="The new number of the newest.")


async def quarantine_counts(call: Call[Nothing, Nothing]) -> Answer:
    """Count frames that were set aside, by cause."""
    counts = await _quarantine(call).counts(call.caller.principal)
    items = [
        QuarantineCount(
            code=each.code,
            waiting=each.waiting,
            replayed=each.replayed,
            first_at=iso_utc(each.first_us),
            last_at=iso_utc(each.last_us),
        )
        for each in counts
    ]
    return json_answer(QuarantineCounts(items=items, waiting=sum(each.waiting for each in counts)))


async def quarantined_frames(call: Call[Nothing, QuarantineQuery]) -> Answer:
    """List frames that were set aside, the newest first."""
    query = call.query
    page = await _quarantine(call).page(
        call.caller.principal,
        code=query.code,
        medium=query.medium,
        replayed=query.replayed,
        before=query.before,
        limit=query.limit,
    )
    return json_answer(QuarantinePage(items=[_frame(row) for row in page.rows], next=page.next))


async def quarantined_frame(call: Call[Nothing, Nothing]) -> Answer:
    """Return one frame that was set aside."""
    row = await _quarantine(call).frame(call.caller.principal, _id(call.path("frame_id")))
    return json_answer(_frame(row))


async def replay_frame(call: Call[ReplayBody, Nothing]) -> Answer:
    """Hand a frame in again, after what was wrong with it is mended."""
    frame_id = _id(call.path("frame_id"))
    done = await _quarantine(call).replay(call.caller, frame_id, reason=call.body.reason)
    return json_answer(ReplayedFrames(frames=done.frames, newest=done.newest))


async def replay_frames(call: Call[ReplayAllBody, Nothing]) -> Answer:
    """Hand in again all that one cause has set aside until now."""
    body = call.body
    done = await _quarantine(call).replay_all(
        call.caller, body.code, medium=body.medium, reason=body.reason
    )
    return json_answer(ReplayedFrames(frames=done.frames, newest=done.newest))


def _frame(row: Row) -> QuarantinedFrame:
    payload: bytes = row["payload"]
    return QuarantinedFrame(
        id=row["frame_id"],
        code=row["code"],
        message=row["message"],
        medium=row["medium"],
        address=row["address"],
        path=row["path"],
        meter=row["meter"],
        driver=row["driver"],
        payload=payload[:PAYLOAD_SHOWN_BYTES].hex(),
        payload_bytes=len(payload),
        received_at=iso_utc(row["received_us"]),
        set_aside_at=iso_utc(row["at_us"]),
        replayed_at=instant_text(row["replayed_us"]),
    )


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX):
        raise NotFound("frame_unknown", "there is no such frame")
    return int(text)


def _quarantine(call: Call[Any, Any]) -> Quarantine:
    if call.services.quarantine is None:
        raise Unavailable("devices_not_served", "this server serves no devices")
    return call.services.quarantine


ROUTES: Final[tuple[Route, ...]] = (
    get("/quarantine", quarantine_counts, "devices", _SEES, QuarantineCounts),
    get(
        "/quarantine/frames",
        quarantined_frames,
        "devices",
        _SEES,
        QuarantinePage,
        query=QuarantineQuery,
    ),
    get("/quarantine/frames/{frame_id}", quarantined_frame, "devices", _SEES, QuarantinedFrame),
    post(
        "/quarantine/frames/{frame_id}/replay",
        replay_frame,
        "devices",
        Right.METERS_INSTALL,
        {OK: ReplayedFrames},
        body=ReplayBody,
        problems=(409,),
    ),
    post(
        "/quarantine/replay",
        replay_frames,
        "devices",
        Right.METERS_INSTALL,
        {OK: ReplayedFrames},
        body=ReplayAllBody,
    ),
)
