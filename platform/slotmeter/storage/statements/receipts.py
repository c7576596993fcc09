"""What handing out receipts reads."""

from __future__ import annotations

from sqlalchemy import bindparam, select
from sqlalchemy.sql.dml import UpdateBase

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_print = METADATA.tables["receipt_print"]
_utility = METADATA.tables["utility"]
_principal = METADATA.tables["principal"]

READS = {
    "receipt_policy": select(_utility.c.policy).where(_utility.c.id == bindparam("utility_id")),
    "receipt_forms": select(_print.c.form)
    .where(_print.c.sale_row_id == bindparam("sale_row_id"))
    .distinct(),
    "receipt_prints": select(
        _print.c.id, _print.c.at_us, _print.c.form, _principal.c.name.label("by")
    )
    .select_from(_print)
    .join(_principal, _principal.c.id == _print.c.principal_id)
    .where(_print.c.sale_row_id == bindparam("sale_row_id"), _print.c.id > bindparam("after"))
    .order_by(_print.c.id)
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {}
