"""Joins that more than one subject's statements need."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, or_

from slotmeter.storage.schema import METADATA

__all__ = ["INSTALLED_NOW"]

_installation = METADATA.tables["installation"]
_meter = METADATA.tables["meter"]

INSTALLED_NOW = and_(
    _installation.c.meter_id == _meter.c.id,
    _installation.c.from_us <= bindparam("now_us"),
    or_(_installation.c.to_us.is_(None), _installation.c.to_us > bindparam("now_us")),
)
"""Joins a meter to where it hangs at ``:now_us``."""
