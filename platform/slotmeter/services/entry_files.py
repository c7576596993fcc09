"""Entries of the configuration file: taken over when a server starts, and changed there only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from slotmeter.devices.entries import Entry, EntrySource
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SecretBox,
    SqlValue,
    Step,
    UnitOfWork,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.act_changes import changed
from slotmeter.services.entries import change_steps, removal_steps
from slotmeter.services.entry_rows import entry_of, facts_of, opened_secrets, sealed_secrets
from slotmeter.services.events import compact_json
from slotmeter.units import epoch_us

__all__ = ["EntryFile", "FileEntry", "named"]

SERVER: Final = Origin("local:server", "entries")
"""Who takes them over, as acts record it."""

REASON: Final = "the server's configuration file"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One table of the file.

    Args:
        key: as the file says; empty for that of the medium.
        medium: key of the medium.
        title: for people.
        options: what the medium itself must understand.
        secrets: by name, in clear, from files that the table names; None when those cannot be
            read, and what the entry was given before stays.
    """

    key: str
    medium: str
    title: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    secrets: Mapping[str, str] | None = field(default_factory=dict, repr=False)


def named(entries: Sequence[FileEntry]) -> dict[str, FileEntry]:
    """Return the tables by their keys, which those without one are given in their order.

    Raises:
        ConfigError: ``entry_key_doubled``.
    """
    found: dict[str, FileEntry] = {}
    for each in entries:
        if each.key and each.key in found:
            raise ConfigError(
                "entry_key_doubled",
                f"two tables [[entry]] have the key {each.key}; give each its own",
                field="entry.key",
            )
        if each.key:
            found[each.key] = each
    for each in entries:
        if not each.key:
            found[next(key for key in _keys(each.medium) if key not in found)] = each
    return found


def _keys(medium: str) -> Iterator[str]:
    """Yield the keys for entries of a medium: its own, then numbered ones."""
    name = medium.lstrip("_") or "entry"
    yield name[:32]
    for number in count(2):
        yield f"{name[:24]}-{number}"


@dataclass(slots=True)
class _Plan:
    """What is to be written, with its acts, and the entries that there are then."""

    utility_id: int | None
    at_us: int
    new_id: NewId
    steps: list[Step] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)

    def add(self, row: dict[str, SqlValue]) -> None:
        self.steps.append(Insert("integration_entry", row))
        entry = entry_of(row)
        self.kept.append(entry)
        self._note("entry.add", entry.key, None, facts_of(entry))

    def change(self, row: Row, after: Row) -> None:
        entry = entry_of(after)
        self.kept.append(entry)
        if after is row:
            return
        self.steps += change_steps(
            after, changed_us=after["changed_us"], expected_us=row["changed_us"]
        )
        self._note("entry.change", entry.key, facts_of(entry_of(row)), facts_of(entry))

    def remove(self, row: Row) -> None:
        self.steps += removal_steps(row)
        self._note("entry.remove", row["key"], facts_of(entry_of(row)), None)

    def _note(self, what: str, key: str, before: Any, after: Any) -> None:
        # Entries serve all utilities; what the file does to them stands with the first one.
        if self.utility_id is None:
            return
        data = changed(before, after)
        act = act_row(
            self.new_id,
            SERVER,
            self.utility_id,
            self.at_us,
            what=what,
            subject=key,
            reason=REASON,
            data=data,
        )
        self.steps.append(act)


class EntryFile:
    """Brings the rows of entries to what the file says.

    Args:
        uow: the database.
        clock: our time.
        box: seals secrets.
    """

    def __init__(self, uow: UnitOfWork, clock: Clock, box: SecretBox) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._box = box

    async def take_over(self, entries: Sequence[FileEntry]) -> list[Entry]:
        """Make, change and remove the entries of the file; return them as they are then.

        Raises:
            ConfigError: ``entry_key_doubled``, or ``entry_key_taken`` by one that was made at run
                time.
        """
        wanted = named(entries)
        at_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[list[Entry]]:
            known = {row["key"]: row for row in rows["entries"]}
            utility_id = rows["utilities"][0]["id"] if rows["utilities"] else None
            plan = _Plan(utility_id, at_us, new_id)
            for row in known.values():
                _judge(row, wanted.get(row["key"]), plan)
            for key, each in wanted.items():
                before = known.get(key)
                if before is None or before["medium"] != each.medium:
                    plan.add(self._row(key, each, new_id, at_us))
                else:
                    plan.change(before, self._changed(before, each, at_us))
            return Changes(plan.kept, plan.steps)

        reads = [
            Read("entries_wanted", {}, "entries"),
            Read("registry_utilities", {}, "utilities"),
        ]
        return await self._uow.run(reads, decide)

    def _row(self, key: str, each: FileEntry, new_id: NewId, at_us: int) -> dict[str, SqlValue]:
        return {
            "id": new_id(),
            "key": key,
            "medium": each.medium,
            "title": each.title,
            "options": compact_json(dict(each.options)),
            "secrets": sealed_secrets(self._box, key, each.secrets or {}),
            "enabled": 1,
            "source": EntrySource.FILE.value,
            "created_us": at_us,
            "changed_us": at_us,
            "principal_id": None,
        }

    def _changed(self, row: Row, each: FileEntry, at_us: int) -> Row:
        """Return the row as the file wants it; the same one when nothing differs."""
        options = compact_json(dict(each.options))
        same_secrets = each.secrets is None or self._secrets(row) == dict(each.secrets)
        if (row["title"], row["options"], row["enabled"]) == (each.title, options, 1) and (
            same_secrets
        ):
            return row
        sealed = sealed_secrets(self._box, row["key"], each.secrets or {})
        return {
            **row,
            "title": each.title,
            "options": options,
            "enabled": 1,
            "secrets": row["secrets"] if same_secrets else sealed,
            "changed_us": max(at_us, row["changed_us"] + 1),
        }

    def _secrets(self, row: Row) -> dict[str, str] | None:
        try:
            return opened_secrets(self._box, row)
        except Unavailable:
            return None  # sealed by another vault: what the file says takes their place


def _judge(row: Row, here: FileEntry | None, plan: _Plan) -> None:
    """Remove an entry that the file does not have any more; refuse a key that is another's."""
    if row["source"] != EntrySource.FILE.value:
        if here is not None:
            raise _taken(row)
    elif here is None or here.medium != row["medium"]:
        plan.remove(row)


def _taken(row: Row) -> ConfigError:
    return ConfigError(
        "entry_key_taken",
        f"an entry {row['key']} was made while the server ran ({row['source']}); give the table "
        "[[entry]] another key, or remove that entry first",
        field="entry.key",
    )
