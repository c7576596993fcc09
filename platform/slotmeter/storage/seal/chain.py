"""Checks the chain itself: every entry and every group has the hash that its content gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import error as StructError

from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.layout import layout_of
from slotmeter.storage.seal.reader import AuditReader, Break, Checkpoint, Entry, Group
from slotmeter.storage.seal.unit_seal import (
    GENESIS,
    Layout,
    entry_hash,
    group_hash,
)

__all__ = ["ChainCheck", "check_checkpoint", "read_layouts"]


def read_layouts(reader: AuditReader) -> tuple[dict[int, Layout], list[Break]]:
    """Return the layouts by number, and those that are not as they were stored."""
    layouts: dict[int, Layout] = {}
    breaks = []
    for number, body, digest in reader.layouts():
        try:
            layout = layout_of(number, body, METADATA)
        except (ValueError, TypeError, KeyError):
            breaks.append(Break(None, "audit_layout", number, "it cannot be read"))
            continue
        if layout.digest != digest:
            breaks.append(Break(None, "audit_layout", number, "it is not what was stored"))
        layouts[number] = layout
    return layouts, breaks


class _Peekable:
    """Hands entries out group by group."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self._next = next(entries, None)

    @property
    def next_id(self) -> int | None:
        """Which entry comes next."""
        return None if self._next is None else self._next[0]

    def up_to(self, last_id: int) -> list[Entry]:
        taken = []
        entry = self._next
        while entry is not None and entry[0] <= last_id:
            taken.append(entry)
            entry = next(self._entries, None)
        self._next = entry
        return taken


class ChainCheck:
    """Goes through the groups from one number to another, in order.

    Args:
        reader: of the database.
        layouts: by number.
    """

    def __init__(self, reader: AuditReader, layouts: Mapping[int, Layout]) -> None:
        """Start with nothing counted."""
        self._reader = reader
        self._digests = {number: layout.digest for number, layout in layouts.items()}
        self.entries = 0
        self.groups = 0

    def breaks(self, from_seq: int, to_seq: int) -> Iterator[Break]:
        """Yield what is wrong with groups of these numbers, both included, and their entries."""
        before, last_id = self._before(from_seq)
        newest = self._reader.group(to_seq)
        up_to = last_id if newest is None else newest.last_entry_id
        entries = _Peekable(self._reader.entries_up(last_id + 1, up_to))
        expected = from_seq
        for groups in self._reader.groups(from_seq, to_seq):
            for group in groups:
                if group.seq != expected:
                    yield Break(entries.next_id, "audit_group", expected, "it is not there")
                elif group.prev_hash != before:
                    problem = f"it does not go on from group {group.seq - 1}"
                    yield Break(group.first_entry_id, "audit_group", group.seq, problem)
                yield from self._of_group(group, entries.up_to(group.last_entry_id))
                before, expected = group.hash, group.seq + 1
        if expected <= to_seq:
            yield Break(None, "audit_group", expected, "it is not there")

    def _before(self, from_seq: int) -> tuple[bytes, int]:
        group = self._reader.group(from_seq - 1)
        return (GENESIS, -1) if group is None else (group.hash, group.last_entry_id)

    def _of_group(self, group: Group, entries: Sequence[Entry]) -> Iterator[Break]:
        self.groups += 1
        self.entries += len(entries)
        digests, damaged = self._digests, False
        if len(entries) != group.entries:
            problem = f"it has {len(entries)} entries instead of {group.entries}"
            yield Break(group.first_entry_id, "audit_group", group.seq, problem)
            return
        for entry in entries:
            if _hash_of(entry, digests) != entry[5] or entry[3] != group.seq:
                damaged = True
                problem = "its content does not give its hash"
                yield Break(entry[0], "audit_entry", entry[0], problem)
        if not damaged and _hash_of_group(group, entries) != group.hash:
            problem = "its content does not give its hash"
            yield Break(group.first_entry_id, "audit_group", group.seq, problem)

    def loose_ends(self) -> Iterator[Break]:
        """Yield entries that are after the newest group: no group has them."""
        newest = self._reader.newest_group()
        last_id = -1 if newest is None else newest.last_entry_id
        for entry_id in self._reader.entries_after(last_id):
            yield Break(entry_id, "audit_entry", entry_id, "no group has it")


def _hash_of(entry: Entry, digests: Mapping[int, bytes]) -> bytes:
    number, at_us, layout, group_seq, items, _hash = entry
    try:
        return entry_hash(digests[layout], number, at_us, group_seq, items)
    except (KeyError, TypeError, StructError):  # values that no version ever stored
        return b""


def _hash_of_group(group: Group, entries: Sequence[Entry]) -> bytes:
    ids = (group.first_entry_id, group.last_entry_id)
    try:
        return group_hash(
            group.seq, group.at_us, ids, group.prev_hash, [entry[5] for entry in entries]
        )
    except (TypeError, StructError):
        return b""


def check_checkpoint(reader: AuditReader, checkpoint: Checkpoint) -> Break | None:
    """Return what is wrong if the chain is not the one that a checkpoint vouches for."""
    group = reader.group(checkpoint.seq)
    if group is None:
        problem = f"a checkpoint vouches for group {checkpoint.seq}, which is not there"
        return Break(None, "audit_group", checkpoint.seq, problem)
    if group.hash != checkpoint.hash:
        problem = "a checkpoint vouches for another chain up to here: it was written anew"
        return Break(group.first_entry_id, "audit_group", checkpoint.seq, problem)
    return None
