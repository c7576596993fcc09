"""A tariff that is being prepared: what it is, who wrote it, and who may decide on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import Conflict, NotAllowed, NotFound, Refused
from slotmeter.ports import Caller, Read, Right, Row, Rows, SqlValue
from slotmeter.services.events import compact_json
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import read_tariff, stored_tariff

__all__ = [
    "OPEN_STATES",
    "SOURCE_CHARACTERS_MAX",
    "Draft",
    "Written",
    "check_may_decide",
    "checked_draft",
    "draft_of",
    "draft_read",
    "found_draft",
    "guard_of",
    "read_source",
]

SOURCE_CHARACTERS_MAX: Final = 50_000
NOTE_CHARACTERS_MAX: Final = 500
OPEN_STATES: Final = ("draft", "rejected")
"""A draft may be edited in these."""


@dataclass(frozen=True, slots=True)
class Written:
    """A tariff as text, as a document, and as a value."""

    source: str
    body: str
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class Draft:
    """A tariff that is being prepared; times are UTC epoch microseconds.

    Args:
        id: the draft.
        code: of the tariff.
        state: draft, submitted, approved, rejected or withdrawn.
        revision: grows with each edit; an act on another revision is refused.
        source: YAML as it was written.
        body: the same as a JSON document.
        note: what it is for.
        author: who made it.
        authors: ids of all who wrote it.
        submitter_id: who submitted it, or None.
        submitter: the name, or None.
        decider: who approved, rejected or withdrew it, or None.
        created_us: when it was made.
        submitted_us: when it was submitted.
        decided_us: when it was decided on.
        valid_from_us: when the approved version takes effect.
        tariff_version_id: what it became.
        version: the number of that.
        preview: JSON of the newest preview of this revision, or None.
    """

    id: int
    code: str
    state: str
    revision: int
    source: str
    body: str
    note: str
    author: str
    authors: tuple[int, ...]
    submitter_id: int | None
    submitter: str | None
    decider: str | None
    created_us: int
    submitted_us: int | None
    decided_us: int | None
    valid_from_us: int | None
    tariff_version_id: int | None
    version: int | None
    preview: str | None

    @property
    def written(self) -> Written:
        """Its tariff as text, as a document, and as a value."""
        return Written(self.source, self.body, stored_tariff(self.body))

    @property
    def subject(self) -> str:
        """How acts name it."""
        return f"{self.code} draft {self.id}"


def read_source(source: str, note: str = "") -> Written:
    """Read a tariff as it is written.

    Raises:
        Refused: ``source_too_long``, ``note_too_long``, or ``tariff_invalid`` with every problem,
            its line and its column in the details.
    """
    if len(source) > SOURCE_CHARACTERS_MAX:
        raise Refused(
            "source_too_long",
            f"expected at most {SOURCE_CHARACTERS_MAX} characters, got {len(source)}",
            field="source",
        )
    if len(note) > NOTE_CHARACTERS_MAX:
        raise Refused(
            "note_too_long",
            f"expected at most {NOTE_CHARACTERS_MAX} characters, got {len(note)}",
            field="note",
        )
    document, tariff = read_tariff(source)
    return Written(source, compact_json(document), tariff)


def draft_of(row: Row) -> Draft:
    """Return a draft from a row of the statements of drafts."""
    return Draft(
        id=row["id"],
        code=row["code"],
        state=row["state"],
        revision=row["revision"],
        source=row["source"],
        body=row["body"],
        note=row["note"],
        author=row["author"],
        authors=tuple(json.loads(row["authors"])),
        submitter_id=row["submitter_id"],
        submitter=row["submitter"],
        decider=row["decider"],
        created_us=row["created_us"],
        submitted_us=row["submitted_us"],
        decided_us=row["decided_us"],
        valid_from_us=row["valid_from_us"],
        tariff_version_id=row["tariff_version_id"],
        version=row["version"],
        preview=row["preview"],
    )


def found_draft(rows: Rows, draft_id: int) -> Draft:
    """Return the draft that was read.

    Raises:
        NotFound: ``draft_unknown``.
    """
    if not rows["draft"]:
        raise NotFound("draft_unknown", f"there is no tariff draft {draft_id}")
    return draft_of(rows["draft"][0])


def _check_revision(draft: Draft, revision: int) -> None:
    """Refuse an act on a draft that somebody else has changed since.

    Raises:
        Conflict: ``draft_changed``.
    """
    if draft.revision != revision:
        raise Conflict(
            "draft_changed",
            f"draft {draft.id} is at revision {draft.revision}, not {revision}: "
            "somebody changed it meanwhile; look at it again",
            field="revision",
            details={"revision": draft.revision},
        )


def _check_state(draft: Draft, *states: str) -> None:
    """Refuse what the draft's state does not allow.

    Raises:
        Conflict: ``draft_state``.
    """
    if draft.state not in states:
        raise Conflict(
            "draft_state",
            f"draft {draft.id} is {draft.state}; expected {' or '.join(states)}",
            details={"state": draft.state},
        )


def check_may_decide(caller: Caller, draft: Draft) -> None:
    """Refuse an approval by anyone but a second person with the right.

    Raises:
        NotAllowed: ``right_missing``, ``person_needed`` or ``second_person_needed``.
    """
    principal = caller.principal
    if Right.TARIFF_APPROVE not in principal.rights:
        raise NotAllowed("right_missing", f"this needs the right {Right.TARIFF_APPROVE.value}")
    if principal.kind != "person":
        raise NotAllowed("person_needed", "a tariff is approved by a person, not by a service")
    if principal.id in draft.authors or principal.id == draft.submitter_id:
        raise NotAllowed(
            "second_person_needed",
            f"draft {draft.id} was written or submitted by {principal.name}; "
            "somebody else must approve it",
        )


def guard_of(caller: Caller, draft: Draft) -> dict[str, SqlValue]:
    """Return what the updates of a draft are guarded by."""
    return {
        "of_utility": caller.principal.utility_id,
        "of_draft": draft.id,
        "of_revision": draft.revision,
    }


def draft_read(caller: Caller, draft_id: int) -> Read:
    """Return the read of one draft."""
    params: dict[str, SqlValue] = {
        "utility_id": caller.principal.utility_id,
        "draft_id": draft_id,
    }
    return Read("tariff_draft_by_id", params, "draft")


def checked_draft(rows: Rows, draft_id: int, revision: int, *states: str) -> Draft:
    """Return the draft that was read, in one of these states and as the caller saw it.

    Raises:
        NotFound: ``draft_unknown``.
        Conflict: ``draft_changed`` or ``draft_state``.
    """
    draft = found_draft(rows, draft_id)
    _check_revision(draft, revision)
    _check_state(draft, *states)
    return draft
