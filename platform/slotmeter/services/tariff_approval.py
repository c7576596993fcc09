"""The second person's word: a draft becomes a version, purely."""

from __future__ import annotations

from dataclasses import dataclass

from slotmeter.errors import Refused
from slotmeter.ports import Caller, Changes, Insert, NewId, Read, Rows, SqlValue, Step, Update
from slotmeter.services.access import caller_act
from slotmeter.services.act_changes import changed
from slotmeter.services.tariff_checks import Finding, GoLive, as_documents, check_go_live
from slotmeter.services.tariff_draft import (
    Draft,
    check_may_decide,
    checked_draft,
    draft_read,
    guard_of,
)
from slotmeter.units import iso_utc
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["Approval", "approval_reads", "approve_draft", "go_live_of"]


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approver says.

    Args:
        draft_id: the draft.
        revision: the one that was looked at.
        at_us: the instant of the approval, UTC epoch microseconds.
        valid_from_us: when the version takes effect; not before ``at_us``.
        accept_warnings: go live although something deserves a second look.
        reason: for the act.
    """

    draft_id: int
    revision: int
    at_us: int
    valid_from_us: int
    accept_warnings: bool
    reason: str


def approval_reads(caller: Caller, draft_id: int, code: str, from_us: int) -> list[Read]:
    """Return what an approval that takes effect at an instant needs to know."""
    of_code: dict[str, SqlValue] = {"utility_id": caller.principal.utility_id, "code": code}
    return [
        draft_read(caller, draft_id),
        Read("tariff_admin_utility", {"utility_id": caller.principal.utility_id}, "utility"),
        Read("tariff_by_code", of_code, "tariff"),
        Read("tariff_version_in_force", {**of_code, "now_us": from_us}, "in_force"),
        Read("tariff_version_latest_start", of_code, "latest"),
        Read("tariff_version_newest_number", of_code, "newest"),
    ]


def go_live_of(rows: Rows, draft: Draft, valid_from_us: int) -> GoLive:
    """Return a draft as it would take effect, from the rows of :func:`approval_reads`."""
    utility = rows["utility"][0]
    in_force = rows["in_force"]
    return GoLive(
        tariff=stored_tariff(draft.body),
        valid_from_us=valid_from_us,
        currency=utility["currency"],
        time_zone=utility["time_zone"],
        tax_number=utility["tax_number"],
        commodity=rows["tariff"][0]["commodity"] if rows["tariff"] else None,
        in_force=stored_tariff(in_force[0]["body"]) if in_force else None,
    )


def _check_order(rows: Rows, from_us: int) -> None:
    latest = rows["latest"]
    if latest and from_us <= latest[0]["valid_from_us"]:
        raise Refused(
            "version_out_of_order",
            f"version {latest[0]['version']} is valid from "
            f"{iso_utc(latest[0]['valid_from_us'])}; a new version must start later, or that one "
            "be withdrawn first",
            field="valid_from",
        )


def approve_draft(
    caller: Caller, approval: Approval, rows: Rows, new_id: NewId
) -> Changes[tuple[Finding, ...]]:
    """Decide an approval; the result is the warnings that were accepted.

    Raises:
        NotFound, Conflict: see :func:`checked_draft`.
        NotAllowed: see :func:`check_may_decide`.
        Refused: ``version_out_of_order``, or what :func:`check_go_live` refuses.
    """
    now_us, from_us = approval.at_us, approval.valid_from_us
    draft = checked_draft(rows, approval.draft_id, approval.revision, "submitted")
    check_may_decide(caller, draft)
    live = go_live_of(rows, draft, from_us)
    accepted = check_go_live(live, accept_warnings=approval.accept_warnings)
    _check_order(rows, from_us)
    number = 1 + (rows["newest"][0]["version"] if rows["newest"] else 0)
    steps, tariff_id = _tariff_rows(rows, new_id, caller, live.tariff)
    version_id = new_id()
    version: dict[str, SqlValue] = {
        "id": version_id,
        "utility_id": caller.principal.utility_id,
        "tariff_id": tariff_id,
        "version": number,
        "valid_from_us": from_us,
        "body": draft.body,
        "source": draft.source,
        "author_id": draft.authors[0],
        "approver_id": caller.principal.id,
        "approved_us": now_us,
        "created_us": now_us,
    }
    decided: dict[str, SqlValue] = {
        **guard_of(caller, draft),
        "from_state": "submitted",
        "to_state": "approved",
        "by_principal": caller.principal.id,
        "at_us": now_us,
        "to_valid_from_us": from_us,
        "to_version_id": version_id,
    }
    data = {
        "version": number,
        "valid_from_us": from_us,
        "warnings": [each["code"] for each in as_documents(accepted)],
        **changed(
            {"state": draft.state},
            {"state": "approved", "version": number, "valid_from_us": from_us},
        ),
    }
    act = caller_act(caller, new_id, now_us, "tariff.approve", draft.subject, approval.reason, data)
    steps += [Insert("tariff_version", version), Update("tariff_draft_decide", decided), act]
    return Changes(accepted, steps)


def _tariff_rows(
    rows: Rows, new_id: NewId, caller: Caller, tariff: Tariff
) -> tuple[list[Step], int]:
    """Return the row that a first version needs, and the tariff's id."""
    if rows["tariff"]:
        return [], rows["tariff"][0]["id"]
    tariff_id = new_id()
    row: dict[str, SqlValue] = {
        "id": tariff_id,
        "utility_id": caller.principal.utility_id,
        "code": tariff.code,
        "title": tariff.title,
        "commodity": tariff.commodity.value,
        "currency": tariff.currency,
    }
    return [Insert("tariff", row)], tariff_id
