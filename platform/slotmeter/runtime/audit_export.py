"""The chain as documents: for archives, and for people who look into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from slotmeter.errors import NotFound
from slotmeter.runtime.audit_verify import OpenReader
from slotmeter.storage.seal.chain import read_layouts
from slotmeter.storage.seal.items import read_items
from slotmeter.units import iso_utc

__all__ = ["entries_of", "groups_of"]

LAST_ID: Final = 2**63 - 1
IDS_SHOWN: Final = 20


def groups_of(open_reader: OpenReader, from_seq: int) -> Iterator[dict[str, Any]]:
    """Yield every group from a number on."""
    with closing(open_reader()) as reader:
        for groups in reader.groups(from_seq, LAST_ID):
            for group in groups:
                yield {
                    "group": group.seq,
                    "at": iso_utc(group.at_us),
                    "at_us": group.at_us,
                    "first_entry": group.first_entry_id,
                    "last_entry": group.last_entry_id,
                    "entries": group.entries,
                    "before": bytes(group.prev_hash).hex(),
                    "hash": bytes(group.hash).hex(),
                }


def entries_of(
    open_reader: OpenReader, *, entry_id: int | None = None, last: int = 10
) -> list[dict[str, Any]]:
    """Return the newest entries, newest first, or one, with the rows that they speak of.

    Raises:
        NotFound: ``audit_entry_unknown``.
    """
    first, newest = (0, LAST_ID) if entry_id is None else (entry_id, entry_id)
    found: list[dict[str, Any]] = []
    with closing(open_reader()) as reader:
        layouts, _damaged = read_layouts(reader)
        for chunk in reader.entries_down(first, newest):
            for entry in chunk[: last - len(found)]:
                items = [
                    {
                        "kind": item.kind,
                        "table": item.table,
                        "face": item.face,
                        "rows": len(item.ids),
                        "ids": list(item.ids[:IDS_SHOWN]),
                    }
                    for item in read_items(entry, layouts)
                ]
                found.append(
                    {
                        "entry": entry[0],
                        "group": entry[3],
                        "at": iso_utc(entry[1]),
                        "hash": bytes(entry[5]).hex(),
                        "items": items,
                    }
                )
            if len(found) >= last:
                break
    if entry_id is not None and not found:
        raise NotFound("audit_entry_unknown", f"the audit has no entry {entry_id}")
    return found
