"""What the audit reads of itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_group = METADATA.tables["audit_group"]

READS: dict[str, Select[Any]] = {
    "audit_newest_group": select(_group.c.seq, _group.c.at_us, _group.c.hash)
    .order_by(_group.c.seq.desc())
    .limit(1),
}

UPDATES: dict[str, UpdateBase] = {}
