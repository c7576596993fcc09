"""Which columns of which tables are sealed, and which of them change together.

A *face* is a group of columns that change together, so that one small change does not cost the
digest of the whole row. A *final* face is written once, with its row, and never again; its row is
never removed. Tables that are not named here have one face of all their columns, which is final
for the append-only tables. What changes at every frame that comes in is not sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["CHANGING", "UNSEALED", "UNSEALED_COLUMNS"]

UNSEALED: Final = frozenset(
    {
        # the chain itself
        *("audit_entry", "audit_group", "audit_layout"),
        # counters, and what is on its way
        *("id_block", "sequence", "cursor", "frame", "quarantine", "command"),
        # what plugins keep
        *("plugin_record", "plugin_counter"),
        # words to search by, which repeat what is sealed
        "search_word",
        # what a meter reported last, and what follows from it
        *("device", "meter_charge", "alarm"),
    }
)
"""Tables whose rows are not sealed."""

UNSEALED_COLUMNS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    # Always the sum of the postings, which are sealed; ``ledger verify`` adds them up.
    {"ledger_account": frozenset({"balance_minor", "reserved_minor"})}
)
"""Columns of sealed tables that are not."""

CHANGING: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "sale": {
            "issue": ("state", "voided", "receipt", "issued_us"),
            "delivery": ("delivery", "sent_us", "accepted_us", "verified_us"),
        },
        "token": {
            "life": (
                *("digits", "digits_index", "state", "accepted_by"),
                *("issued_us", "accepted_us"),
            ),
        },
        "ledger_account": {"limit": ("limit_minor",)},
        "debt": {
            "state": ("state",),
            "plan": ("plan", "interest", "starts_us"),
        },
    }
)
"""Faces that change, of tables whose other columns are final."""
