"""What is done about the keys that meters are coded with, as one thing to hand around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from slotmeter.ports import Clock, SecurityModule, TokenSafe, UnitOfWork
from slotmeter.services.campaign_sets import CampaignSets
from slotmeter.services.campaigns import Campaigns
from slotmeter.services.key_changes import KeyChanges
from slotmeter.services.key_replacements import KeyReplacements
from slotmeter.services.management_tokens import ManagementTokens
from slotmeter.services.meter_swap import MeterSwaps
from slotmeter.services.sole_tokens import SoleTokens
from slotmeter.services.tid_allocator import TidAllocator

__all__ = ["CodingOffice"]


@dataclass(frozen=True, slots=True)
class CodingOffice:
    """The services behind the paths and commands about the keys of meters."""

    changes: KeyChanges
    replacements: KeyReplacements
    management: ManagementTokens
    campaigns: Campaigns
    sets: CampaignSets
    swaps: MeterSwaps
    tokens: SoleTokens

    @classmethod
    def of(
        cls,
        uow: UnitOfWork,
        security: SecurityModule,
        safe: TokenSafe,
        clock: Clock,
        *,
        draw_rnd: Callable[[], int],
        tids: TidAllocator,
        on_queued: Callable[[int], None] = lambda _device_id: None,
    ) -> Self:
        """Make all of them on one database and one vault.

        Args:
            uow: the database.
            security: holds the vending keys.
            safe: seals the digits.
            clock: stamps everything.
            draw_rnd: gives the 4 random bits of a token.
            tids: gives the identifiers; with the floor of a restored database.
            on_queued: called with a device's id when commands for it were queued.
        """
        changes = KeyChanges(uow, security, safe, clock, on_queued=on_queued)
        campaigns = Campaigns(uow, clock, changes)
        tokens = SoleTokens(
            uow, security, safe, clock, draw_rnd=draw_rnd, tids=tids, on_queued=on_queued
        )
        replacements = KeyReplacements(uow, clock, tokens)
        return cls(
            changes=changes,
            replacements=replacements,
            management=ManagementTokens(uow, clock, tokens),
            campaigns=campaigns,
            sets=CampaignSets(uow, safe, clock, campaigns, replacements),
            swaps=MeterSwaps(uow, clock, tokens),
            tokens=tokens,
        )
