"""The life of a tariff: drafted, submitted, approved by a second person, in force, withdrawn.

A version is never changed. What is wrong with one that is in force is mended by a newer one. Every
act is one unit of work with its row in the audit trail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.account_lookup import check_reach
from slotmeter.services.act_changes import changed
from slotmeter.services.events import compact_json
from slotmeter.services.list_pages import ID_MAX, LIST_ROWS
from slotmeter.services.tariff_approval import (
    Approval,
    approval_reads,
    approve_draft,
    go_live_of,
)
from slotmeter.services.tariff_checks import Finding, findings
from slotmeter.services.tariff_diff import Diff, diff_versions
from slotmeter.services.tariff_draft import (
    OPEN_STATES,
    Draft,
    Written,
    checked_draft,
    draft_of,
    draft_read,
    found_draft,
    guard_of,
    read_source,
)
from slotmeter.units import epoch_us, iso_utc
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["Approved", "TariffAdmin"]

DRAFTS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Approved:
    """A draft that became a version, with the warnings that its approver accepted."""

    draft: Draft
    warnings: tuple[Finding, ...]


class TariffAdmin:
    """The transaction boundary of tariffs and their drafts."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    # --- drafts -----------------------------------------------------------------------------------

    async def make(self, caller: Caller, source: str, *, note: str, reason: str) -> Draft:
        """Keep a tariff as a draft.

        Raises:
            Refused: what :func:`read_source` refuses; ``currency_mismatch``.
        """
        # A long tariff takes half a second to read; the loop serves others meanwhile.
        written = await asyncio.to_thread(read_source, source, note)
        _check_currency(written.tariff, caller)
        principal = caller.principal
        now_us = self._now_us()

        def decide(_rows: Rows, new_id: NewId) -> Changes[int]:
            draft_id = new_id()
            row: dict[str, SqlValue] = {
                "id": draft_id,
                "utility_id": principal.utility_id,
                "code": written.tariff.code,
                "body": written.body,
                "source": written.source,
                "state": "draft",
                "author_id": principal.id,
                "authors": compact_json([principal.id]),
                "revision": 1,
                "created_us": now_us,
                "note": note,
            }
            subject = f"{written.tariff.code} draft {draft_id}"
            data = changed(None, {"code": written.tariff.code, "source": written.source})
            act = caller_act(caller, new_id, now_us, "tariff.draft", subject, reason, data)
            return Changes(draft_id, [Insert("tariff_draft", row), act])

        draft_id = await self._uow.run([], decide)
        return await self.draft(principal.utility_id, draft_id)

    async def edit(
        self, caller: Caller, draft_id: int, revision: int, source: str, *, note: str, reason: str
    ) -> Draft:
        """Write a draft anew; a rejected one becomes a draft again.

        Raises:
            NotFound: ``draft_unknown``.
            Conflict: ``draft_changed`` or ``draft_state``.
            Refused: as :meth:`make`.
        """
        written = await asyncio.to_thread(read_source, source, note)
        _check_currency(written.tariff, caller)
        now_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            draft = checked_draft(rows, draft_id, revision, *OPEN_STATES)
            authors = dict.fromkeys((*draft.authors, caller.principal.id))
            step = Update(
                "tariff_draft_edit",
                {
                    **guard_of(caller, draft),
                    "to_code": written.tariff.code,
                    "to_body": written.body,
                    "to_source": written.source,
                    "to_note": note,
                    "to_authors": compact_json(list(authors)),
                },
            )
            data = changed(
                {"code": draft.code, "source": draft.source, "state": draft.state},
                {"code": written.tariff.code, "source": written.source, "state": "draft"},
            )
            act = caller_act(caller, new_id, now_us, "tariff.edit", draft.subject, reason, data)
            return Changes(None, [step, act])

        await self._uow.run([draft_read(caller, draft_id)], decide)
        return await self.draft(caller.principal.utility_id, draft_id)

    async def submit(self, caller: Caller, draft_id: int, revision: int, *, reason: str) -> Draft:
        """Hand a draft to whoever approves it; nobody edits it from then on.

        Raises:
            NotFound: ``draft_unknown``.
            Conflict: ``draft_changed`` or ``draft_state``.
        """
        now_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            draft = checked_draft(rows, draft_id, revision, "draft")
            params = {
                **guard_of(caller, draft),
                "by_principal": caller.principal.id,
                "at_us": now_us,
            }
            data = changed({"state": draft.state}, {"state": "submitted"})
            act = caller_act(caller, new_id, now_us, "tariff.submit", draft.subject, reason, data)
            return Changes(None, [Update("tariff_draft_submit", params), act])

        await self._uow.run([draft_read(caller, draft_id)], decide)
        return await self.draft(caller.principal.utility_id, draft_id)

    async def approve(
        self,
        caller: Caller,
        draft_id: int,
        revision: int,
        *,
        valid_from: datetime | None,
        accept_warnings: bool,
        reason: str,
    ) -> Approved:
        """Make a submitted draft the next version, in force from an instant.

        Args:
            caller: a person with the right, who neither wrote nor submitted it.
            draft_id: the draft.
            revision: the one that was looked at.
            valid_from: aware; None is now. Never in the past.
            accept_warnings: take what :func:`findings` warns of.
            reason: for the act.

        Raises:
            NotFound: ``draft_unknown``.
            NotAllowed: see :func:`check_may_decide`.
            Conflict: ``draft_changed`` or ``draft_state``.
            Refused: ``valid_from_in_the_past``, ``out_of_range``, ``version_out_of_order``, or what
                :func:`check_go_live` refuses.
        """
        now_us = self._now_us()
        from_us = now_us
        if valid_from is not None:
            from_us = check_reach(epoch_us(valid_from), "valid_from")
        if from_us < now_us:
            raise Refused(
                "valid_from_in_the_past",
                f"a version takes effect now or later; got {iso_utc(from_us)}",
                field="valid_from",
            )
        code = (await self.draft(caller.principal.utility_id, draft_id)).code
        approval = Approval(draft_id, revision, now_us, from_us, accept_warnings, reason)
        warnings = await self._uow.run(
            approval_reads(caller, draft_id, code, from_us),
            partial(approve_draft, caller, approval),
        )
        return Approved(await self.draft(caller.principal.utility_id, draft_id), warnings)

    async def reject(self, caller: Caller, draft_id: int, revision: int, *, reason: str) -> Draft:
        """Send a submitted draft back to those who wrote it.

        Raises:
            NotFound: ``draft_unknown``.
            Conflict: ``draft_changed`` or ``draft_state``.
        """
        return await self._end(caller, draft_id, revision, ("submitted",), "rejected", reason)

    async def withdraw(self, caller: Caller, draft_id: int, revision: int, *, reason: str) -> Draft:
        """Give up a draft that was not approved.

        Raises:
            NotFound: ``draft_unknown``.
            Conflict: ``draft_changed`` or ``draft_state``.
        """
        states = (*OPEN_STATES, "submitted")
        return await self._end(caller, draft_id, revision, states, "withdrawn", reason)

    async def withdraw_version(
        self, caller: Caller, code: str, version: int, *, reason: str
    ) -> None:
        """Take back a version before it takes effect.

        Raises:
            NotFound: ``version_unknown``.
            Conflict: ``version_withdrawn`` or ``version_in_force``: what has been in force can only
                be followed by a newer version.
        """
        now_us = self._now_us()
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            row = _found_version(rows["version"], code, version)
            if row["withdrawn_us"] is not None:
                raise Conflict(
                    "version_withdrawn", f"version {version} of {code} is withdrawn already"
                )
            if row["valid_from_us"] <= now_us:
                raise Conflict(
                    "version_in_force",
                    f"version {version} of {code} took effect at {iso_utc(row['valid_from_us'])}; "
                    "approve a newer version instead",
                )
            of = {"of_utility": utility_id, "of_version_id": row["tariff_version_id"]}
            steps: list[Step] = [
                Update("tariff_version_withdraw", {**of, "at_us": now_us}),
                Update("tariff_draft_of_version", of, rows=None),
                caller_act(
                    caller,
                    new_id,
                    now_us,
                    "tariff.withdraw",
                    f"{code} version {version}",
                    reason,
                    changed({"withdrawn_us": None}, {"withdrawn_us": now_us}),
                ),
            ]
            return Changes(None, steps)

        await self._uow.run([_version_read(utility_id, code, version)], decide)

    async def keep_preview(
        self, caller: Caller, draft: Draft, preview: Mapping[str, object], *, reason: str
    ) -> Mapping[str, object]:
        """Store a preview with the revision it was made of, and return it as it is stored.

        Raises:
            Conflict: ``changed_meanwhile``: the draft was edited while the preview was made.
        """
        now_us = self._now_us()
        kept = {**preview, "revision": draft.revision, "made_at": iso_utc(now_us)}

        def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
            params = {**guard_of(caller, draft), "to_preview": compact_json(kept)}
            act = caller_act(caller, new_id, now_us, "tariff.preview", draft.subject, reason)
            return Changes(None, [Update("tariff_draft_preview", params), act])

        await self._uow.run([], decide)
        return kept

    # --- looking ----------------------------------------------------------------------------------

    async def draft(self, utility_id: int, draft_id: int) -> Draft:
        """Return a draft.

        Raises:
            NotFound: ``draft_unknown``.
        """
        params = {"utility_id": utility_id, "draft_id": draft_id}
        rows = await self._uow.read([Read("tariff_draft_by_id", params, "draft")])
        return found_draft(rows, draft_id)

    async def drafts(
        self,
        utility_id: int,
        *,
        state: str | None = None,
        code: str | None = None,
        before: int | None = None,
        limit: int = DRAFTS_MAX,
    ) -> list[Draft]:
        """Return drafts, the newest first."""
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "state": state,
            "code": code,
            "before": before,
            "limit": limit,
        }
        rows = await self._uow.read([Read("tariff_drafts", params)])
        return [draft_of(row) for row in rows["tariff_drafts"]]

    async def diff(self, utility_id: int, code: str, written: Written) -> tuple[Diff, int | None]:
        """Compare a tariff with the version of its code in force now.

        Returns:
            The difference, and the number of the version; None when none is in force.
        """
        rows = await self._in_force(utility_id, code, self._now_us())
        old: Mapping[str, object] = json.loads(rows[0]["body"]) if rows else {}
        old_source = (rows[0]["source"] or "") if rows else ""
        new: Mapping[str, object] = json.loads(written.body)
        diff = diff_versions(old, new, old_source=old_source, new_source=written.source)
        if rows and stored_tariff(rows[0]["body"]) == written.tariff:
            diff = Diff(diff.changes, diff.text, same_meaning=True)
        return diff, rows[0]["version"] if rows else None

    async def findings(self, caller: Caller, draft: Draft) -> tuple[Finding, ...]:
        """Return what would speak against a draft if it were approved now."""
        now_us = self._now_us()
        reads = approval_reads(caller, draft.id, draft.code, now_us)
        return findings(go_live_of(await self._uow.read(reads), draft, now_us))

    async def tariffs(
        self, utility_id: int, *, after: str = "", limit: int = LIST_ROWS
    ) -> list[tuple[Row, Row | None]]:
        """Return tariffs by code, each with its version in force now, or None.

        Args:
            utility_id: whose.
            after: the last code of the page before.
            limit: tariffs at most.
        """
        page: dict[str, SqlValue] = {"utility_id": utility_id, "after": after, "limit": limit}
        rows = await self._uow.read(
            [
                Read("tariff_codes", page, "tariffs"),
                Read(
                    "tariff_versions_in_force",
                    {"utility_id": utility_id, "now_us": self._now_us()},
                    "versions",
                ),
            ]
        )
        in_force = {row["tariff_id"]: row for row in rows["versions"]}
        return [(row, in_force.get(row["id"])) for row in rows["tariffs"]]

    async def versions(
        self, utility_id: int, code: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> Sequence[Row]:
        """Return versions of a tariff, the newest first; those below ``before``.

        Raises:
            NotFound: ``tariff_unknown``.
        """
        params: dict[str, SqlValue] = {"utility_id": utility_id, "code": code}
        page = {**params, "before": ID_MAX if before is None else before, "limit": limit}
        rows = await self._uow.read([Read("tariff_by_code", params), Read("tariff_versions", page)])
        if not rows["tariff_by_code"]:
            raise NotFound("tariff_unknown", f"there is no tariff {code}")
        return rows["tariff_versions"]

    async def version(self, utility_id: int, code: str, version: int) -> Row:
        """Return one version.

        Raises:
            NotFound: ``version_unknown``.
        """
        rows = await self._uow.read([_version_read(utility_id, code, version)])
        return _found_version(rows["version"], code, version)

    async def in_force(self, utility_id: int, code: str, at: datetime | None = None) -> Row:
        """Return the version in force at an instant; now without one.

        Raises:
            NotFound: ``no_version_in_force``.
        """
        at_us = self._now_us() if at is None else epoch_us(at)
        rows = await self._in_force(utility_id, code, at_us)
        if not rows:
            raise NotFound(
                "no_version_in_force", f"no version of {code} is in force at {iso_utc(at_us)}"
            )
        return rows[0]

    async def _in_force(self, utility_id: int, code: str, at_us: int) -> Sequence[Row]:
        params: dict[str, SqlValue] = {"utility_id": utility_id, "code": code, "now_us": at_us}
        rows = await self._uow.read([Read("tariff_version_in_force", params)])
        return rows["tariff_version_in_force"]

    async def _end(
        self,
        caller: Caller,
        draft_id: int,
        revision: int,
        from_states: Sequence[str],
        to_state: str,
        reason: str,
    ) -> Draft:
        now_us = self._now_us()
        what = "tariff.reject" if to_state == "rejected" else "tariff.withdraw"

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            draft = checked_draft(rows, draft_id, revision, *from_states)
            params: dict[str, SqlValue] = {
                **guard_of(caller, draft),
                "from_state": draft.state,
                "to_state": to_state,
                "by_principal": caller.principal.id,
                "at_us": now_us,
                "to_valid_from_us": None,
                "to_version_id": None,
            }
            data = changed({"state": draft.state}, {"state": to_state})
            act = caller_act(caller, new_id, now_us, what, draft.subject, reason, data)
            return Changes(None, [Update("tariff_draft_decide", params), act])

        await self._uow.run([draft_read(caller, draft_id)], decide)
        return await self.draft(caller.principal.utility_id, draft_id)

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


def _check_currency(tariff: Tariff, caller: Caller) -> None:
    currency = caller.principal.currency
    if tariff.currency != currency:
        raise Refused(
            "currency_mismatch",
            f"the utility sells in {currency}, the tariff is in {tariff.currency}",
            field="currency",
        )


def _version_read(utility_id: int, code: str, version: int) -> Read:
    params: dict[str, SqlValue] = {"utility_id": utility_id, "code": code, "version": version}
    return Read("tariff_version_by_number", params, "version")


def _found_version(rows: Sequence[Row], code: str, version: int) -> Row:
    if not rows:
        raise NotFound("version_unknown", f"there is no version {version} of tariff {code}")
    return rows[0]
