"""``slotmeter device-key``: the keys that devices prove themselves with."""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.errors import NotFound, Refused, Unavailable
from slotmeter.ports import Read, Right
from slotmeter.units import epoch_us, iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers

__all__ = ["register"]

Action = Callable[[argparse.Namespace, OpenFolder], Awaitable[int]]
DEVICES_MAX: Final = 100_000
COLUMNS: Final = ("device", "key")


def register(subparsers: Subparsers) -> None:
    """Add ``device-key``."""
    parser = subparsers.add_parser(
        "device-key",
        help="keys that devices prove themselves with",
        description="Who proves what, and how: docs/reference/ip-medium.md.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    making = actions.add_parser("make", help="make a key and print it; it is never shown again")
    making.set_defaults(action=_make)
    taking = actions.add_parser("take-in", help="take in keys that the factory gave")
    taking.add_argument(
        "--file",
        type=Path,
        required=True,
        metavar="CSV",
        help="columns device and key; readable by its owner only",
    )
    taking.set_defaults(action=_take_in)
    withdrawing = actions.add_parser("withdraw", help="let a device be refused from now on")
    withdrawing.set_defaults(action=_withdraw)
    listing = actions.add_parser("list", help="which devices have a key, and since when")
    add_page_options(listing, "--after", is_number=False)
    listing.set_defaults(action=_list)
    for each in (making, taking, withdrawing, listing):
        each.add_argument("entry", metavar="ENTRY", help="key of the config entry")
        each.set_defaults(run=_run)
    for each in (making, withdrawing):
        each.add_argument("device", metavar="DEVICE", help="its address at the medium")
    for each in (making, taking, withdrawing):
        add_acting_options(each)
    add_looking_options(listing)


class _Closed:
    """Stands for the vault where nothing is sealed or opened, which needs no master key."""

    def seal(self, owner: str, text: str) -> str:
        raise Unavailable("vault_closed", "the vault is not open")

    def open(self, owner: str, sealed: str) -> str:
        raise Unavailable("vault_closed", "the vault is not open")


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_act(options))


async def _act(options: argparse.Namespace) -> int:
    async with open_folder(options.data) as folder:
        action: Action = options.action
        return await action(options, folder)


async def _make(options: argparse.Namespace, folder: OpenFolder) -> int:
    from slotmeter.services.device_keys import DeviceKeyRing

    caller = await caller_of(options, folder, Right.INTEGRATIONS_WRITE)
    await _check_entry(options, folder)
    async with folder.vault() as vault:
        ring = DeviceKeyRing(folder.database, folder.clock, vault.secrets)
        key = await ring.make(caller, options.entry, options.device, reason=options.reason)
    print(json.dumps({"device": options.device, "key": key}) if options.json else key)
    return EXIT_OK


async def _take_in(options: argparse.Namespace, folder: OpenFolder) -> int:
    from slotmeter.services.device_keys import DeviceKeyRing

    caller = await caller_of(options, folder, Right.INTEGRATIONS_WRITE)
    await _check_entry(options, folder)
    keys = _keys_in(options.file)
    async with folder.vault() as vault:
        ring = DeviceKeyRing(folder.database, folder.clock, vault.secrets)
        count = await ring.take_in(caller, options.entry, keys, reason=options.reason)
    print(json.dumps({"taken_in": count}) if options.json else f"{count} keys are taken in")
    return EXIT_OK


async def _withdraw(options: argparse.Namespace, folder: OpenFolder) -> int:
    from slotmeter.services.device_keys import DeviceKeyRing

    caller = await caller_of(options, folder, Right.INTEGRATIONS_WRITE)
    ring = DeviceKeyRing(folder.database, folder.clock, _Closed())
    await ring.withdraw(caller, options.entry, options.device, reason=options.reason)
    sentence = f"{options.device} has no key at {options.entry} any more"
    print(json.dumps({"device": options.device}) if options.json else sentence)
    return EXIT_OK


async def _list(options: argparse.Namespace, folder: OpenFolder) -> int:
    from slotmeter.services.device_keys import DeviceKeyRing
    from slotmeter.services.list_pages import cut

    await _check_entry(options, folder)
    ring = DeviceKeyRing(folder.database, folder.clock, _Closed())
    found = await ring.listed(options.entry, after=options.after, limit=options.limit + 1)
    page, following = cut(found, options.limit, lambda each: each.device)
    say_more(options, following)
    lines = [
        {"device": each.device, "source": each.source, "at": iso_utc(epoch_us(each.made_at))}
        for each in page
    ]
    if options.json:
        print(json.dumps(lines, indent=2))
        return EXIT_OK
    for line in lines:
        print(f"{line['device']:32} {line['source']:6} {line['at']}")
    return EXIT_OK


async def _check_entry(options: argparse.Namespace, folder: OpenFolder) -> None:
    """Refuse an entry that is not there, so that no key is made for a typing error."""
    rows = await folder.database.read([Read("entry_by_key", {"key": options.entry}, "entry")])
    if not rows["entry"]:
        raise NotFound("entry_unknown", f"there is no entry {options.entry[:64]!r}", field="entry")


def _keys_in(path: Path) -> dict[str, str]:
    from slotmeter.security.private_files import read_private

    text = read_private(path, "file of keys").decode("utf-8-sig", "replace")
    lines = csv.DictReader(io.StringIO(text))
    if tuple(lines.fieldnames or ()) != COLUMNS:
        raise Refused("bad_file", f"expected the columns {', '.join(COLUMNS)}", field="file")
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, start=2):
        device, key = (line.get("device") or "").strip(), (line.get("key") or "").strip()
        if not device or not key or device in keys or len(keys) >= DEVICES_MAX:
            raise Refused(
                "bad_file",
                f"line {number}: expected a device that is named once, and its key; "
                f"{DEVICES_MAX} at most",
                field="file",
            )
        keys[device] = key
    return keys
