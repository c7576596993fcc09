"""``slotmeter entry``: config entries, made and changed; a running server follows by itself."""

from __future__ import annotations

import argparse
import asyncio
import json
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.devices.entries import EntryStatus
from slotmeter.errors import Refused, Unavailable
from slotmeter.ports import Right, SecretBox
from slotmeter.units import iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.devices.entries import Entry
    from slotmeter.services.entries import EntryDesk, EntryLine

__all__ = ["register"]

Action = Callable[[argparse.Namespace, OpenFolder], Awaitable[int]]
_PLAIN: Final = ("true", "false")


def register(subparsers: Subparsers) -> None:
    """Add ``entry``."""
    parser = subparsers.add_parser(
        "entry",
        help="config entries: connections to meters, made while the server runs",
        description="States, secrets and removal: docs/reference/integrations.md.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="make an entry; a running server sets it up")
    adding.add_argument("--medium", required=True, metavar="MEDIUM", help="such as nbiot")
    adding.set_defaults(action=_add)
    changing = actions.add_parser("change", help="change an entry; it is set up anew")
    changing.add_argument("--unset", action="append", default=[], metavar="NAME")
    changing.add_argument("--unset-secret", action="append", default=[], metavar="NAME")
    changing.add_argument("--enable", action="store_true", help="let it run")
    changing.set_defaults(action=_change)
    removing = actions.add_parser("remove", help="unload and remove an entry")
    removing.set_defaults(action=_remove)
    retrying = actions.add_parser("retry", help="set it up now that failed or waits")
    retrying.set_defaults(action=_retry)
    for each in (adding, changing, removing, retrying):
        each.add_argument("key", metavar="KEY")
        add_acting_options(each)
    for each in (adding, changing):
        each.add_argument("--title", metavar="TEXT", help="for people")
        each.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
        each.add_argument("--secret", action="append", default=[], metavar="NAME=FILE")
        each.add_argument("--disable", action="store_true", help="do not run it")
    _register_looks(actions)
    for each in actions.choices.values():
        each.set_defaults(run=_run)


def _register_looks(actions: Subparsers) -> None:
    listing = actions.add_parser("list", help="list entries and how they do")
    add_page_options(listing, "--after", is_number=False)
    listing.set_defaults(action=_list)
    showing = actions.add_parser("show", help="one entry; its secrets by name only")
    showing.set_defaults(action=_show)
    log = actions.add_parser("log", help="the states that an entry came to")
    add_page_options(log)
    log.set_defaults(action=_log)
    for each in (showing, log):
        each.add_argument("key", metavar="KEY")
    for each in (listing, showing, log):
        add_looking_options(each)


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_act(options))


async def _act(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        return await action(options, folder)


class _Closed:
    """Stands for the vault where a command only looks, which needs no master key."""

    def seal(self, owner: str, text: str) -> str:
        raise Unavailable("vault_closed", "the vault is not open")

    def open(self, owner: str, sealed: str) -> str:
        raise Unavailable("vault_closed", "the vault is not open")


def _desk(folder: OpenFolder, box: SecretBox | None = None) -> EntryDesk:
    from slotmeter.devices.entries import EntrySource
    from slotmeter.services.entries import EntryDesk
    from slotmeter.services.integrations import find_integrations

    return EntryDesk(
        folder.database,
        folder.clock,
        box or _Closed(),
        find_integrations(),
        source=EntrySource.CLI,
        live=_without_server if _is_unserved(folder) else lambda _: None,
    )


def _is_unserved(folder: OpenFolder) -> bool:
    """Say whether no server can run: what it logged last, it may have logged before it crashed."""
    from slotmeter.runtime.data_lock import may_be_served

    return not folder.config.database.url and not may_be_served(folder.path)


def _without_server(_entry_id: int) -> EntryStatus:
    return EntryStatus(reason="no server runs")


# --- changes ------------------------------------------------------------------------------------


async def _add(options: argparse.Namespace, folder: OpenFolder) -> int:
    from slotmeter.services.entries import EntryWish

    caller = await caller_of(options, folder, Right.INTEGRATIONS_WRITE)
    wish = EntryWish(
        key=options.key,
        medium=options.medium,
        title=options.title or "",
        options=_pairs(options.set),
        secrets=_secrets(options.secret),
        enabled=not options.disable,
    )
    async with folder.vault() as vault:
        entry = await _desk(folder, vault.secrets).add(caller, wish, reason=options.reason)
    return _say(options, entry, "made")


async def _change(options: argparse.Namespace, folder: OpenFolder) -> int:
    from slotmeter.services.entries import EntryChange

    if options.enable and options.disable:
        raise Refused("contradiction", "give --enable or --disable, not both", field="enable")
    caller = await caller_of(options, folder, Right.INTEGRATIONS_WRITE)
    values: dict[str, Any] = {**_pairs(options.set), **dict.fromkeys(options.unset)}
    secrets: dict[str, str | None] = {
        **_secrets(options.secret),
        **dict.fromkeys(options.unset_secret),
    }
    change = EntryChange(
        title=options.title,
        options=values or None,
        secrets=secrets or None,
        enabled=options.enable if options.enable or options.disable else None,
    )
    async with folder.vault() as vault:
        desk = _desk(folder, vault.secrets)
        entry = await desk.change(caller, options.key, change, reason=options.reason)
    return _say(options, entry, "changed")


async def _retry(options: argparse.Namespace, folder: OpenFolder) -> int:
    caller = await caller_of(options, folder, Right.INTEGRATIONS_WRITE)
    entry = await _desk(folder).retry(caller, options.key, reason=options.reason)
    return _say(options, entry, "to be tried again")


async def _remove(options: argparse.Namespace, folder: OpenFolder) -> int:
    caller = await caller_of(options, folder, Right.INTEGRATIONS_WRITE)
    entry = await _desk(folder).remove(caller, options.key, reason=options.reason)
    return _say(options, entry, "removed")


def _say(options: argparse.Namespace, entry: Entry, done: str) -> int:
    sentence = f"entry {entry.key} of the medium {entry.medium} is {done}"
    print(json.dumps({"entry": entry.key}) if options.json else sentence)
    return EXIT_OK


def _pairs(given: Sequence[str]) -> dict[str, object]:
    """Read NAME=VALUE, the value as TOML where that means a number or a truth."""
    found: dict[str, object] = {}
    for each in given:
        name, value = _split(each, "--set")
        found[name] = _typed(value)
    return found


def _split(text: str, option: str) -> tuple[str, str]:
    name, is_pair, value = text.partition("=")
    if not is_pair or not name:
        raise Refused("bad_pair", f"{option} takes NAME=VALUE", field=option.removeprefix("--"))
    return name, value


def _typed(text: str) -> object:
    """Return a whole number, a truth or a list where TOML has one; anything else is text."""
    if text in _PLAIN or text.lstrip("-").isdecimal() or text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def _secrets(given: Sequence[str]) -> dict[str, str]:
    from slotmeter.security.private_files import read_private

    found: dict[str, str] = {}
    for each in given:
        name, path = _split(each, "--secret")
        content = read_private(Path(path).expanduser(), f"secret {name}")
        found[name] = content.decode("utf-8", "replace").strip()
    return found


# --- looks --------------------------------------------------------------------------------------


async def _list(options: argparse.Namespace, folder: OpenFolder) -> int:
    from slotmeter.services.list_pages import cut

    found = await _desk(folder).entries(after=options.after, limit=options.limit + 1)
    lines, following = cut(found, options.limit, lambda line: line.entry.key)
    say_more(options, following)
    if options.json:
        print(json.dumps([_document(line) for line in lines], indent=2, ensure_ascii=False))
        return EXIT_OK
    for line in lines:
        entry, status = line.entry, line.status
        print(
            f"{entry.key:24} {entry.medium:12} {status.state.value:12} {entry.source.value:5} "
            f"{status.reason or entry.title}".rstrip()
        )
    return EXIT_OK


async def _show(options: argparse.Namespace, folder: OpenFolder) -> int:
    document = _document(await _desk(folder).entry(options.key))
    if options.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return EXIT_OK
    for name, value in document.items():
        if value is None:
            continue
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        print(f"{name:12} {shown}".rstrip())
    return EXIT_OK


async def _log(options: argparse.Namespace, folder: OpenFolder) -> int:
    from slotmeter.services.list_pages import cut

    found = await _desk(folder).log(options.key, before=options.before, limit=options.limit + 1)
    rows, following = cut(found, options.limit, lambda row: row["id"])
    say_more(options, following)
    lines = [
        {"at": iso_utc(row["at_us"]), "state": row["state"], "reason": row["reason"]}
        for row in rows
    ]
    if options.json:
        print(json.dumps(lines, indent=2, ensure_ascii=False))
        return EXIT_OK
    for line in lines:
        print(f"{line['at']}  {line['state']:12} {line['reason']}".rstrip())
    return EXIT_OK


def _document(line: EntryLine) -> dict[str, object]:
    entry, status = line.entry, line.status
    return {
        "key": entry.key,
        "medium": entry.medium,
        "title": entry.title,
        "options": dict(entry.options),
        "secrets": list(entry.secret_names),
        "enabled": entry.enabled,
        "source": entry.source.value,
        "state": status.state.value,
        "reason": status.reason,
        "since": iso_utc(status.since_us) if status.since_us else None,
    }
