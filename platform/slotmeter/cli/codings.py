"""What the commands about the keys of meters share: the office, who acts, who only looks."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.ports import Right

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Caller
    from slotmeter.services.coding_office import CodingOffice

__all__ = ["Action", "add_action", "open_codings"]

Action = Callable[["CodingOffice", "Caller", argparse.Namespace], Awaitable[None]]


def add_action(
    actions: Subparsers, name: str, action: Action, text: str, *, acting: bool = True
) -> argparse.ArgumentParser:
    """Add one command whose ``action`` is given the office and whoever acts, or only looks."""
    parser = actions.add_parser(name, help=text)
    (add_acting_options if acting else add_looking_options)(parser)
    parser.set_defaults(run=_run, action=action)
    return parser


def _run(options: argparse.Namespace) -> int:
    asyncio.run(_act(options))
    return EXIT_OK


async def _act(options: argparse.Namespace) -> None:
    action: Action = options.action
    async with open_codings(options) as (office, caller):
        await action(office, caller, options)


@asynccontextmanager
async def open_codings(
    options: argparse.Namespace,
) -> AsyncIterator[tuple[CodingOffice, Caller]]:
    """Open a data folder with its vault for whoever ``--key-file`` says, or only to look.

    Whether they may act is asked where they do, so that an attempt without the right is kept.
    """
    from slotmeter.runtime.nibbles import RandomNibbles
    from slotmeter.services.coding_office import CodingOffice
    from slotmeter.services.restored import tid_allocator

    async with open_folder(options.data) as folder, folder.vault() as vault:
        if getattr(options, "key_file", None) is None:
            caller = await _onlooker(options, folder)
        else:
            caller = await caller_of(options, folder, Right.METERS)
        office = CodingOffice.of(
            folder.database,
            vault.security,
            vault.tokens,
            folder.clock,
            draw_rnd=RandomNibbles().draw,
            tids=await tid_allocator(folder.database),
        )
        yield office, caller


async def _onlooker(options: argparse.Namespace, folder: OpenFolder) -> Caller:
    """Return somebody at the machine itself, who may look and do nothing."""
    from slotmeter.ports import Caller, Principal

    utility = await folder.utility(options)
    principal = Principal(
        id=0,
        utility_id=utility.id,
        branch_id=0,
        name="",
        kind="service",
        rights=frozenset({Right.METERS}),
        currency=utility.currency,
        time_zone=utility.time_zone,
    )
    origin = folder.origin
    return Caller(principal, None, origin.address, origin.request_id)
