"""Every promise from outside: what the platform needs, and what plugins are given.

Each boundary is a ``Protocol``; the implementations live in ``storage``, ``security`` and the
plugins, and each passes a contract suite of ``slotmeter.testing``.
"""

from __future__ import annotations

from slotmeter.ports.access import Caller, Principal, Right
from slotmeter.ports.clock import Clock
from slotmeter.ports.keys import (
    KeyFacts,
    KeyWrapping,
    SealedDigits,
    SecurityModule,
    Signature,
    Signer,
    TokenSafe,
    WrappedKey,
)
from slotmeter.ports.media import (
    Commands,
    Frames,
    Medium,
    MediumSetup,
    Metrics,
    PluginContext,
    Tasks,
)
from slotmeter.ports.readings import Aggregate, ReadingRow, ReadingStore, StoreStats
from slotmeter.ports.rules import CreditRule, CreditView, RulePack, SupplyWish, Wish
from slotmeter.ports.unit_of_work import (
    Apart,
    Changes,
    From,
    Insert,
    NewId,
    Read,
    Reads,
    Row,
    Rows,
    SqlValue,
    Step,
    Then,
    UnitOfWork,
    Update,
)

__all__ = [
    "Aggregate",
    "Apart",
    "Caller",
    "Changes",
    "Clock",
    "Commands",
    "CreditRule",
    "CreditView",
    "Frames",
    "From",
    "Insert",
    "KeyFacts",
    "KeyWrapping",
    "Medium",
    "MediumSetup",
    "Metrics",
    "NewId",
    "PluginContext",
    "Principal",
    "Read",
    "ReadingRow",
    "ReadingStore",
    "Reads",
    "Right",
    "Row",
    "Rows",
    "RulePack",
    "SealedDigits",
    "SecurityModule",
    "Signature",
    "Signer",
    "SqlValue",
    "Step",
    "StoreStats",
    "SupplyWish",
    "Tasks",
    "Then",
    "TokenSafe",
    "UnitOfWork",
    "Update",
    "Wish",
    "WrappedKey",
]
