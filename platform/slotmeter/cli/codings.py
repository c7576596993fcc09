"""What the commands about the keys of meters share: the office, who acts, who only looks."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from slotmeter.cli.acting import caller_of
from slotmeter.cli.data_folder import OpenFolder, open_folder
from slotmeter.ports import Right

if TYPE_CHECKING:
    from slotmeter.ports import Caller
    from slotmeter.services.coding_office import CodingOffice

__all__ = ["open_codings"]


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
