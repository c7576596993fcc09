"""Tariffs: their versions, and the drafts that become versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.paging import AfterQuery
from slotmeter.api.route import OK, Route, get, post, put
from slotmeter.api.sales import instant_text
from slotmeter.api.tariff_models import (
    ApproveBody,
    Change,
    DiffAnswer,
    DraftBody,
    DraftDetail,
    DraftEditBody,
    DraftQuery,
    DraftsPage,
    FindingAnswer,
    Preview,
    PreviewBody,
    ReasonBody,
    RevisionBody,
    TariffDetail,
    TariffDraft,
    TariffLine,
    TariffsPage,
    TariffVersion,
    TariffVersionDetail,
    VersionQuery,
)
from slotmeter.errors import NotFound
from slotmeter.ports import Right, Row
from slotmeter.services.list_pages import cut
from slotmeter.services.tariff_draft import Draft
from slotmeter.units import iso_utc

__all__ = ["ROUTES", "draft_id_of", "draft_of"]

ID_DIGITS_MAX: Final = 18
VERSION_DIGITS_MAX: Final = 6


async def tariffs(call: Call[Nothing, AfterQuery]) -> Answer:
    """List tariffs with the version in force now."""
    query = call.query
    found = await call.services.office.tariffs.tariffs(
        call.caller.principal.utility_id, after=query.after, limit=query.limit + 1
    )
    page, following = cut(found, query.limit, lambda each: str(each[0]["code"]))
    items = [
        TariffLine(
            code=row["code"],
            title=row["title"],
            commodity=row["commodity"],
            currency=row["currency"],
            version=None if version is None else version["version"],
            valid_from=None if version is None else iso_utc(version["valid_from_us"]),
        )
        for row, version in page
    ]
    return json_answer(TariffsPage(items=items, next=following))


async def tariff(call: Call[Nothing, VersionQuery]) -> Answer:
    """Return a tariff with its versions."""
    office, utility_id = call.services.office.tariffs, call.caller.principal.utility_id
    code, query = call.path("code"), call.query
    found = await office.versions(utility_id, code, before=query.before, limit=query.limit + 1)
    versions, following = cut(found, query.limit, lambda row: int(row["version"]))
    if not versions:
        raise NotFound("tariff_unknown", f"tariff {code} has no such version")
    try:
        in_force = (await office.in_force(utility_id, code, query.at))["version"]
    except NotFound:
        in_force = None
    newest = versions[0]
    return json_answer(
        TariffDetail(
            code=code,
            title=newest["title"],
            commodity=newest["commodity"],
            currency=newest["currency"],
            in_force=in_force,
            versions=[TariffVersion(**_version(row)) for row in versions],
            next=following,
        )
    )


async def tariff_version(call: Call[Nothing, Nothing]) -> Answer:
    """Return one version with its text."""
    return await _version_answer(call)


async def withdraw_version(call: Call[ReasonBody, Nothing]) -> Answer:
    """Take back a version before it takes effect."""
    await call.services.office.tariffs.withdraw_version(
        call.caller, call.path("code"), _version_of(call), reason=call.body.reason
    )
    return await _version_answer(call)


async def make_draft(call: Call[DraftBody, Nothing]) -> Answer:
    """Keep a tariff as a draft; one with mistakes is refused with all of them."""
    body = call.body
    made = await call.services.office.tariffs.make(
        call.caller, body.source, note=body.note, reason=body.reason
    )
    return await _draft_answer(call, made, HTTPStatus.CREATED)


async def drafts(call: Call[Nothing, DraftQuery]) -> Answer:
    """List drafts."""
    query = call.query
    found = await call.services.office.tariffs.drafts(
        call.caller.principal.utility_id,
        state=query.state,
        code=query.code,
        before=query.before,
        limit=query.limit,
    )
    following = found[-1].id if len(found) == query.limit else None
    items = [TariffDraft(**draft_of(each)) for each in found]
    return json_answer(DraftsPage(items=items, next=following))


async def draft(call: Call[Nothing, Nothing]) -> Answer:
    """Return a draft with what speaks against it."""
    return await _draft_answer(call, await _found(call))


async def edit_draft(call: Call[DraftEditBody, Nothing]) -> Answer:
    """Write a draft anew; a rejected one becomes a draft again."""
    body = call.body
    edited = await call.services.office.tariffs.edit(
        call.caller,
        draft_id_of(call),
        body.revision,
        body.source,
        note=body.note,
        reason=body.reason,
    )
    return await _draft_answer(call, edited)


async def draft_diff(call: Call[Nothing, Nothing]) -> Answer:
    """Compare a draft with the version in force."""
    found = await _found(call)
    diff, version = await call.services.office.tariffs.diff(
        call.caller.principal.utility_id, found.code, found.written
    )
    changes = [Change(path=each.path, old=each.old, new=each.new) for each in diff.changes]
    return json_answer(
        DiffAnswer(version=version, same_meaning=diff.same_meaning, changes=changes, text=diff.text)
    )


async def make_preview(call: Call[PreviewBody, Nothing]) -> Answer:
    """Price the sales of a month again under a draft; kept with it, nothing is booked."""
    body, principal, office = call.body, call.caller.principal, call.services.office
    found = await _found(call)
    made = await office.preview.preview(
        principal.utility_id,
        principal.time_zone,
        found.body,
        month=body.month,
        sales_of=body.sales_of,
    )
    kept = await office.tariffs.keep_preview(call.caller, found, made, reason=body.reason)
    return json_answer(Preview.model_validate(kept))


async def draft_preview(call: Call[Nothing, Nothing]) -> Answer:
    """Return the newest preview of a draft as it is now."""
    found = await _found(call)
    if found.preview is None:
        raise NotFound("preview_unknown", f"there is no preview of draft {found.id} as it is now")
    return json_answer(Preview.model_validate_json(found.preview))


async def submit_draft(call: Call[RevisionBody, Nothing]) -> Answer:
    """Hand a draft to whoever approves it."""
    body = call.body
    submitted = await call.services.office.tariffs.submit(
        call.caller, draft_id_of(call), body.revision, reason=body.reason
    )
    return await _draft_answer(call, submitted)


async def approve_draft(call: Call[ApproveBody, Nothing]) -> Answer:
    """Make a submitted draft the next version, as the second person."""
    body = call.body
    approved = await call.services.office.tariffs.approve(
        call.caller,
        draft_id_of(call),
        body.revision,
        valid_from=body.valid_from,
        accept_warnings=body.accept_warnings,
        reason=body.reason,
    )
    return await _draft_answer(call, approved.draft)


async def reject_draft(call: Call[RevisionBody, Nothing]) -> Answer:
    """Send a submitted draft back to those who wrote it."""
    body = call.body
    rejected = await call.services.office.tariffs.reject(
        call.caller, draft_id_of(call), body.revision, reason=body.reason
    )
    return await _draft_answer(call, rejected)


async def withdraw_draft(call: Call[RevisionBody, Nothing]) -> Answer:
    """Give up a draft that was not approved."""
    body = call.body
    given_up = await call.services.office.tariffs.withdraw(
        call.caller, draft_id_of(call), body.revision, reason=body.reason
    )
    return await _draft_answer(call, given_up)


def draft_id_of(call: Call[Any, Any]) -> int:
    """Return the draft that the path names.

    Raises:
        NotFound: ``draft_unknown``.
    """
    text = call.path("draft_id")
    if not (text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX):
        raise NotFound("draft_unknown", "there is no such tariff draft")
    return int(text)


def draft_of(found: Draft) -> dict[str, Any]:
    """Return a draft as lists show it."""
    return {
        "id": found.id,
        "code": found.code,
        "state": found.state,
        "revision": found.revision,
        "note": found.note,
        "author": found.author,
        "submitter": found.submitter,
        "decider": found.decider,
        "created_at": iso_utc(found.created_us),
        "submitted_at": instant_text(found.submitted_us),
        "decided_at": instant_text(found.decided_us),
        "valid_from": instant_text(found.valid_from_us),
        "version": found.version,
        "previewed": found.preview is not None,
    }


async def _found(call: Call[Any, Any]) -> Draft:
    return await call.services.office.tariffs.draft(
        call.caller.principal.utility_id, draft_id_of(call)
    )


async def _draft_answer(call: Call[Any, Any], found: Draft, status: int = OK) -> Answer:
    findings = []
    if found.state in ("draft", "submitted", "rejected"):
        findings = [
            FindingAnswer(
                code=each.code, severity=each.severity, message=each.message, field=each.field
            )
            for each in await call.services.office.tariffs.findings(call.caller, found)
        ]
    detail = DraftDetail(
        **draft_of(found),
        source=found.source,
        document=json.loads(found.body),
        findings=findings,
    )
    return json_answer(detail, status)


def _version_of(call: Call[Any, Any]) -> int:
    text = call.path("version")
    if not (text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS_MAX):
        raise NotFound("version_unknown", "there is no such version")
    return int(text)


async def _version_answer(call: Call[Any, Any]) -> Answer:
    row = await call.services.office.tariffs.version(
        call.caller.principal.utility_id, call.path("code"), _version_of(call)
    )
    return json_answer(
        TariffVersionDetail(
            **_version(row),
            code=row["code"],
            title=row["title"],
            source=row["source"],
            document=json.loads(row["body"]),
        )
    )


def _version(row: Row) -> dict[str, Any]:
    return {
        "version": row["version"],
        "valid_from": iso_utc(row["valid_from_us"]),
        "author": row["author"],
        "approver": row["approver"],
        "approved_at": instant_text(row["approved_us"]),
        "withdrawn_at": instant_text(row["withdrawn_us"]),
    }


_TARIFFS: Final = frozenset({Right.TARIFFS})
_DRAFTS: Final = frozenset({Right.TARIFFS, Right.TARIFF_DRAFT, Right.TARIFF_APPROVE})
_DETAIL: Final[Mapping[int, type[BaseModel]]] = {OK: DraftDetail}

ROUTES: Final[tuple[Route, ...]] = (
    get("/tariffs", tariffs, "tariffs", _TARIFFS, TariffsPage, query=AfterQuery),
    get("/tariffs/{code}", tariff, "tariffs", _TARIFFS, TariffDetail, query=VersionQuery),
    get(
        "/tariffs/{code}/versions/{version}",
        tariff_version,
        "tariffs",
        _TARIFFS,
        TariffVersionDetail,
    ),
    post(
        "/tariffs/{code}/versions/{version}/withdraw",
        withdraw_version,
        "tariffs",
        Right.TARIFF_APPROVE,
        {OK: TariffVersionDetail},
        body=ReasonBody,
        problems=(409,),
    ),
    post(
        "/tariff-drafts",
        make_draft,
        "tariffs",
        Right.TARIFF_DRAFT,
        {HTTPStatus.CREATED: DraftDetail},
        body=DraftBody,
    ),
    get("/tariff-drafts", drafts, "tariffs", _DRAFTS, DraftsPage, query=DraftQuery),
    get("/tariff-drafts/{draft_id}", draft, "tariffs", _DRAFTS, DraftDetail),
    put(
        "/tariff-drafts/{draft_id}",
        edit_draft,
        "tariffs",
        Right.TARIFF_DRAFT,
        _DETAIL,
        body=DraftEditBody,
        problems=(409,),
    ),
    get("/tariff-drafts/{draft_id}/diff", draft_diff, "tariffs", _DRAFTS, DiffAnswer),
    post(
        "/tariff-drafts/{draft_id}/preview",
        make_preview,
        "tariffs",
        Right.TARIFF_DRAFT,
        {OK: Preview},
        body=PreviewBody,
        problems=(409,),
        timed=False,
    ),
    get("/tariff-drafts/{draft_id}/preview", draft_preview, "tariffs", _DRAFTS, Preview),
    post(
        "/tariff-drafts/{draft_id}/submit",
        submit_draft,
        "tariffs",
        Right.TARIFF_DRAFT,
        _DETAIL,
        body=RevisionBody,
        problems=(409,),
    ),
    post(
        "/tariff-drafts/{draft_id}/approve",
        approve_draft,
        "tariffs",
        Right.TARIFF_APPROVE,
        _DETAIL,
        body=ApproveBody,
        problems=(409,),
    ),
    post(
        "/tariff-drafts/{draft_id}/reject",
        reject_draft,
        "tariffs",
        Right.TARIFF_APPROVE,
        _DETAIL,
        body=RevisionBody,
        problems=(409,),
    ),
    post(
        "/tariff-drafts/{draft_id}/withdraw",
        withdraw_draft,
        "tariffs",
        Right.TARIFF_DRAFT,
        _DETAIL,
        body=RevisionBody,
        problems=(409,),
    ),
)
"""What the API answers about tariffs."""
