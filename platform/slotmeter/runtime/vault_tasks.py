"""What a running server does for its vault, beside selling."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from slotmeter.api.metrics import MetricsBoard
from slotmeter.config import Config
from slotmeter.errors import SlotmeterError
from slotmeter.ports import Clock, UnitOfWork
from slotmeter.runtime.checkpoint_folder import CheckpointFolder
from slotmeter.security.vault import Vault
from slotmeter.services.audit_schedule import CheckpointSchedule
from slotmeter.services.key_watch import KeyWatch
from slotmeter.services.metrics import CheckpointMetrics
from slotmeter.services.tasks import TaskOwner
from slotmeter.services.token_secrecy import SealOldTokens, must_scrub

__all__ = [
    "REFRESH_EVERY_S",
    "follow_keys",
    "keep_checkpoints",
    "keep_vault",
    "seal_old_tokens",
    "watched_keys",
]

REFRESH_EVERY_S: Final = 30
"""A key that another process retired makes no token after this time."""

RETRY_S: Final = 60
LOG = logging.getLogger("slotmeter.runtime")


async def seal_old_tokens(uow: UnitOfWork, vault: Vault) -> None:
    """Seal what an earlier release left in clear, while the server sells."""
    while True:
        try:
            await SealOldTokens(uow, vault.tokens).run()
            remains = await must_scrub(uow)
        except SlotmeterError as error:
            LOG.warning("old tokens wait to be sealed: %s", error.message)
            await asyncio.sleep(RETRY_S)
            continue
        if remains:
            LOG.warning(
                "all tokens are sealed; what an earlier release wrote in clear may remain in "
                "unused parts of the database's file until `slotmeter vault scrub` has run once"
            )
        return


async def follow_keys(vault: Vault) -> None:
    """Take in what other processes load and retire, for as long as the server runs."""
    while True:
        await asyncio.sleep(REFRESH_EVERY_S)
        try:
            await vault.security.refresh()
        except SlotmeterError as error:
            LOG.warning("the vault could not be read again: %s", error.message)


def keep_vault(tasks: TaskOwner, uow: UnitOfWork, vault: Vault) -> None:
    """Seal what an earlier release left, once, and follow what other processes change."""
    tasks.start("seal old tokens", seal_old_tokens(uow, vault))
    tasks.keep("vending keys", lambda: follow_keys(vault))


def keep_checkpoints(
    config: Config,
    tasks: TaskOwner,
    uow: UnitOfWork,
    vault: Vault,
    clock: Clock,
    board: MetricsBoard,
) -> None:
    """Let checkpoints of the audit be signed as the site's configuration says."""
    if not config.audit.checkpoint_every_h:
        return
    folder = CheckpointFolder(config.data.folder / config.audit.checkpoint_folder)
    schedule = CheckpointSchedule(
        uow,
        vault.signer,
        clock,
        CheckpointMetrics(board.registry),
        folder.keep,
        every_h=config.audit.checkpoint_every_h,
    )
    tasks.keep("checkpoints", schedule.run)


def watched_keys(watch: KeyWatch, board: MetricsBoard) -> KeyWatch:
    """Show what the watch finds on the page of metrics; return the watch."""
    board.gauge(
        "vending_keys_expiring",
        "Vending keys in use that end within 30 days, or have ended",
        lambda: watch.expiring,
    )
    board.gauge(
        "vending_key_days_left",
        "Days until the first active vending key ends",
        lambda: watch.days_left_min,
    )
    return watch
