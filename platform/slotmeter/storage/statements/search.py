"""Finding meters and sales among millions: by how a number begins, by words, by a token.

Each read walks one index and is paged by its key. A range of texts that begin alike ends with the
text followed by the highest code point: see ``services.search``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, BindParameter, and_, bindparam, exists, or_, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES", "WORDS_MAX"]

WORDS_MAX = 4
"""At most so many words are looked for; more narrow nothing down."""

_t = METADATA.tables
_account = _t["account"]
_customer = _t["customer"]
_installation = _t["installation"]
_meter = _t["meter"]
_point = _t["supply_point"]
_principal = _t["principal"]
_sale = _t["sale"]
_token = _t["token"]
_word = _t["search_word"]

_PLACE = (
    _point.c.id.label("supply_point_id"),
    _point.c.area,
    _point.c.address,
    _account.c.number.label("account"),
    _customer.c.number.label("customer_number"),
    _customer.c.name.label("customer"),
    _meter.c.number.label("meter"),
    _point.c.commodity,
)
_HANGS = and_(_installation.c.supply_point_id == _point.c.id, _installation.c.to_us.is_(None))


def _begins(column: ColumnElement[Any], name: str = "") -> ColumnElement[bool]:
    return and_(column >= bindparam(f"from{name}"), column <= bindparam(f"to{name}"))


def _places(key: ColumnElement[Any], of: ColumnElement[Any]) -> Select[Any]:
    """Return places by a number that begins as wanted, in its order, after one."""
    return (
        select(*_PLACE, key.label("found"))
        .select_from(_point)
        .join(_account, _account.c.id == _point.c.account_id)
        .join(_customer, _customer.c.id == _account.c.customer_id)
        .outerjoin(_installation, _HANGS)
        .outerjoin(_meter, _meter.c.id == _installation.c.meter_id)
        .where(
            of == bindparam("utility_id"),
            _begins(key),
            or_(
                key > bindparam("after"),
                and_(key == bindparam("after"), _point.c.id > bindparam("after_id")),
            ),
        )
        .order_by(key, _point.c.id)
        .limit(bindparam("limit"))
    )


def _by_words(count: int) -> Select[Any]:
    """Return places of which each word begins as one of the wanted ones."""
    first = _word.alias("word0")
    found = (
        select(first.c.supply_point_id)
        .distinct()
        .where(
            first.c.utility_id == bindparam("utility_id"),
            _begins(first.c.word, "0"),
            first.c.supply_point_id > bindparam("after_id"),
        )
    )
    for at in range(1, count):
        other = _word.alias(f"word{at}")
        found = found.where(
            exists().where(
                other.c.supply_point_id == first.c.supply_point_id,
                _begins(other.c.word, f"{at}"),
            )
        )
    places = found.order_by(first.c.supply_point_id).limit(bindparam("limit")).subquery("places")
    return (
        select(*_PLACE)
        .select_from(places)
        .join(_point, _point.c.id == places.c.supply_point_id)
        .join(_account, _account.c.id == _point.c.account_id)
        .join(_customer, _customer.c.id == _account.c.customer_id)
        .outerjoin(_installation, _HANGS)
        .outerjoin(_meter, _meter.c.id == _installation.c.meter_id)
        .order_by(_point.c.id)
    )


_OWN: BindParameter[int] = bindparam("principal_id", type_=BigInteger())

# What was sold is shown with the place where the meter hung then.
_SOLD = (
    select(
        *_PLACE,
        _sale.c.receipt_number,
        _sale.c.sale_id,
        _sale.c.state,
        _sale.c.sold_us,
        _sale.c.tender_minor,
        _sale.c.currency,
        _principal.c.name.label("sold_by"),
        _sale.c.principal_id,
    )
    .select_from(_sale)
    .join(_principal, _principal.c.id == _sale.c.principal_id)
    .join(_point, _point.c.id == _sale.c.supply_point_id)
    .join(_account, _account.c.id == _sale.c.account_id)
    .join(_customer, _customer.c.id == _account.c.customer_id)
    .join(_meter, _meter.c.id == _sale.c.meter_id)
    .where(
        _sale.c.utility_id == bindparam("utility_id"),
        or_(_OWN.is_(None), _sale.c.principal_id == _OWN),
    )
)

READS: dict[str, Select[Any]] = {
    "search_meter": select(*_PLACE, _meter.c.number.label("found"))
    .select_from(_meter)
    .outerjoin(
        _installation,
        and_(_installation.c.meter_id == _meter.c.id, _installation.c.to_us.is_(None)),
    )
    .outerjoin(_point, _point.c.id == _installation.c.supply_point_id)
    .outerjoin(_account, _account.c.id == _point.c.account_id)
    .outerjoin(_customer, _customer.c.id == _account.c.customer_id)
    .where(
        _meter.c.utility_id == bindparam("utility_id"),
        _begins(_meter.c.number),
        _meter.c.number > bindparam("after"),
    )
    .order_by(_meter.c.number)
    .limit(bindparam("limit")),
    "search_account": _places(_account.c.number, _account.c.utility_id),
    "search_customer": _places(_customer.c.number, _customer.c.utility_id).where(
        # Those of which the account has the same number are found by it.
        _account.c.number != _customer.c.number
    ),
    **{f"search_words_{count}": _by_words(count) for count in range(1, WORDS_MAX + 1)},
    "search_receipt": _SOLD.where(_sale.c.receipt_number == bindparam("receipt_number")),
    "search_token": _SOLD.join(_token, _token.c.sale_row_id == _sale.c.id).where(
        _token.c.digits_index == bindparam("digits_index")
    ),
}

UPDATES: dict[str, UpdateBase] = {}
