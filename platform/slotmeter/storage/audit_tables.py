"""The audit: what each unit of work wrote, in a chain of groups, and the checkpoints of the chain.

The same conventions as in ``schema``; what is in the bytes, see ``seal.unit_seal``.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, Table

from slotmeter.storage.columns import id_column as _id
from slotmeter.storage.columns import int_column as _int
from slotmeter.storage.columns import ref_column as _ref
from slotmeter.storage.columns import text_column as _text
from slotmeter.storage.metadata import METADATA

__all__ = ["APPEND_ONLY"]

APPEND_ONLY = ("audit_checkpoint", "audit_entry", "audit_group", "audit_layout")
"""Tables of this module whose rows are never changed nor removed: all."""


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _counted(name: str) -> Column[int]:
    """Return a primary key that is not an id: 1, 2, 3 without gaps."""
    kind = BigInteger().with_variant(Integer, "sqlite")
    return Column(name, kind, primary_key=True, autoincrement=False)


# Which columns of which tables are sealed: see ``seal.layout``.
audit_layout = Table(
    "audit_layout",
    METADATA,
    _counted("number"),
    _int("at_us"),
    _text("body"),  # JSON: tables, their faces, whether these are final, their columns
    _bytes("digest"),  # is part of the hash of every entry
)

# One for each unit of work that wrote something sealed.
audit_entry = Table(
    "audit_entry",
    METADATA,
    _id(),
    _int("at_us"),
    Column("layout", BigInteger, ForeignKey("audit_layout.number"), nullable=False),
    _int("group_seq"),
    _bytes("items"),
    _bytes("hash"),
)

# One for each commit: its entries are those with ids from the first to the last.
audit_group = Table(
    "audit_group",
    METADATA,
    _counted("seq"),
    _int("at_us"),
    _int("first_entry_id"),
    _int("last_entry_id"),
    _int("entries"),
    _bytes("prev_hash"),
    _bytes("hash"),
)

audit_checkpoint = Table(
    "audit_checkpoint",
    METADATA,
    _id(),
    _int("at_us"),
    _int("seq"),  # of the group that it vouches for, and through it for all before
    _bytes("hash"),
    _bytes("public_key"),  # Ed25519
    _bytes("signature"),
    _ref("principal_id", "principal", nullable=True),
)
