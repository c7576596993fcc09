"""Config entries: made, changed, tried again and removed while the server runs.

The rows are what is wanted; the supervisor makes it so. Secrets are sealed with the vault before
they are written, and no answer, act or log holds one. Every change is an act.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar

from slotmeter.devices.entries import Entry, EntrySource, EntryState, EntryStatus
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SecretBox,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.act_changes import changed
from slotmeter.services.entry_rows import (
    check_entry_key,
    check_known,
    check_options,
    check_secrets,
    check_title,
    entry_of,
    facts_of,
    opened_secrets,
    sealed_secrets,
)
from slotmeter.services.events import compact_json
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.integrations import FoundIntegrations
from slotmeter.services.list_pages import ID_MAX, LIST_ROWS
from slotmeter.units import epoch_us

__all__ = [
    "ENTRIES_MAX",
    "EntryChange",
    "EntryDesk",
    "EntryLine",
    "EntryWish",
    "change_steps",
    "removal_steps",
]

V = TypeVar("V")

ENTRIES_MAX: Final = 256
"""A platform has so many entries at most: each has ports, tasks and a place in every list."""


@dataclass(frozen=True, slots=True)
class EntryWish:
    """A new entry.

    Args:
        key: names it for ever: in paths, topics, records and logs.
        medium: key of an installed medium.
        title: for people.
        options: what the medium itself must understand.
        secrets: by name, in clear; never logged.
        enabled: whether it should run.
    """

    key: str
    medium: str
    title: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class EntryChange:
    """What should be otherwise; None leaves a part as it is.

    Args:
        title: the new one.
        options: merged into those that are there; a value of None takes an option away.
        secrets: the same for secrets.
        enabled: whether it should run.
    """

    title: str | None = None
    options: Mapping[str, object] | None = None
    secrets: Mapping[str, str | None] | None = field(default=None, repr=False)
    enabled: bool | None = None

    @property
    def is_empty(self) -> bool:
        """Say whether nothing would change."""
        parts = (self.title, self.options, self.secrets, self.enabled)
        return all(part is None for part in parts)


@dataclass(frozen=True, slots=True)
class EntryLine:
    """An entry and how it does, as far as it is known here."""

    entry: Entry
    status: EntryStatus


class Settle(Protocol):
    """Waits for what the supervisor makes of a change."""

    async def settled(self, entry_id: int, changed_us: int, within_s: float) -> EntryStatus | None:
        """Return how an entry does once a change was tried, or after a while."""
        ...

    async def gone(self, entry_id: int, within_s: float) -> bool:
        """Say whether an entry that was removed is unloaded within a while."""
        ...


class EntryDesk:
    """The transaction boundary of config entries.

    Args:
        uow: the database.
        clock: our time.
        box: seals secrets.
        integrations: what is installed.
        source: where changes through this desk come from.
        on_change: called after each change; wakes the supervisor.
        live: returns how an entry does now, where it is supervised here.
        settle: waits until a change was tried, where entries are supervised here.
    """

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        box: SecretBox,
        integrations: FoundIntegrations,
        *,
        source: EntrySource = EntrySource.API,
        on_change: Callable[[], None] = lambda: None,
        live: Callable[[int], EntryStatus | None] = lambda _: None,
        settle: Settle | None = None,
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._box = box
        self.integrations = integrations
        self._source = source
        self._on_change = on_change
        self._live = live
        self._settle = settle

    # --- changes --------------------------------------------------------------------------------

    async def add(self, caller: Caller, wish: EntryWish, *, reason: str) -> Entry:
        """Make an entry; the supervisor sets it up.

        Raises:
            Refused: ``bad_entry_key``, ``unknown_medium``, ``bad_title``, ``bad_options``,
                ``unknown_option``, ``secret_in_options``, ``unknown_secret``, ``bad_secret``,
                ``too_many_entries`` or ``reason_missing``.
            Conflict: ``entry_exists``.
        """
        why = check_reason(reason)
        self._check_new(wish)
        at_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[Entry]:
            if rows["entry"]:
                raise Conflict("entry_exists", f"there is an entry {wish.key} already", field="key")
            if rows["entry_count"][0]["entries"] >= ENTRIES_MAX:
                raise Refused("too_many_entries", f"there are {ENTRIES_MAX} entries already")
            row = self._row(wish, new_id, at_us, caller.principal.id)
            entry = entry_of(row)
            data = changed(None, facts_of(entry))
            act = caller_act(caller, new_id, at_us, "entry.add", wish.key, why, data)
            return Changes(entry, [Insert("integration_entry", row), act])

        entry = await self._uow.run([_read(wish.key), Read("entry_count")], decide)
        self._on_change()
        return entry

    async def change(self, caller: Caller, key: str, change: EntryChange, *, reason: str) -> Entry:
        """Change an entry; it is unloaded and set up as it is then.

        Raises:
            NotFound: ``entry_unknown``.
            Refused: ``nothing_to_change``, or as for :meth:`add`.
            Conflict: ``entry_of_file`` or ``changed_meanwhile``.
        """
        why = check_reason(reason)
        if change.is_empty:
            raise Refused(
                "nothing_to_change", "give a title, options, secrets, or whether it is enabled"
            )
        at_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[Entry]:
            row = _found(rows, key, to_change=True)
            wish = self._merged(row, change)
            before, (after, steps) = entry_of(row), self._rewritten(row, wish, change, at_us)
            data = changed(facts_of(before), facts_of(after))
            if change.secrets:
                data["secrets_changed"] = sorted(change.secrets)
            act = caller_act(caller, new_id, at_us, "entry.change", key, why, data)
            return Changes(after, [*steps, act])

        entry = await self._uow.run([_read(key)], decide)
        self._on_change()
        return entry

    async def retry(self, caller: Caller, key: str, *, reason: str) -> Entry:
        """Set an entry up now that failed, or that waits for its next try.

        Raises:
            NotFound: ``entry_unknown``.
            Conflict: ``entry_not_waiting``: it is switched off, or it runs.
        """
        why = check_reason(reason)
        at_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[Entry]:
            row = _found(rows, key)
            state = self._status(row).state
            if not row["enabled"] or state in (EntryState.LOADED, EntryState.SETTING_UP):
                is_off = "switched off" if not row["enabled"] else state.value.replace("_", " ")
                raise Conflict("entry_not_waiting", f"entry {key} is {is_off}: there is no try")
            changed_us = max(at_us, row["changed_us"] + 1)
            after = replace(entry_of(row), changed_us=changed_us)
            act = caller_act(caller, new_id, at_us, "entry.retry", key, why, {})
            return Changes(after, [_update(row, changed_us), act])

        entry = await self._uow.run([_read(key)], decide)
        self._on_change()
        return entry

    async def remove(self, caller: Caller, key: str, *, reason: str) -> Entry:
        """Remove an entry; it is unloaded. What its plugin recorded stays under its key.

        Raises:
            NotFound: ``entry_unknown``.
            Conflict: ``entry_of_file`` or ``changed_meanwhile``.
        """
        why = check_reason(reason)
        at_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[Entry]:
            row = _found(rows, key, to_change=True)
            entry = entry_of(row)
            data = changed(facts_of(entry), None)
            act = caller_act(caller, new_id, at_us, "entry.remove", key, why, data)
            return Changes(entry, [*removal_steps(row), act])

        entry = await self._uow.run([_read(key)], decide)
        self._on_change()
        return entry

    async def settled(self, entry: Entry, *, within_s: float) -> EntryLine:
        """Return an entry once its change was tried, or as it is after a while."""
        if self._settle is not None:
            status = await self._settle.settled(entry.id, entry.changed_us, within_s)
            if status is not None:
                return EntryLine(entry, status)
        return await self.entry(entry.key)  # another process keeps it, and logs how it does

    async def unloaded(self, entry: Entry, *, within_s: float) -> EntryLine:
        """Return an entry that was removed once it is unloaded, or as it is after a while."""
        if self._settle is None or await self._settle.gone(entry.id, within_s):
            state = EntryState.NOT_LOADED
        else:
            state = EntryState.UNLOADING
        return EntryLine(entry, EntryStatus(state, "removed", self._now_us()))

    # --- looks ----------------------------------------------------------------------------------

    async def entries(self, *, after: str = "", limit: int = LIST_ROWS) -> Sequence[EntryLine]:
        """Return entries by key; ``after`` is the last one of the page before."""
        params: dict[str, SqlValue] = {"after": after, "limit": limit}
        rows = (await self._uow.read([Read("entry_list", params)]))["entry_list"]
        return [EntryLine(entry_of(row), self._status(row)) for row in rows]

    async def entry(self, key: str) -> EntryLine:
        """Return one entry.

        Raises:
            NotFound: ``entry_unknown``.
        """
        row = _found(await self._uow.read([_read(key)]), key)
        return EntryLine(entry_of(row), self._status(row))

    async def log(
        self, key: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> Sequence[Row]:
        """Return the states of an entry, the newest first.

        Raises:
            NotFound: ``entry_unknown``.
        """
        params: dict[str, SqlValue | From] = {
            "entry": From("entry", "id"),
            "before": ID_MAX if before is None else before,
            "limit": limit,
        }
        rows = await self._uow.read([_read(key), Read("entry_log_page", params, "log")])
        _found(rows, key)
        return rows["log"]

    # --- for the supervisor ---------------------------------------------------------------------

    async def wanted(self) -> Sequence[Entry]:
        """Return every entry."""
        rows = await self._uow.read([Read("entries_wanted")])
        return [entry_of(row) for row in rows["entries_wanted"]]

    async def secrets_of(self, entry: Entry) -> Mapping[str, str]:
        """Return the secrets of an entry in clear; none when it was removed meanwhile.

        Raises:
            Unavailable: ``secret_unreadable``.
        """
        rows = (await self._uow.read([_read(entry.key)]))["entry"]
        return opened_secrets(self._box, rows[0]) if rows else {}

    async def note(self, entry: Entry, status: EntryStatus) -> None:
        """Write a state to the log of an entry."""

        def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
            row: dict[str, SqlValue] = {
                "id": new_id(),
                "entry_id": entry.id,
                "at_us": status.since_us,
                "state": status.state.value,
                "reason": status.reason,
            }
            return Changes(None, [Insert("entry_log", row)])

        await self._uow.run([], decide)

    # --- parts ----------------------------------------------------------------------------------

    def _check_new(self, wish: EntryWish) -> None:
        check_entry_key(wish.key)
        if wish.medium not in self.integrations.media:
            known = ", ".join(sorted(self.integrations.media)) or "none"
            raise Refused(
                "unknown_medium",
                f"no installed package offers the medium {wish.medium[:64]!r}; installed: {known}",
                field="medium",
            )
        self._check_wish(wish, wish.options, wish.secrets)

    def _check_wish(
        self, wish: EntryWish, options: Mapping[str, object], secrets: Mapping[str, str | None]
    ) -> None:
        """Check an entry; what is new in it must be known to its medium."""
        names = self.integrations.secrets_of(wish.medium)
        check_title(wish.title)
        check_options(wish.options, names)
        check_known(_set(options), wish.medium, self.integrations.options_of(wish.medium))
        check_secrets(_set(secrets), wish.medium, names)

    def _row(
        self, wish: EntryWish, new_id: NewId, at_us: int, principal_id: int | None
    ) -> dict[str, SqlValue]:
        return {
            "id": new_id(),
            "key": wish.key,
            "medium": wish.medium,
            "title": wish.title,
            "options": compact_json(dict(wish.options)),
            "secrets": sealed_secrets(self._box, wish.key, wish.secrets),
            "enabled": int(wish.enabled),
            "source": self._source.value,
            "created_us": at_us,
            "changed_us": at_us,
            "principal_id": principal_id,
        }

    def _merged(self, row: Row, change: EntryChange) -> EntryWish:
        entry = entry_of(row)
        # Those that stay are opened only when others change: they are sealed together.
        given = change.secrets
        secrets = {} if given is None else opened_secrets(self._box, row, but=given)
        wish = EntryWish(
            key=entry.key,
            medium=entry.medium,
            title=entry.title if change.title is None else change.title,
            options=_patched(entry.options, change.options),
            secrets=_patched(secrets, change.secrets),
            enabled=entry.enabled if change.enabled is None else change.enabled,
        )
        self._check_wish(wish, change.options or {}, given or {})
        return wish

    def _rewritten(
        self, row: Row, wish: EntryWish, change: EntryChange, at_us: int
    ) -> tuple[Entry, list[Step]]:
        changed_us = max(at_us, row["changed_us"] + 1)
        sealed = row["secrets"]
        if change.secrets is not None:
            sealed = sealed_secrets(self._box, wish.key, wish.secrets)
        whole = {
            **row,
            "title": wish.title,
            "options": compact_json(dict(wish.options)),
            "secrets": sealed,
            "enabled": int(wish.enabled),
        }
        return (
            replace(entry_of(whole), changed_us=changed_us),
            change_steps(whole, changed_us=changed_us, expected_us=row["changed_us"]),
        )

    def _status(self, row: Row) -> EntryStatus:
        live = self._live(row["id"])
        if live is not None:
            return live
        if row["state"] is None:
            return EntryStatus(since_us=row["created_us"])
        return EntryStatus(EntryState(row["state"]), row["reason"], row["since_us"])

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


def change_steps(row: Row, *, changed_us: int, expected_us: int) -> list[Step]:
    """Return what writes a row as it should be; it fails when somebody was faster."""
    params: dict[str, SqlValue] = {
        "of_id": row["id"],
        "expected_us": expected_us,
        "new_title": row["title"],
        "new_options": row["options"],
        "new_secrets": row["secrets"],
        "new_enabled": row["enabled"],
        "new_changed_us": changed_us,
    }
    return [Update("entry_change", params)]


def removal_steps(row: Row) -> list[Step]:
    """Return what removes an entry; its devices stay, and come in by whatever entry hears them."""
    return [
        Update("entry_devices_let_go", {"of_id": row["id"]}, rows=None),
        Update("entry_remove", {"of_id": row["id"], "expected_us": row["changed_us"]}),
    ]


def _update(row: Row, changed_us: int) -> Step:
    (step,) = change_steps(row, changed_us=changed_us, expected_us=row["changed_us"])
    return step


def _read(key: str) -> Read:
    return Read("entry_by_key", {"key": key}, "entry")


def _found(rows: Rows, key: str, *, to_change: bool = False) -> Row:
    if not rows["entry"]:
        raise NotFound("entry_unknown", f"there is no entry {key[:64]!r}")
    row = rows["entry"][0]
    if to_change and row["source"] == EntrySource.FILE.value:
        raise Conflict(
            "entry_of_file",
            f"entry {key} stands in the server's configuration file: change it there and start "
            "the server anew",
        )
    return row


def _set(values: Mapping[str, V]) -> dict[str, V]:
    """Return a table without what is taken away by it."""
    return {name: value for name, value in values.items() if value is not None}


def _patched(before: Mapping[str, Any], change: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a table with some values replaced, and those of None taken away."""
    whole = {**before, **(change or {})}
    return {name: value for name, value in whole.items() if value is not None}
