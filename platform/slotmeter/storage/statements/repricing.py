"""Stored sales to price again, in order per supply point; run by ``storage.sale_stream``."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.joins import AS_PRICED
from slotmeter.storage.schema import METADATA

__all__ = ["READS", "STORED_SALE", "UPDATES"]

_sale = METADATA.tables["sale"]
_version = METADATA.tables["tariff_version"]

_IN_TIME = (
    _sale.c.utility_id == bindparam("utility_id"),
    _sale.c.sold_us >= bindparam("from_us"),
    _sale.c.sold_us < bindparam("to_us"),
)

# The sum keeps SQLite from the index by utility and time: each range would go through all sales.
_OF_UTILITY = _sale.c.utility_id + 0 == bindparam("utility_id")

STORED_SALE: Final = (
    *AS_PRICED,
    case((_sale.c.situation.is_(None), _sale.c.particulars)).label("particulars"),
    _sale.c.credit_mode,
    _sale.c.state,
)
"""The columns of ``services.repricing.StoredSale``, in their order."""

READS: dict[str, Select[Any]] = {
    "reprice_sales": select(
        *STORED_SALE,
    )
    .where(
        _sale.c.supply_point_id >= bindparam("first_point"),
        _sale.c.supply_point_id < bindparam("end_point"),
        _OF_UTILITY,
        *_IN_TIME[1:],
    )
    .order_by(_sale.c.supply_point_id, _sale.c.sold_us, _sale.c.id),
    "reprice_count": select(func.count().label("count")).where(*_IN_TIME),
    "reprice_points": select(
        func.min(_sale.c.supply_point_id).label("first"),
        func.max(_sale.c.supply_point_id).label("last"),
    ).where(_sale.c.utility_id == bindparam("utility_id")),
    "reprice_versions": select(_version.c.id, _version.c.body).where(
        _version.c.utility_id == bindparam("utility_id")
    ),
}

UPDATES: dict[str, UpdateBase] = {}
