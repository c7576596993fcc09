"""``slotmeter training``: a utility to practise in, beside the real one."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.data_folder import OpenFolder, add_folder_options, open_folder, write_secret

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register"]

KEY_BYTES = 20
PEOPLE = (("trainer", "supervisor"), ("trainee", "vendor"))


def register(subparsers: Subparsers) -> None:
    """Add ``training``."""
    parser = subparsers.add_parser("training", help="a utility to practise in, with its own keys")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    begin = actions.add_parser(
        "begin",
        help="make a utility for practice, its vending key, and two people",
        description="Make a utility for practice beside the real one: with a drawn vending key of "
        "its own, a trainer (supervisor) and a trainee (vendor). What is sold in it is marked "
        "TRAINING and stands in its own books alone. Tariffs and meters are brought in as usual, "
        "with --utility CODE.",
    )
    begin.add_argument("code", metavar="CODE", help="short name, as training")
    begin.add_argument("--name", default="Training", help="for receipts; default %(default)s")
    begin.add_argument("--sgc", default="999999", help="supply group code; default %(default)s")
    begin.add_argument(
        "--keys-to", type=Path, required=True, metavar="DIR", help="where API keys are written"
    )
    begin.add_argument("--reason", default="by the command line", help="recorded with the act")
    begin.add_argument("--json", action="store_true", help="print JSON")
    add_folder_options(begin)
    begin.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    asyncio.run(_begin(options))
    return EXIT_OK


async def _begin(options: argparse.Namespace) -> None:
    from slotmeter.services.registry import NewUtility

    async with open_folder(options.data) as folder:
        real = await folder.utility(options)
        new = NewUtility(
            code=options.code,
            name=options.name,
            currency=real.currency,
            time_zone=real.time_zone,
            tax_number="TRAINING",
            training=True,
        )
        made = await folder.registry.add_utility(folder.origin, new, reason=options.reason)
        key_id = await _draw_key(options, folder, made)
        files = [await _person(options, folder, made, name, role) for name, role in PEOPLE]
    document = {"utility": made.code, "vending_key": key_id, "keys": [str(file) for file in files]}
    if options.json:
        print(json.dumps(document))
        return
    print(f"{made.code} is ready for practice; vending key {key_id}")
    for file in files:
        print(f"API key in {file}")


async def _draw_key(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> str:
    from slotmeter.services.registry import vending_key_id
    from slotmeter.vending.sts import VendingKey

    key = VendingKey(
        key=secrets.token_bytes(KEY_BYTES),
        sgc=options.sgc,
        krn=1,
        kt=2,
        dkga="04",
        base_date=2014,
    )
    key_id = vending_key_id(options.sgc, 1, training=True)
    async with folder.vault() as vault:
        info = await vault.security.load(key_id, key)
    await folder.registry.record(
        folder.origin,
        utility,
        what="vending_key.add",
        subject=key_id,
        reason=options.reason,
        data={"before": None, "after": {"check_value": info.check_value, "training": True}},
    )
    return key_id


async def _person(
    options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo, name: str, role: str
) -> Path:
    await folder.principals.add_principal(
        folder.origin,
        utility.id,
        name=name,
        kind="person",
        roles=[role],
        branch_code="head-office",
        reason=options.reason,
    )
    made = await folder.principals.add_key(
        folder.origin, utility.id, name=name, label="training", reason=options.reason
    )
    file: Path = options.keys_to / f"{utility.code}-{name}.key"
    write_secret(file, made.text)
    return file
