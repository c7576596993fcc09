"""Devices: their connections, places, lives and commands, and what they sent.

The same conventions as in ``schema``; an ``entry_key`` or ``entry_id`` without a reference may
outlive the entry, which is removed for good.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, Table, Text
from sqlalchemy import UniqueConstraint as Unique

from slotmeter.storage.columns import id_column as _id
from slotmeter.storage.columns import int_column as _int
from slotmeter.storage.columns import part_index
from slotmeter.storage.columns import ref_column as _ref
from slotmeter.storage.columns import text_column as _text
from slotmeter.storage.metadata import METADATA

__all__ = ["APPEND_ONLY"]

APPEND_ONLY = ("command_log", "entry_log", "meter_life")
"""Tables of this module whose rows are never changed nor removed."""

# --- connections ----------------------------------------------------------------------------------

# A connection to devices through one medium; the platform's, not a utility's.
integration_entry = Table(
    "integration_entry",
    METADATA,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    _text("medium"),
    _text("title"),
    _text("options"),  # JSON
    _text("secrets", nullable=True),  # JSON, sealed as a whole, see ports.TokenSafe
    _int("enabled"),
    _text("source"),  # api | cli | file: only a file's own text changes its entries
    _int("created_us"),
    _int("changed_us"),
    _ref("principal_id", "principal", nullable=True),  # who made it
)

entry_log = Table(
    "entry_log",
    METADATA,
    _id(),
    _int("entry_id"),
    _int("at_us"),
    _text("state"),
    _text("reason"),
    Index(None, "entry_id"),
)

plugin_record = Table(
    "plugin_record",
    METADATA,
    _id(),
    _text("entry_key"),
    _text("kind"),
    _text("name"),
    _text("body"),  # JSON
    *(_text(each, nullable=True) for each in ("i1", "i2", "i3")),  # what it is found by
    _int("at_us"),
    Unique("entry_key", "kind", "name"),
    *(Index(None, "entry_key", "kind", each) for each in ("i1", "i2", "i3")),
)

plugin_counter = Table(
    "plugin_counter",
    METADATA,
    Column("entry_key", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    _int("next_value"),
)

# --- devices --------------------------------------------------------------------------------------

# One that has no meter is a node, with meters behind it: see ``binding``.
device = Table(
    "device",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter", nullable=True),
    _text("medium"),
    _text("address"),
    _text("driver"),
    _int("last_contact_us", nullable=True),
    _int("measured_us", nullable=True),  # the meter's clock in its newest report
    _int("received_us", nullable=True),  # our clock when that report came
    _text("supply"),  # on | off | armed | unknown
    _int("register", nullable=True),  # cumulative Wh or mL
    _int("credit_balance", nullable=True),  # Wh or mL, for meters that hold their credit
    _int("credit_total", nullable=True),
    _int("credit_proven", nullable=True),  # as much of credit_total as known tokens explain
    _int("credit_baseline_us", nullable=True),  # our clock when the first credit_total came
    _int("tamper"),
    _int("created_us"),
    _ref("entry_id", "integration_entry", nullable=True),
    _ref("node_id", "device", nullable=True),  # behind which it is; repeats the live binding
    _int("slot", nullable=True),
    _text("serial", nullable=True),  # of the node, or of the module, by its maker
    _int("battery", nullable=True),  # percent
    _int("signal", nullable=True),  # dBm
    _int("clock_offset_us", nullable=True),  # the meter's clock less ours
    _int("clock_drift_ppb", nullable=True),
    _int("clock_seen_us", nullable=True),
    _int("contacts", default="0"),
    _int("contacts_missed", default="0"),
    _int("expected_us", nullable=True),  # the next contact
    _int("interval_us", nullable=True),  # between reports, learned
    _int("offline_us", nullable=True),  # since when it is
    Unique("medium", "address"),
    Unique("meter_id"),
    part_index("ix_device_node_id", "node_id", where="node_id IS NOT NULL"),
    part_index("ix_device_serial", "serial", where="serial IS NOT NULL"),
)

# Which meter was at which place behind a node, and when.
binding = Table(
    "binding",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("node_id", "device"),
    _int("slot"),
    _ref("meter_id", "meter"),
    _int("from_us"),
    _int("to_us", nullable=True),
    Index(None, "node_id", "slot", "to_us"),
    Index(None, "meter_id", "to_us"),
)

keypad = Table(
    "keypad",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter"),
    _text("serial"),
    _int("from_us"),
    _int("to_us", nullable=True),
    Index(None, "meter_id", "to_us"),
    Index(None, "utility_id", "serial", "to_us"),
)

# How a device was reached, and when; the live one is also in ``device``.
bearer = Table(
    "bearer",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("device_id", "device"),
    _text("medium"),
    _text("address"),
    _int("from_us"),
    _int("to_us", nullable=True),
    Index(None, "device_id", "to_us"),
    Index(None, "medium", "address"),
)

# --- places and lives -----------------------------------------------------------------------------

area = Table(
    "area",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("parent_id", "area", nullable=True),
    _text("level"),  # region | dma | transformer | feeder | other
    _text("code"),
    _text("name"),
    _int("created_us"),
    Unique("utility_id", "level", "code"),
    Index(None, "parent_id"),
)

# The newest row by time, then by id, says where a meter is and what has become of it.
meter_life = Table(
    "meter_life",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter"),
    _text("state"),  # received | stored | installed | swapped | repaired | scrapped
    _int("at_us"),
    _text("place"),
    _ref("principal_id", "principal", nullable=True),
    _text("reason"),
    Index(None, "meter_id", "at_us"),
    Index(None, "utility_id", "at_us"),
)

# --- what came in ---------------------------------------------------------------------------------

frame = Table(
    "frame",
    METADATA,
    _id(),
    _text("medium"),
    _text("address"),
    _text("path"),
    Column("payload", LargeBinary, nullable=False),
    _int("received_us"),
    _int("entry_id", nullable=True),
)

quarantine = Table(
    "quarantine",
    METADATA,
    Column("frame_id", BigInteger, ForeignKey("frame.id"), primary_key=True),
    _text("code"),
    _text("message"),
    _int("at_us"),
    _int("replayed_us", nullable=True),
    _int("replays", default="0"),
    Index(None, "code", "frame_id"),
)

cursor = Table(
    "cursor",
    METADATA,
    Column("name", Text, primary_key=True),
    _int("position"),
    _int("at_us"),
)

# --- what goes out --------------------------------------------------------------------------------

command = Table(
    "command",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter"),
    _ref("device_id", "device"),
    _text("kind"),
    _ref("token_id", "token", nullable=True),
    _ref("sale_row_id", "sale", nullable=True),
    _ref("principal_id", "principal", nullable=True),
    _text("cause"),  # sale | rule | person
    _text("reason"),
    _int("priority"),  # smaller goes first
    _text("state"),
    _text("result", nullable=True),
    _text("hold", nullable=True),  # JSON list of causes while held or refused
    _int("attempts"),
    _int("not_before_us"),
    _int("expires_us"),
    _int("lease_us", nullable=True),
    _int("created_us"),
    _int("sent_us", nullable=True),
    _int("acknowledged_us", nullable=True),
    _int("ended_us", nullable=True),
    _int("value", nullable=True),  # percent, W, or seconds since 1970, by the kind
    _text("text", nullable=True),  # a tariff's name or a credit mode, by the kind
    _int("expected_us", nullable=True),  # the contact that it waits for
    _text("cell", nullable=True),  # what it shares the air or the line with
    Index(None, "device_id", "state"),
    Index(None, "utility_id", "created_us"),
    Index(None, "utility_id", "kind", "created_us"),  # cuts of the last hour, at every cut
    Index(None, "meter_id", "created_us"),
    Index(None, "state"),
)

command_log = Table(
    "command_log",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("command_id", "command"),
    _int("at_us"),
    _text("state"),
    _text("detail"),
    Index(None, "command_id"),
)
