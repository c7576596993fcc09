"""Updates and deletes that return what their seals are made of."""

from __future__ import annotations

from sqlalchemy import Delete, Update
from sqlalchemy.sql.dml import UpdateBase

from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.unit_seal import Layout, Touch

__all__ = ["sealed_update"]


def sealed_update(statement: UpdateBase, layout: Layout) -> tuple[UpdateBase, Touch | None]:
    """Return a statement that gives its rows back as its touch says; itself if it touches no seal.

    Raises:
        ValueError: it would change or remove what is sealed for good.
    """
    if not isinstance(statement, Update | Delete):
        raise TypeError(f"expected an update or a delete, got {type(statement).__name__}")
    table = METADATA.tables[str(statement.table)]
    if isinstance(statement, Delete):
        touch = layout.removed(table.name)
    else:
        names = [str(getattr(name, "name", name)) for name in statement._values or ()]
        touch = layout.updated(table.name, names)
    if touch is None:
        return statement, None
    return statement.returning(*(table.c[name] for name in touch.columns)), touch
