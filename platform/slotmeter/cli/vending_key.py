"""``slotmeter vending-key`` and ``supply-group``: bring keys, list them, retire them."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, add_folder_options, open_folder
from slotmeter.errors import ConfigError, Refused
from slotmeter.ports import Right
from slotmeter.units import iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import KeyFacts
    from slotmeter.services.key_desk import KeyDesk
    from slotmeter.services.registry import UtilityInfo
    from slotmeter.services.vending_keys import KeyLine

__all__ = ["register"]

KEY_BYTES: Final = {"01": 8, "02": 8, "04": 20}
KEY_FILE_BYTES_MAX: Final = 4_096

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[int]]


def register(subparsers: Subparsers) -> None:
    """Add ``vending-key`` and ``supply-group``."""
    parser = subparsers.add_parser("vending-key", help="bring vending keys into the vault")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _register_add(actions)
    _register_component(actions)
    confirm = actions.add_parser("confirm", help="confirm a key that another officer proposed")
    confirm.add_argument("name", metavar="NAME")
    confirm.add_argument("--check-value", required=True, metavar="HEX", help="from your own paper")
    confirm.set_defaults(action=_confirm)
    withdraw = actions.add_parser("withdraw", help="erase the components that wait under a name")
    withdraw.add_argument("name", metavar="NAME")
    withdraw.set_defaults(action=_withdraw)
    retire = actions.add_parser("retire", help="let no token be made under a key any more")
    retire.add_argument("name", metavar="NAME")
    retire.set_defaults(action=_retire)
    for each in (confirm, withdraw, retire):
        add_acting_options(each)
    listing = actions.add_parser("list", help="list keys with check values and when they end")
    listing.add_argument(
        "--expiring",
        action="store_true",
        help="only those that end within 30 days; exit code 1 if there are any",
    )
    listing.set_defaults(action=_list)
    waiting = actions.add_parser("components", help="list what waits for another officer")
    waiting.set_defaults(action=_components)
    for each in (listing, waiting):
        add_looking_options(each)
    _register_groups(subparsers)
    for each in actions.choices.values():
        each.set_defaults(run=_run)


def _register_add(actions: Any) -> None:
    adding = actions.add_parser(
        "add",
        help="add the vending key of a supply group, while setting up",
        description="Bring a vending key into the vault alone, while setting up: once the utility "
        "has sold, two officers are needed, see `vending-key component`. The key is never shown "
        "again; compare the check value that is printed with the one on the key's paper.",
    )
    _add_facts(adding)
    source = adding.add_mutually_exclusive_group(required=True)
    source.add_argument("--key-file", type=Path, metavar="FILE", help="the key as hex digits")
    source.add_argument(
        "--generate", action="store_true", help="draw a key, for trials with virtual meters"
    )
    add_folder_options(adding)
    adding.add_argument("--reason", default="by the command line", help="recorded with the act")
    adding.add_argument("--json", action="store_true", help="print JSON")
    adding.set_defaults(action=_add)


def _register_component(actions: Any) -> None:
    component = actions.add_parser(
        "component",
        help="bring one officer's component of a key",
        description="Bring one component of a vending key. Each comes from another person; the "
        "last one completes the key, which is the exclusive or of all. With --parts 1 it is the "
        "whole key, which another officer confirms with `vending-key confirm`.",
    )
    component.add_argument("--name", help="of the key; SGC-KRN if left out")
    component.add_argument("--part", type=int, required=True, metavar="N", help="1, 2 or 3")
    component.add_argument("--parts", type=int, default=2, metavar="N", help="default %(default)s")
    component.add_argument(
        "--component-file", type=Path, required=True, metavar="FILE", help="as hex digits"
    )
    _add_facts(component)
    add_acting_options(component)
    component.set_defaults(action=_component)


def _add_facts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sgc", required=True, help="supply group code, six digits")
    parser.add_argument("--krn", type=int, required=True, help="key revision number, 1 to 9")
    parser.add_argument("--kt", type=int, default=2, help="key type; default %(default)s")
    parser.add_argument("--dkga", choices=sorted(KEY_BYTES), default="04", help="default 04")
    parser.add_argument(
        "--base-date", type=int, choices=(1993, 2014, 2035), default=2014, help="default 2014"
    )
    parser.add_argument("--ken", type=int, default=255, help="key expiry number; default 255")


def _register_groups(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("supply-group", help="supply groups and the keys they are on")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    putting = actions.add_parser("set", help="make or change a supply group")
    putting.add_argument("sgc", metavar="SGC", help="six digits")
    putting.add_argument("--title", required=True, help="for people")
    putting.add_argument("--key", metavar="NAME", help="vending key that its meters shall be on")
    putting.set_defaults(action=_put_group)
    add_acting_options(putting)
    listing = actions.add_parser("list", help="list supply groups")
    listing.set_defaults(action=_list_groups)
    add_looking_options(listing)
    for each in (putting, listing):
        each.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_act(options))


async def _act(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        return await action(options, folder, await folder.utility(options))


@asynccontextmanager
async def _desk(folder: OpenFolder) -> AsyncIterator[KeyDesk]:
    from slotmeter.services.key_desk import KeyDesk

    async with folder.vault() as vault:
        yield KeyDesk.of(folder.database, folder.clock, vault.wrapping, vault.security.refresh)


# --- bringing a key -----------------------------------------------------------------------------


async def _add(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.key_desk import KeyDesk
    from slotmeter.services.registry import vending_key_id
    from slotmeter.vending.sts import VendingKey

    key = VendingKey(
        key=_key_bytes(options),
        sgc=options.sgc,
        krn=options.krn,
        kt=options.kt,
        dkga=options.dkga,
        base_date=options.base_date,
        ken=options.ken,
    )
    async with folder.vault() as vault:
        desk = KeyDesk.of(folder.database, folder.clock, vault.wrapping, vault.security.refresh)
        alone = folder.config.vault.two_officers
        await desk.vending.check_alone(utility.id, two_officers=alone)
        key_id = vending_key_id(options.sgc, options.krn, training=utility.training)
        info = await vault.security.load(key_id, key)
    await folder.registry.record(
        folder.origin,
        utility,
        what="vending_key.add",
        subject=info.key_id,
        reason=options.reason,
        data={"before": None, "after": {"check_value": info.check_value}},
    )
    if options.json:
        print(json.dumps({"key_id": info.key_id, "check_value": info.check_value}))
    else:
        print(f"vending key {info.key_id} is in the vault; check value {info.check_value}")
    return EXIT_OK


async def _component(options: argparse.Namespace, folder: OpenFolder, _: UtilityInfo) -> int:
    from slotmeter.services.vending_keys import NewPart

    caller = await caller_of(options, folder, Right.KEYS_LOAD)
    material = _hex_of(options.component_file)
    new = NewPart(_facts(options), options.part, options.parts, material)
    async with _desk(folder) as desk:
        made = await desk.vending.bring(caller, new, reason=options.reason)
    if options.json:
        print(json.dumps(asdict(made)))
        return EXIT_OK
    print(f"component {made.part} of {made.parts}; check value {made.check_value}")
    if made.key_check_value is not None:
        print(f"vending key {made.name} is complete; check value {made.key_check_value}")
    elif made.parts == 1:
        print(f"now another officer: slotmeter vending-key confirm {made.name} --check-value ...")
    else:
        print("the next component comes from another officer")
    return EXIT_OK


async def _confirm(options: argparse.Namespace, folder: OpenFolder, _: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.KEYS_LOAD)
    async with _desk(folder) as desk:
        made = await desk.vending.confirm(
            caller, options.name, options.check_value, reason=options.reason
        )
    _show_keys([made], as_json=options.json)
    return EXIT_OK


async def _withdraw(options: argparse.Namespace, folder: OpenFolder, _: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.KEYS_LOAD)
    async with _desk(folder) as desk:
        erased = await desk.vending.withdraw(caller, options.name, reason=options.reason)
    print(json.dumps({"erased": erased}) if options.json else f"erased {erased} components")
    return EXIT_OK


async def _retire(options: argparse.Namespace, folder: OpenFolder, _: UtilityInfo) -> int:
    caller = await caller_of(options, folder, Right.KEYS_WRITE)
    async with _desk(folder) as desk:
        retired = await desk.vending.retire(caller, options.name, reason=options.reason)
    _show_keys([retired], as_json=options.json)
    return EXIT_OK


# --- looking ------------------------------------------------------------------------------------


async def _list(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    from slotmeter.services.key_dates import WARN_DAYS

    async with _desk(folder) as desk:
        keys = await desk.vending.keys(utility.id)
    if options.expiring:
        keys = [key for key in keys if key.state == "active" and key.days_left < WARN_DAYS]
    _show_keys(keys, as_json=options.json)
    return EXIT_FAILED if options.expiring and keys else EXIT_OK


async def _components(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> int:
    async with _desk(folder) as desk:
        rows = await desk.vending.components(utility.id)
    if options.json:
        print(json.dumps([dict(row) for row in rows]))
        return EXIT_OK
    for row in rows:
        print(
            f"{row['name']}  component {row['part']} of {row['parts']}  check {row['check_value']}"
            f"  by {row['officer']}  {iso_utc(row['created_us'])}"
        )
    return EXIT_OK


def _show_keys(keys: list[KeyLine], *, as_json: bool) -> None:
    if as_json:
        shown = [{**asdict(key), "expires_at": iso_utc(key.expires_us)} for key in keys]
        print(json.dumps(shown))
        return
    for key in keys:
        ends = f"ends {iso_utc(key.expires_us)[:10]}, in {key.days_left} days"
        if key.days_left < 0:
            ends = f"ended {iso_utc(key.expires_us)[:10]}"
        by = f"{key.officer} and {key.second_officer}" if key.officer else "brought at the set-up"
        print(
            f"{key.name}  SGC {key.sgc} KRN {key.krn} KT {key.kt} DKGA{key.dkga} {key.base_date} "
            f"KEN {key.ken}  check {key.check_value}  {key.state}  {ends}  {by}"
        )


# --- supply groups ------------------------------------------------------------------------------


async def _put_group(options: argparse.Namespace, folder: OpenFolder, _: UtilityInfo) -> int:
    from slotmeter.services.supply_groups import SupplyGroups

    caller = await caller_of(options, folder, Right.KEYS_WRITE)
    await SupplyGroups(folder.database, folder.clock).put(
        caller, options.sgc, title=options.title, key_name=options.key, reason=options.reason
    )
    print(
        json.dumps({"sgc": options.sgc}) if options.json else f"supply group {options.sgc} is set"
    )
    return EXIT_OK


async def _list_groups(
    options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo
) -> int:
    from slotmeter.services.supply_groups import SupplyGroups

    rows = await SupplyGroups(folder.database, folder.clock).groups(utility.id)
    if options.json:
        print(
            json.dumps([{"sgc": r["sgc"], "title": r["title"], "key": r["key_name"]} for r in rows])
        )
        return EXIT_OK
    for row in rows:
        print(f"{row['sgc']}  {row['title']}  key {row['key_name'] or '(none)'}")
    return EXIT_OK


# --- files with secrets -------------------------------------------------------------------------


def _facts(options: argparse.Namespace) -> KeyFacts:
    from slotmeter.ports import KeyFacts
    from slotmeter.services.registry import vending_key_id

    return KeyFacts(
        options.name or vending_key_id(options.sgc, options.krn),
        options.sgc,
        options.krn,
        options.kt,
        options.dkga,
        options.base_date,
        options.ken,
    )


def _key_bytes(options: argparse.Namespace) -> bytes:
    if not options.generate:
        return _hex_of(options.key_file)
    drawn = secrets.token_bytes(KEY_BYTES[options.dkga])
    return drawn if options.dkga == "04" else bytes(map(_with_odd_parity, drawn))


def _hex_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    try:
        return bytes.fromhex(text)
    except ValueError:
        # The content is a secret: nothing of it may appear in the message, nor in its cause.
        raise Refused("bad_key_file", f"{path} must hold hex digits and nothing else") from None


def _with_odd_parity(byte: int) -> int:
    """Set the lowest bit so that the count of ones is odd, as in every byte of a DES key."""
    return byte ^ 1 if byte.bit_count() % 2 == 0 else byte
