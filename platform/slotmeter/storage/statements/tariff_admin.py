"""What the administration of tariffs reads and changes: drafts and versions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, null, or_, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_t = METADATA.tables
_draft = _t["tariff_draft"]
_tariff = _t["tariff"]
_version = _t["tariff_version"]
_utility = _t["utility"]
_author = _t["principal"].alias("author")
_submitter = _t["principal"].alias("submitter")
_decider = _t["principal"].alias("decider")
_approver = _t["principal"].alias("approver")

ROWS_MAX = 500

_UTILITY: BindParameter[int] = bindparam("utility_id")
_NOW: BindParameter[int] = bindparam("now_us")

_DRAFTS = (
    select(
        _draft,
        _author.c.name.label("author"),
        _submitter.c.name.label("submitter"),
        _decider.c.name.label("decider"),
        _version.c.version,
        _version.c.withdrawn_us,
    )
    .select_from(_draft)
    .join(_author, _author.c.id == _draft.c.author_id)
    .outerjoin(_submitter, _submitter.c.id == _draft.c.submitter_id)
    .outerjoin(_decider, _decider.c.id == _draft.c.decider_id)
    .outerjoin(_version, _version.c.id == _draft.c.tariff_version_id)
    .where(_draft.c.utility_id == _UTILITY)
)

_VERSIONS = (
    select(
        _version.c.id.label("tariff_version_id"),
        _tariff.c.id.label("tariff_id"),
        _tariff.c.code,
        _tariff.c.title,
        _tariff.c.commodity,
        _tariff.c.currency,
        _version.c.version,
        _version.c.valid_from_us,
        _version.c.body,
        _version.c.source,
        _version.c.created_us,
        _version.c.approved_us,
        _version.c.withdrawn_us,
        _author.c.name.label("author"),
        _approver.c.name.label("approver"),
    )
    .select_from(_version)
    .join(_tariff, _tariff.c.id == _version.c.tariff_id)
    .outerjoin(_author, _author.c.id == _version.c.author_id)
    .outerjoin(_approver, _approver.c.id == _version.c.approver_id)
    .where(_version.c.utility_id == _UTILITY)
)

READS: dict[str, Select[Any]] = {
    "tariff_admin_utility": select(
        _utility.c.id, _utility.c.currency, _utility.c.time_zone, _utility.c.tax_number
    ).where(_utility.c.id == _UTILITY),
    "tariff_drafts": _DRAFTS.where(
        or_(bindparam("state").is_(None), _draft.c.state == bindparam("state")),
        or_(bindparam("code").is_(None), _draft.c.code == bindparam("code")),
        or_(bindparam("before").is_(None), _draft.c.id < bindparam("before")),
    )
    .order_by(_draft.c.id.desc())
    .limit(bindparam("limit")),
    "tariff_draft_by_id": _DRAFTS.where(_draft.c.id == bindparam("draft_id")),
    "tariff_codes": select(_tariff)
    .where(_tariff.c.utility_id == _UTILITY, _tariff.c.code > bindparam("after"))
    .order_by(_tariff.c.code)
    .limit(bindparam("limit")),
    "tariff_by_code": select(_tariff).where(
        _tariff.c.utility_id == _UTILITY, _tariff.c.code == bindparam("code")
    ),
    "tariff_versions": _VERSIONS.where(
        _tariff.c.code == bindparam("code"), _version.c.version < bindparam("before")
    )
    .order_by(_version.c.version.desc())
    .limit(bindparam("limit")),
    "tariff_version_by_number": _VERSIONS.where(
        _tariff.c.code == bindparam("code"), _version.c.version == bindparam("version")
    ),
    "tariff_version_in_force": _VERSIONS.where(
        _tariff.c.code == bindparam("code"),
        _version.c.valid_from_us <= _NOW,
        _version.c.withdrawn_us.is_(None),
    )
    .order_by(_version.c.valid_from_us.desc(), _version.c.version.desc())
    .limit(1),
    "tariff_versions_in_force": _VERSIONS.where(
        _version.c.id
        == select(_version.c.id)
        .where(
            _version.c.tariff_id == _tariff.c.id,
            _version.c.valid_from_us <= _NOW,
            _version.c.withdrawn_us.is_(None),
        )
        .order_by(_version.c.valid_from_us.desc(), _version.c.version.desc())
        .limit(1)
        .correlate(_tariff)
        .scalar_subquery()
    )
    .order_by(_tariff.c.code)
    .limit(ROWS_MAX),
    "tariff_version_latest_start": select(_version.c.version, _version.c.valid_from_us)
    .join(_tariff, _tariff.c.id == _version.c.tariff_id)
    .where(
        _version.c.utility_id == _UTILITY,
        _tariff.c.code == bindparam("code"),
        _version.c.withdrawn_us.is_(None),
    )
    .order_by(_version.c.valid_from_us.desc(), _version.c.version.desc())
    .limit(1),
    "tariff_version_newest_number": select(_version.c.version)
    .join(_tariff, _tariff.c.id == _version.c.tariff_id)
    .where(_version.c.utility_id == _UTILITY, _tariff.c.code == bindparam("code"))
    .order_by(_version.c.version.desc())
    .limit(1),
}

_OF_DRAFT = and_(
    _draft.c.utility_id == bindparam("of_utility"),
    _draft.c.id == bindparam("of_draft"),
    _draft.c.revision == bindparam("of_revision"),
)

UPDATES: dict[str, UpdateBase] = {
    "tariff_draft_edit": update(_draft)
    .where(_OF_DRAFT, or_(_draft.c.state == "draft", _draft.c.state == "rejected"))
    .values(
        code=bindparam("to_code"),
        body=bindparam("to_body"),
        source=bindparam("to_source"),
        note=bindparam("to_note"),
        authors=bindparam("to_authors"),
        revision=_draft.c.revision + 1,
        state="draft",
        submitter_id=null(),
        submitted_us=null(),
        decider_id=null(),
        decided_us=null(),
        preview=null(),
    ),
    "tariff_draft_submit": update(_draft)
    .where(_OF_DRAFT, _draft.c.state == "draft")
    .values(
        state="submitted", submitter_id=bindparam("by_principal"), submitted_us=bindparam("at_us")
    ),
    "tariff_draft_decide": update(_draft)
    .where(_OF_DRAFT, _draft.c.state == bindparam("from_state"))
    .values(
        state=bindparam("to_state"),
        decider_id=bindparam("by_principal"),
        decided_us=bindparam("at_us"),
        valid_from_us=bindparam("to_valid_from_us"),
        tariff_version_id=bindparam("to_version_id"),
    ),
    "tariff_draft_preview": update(_draft).where(_OF_DRAFT).values(preview=bindparam("to_preview")),
    "tariff_draft_of_version": update(_draft)
    .where(
        _draft.c.utility_id == bindparam("of_utility"),
        _draft.c.tariff_version_id == bindparam("of_version_id"),
        _draft.c.state == "approved",
    )
    .values(state="withdrawn"),
    "tariff_version_withdraw": update(_version)
    .where(
        _version.c.utility_id == bindparam("of_utility"),
        _version.c.id == bindparam("of_version_id"),
        _version.c.valid_from_us > bindparam("at_us"),
        _version.c.withdrawn_us.is_(None),
    )
    .values(withdrawn_us=bindparam("at_us")),
}
