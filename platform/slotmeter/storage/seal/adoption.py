"""Seals for rows that were there before their table, or some of its columns, was sealed.

Purely over rows that somebody else reads; the back ends run it once, in one transaction, when they
open a database whose newest layout is older than the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from slotmeter.ports import Insert, NewId
from slotmeter.storage.seal.layout import unsealed_faces
from slotmeter.storage.seal.unit_seal import GroupSeal, Head, Layout, Seals, UnitSeal

__all__ = ["RowsOf", "adopt"]

ENTRY_ROWS_MAX: Final = 1_000
GROUP_ENTRIES_MAX: Final = 100

RowsOf = Callable[[str, Sequence[str]], Iterable[tuple[Any, ...]]]
"""Gives the values of a table's columns, the id first, in order of the ids."""


def adopt(
    before: Layout | None, after: Layout, rows_of: RowsOf, head: Head, new_id: NewId, at_us: int
) -> Iterator[Insert]:
    """Yield the entries and groups that seal what a new layout seals and the old one did not.

    Args:
        before: the layout that rows are sealed by so far; None if they are not.
        after: the layout from now on.
        rows_of: reads a table.
        head: the newest group.
        new_id: gives ids.
        at_us: our clock.
    """
    seals = Seals(after)
    group = GroupSeal(head)
    held = 0
    for table, face in unsealed_faces(before, after):
        rows = iter(rows_of(table.name, ("id", *table.faces[face].columns)))
        while batch := list(islice(rows, ENTRY_ROWS_MAX)):
            unit = UnitSeal(seals)
            unit.adopted(table, face, batch)
            entry = unit.entry(new_id, at_us, group.seq)
            if entry is None:
                raise RuntimeError("rows gave no entry")
            yield entry.step
            group.add(entry)
            held += 1
            if held == GROUP_ENTRIES_MAX:
                yield _closed(group, at_us)
                group, held = GroupSeal(group.closed_head), 0
    if held:
        yield _closed(group, at_us)


def _closed(group: GroupSeal, at_us: int) -> Insert:
    step = group.group(at_us)
    if step is None:
        raise RuntimeError("entries gave no group")
    return step
