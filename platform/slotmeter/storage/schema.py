"""The tables of the platform's own database.

Every row carries its utility and every query is scoped by it. Times are UTC epoch microseconds
(``*_us``), money is integer minor units (``*_minor``), amounts of energy and volume are Wh and mL.
Ids come from one source that grows with time. Documents are JSON text. What has happened is never
changed: the append-only tables are guarded by triggers (see the migrations). What is agreed with an
account and the tariffs are in ``account_tables``, keys are in ``key_tables``, devices with all that
they send and are sent in ``device_tables``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
)

from slotmeter.storage import (
    account_tables,
    audit_tables,
    device_tables,
    key_change_tables,
    key_tables,
    ledger_tables,
    volume_tables,
)
from slotmeter.storage.columns import id_column as _id
from slotmeter.storage.columns import int_column as _int
from slotmeter.storage.columns import part_index
from slotmeter.storage.columns import ref_column as _ref
from slotmeter.storage.columns import text_column as _text
from slotmeter.storage.metadata import METADATA

__all__ = ["APPEND_ONLY", "METADATA"]

APPEND_ONLY = (
    *("act", "event", "journal", "notice", "posting"),
    *account_tables.APPEND_ONLY,
    *audit_tables.APPEND_ONLY,
    *device_tables.APPEND_ONLY,
    *key_tables.APPEND_ONLY,
    *ledger_tables.APPEND_ONLY,
    *key_change_tables.APPEND_ONLY,
    *volume_tables.APPEND_ONLY,
)
"""Tables whose rows are never changed nor removed."""

id_block = Table("id_block", METADATA, Column("name", Text, primary_key=True), _int("next_id"))

utility = Table(
    "utility",
    METADATA,
    _id(),
    Column("code", Text, nullable=False, unique=True),
    _text("name"),
    _text("currency"),
    _text("time_zone"),
    _text("tax_number"),
    _text("address"),
    _text("policy"),  # JSON: protected hours, cuts per hour, low credit, reading age
    _int("created_us"),
    _int("training", default="0"),  # 1: for practice, with keys and books of its own
)

branch = Table(
    "branch",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("code"),
    _text("name"),
    UniqueConstraint("utility_id", "code"),
)

principal = Table(
    "principal",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("branch_id", "branch"),
    _text("kind"),  # person | service
    _text("name"),
    _text("roles"),  # JSON list
    _int("disabled_us", nullable=True),
    _int("created_us"),
    UniqueConstraint("utility_id", "name"),
)

api_key = Table(
    "api_key",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("principal_id", "principal"),
    _text("label"),
    Column("sha256", Text, nullable=False, unique=True),
    _text("rights", nullable=True),  # JSON list that narrows; NULL keeps all of the roles' rights
    _int("created_us"),
    _int("expires_us", nullable=True),
    _int("revoked_us", nullable=True),
)

customer = Table(
    "customer",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("number"),
    _text("name"),
    _text("phone"),
    _text("address"),
    _int("created_us"),
    UniqueConstraint("utility_id", "number"),
)

account = Table(
    "account",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("customer_id", "customer"),
    _text("number"),
    _text("currency"),
    _int("critical_until_us", nullable=True),  # never cut automatically before this time
    _text("critical_reason", nullable=True),
    _int("created_us"),
    UniqueConstraint("utility_id", "number"),
    Index(None, "customer_id"),
)

supply_point = Table(
    "supply_point",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("account_id", "account"),
    _ref("tariff_id", "tariff"),
    _text("number"),
    _text("commodity"),
    _text("area"),  # path from the region down, parts joined by "/"
    _text("address"),
    _int("created_us"),
    _text("connection", nullable=True),  # its size, as "15 mm" or "1 phase"
    _int("load_w", nullable=True),  # sanctioned
    _ref("area_id", "area", nullable=True),
    UniqueConstraint("utility_id", "number"),
    Index(None, "account_id"),
    part_index("ix_supply_point_area_id", "area_id", where="area_id IS NOT NULL"),
)

meter = Table(
    "meter",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("number"),
    _text("commodity"),
    _text("credit_mode"),  # meter: the meter holds the credit | platform: the ledger does
    _int("purchase_max_minor", nullable=True),
    _text("parameters", nullable=True),  # JSON of KeyParameters
    _text("key_id", nullable=True),  # the vending key in the security module
    _text("state"),  # active | blocked | removed
    _int("created_us"),
    _text("transfer", default="units"),  # what its credit tokens carry: units | currency
    _text("wanted", nullable=True),  # JSON: what it shall be coded with, see services.key_wanted
    UniqueConstraint("utility_id", "number"),
)

installation = Table(
    "installation",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("supply_point_id", "supply_point"),
    _ref("meter_id", "meter"),
    _int("from_us"),
    _int("to_us", nullable=True),
    Index(None, "meter_id", "from_us"),
    Index(None, "supply_point_id", "from_us"),
)

charge = Table(
    "charge",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("supply_point_id", "supply_point"),
    _text("code"),
    _text("period"),  # "2026-11", in the utility's time zone
    _int("due_minor"),
    _int("taken_minor"),
    _int("created_us"),
    UniqueConstraint("supply_point_id", "code", "period"),
)

sequence = Table(
    "sequence",
    METADATA,
    Column("utility_id", BigInteger, ForeignKey("utility.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    _int("next_value"),
)

sale = Table(
    "sale",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("principal_id", "principal"),
    _ref("branch_id", "branch"),
    _text("sale_id"),  # the caller's own; unique per principal, never globally
    _text("request_hash"),
    _text("state"),  # pending | issued | voided
    _text("voided", nullable=True),  # JSON: why no token can be made; nothing was sold
    _text("receipt_number"),
    _ref("meter_id", "meter"),
    _ref("account_id", "account"),
    _ref("supply_point_id", "supply_point"),
    _ref("tariff_version_id", "tariff_version"),
    _int("tender_minor"),
    _text("currency"),
    _text("channel"),
    _text("credit_mode"),
    # The device as of commit 1: recovery delivers as the receipt says.
    _ref("device_id", "device", nullable=True),
    _text("priced"),  # JSON: the lines as priced by commit 1
    _text("particulars"),  # JSON: what the receipt prints beside the lines, as of commit 1
    _int("units"),  # Wh or mL; what the token really carries
    _text("receipt", nullable=True),  # JSON, commit 2
    _text("delivery"),  # none | pending | sent | accepted | verified | already_used | failed
    _int("sold_us"),
    _int("issued_us", nullable=True),
    _int("sent_us", nullable=True),
    _int("accepted_us", nullable=True),
    _int("verified_us", nullable=True),
    _text("act"),  # JSON: principal, key, address, request id
    _text("situation", nullable=True),  # JSON: all that pricing knew; NULL for the oldest sales
    _int("counted_units", default="0"),  # the block counter moved by this
    # Of these, at a price that a later purchase corrects; negative when this one did so.
    _int("lifeline_units", default="0"),
    _int("kept_minor", default="0"),  # what is kept for the next purchase rose by this
    _text("transfer", default="units"),  # units | currency
    _int("transfer_minor", nullable=True),  # money that a currency token carries
    UniqueConstraint("principal_id", "sale_id"),
    UniqueConstraint("utility_id", "receipt_number"),
    Index(None, "utility_id", "sold_us"),
    Index(None, "meter_id", "sold_us"),
    Index(None, "supply_point_id", "sold_us"),
    Index(None, "principal_id", "sold_us"),
    part_index("ix_sale_state", "account_id", where="state = 'pending'"),
)

token = Table(
    "token",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter"),
    _ref("sale_row_id", "sale", nullable=True),
    _text("key_id"),
    _text("parameters"),  # JSON of KeyParameters at the moment of sale
    _text("request"),  # JSON of TokenRequest
    _int("tid_minute"),  # minutes since 1993-01-01 00:00 UTC, whatever the base date
    _int("tid"),
    _int("amount"),  # Wh or mL
    _text("digits", nullable=True),  # commit 2; sealed, see ports.TokenSafe
    _text("state"),  # reserved | issued | accepted | verified | void
    _text("accepted_by", nullable=True),  # delivery | keypad
    _int("created_us"),
    _int("issued_us", nullable=True),
    _int("accepted_us", nullable=True),
    _text("purpose", default="credit"),  # credit: paid for | free: free units
    _text("digits_index", nullable=True),  # keyed hash of the digits, to search by
    UniqueConstraint("meter_id", "tid_minute"),
    Index(None, "sale_row_id"),
    Index(None, "digits_index"),
    # Without a sale, and between their two commits: mostly none.
    part_index("ix_token_waiting", "id", where="state = 'reserved' AND (sale_row_id + 0) IS NULL"),
)

ledger_account = Table(
    "ledger_account",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("code"),
    _text("kind"),  # asset | liability | income | expense
    _text("currency"),
    _int("balance_minor"),  # debit positive; always the sum of its postings
    _int("reserved_minor"),  # by sales between their two commits
    _int("limit_minor", nullable=True),  # a till may not owe more than this
    UniqueConstraint("utility_id", "code"),
)

journal = Table(
    "journal",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("kind"),
    _int("at_us"),
    _ref("sale_row_id", "sale", nullable=True),
    _int("frame_id", nullable=True),
    _ref("principal_id", "principal", nullable=True),
    _text("reason"),
    Index(None, "sale_row_id"),
    Index(None, "utility_id", "at_us"),
)

posting = Table(
    "posting",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("journal_id", "journal"),
    _ref("ledger_account_id", "ledger_account"),
    _int("amount_minor"),  # debit positive, credit negative
    _text("currency"),
    Index(None, "ledger_account_id"),
    Index(None, "journal_id"),
)

meter_charge = Table(
    "meter_charge",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter"),
    _ref("account_id", "account"),
    _ref("tariff_version_id", "tariff_version"),
    _int("start_register"),  # Wh or mL at the start of this tariff version for this meter
    _int("register"),  # charged up to here
    _int("charged_minor"),  # since the start; with tax
    _int("taxed_minor"),  # of these, tax
    _int("charged_us"),  # our clock when the register was charged last
    _int("measured_us"),  # the meter's clock then
    _int("doubted_register", nullable=True),  # lowest value since that no use can explain
    _int("from_us"),
    _int("to_us", nullable=True),
    _text("situation", nullable=True),  # JSON: the buyer as of the start; NULL for the oldest
    Index(None, "meter_id", "to_us"),
)

notice = Table(
    "notice",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter"),
    _text("kind"),  # low_credit | credit_used_up
    _text("route"),  # display | page
    _int("at_us"),
    Index(None, "meter_id", "at_us"),
)

event = Table(
    "event",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _int("at_us"),
    _text("kind"),
    _text("severity"),  # info | warning | alarm
    _ref("meter_id", "meter", nullable=True),
    _ref("principal_id", "principal", nullable=True),  # whose sale it is about
    _text("text"),
    _text("data"),  # JSON
    Index(None, "utility_id", "id"),
    Index(None, "meter_id", "id"),
)

alarm = Table(
    "alarm",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("meter_id", "meter", nullable=True),  # NULL: of what the subject names
    _text("kind"),
    _text("severity"),
    _text("text"),
    _int("raised_us"),
    _int("cleared_us", nullable=True),
    _text("subject", nullable=True),  # of an alarm that is not of a meter
    Index(None, "meter_id", "kind", "cleared_us"),
    Index(None, "utility_id", "cleared_us"),
)

act = Table(
    "act",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _int("at_us"),
    _int("principal_id", nullable=True),
    _int("api_key_id", nullable=True),
    _text("address"),
    _text("request_id"),
    _text("what"),
    _text("subject"),
    _text("reason"),
    _text("data"),  # JSON
    Index(None, "utility_id", "at_us"),
)
