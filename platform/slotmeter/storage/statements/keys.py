"""What the vault reads and writes of its keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_key = METADATA.tables["vault_key"]
_token = METADATA.tables["token"]
_utility = METADATA.tables["utility"]

READS: dict[str, Select[Any]] = {
    "vault_keys": select(_key).order_by(_key.c.id),
    "vault_sealed": select(_token.c.id).where(_token.c.digits_index.is_not(None)).limit(1),
    "vault_utilities": select(_utility.c.id).order_by(_utility.c.id).limit(2),
}

UPDATES: dict[str, UpdateBase] = {
    "vault_root_rewrap": update(_key)
    .where(_key.c.kind == "root", _key.c.wrapped_by == bindparam("expected"))
    .values(wrapped=bindparam("new_wrapped"), wrapped_by=bindparam("new_wrapped_by")),
    "vault_key_expiry": update(_key)
    .where(
        _key.c.name == bindparam("of_name"),
        _key.c.kind == "vending",
        _key.c.ken == bindparam("expected"),
    )
    .values(ken=bindparam("new_ken"), wrapped=bindparam("new_wrapped")),
}
