"""Joins and columns that more than one subject's statements need."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Table, and_, bindparam, case, exists, func, null, or_, select
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from slotmeter.storage.schema import METADATA

__all__ = [
    "AS_PRICED",
    "CLASS_NOW",
    "CLOSED_UNTIL",
    "FOLLOWS",
    "INSTALLED_NOW",
    "OTHER_METER_SPEAKS",
    "TERMS_NOW",
    "heard_by",
    "older_than",
    "told_by_token",
]

FAR_US = 2**62
"""After every instant."""

_installation = METADATA.tables["installation"]
_meter = METADATA.tables["meter"]
_account = METADATA.tables["account"]
_class = METADATA.tables["account_class"]
_terms = METADATA.tables["account_terms"]
_sale = METADATA.tables["sale"]
_token = METADATA.tables["token"]
_period = METADATA.tables["accounting_period"]
_entry = METADATA.tables["integration_entry"]
_alarm = METADATA.tables["alarm"]
_command = METADATA.tables["command"]

AS_PRICED = (
    _sale.c.id,
    _sale.c.receipt_number,
    _sale.c.supply_point_id,
    _sale.c.tariff_version_id,
    _sale.c.tender_minor,
    _sale.c.sold_us,
    _sale.c.units,
    _sale.c.counted_units,
    _sale.c.lifeline_units,
    _sale.c.kept_minor,
    _sale.c.transfer_minor,
    _sale.c.priced,
    _sale.c.situation,
)
"""What a sale was, and what its price was made of."""

INSTALLED_NOW = and_(
    _installation.c.meter_id == _meter.c.id,
    _installation.c.from_us <= bindparam("now_us"),
    or_(_installation.c.to_us.is_(None), _installation.c.to_us > bindparam("now_us")),
)
"""Joins a meter to where it hangs at ``:now_us``."""

OTHER_METER_SPEAKS = exists().where(
    _alarm.c.meter_id == _command.c.meter_id,
    _alarm.c.kind == "serial_mismatch",
    _alarm.c.cleared_us.is_(None),
)
"""While another meter speaks at the address of a command's meter, nothing is handed out there: a
token would not fit and a cut would hit the wrong household."""

CLASS_NOW = (
    select(_class.c.class_code)
    .where(_class.c.account_id == _account.c.id, _class.c.from_us <= bindparam("now_us"))
    .order_by(_class.c.from_us.desc(), _class.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
"""The class of an account at ``:now_us``; NULL for none."""

TERMS_NOW = (
    select(_terms.c.terms)
    .where(_terms.c.account_id == _account.c.id, _terms.c.from_us <= bindparam("now_us"))
    .order_by(_terms.c.from_us.desc(), _terms.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
"""The terms of an account at ``:now_us``; NULL for one that always paid in advance."""

CLOSED_UNTIL = (
    select(func.max(_period.c.to_us))
    .where(_period.c.utility_id == bindparam("utility_id"))
    .scalar_subquery()
)
"""Nothing is booked before this instant any more; NULL while no period was closed."""

FOLLOWS = and_(
    func.coalesce(_token.c.purpose, "credit") == "free",
    or_(_sale.c.units > 0, _sale.c.transfer_minor > 0),
)
"""A token of free units beside a paid one, which alone tells how the sale's delivery goes."""


def told_by_token(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column of a sale as far as a token tells of it: NULL for one that follows."""
    return case((FOLLOWS, null()), else_=column)


def heard_by(device: Table) -> ColumnElement[Any]:
    """Return the entry that a device was heard by last, once a frame of ``:to_contact_us`` came by
    ``:to_entry``. One that was removed meanwhile, or none, leaves what is known."""
    came_by = bindparam("to_entry", type_=BigInteger)
    entry = select(_entry.c.id).where(_entry.c.id == came_by).scalar_subquery()
    is_older = device.c.last_contact_us > bindparam("to_contact_us")
    return case((is_older, device.c.entry_id), else_=func.coalesce(entry, device.c.entry_id))


def older_than(table: Table, before: BindParameter[int]) -> ColumnElement[bool]:
    """Match what stands below a row, by id, in a list ordered by its beginning and id, newest
    first; an id that no row has matches everything below it."""
    start = select(table.c.from_us).where(table.c.id == before).scalar_subquery()
    from_us = func.coalesce(start, FAR_US)
    return or_(table.c.from_us < from_us, and_(table.c.from_us == from_us, table.c.id < before))
