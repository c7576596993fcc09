"""The vault: wrapped keys, the components that officers bring, supply groups.

The same conventions as in ``schema``. What is wrapped can be read by nobody who has the database
alone: see ``security.envelope``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from slotmeter.storage.columns import id_column as _id
from slotmeter.storage.columns import int_column as _int
from slotmeter.storage.columns import ref_column as _ref
from slotmeter.storage.columns import text_column as _text
from slotmeter.storage.metadata import METADATA

__all__ = ["APPEND_ONLY"]

APPEND_ONLY: tuple[str, ...] = ()

vault_key = Table(
    "vault_key",
    METADATA,
    _id(),
    # NULL: of the installation, not of a utility (root, data, index and signing keys)
    Column("utility_id", BigInteger, ForeignKey("utility.id"), nullable=True),
    Column("name", Text, nullable=False, unique=True),
    _text("kind"),  # root | vending | data | index | signing
    # What a vending key is; NULL for the others.
    _text("sgc", nullable=True),
    _int("krn", nullable=True),
    _int("kt", nullable=True),
    _text("dkga", nullable=True),
    _int("base_date", nullable=True),  # year
    _int("ken", nullable=True),
    _text("check_value"),  # hex; may be shown to anybody
    Column("wrapped", LargeBinary, nullable=False),
    _text("wrapped_by"),  # fingerprint of the key that wraps it
    _text("state"),  # active | retired
    _int("created_us"),
    _int("retired_us", nullable=True),
    _int("warned_us", nullable=True),  # when somebody was last told that it is about to expire
    _ref("officer_id", "principal", nullable=True),
    _ref("second_officer_id", "principal", nullable=True),
    Index(None, "kind"),
)

# Its material is erased (wrapped is NULL) when it has been used, refused or withdrawn.
vault_component = Table(
    "vault_component",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("name"),  # of the vending key that it becomes
    _text("method"),  # components: exclusive or of several | confirm: all of it, confirmed
    _int("part"),  # 1, 2, 3
    _int("parts"),  # how many components there are
    _text("sgc"),
    _int("krn"),
    _int("kt"),
    _text("dkga"),
    _int("base_date"),
    _int("ken"),
    _text("check_value"),  # of the component
    Column("wrapped", LargeBinary, nullable=True),
    _text("state"),  # open | used | withdrawn
    _ref("officer_id", "principal"),
    _text("reason"),
    _int("created_us"),
    _int("ended_us", nullable=True),
    Index(None, "utility_id", "name", "state"),
)

supply_group = Table(
    "supply_group",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("sgc"),  # six digits
    _text("title"),
    _text("key_name", nullable=True),  # the vending key that its meters shall be on
    _int("created_us"),
    UniqueConstraint("utility_id", "sgc"),
)
