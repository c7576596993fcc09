"""Campaigns that change the keys of many meters."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.meter_key_models import (
    CampaignBody,
    CampaignCloseBody,
    CampaignLine,
    CampaignMeter,
    CampaignMetersPage,
    CampaignMetersQuery,
    CampaignReplaced,
    CampaignRunBody,
    CampaignSelectBody,
    CampaignSelected,
    CampaignSetsBody,
    CampaignsPage,
    CampaignUnused,
    CampaignUnusedPage,
)
from slotmeter.api.meter_keys import following, guarded_post, mark_of, unused_fields
from slotmeter.api.query_models import PageQuery
from slotmeter.api.route import OK, Route, get
from slotmeter.api.sales import instant_text
from slotmeter.ports import Right, Row
from slotmeter.services.campaign_sets import render_sets
from slotmeter.services.campaign_terms import CampaignWish, Selection
from slotmeter.services.coding_office import CodingOffice
from slotmeter.units import iso_utc

__all__ = ["ROUTES"]

_TYPES: Final = {"csv": "text/csv", "text": "text/plain", "html": "text/html"}
_METERS: Final = frozenset({Right.METERS})


async def begin_key_campaign(call: Call[CampaignBody, Nothing]) -> Answer:
    """Begin a campaign of key changes."""
    body = call.body
    wish = CampaignWish(body.code, body.key, body.tariff_index, body.three_tokens, body.how)
    _, is_new = await _codings(call).campaigns.begin(call.caller, wish, body.reason)
    return json_answer(await _line(call, body.code), HTTPStatus.CREATED if is_new else OK)


async def key_campaigns(call: Call[Nothing, PageQuery]) -> Answer:
    """List campaigns with their progress."""
    page = await _codings(call).campaigns.campaigns(
        call.caller, before=call.query.before, limit=call.query.limit
    )
    items = [await _line(call, row["code"]) for row in page.rows]
    return json_answer(CampaignsPage(items=items, next=following(page.next)))


async def key_campaign(call: Call[Nothing, Nothing]) -> Answer:
    """Return one campaign with its progress."""
    return json_answer(await _line(call, call.path("code")))


async def select_key_campaign(call: Call[CampaignSelectBody, Nothing]) -> Answer:
    """Add meters to a campaign."""
    body = call.body
    selection = Selection(
        body.key, body.base_date, body.sgc, body.krn, body.commodity, body.area, body.meters
    )
    added, unknown = await _codings(call).campaigns.select(
        call.caller, call.path("code"), selection, body.reason
    )
    return json_answer(CampaignSelected(added=added, unknown=[*unknown]))


async def run_key_campaign(call: Call[CampaignRunBody, Nothing]) -> Answer:
    """Do the next meters of a campaign; repeat until none is selected."""
    body = call.body
    await _codings(call).campaigns.run(
        call.caller, call.path("code"), limit=body.meters, again=body.again
    )
    return json_answer(await _line(call, call.path("code")))


async def key_campaign_meters(call: Call[Nothing, CampaignMetersQuery]) -> Answer:
    """List the meters of a campaign."""
    query = call.query
    page = await _codings(call).campaigns.members(
        call.caller, call.path("code"), after=query.after, limit=query.limit
    )
    items = [_member(row) for row in page.rows]
    return json_answer(CampaignMetersPage(items=items, next=following(page.next)))


async def key_campaign_unused(call: Call[Nothing, CampaignMetersQuery]) -> Answer:
    """List recent tokens that a campaign makes worthless if they are not typed before."""
    query = call.query
    page = await _codings(call).campaigns.unused(
        call.caller, call.path("code"), after=query.after, limit=query.limit
    )
    items = [
        CampaignUnused(
            **unused_fields(row, row["commodity"]),
            meter=row["meter"],
            key_change=row["key_change_id"],
            online=row["device_id"] is not None,
        )
        for row in page.rows
    ]
    return json_answer(CampaignUnusedPage(items=items, next=following(page.next)))


async def key_campaign_sets(call: Call[CampaignSetsBody, Nothing]) -> Answer:
    """Hand out the sets of a campaign whose proof is awaited, to print."""
    body = call.body
    sets, _ = await _codings(call).sets.sets(
        call.caller, call.path("code"), body.reason, after=body.after, limit=body.meters
    )
    mark = mark_of(call.caller.principal).upper()
    text = render_sets(sets, body.form, mark=mark)
    return Answer(OK, text.encode(), _TYPES[body.form])


async def replace_campaign_tokens(call: Call[CampaignCloseBody, Nothing]) -> Answer:
    """Replace, once, the unused tokens of a campaign's meters that tell what they take."""
    done = await _codings(call).sets.replace_unused(
        call.caller, call.path("code"), call.body.reason
    )
    return json_answer(CampaignReplaced(**asdict(done)))


async def close_key_campaign(call: Call[CampaignCloseBody, Nothing]) -> Answer:
    """End a campaign: nothing more is made."""
    await _codings(call).campaigns.close(call.caller, call.path("code"), call.body.reason)
    return json_answer(await _line(call, call.path("code")))


async def _line(call: Call[Any, Any], code: str) -> CampaignLine:
    campaigns = _codings(call).campaigns
    row = await campaigns.campaign(call.caller, code)
    progress = await campaigns.progress(call.caller, code)
    return CampaignLine(
        code=row["code"],
        key=row["key_id"],
        tariff_index=row["tariff_index"],
        three_tokens=bool(row["three_tokens"]),
        how=row["how"],
        state=row["state"],
        reason=row["reason"],
        asked_by=row["asked_by"],
        begun_at=iso_utc(row["created_us"]),
        closed_at=instant_text(row["closed_us"]),
        meters=progress.meters,
        **asdict(progress),
    )


def _member(row: Row) -> CampaignMeter:
    return CampaignMeter(
        meter=row["meter"],
        state=row["state"],
        problem=row["problem"],
        key_change=row["key_change_id"],
        change_state=row["change_state"],
        proof=row["proof"],
        printed_at=instant_text(row["printed_us"]),
    )


def _codings(call: Call[Any, Any]) -> CodingOffice:
    return call.services.codings


_OF_ONE: Final = "/key-campaigns/{code}"

ROUTES: Final[tuple[Route, ...]] = (
    guarded_post(
        "/key-campaigns",
        begin_key_campaign,
        Right.KEYS_CHANGE,
        {HTTPStatus.CREATED: CampaignLine, OK: CampaignLine},
        body=CampaignBody,
        problems=(404, 409),
    ),
    get(
        "/key-campaigns",
        key_campaigns,
        "meter keys",
        _METERS,
        CampaignsPage,
        query=PageQuery,
        problems=(404,),
    ),
    get(_OF_ONE, key_campaign, "meter keys", _METERS, CampaignLine),
    guarded_post(
        f"{_OF_ONE}/select",
        select_key_campaign,
        Right.KEYS_CHANGE,
        {OK: CampaignSelected},
        body=CampaignSelectBody,
        problems=(409,),
    ),
    guarded_post(
        f"{_OF_ONE}/run",
        run_key_campaign,
        Right.KEYS_CHANGE,
        {OK: CampaignLine},
        body=CampaignRunBody,
        problems=(409,),
    ),
    get(
        f"{_OF_ONE}/meters",
        key_campaign_meters,
        "meter keys",
        _METERS,
        CampaignMetersPage,
        query=CampaignMetersQuery,
    ),
    get(
        f"{_OF_ONE}/unused",
        key_campaign_unused,
        "meter keys",
        _METERS,
        CampaignUnusedPage,
        query=CampaignMetersQuery,
    ),
    guarded_post(
        f"{_OF_ONE}/sets",
        key_campaign_sets,
        Right.KEYS_CHANGE,
        {},
        body=CampaignSetsBody,
        also=tuple(_TYPES.values()),
        problems=(409,),
    ),
    guarded_post(
        f"{_OF_ONE}/replacements",
        replace_campaign_tokens,
        Right.KEYS_CHANGE,
        {OK: CampaignReplaced},
        body=CampaignCloseBody,
        problems=(409,),
    ),
    guarded_post(
        f"{_OF_ONE}/close",
        close_key_campaign,
        Right.KEYS_CHANGE,
        {OK: CampaignLine},
        body=CampaignCloseBody,
        problems=(409,),
    ),
)
