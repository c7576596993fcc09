"""``slotmeter user``: people and services, and their API keys."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.data_folder import OpenFolder, add_folder_options, open_folder, write_secret

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Right
    from slotmeter.services.principals import NewKey
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register", "show_key"]

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[None]]


def register(subparsers: Subparsers) -> None:
    """Add ``user``."""
    parser = subparsers.add_parser("user", help="add people and services, make their keys")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _register_add(actions)
    _register_key(actions)
    listing = actions.add_parser("list", help="list people and services")
    listing.set_defaults(action=_list)
    for name, action, help_text in (
        ("disable", _disable, "stop a person or service, with all its keys"),
        ("enable", _enable, "let a disabled person or service act again"),
    ):
        switching = actions.add_parser(name, help=help_text)
        switching.add_argument("name", metavar="NAME")
        switching.set_defaults(action=action)
    revoking = actions.add_parser("revoke", help="withdraw one key")
    revoking.add_argument("name", metavar="NAME")
    revoking.add_argument("key", type=int, metavar="KEY", help="the key's number, see `user list`")
    revoking.set_defaults(action=_revoke)
    for action_parser in actions.choices.values():
        add_folder_options(action_parser)
        action_parser.add_argument("--json", action="store_true", help="print JSON")
        action_parser.add_argument(
            "--reason", default="by the command line", help="recorded with the act"
        )
        action_parser.set_defaults(run=_run)


def _register_add(actions: Subparsers) -> None:
    adding = actions.add_parser("add", help="add a person or a service")
    adding.add_argument("name", metavar="NAME", help="1 to 64 letters, digits or . _ @ + -")
    adding.add_argument("--kind", choices=("person", "service"), default="person")
    adding.add_argument(
        "--role",
        action="append",
        required=True,
        metavar="ROLE",
        help="vendor, office, operator, supervisor, auditor, viewer or admin; may be given again",
    )
    adding.add_argument("--branch", default="head-office", metavar="CODE")
    adding.set_defaults(action=_add)


def _register_key(actions: Subparsers) -> None:
    keying = actions.add_parser("key", help="make an API key; it is shown once")
    keying.add_argument("name", metavar="NAME")
    keying.add_argument("--label", default="", help="what the key is for")
    keying.add_argument(
        "--rights",
        metavar="RIGHT,RIGHT",
        help="the only rights that the key shall carry; all of the roles' rights if left out",
    )
    keying.add_argument(
        "--expires", metavar="YYYY-MM-DD", type=_day, help="last day, in the utility's time zone"
    )
    keying.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="write the key to a new file that only you can read, and do not print it",
    )
    keying.set_defaults(action=_key)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD, got {text!r}") from error


def _rights(text: str | None) -> list[Right] | None:
    if text is None:
        return None
    from slotmeter.errors import Refused
    from slotmeter.ports import Right

    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in set(Right)]
    if unknown:
        raise Refused(
            "unknown_right",
            f"expected rights among {', '.join(Right)}; got {', '.join(unknown)}",
            field="rights",
        )
    return [Right(name) for name in names]


def _run(options: argparse.Namespace) -> int:
    asyncio.run(_act(options))
    return EXIT_OK


async def _act(options: argparse.Namespace) -> None:
    async with open_folder(options.data) as folder:
        await options.action(options, folder, await folder.utility(options))


async def _add(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    principal_id = await folder.principals.add_principal(
        folder.origin,
        utility.id,
        name=options.name,
        kind=options.kind,
        roles=options.role,
        branch_code=options.branch,
        reason=options.reason,
    )
    if options.json:
        print(json.dumps({"id": principal_id, "name": options.name}))
        return
    print(f"added {options.kind} {options.name} ({', '.join(sorted(set(options.role)))})")
    print(f"now make a key: slotmeter user key {options.name} --data {options.data}")


async def _key(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    expires_at = None
    if options.expires is not None:
        last = datetime.combine(options.expires, time.max, utility.zone())
        expires_at = last.astimezone(UTC)
    if options.key_file is not None and options.key_file.exists():
        write_secret(options.key_file, "")  # says that it is there, before a key is made
    key = await folder.principals.add_key(
        folder.origin,
        utility.id,
        name=options.name,
        label=options.label,
        reason=options.reason,
        rights=_rights(options.rights),
        expires_at=expires_at,
    )
    show_key(key, options.name, options.key_file, as_json=options.json)


def show_key(key: NewKey, name: str, key_file: Path | None, *, as_json: bool) -> None:
    """Hand over a key the one time that it is known: into a file, or on the terminal."""
    if key_file is not None:
        write_secret(key_file, key.text)
    if as_json:
        place = {"key": key.text} if key_file is None else {"key_file": str(key_file)}
        print(json.dumps({"id": key.id, "name": name, **place}))
    elif key_file is not None:
        print(f"key {key.id} of {name} is in {key_file}")
    else:
        print(f"key {key.id} of {name}, shown only now; only its hash is kept:\n{key.text}")


async def _list(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    people = await folder.principals.principals(utility.id)
    keys = {each.name: await folder.principals.keys(utility.id, each.name) for each in people}
    if options.json:
        document = [
            {
                "id": each.id,
                "name": each.name,
                "kind": each.kind,
                "roles": list(each.roles),
                "branch": each.branch_code,
                "disabled_at": each.disabled_at and each.disabled_at.isoformat(),
                "keys": [
                    {
                        "id": key.id,
                        "label": key.label,
                        "rights": key.rights,
                        "expires_at": key.expires_at and key.expires_at.isoformat(),
                        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
                    }
                    for key in keys[each.name]
                ],
            }
            for each in people
        ]
        print(json.dumps(document, indent=2))
        return
    for each in people:
        state = "  DISABLED" if each.disabled_at else ""
        roles = ", ".join(each.roles)
        print(f"{each.name:24} {each.kind:8} {roles:24} {each.branch_code}{state}")
        for key in keys[each.name]:
            until = f", expires {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else ""
            gone = ", withdrawn" if key.revoked_at else ""
            narrowed = "" if key.rights is None else f", only {', '.join(key.rights)}"
            print(f"    key {key.id} {key.label}{narrowed}{until}{gone}")


async def _disable(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    await _switch(options, folder, utility, disabled=True)


async def _enable(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    await _switch(options, folder, utility, disabled=False)


async def _switch(
    options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo, *, disabled: bool
) -> None:
    await folder.principals.set_disabled(
        folder.origin, utility.id, name=options.name, disabled=disabled, reason=options.reason
    )
    word = "disabled" if disabled else "enabled"
    _answer(options, {"name": options.name, "state": word}, f"{options.name} is {word}")


async def _revoke(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    await folder.principals.revoke_key(
        folder.origin, utility.id, name=options.name, key_id=options.key, reason=options.reason
    )
    sentence = f"key {options.key} of {options.name} is withdrawn"
    _answer(options, {"name": options.name, "revoked": options.key}, sentence)


def _answer(options: argparse.Namespace, document: dict[str, object], sentence: str) -> None:
    print(json.dumps(document) if options.json else sentence)
