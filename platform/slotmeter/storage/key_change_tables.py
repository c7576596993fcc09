"""Changes of the keys that meters are coded with, and campaigns of them.

The same conventions as in ``schema``. The tokens of a change are rows of ``token`` with the purpose
``key_change``; they carry no identifier, so that their ``tid`` is -1 and their ``tid_minute`` is
below 0, out of the way of those that do.
"""

from __future__ import annotations

from sqlalchemy import Index, Table, UniqueConstraint

from slotmeter.storage.columns import id_column as _id
from slotmeter.storage.columns import int_column as _int
from slotmeter.storage.columns import ref_column as _ref
from slotmeter.storage.columns import text_column as _text
from slotmeter.storage.metadata import METADATA

__all__ = ["APPEND_ONLY"]

APPEND_ONLY: tuple[str, ...] = ("key_change_token", "key_replacement", "management_token")
"""Tables of this module whose rows are never changed nor removed."""

key_campaign = Table(
    "key_campaign",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("code"),
    _text("key_id"),  # the vending key that the meters shall be on
    _int("tariff_index", nullable=True),  # NULL leaves each meter its own
    _int("three_tokens"),  # EA07: sets of three
    _text("how"),  # deliver | with_sale
    _text("state"),  # open | closed
    _text("reason"),
    _ref("principal_id", "principal"),
    _int("created_us"),
    _int("closed_us", nullable=True),
    UniqueConstraint("utility_id", "code"),
)

key_change = Table(
    "key_change",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter"),
    _ref("campaign_id", "key_campaign", nullable=True),
    _text("state"),  # open | proven | cancelled
    _text("from_key_id"),
    _text("from_parameters"),  # JSON of KeyParameters
    _text("to_key_id"),
    _text("to_parameters"),  # JSON of KeyParameters
    _int("three_tokens"),
    _text("proof", nullable=True),  # delivery | keypad | token | declared
    _text("unused"),  # JSON: ids of recent credit tokens that no meter had reported then
    _text("reason"),
    _ref("principal_id", "principal", nullable=True),
    _int("created_us"),
    _int("ended_us", nullable=True),
    _text("end_reason", nullable=True),
    _ref("end_principal_id", "principal", nullable=True),
    Index(None, "meter_id", "state"),
    Index(None, "campaign_id"),
    Index(None, "utility_id", "created_us"),
)

key_change_token = Table(
    "key_change_token",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("key_change_id", "key_change"),
    _int("place"),  # 1 to 4, the order of typing
    _ref("token_id", "token"),
    UniqueConstraint("key_change_id", "place"),
    Index(None, "token_id"),
)

key_campaign_meter = Table(
    "key_campaign_meter",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("campaign_id", "key_campaign"),
    _ref("meter_id", "meter"),
    _text("state"),  # selected | made | failed | nothing_to_do
    _text("problem", nullable=True),  # code and sentence
    _ref("key_change_id", "key_change", nullable=True),
    _int("printed_us", nullable=True),
    UniqueConstraint("campaign_id", "meter_id"),
    Index(None, "campaign_id", "state"),
)

key_replacement = Table(
    "key_replacement",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("key_change_id", "key_change"),
    _ref("old_token_id", "token"),
    _ref("new_token_id", "token"),
    _text("reason"),
    _ref("principal_id", "principal"),
    _int("at_us"),
    UniqueConstraint("old_token_id"),
    Index(None, "key_change_id"),
)

# A token that is no credit, asked for by a person or a program with the right to.
management_token = Table(
    "management_token",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter"),
    _ref("token_id", "token"),
    _ref("principal_id", "principal"),
    _text("request_id"),  # the caller's own; unique per principal
    _text("request_hash"),
    _text("kind"),
    _int("value", nullable=True),
    _text("reason"),
    _int("at_us"),
    UniqueConstraint("principal_id", "request_id"),
    Index(None, "meter_id", "id"),
    Index(None, "token_id"),
)
