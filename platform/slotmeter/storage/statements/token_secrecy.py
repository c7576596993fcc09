"""What seals the tokens of earlier releases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_sale = METADATA.tables["sale"]
_token = METADATA.tables["token"]

READS: dict[str, Select[Any]] = {
    "tokens_unsealed": select(_token.c.id, _token.c.digits, _token.c.sale_row_id, _sale.c.receipt)
    .outerjoin(_sale, _sale.c.id == _token.c.sale_row_id)
    .where(
        _token.c.id > bindparam("after_id"),
        _token.c.digits.is_not(None),
        _token.c.digits_index.is_(None),
    )
    .order_by(_token.c.id)
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {
    "token_seal": update(_token)
    .where(_token.c.id == bindparam("token_id"), _token.c.digits_index.is_(None))
    .values(digits=bindparam("new_digits"), digits_index=bindparam("new_index")),
    "receipt_seal": update(_sale)
    .where(_sale.c.id == bindparam("sale_row_id"), _sale.c.state == "issued")
    .values(receipt=bindparam("new_receipt")),
}
