"""What is agreed with an account (class, terms, debts, free units), and the tariffs.

The same conventions as in ``schema``.
"""

from __future__ import annotations

from sqlalchemy import Index, Table, UniqueConstraint

from slotmeter.storage.columns import id_column as _id
from slotmeter.storage.columns import int_column as _int
from slotmeter.storage.columns import ref_column as _ref
from slotmeter.storage.columns import text_column as _text
from slotmeter.storage.metadata import METADATA

__all__ = ["APPEND_ONLY"]

APPEND_ONLY = ("account_terms", "debt_log", "receipt_print")
"""Tables of this module whose rows are never changed nor removed."""

tariff = Table(
    "tariff",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("code"),
    _text("title"),
    _text("commodity"),
    _text("currency"),
    UniqueConstraint("utility_id", "code"),
)

tariff_version = Table(
    "tariff_version",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("tariff_id", "tariff"),
    _int("version"),
    _int("valid_from_us"),
    _text("body"),  # JSON document
    _int("created_us"),
    _text("source", nullable=True),  # YAML as it was written; NULL for the oldest versions
    _ref("author_id", "principal", nullable=True),
    _ref("approver_id", "principal", nullable=True),
    _int("approved_us", nullable=True),
    _int("withdrawn_us", nullable=True),  # never in force from then on
    UniqueConstraint("tariff_id", "version"),
    Index(None, "tariff_id", "valid_from_us"),
)

tariff_draft = Table(
    "tariff_draft",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("code"),
    _text("body"),  # JSON document
    _text("source"),  # YAML as it was written
    _text("state"),  # draft | submitted | approved | rejected | withdrawn
    _ref("author_id", "principal"),
    _text("authors"),  # JSON: ids of all who wrote it; none of them approves it
    _int("revision"),  # grows with each edit; an edit of another revision is refused
    _int("created_us"),
    _ref("submitter_id", "principal", nullable=True),
    _int("submitted_us", nullable=True),
    _int("decided_us", nullable=True),
    _ref("decider_id", "principal", nullable=True),
    _int("valid_from_us", nullable=True),
    _ref("tariff_version_id", "tariff_version", nullable=True),  # what it became
    _text("note"),
    _text("preview", nullable=True),  # JSON: what real sales would have cost
    Index(None, "utility_id", "code"),
)

customer_class = Table(
    "customer_class",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("code"),
    _text("title"),
    _int("created_us"),
    UniqueConstraint("utility_id", "code"),
)

# The newest row that has begun counts; rows that begin at one instant go by id.
account_class = Table(
    "account_class",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("account_id", "account"),
    _text("class_code", nullable=True),  # NULL is no class
    _int("from_us"),
    _text("reason"),
    _ref("principal_id", "principal"),
    _int("created_us"),
    Index(None, "account_id", "from_us"),
)

account_terms = Table(
    "account_terms",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("account_id", "account"),
    _text("terms"),  # prepaid | postpaid
    _int("from_us"),
    _ref("meter_id", "meter", nullable=True),
    _int("register", nullable=True),  # Wh or mL at the switch
    _text("settlement", nullable=True),  # JSON
    _text("reason"),
    _ref("principal_id", "principal"),
    _int("created_us"),
    Index(None, "account_id", "from_us"),
)

account_block = Table(
    "account_block",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("account_id", "account"),
    _text("reason"),
    _ref("principal_id", "principal"),
    _int("from_us"),
    _int("released_us", nullable=True),
    _ref("released_by", "principal", nullable=True),
    _text("release_reason", nullable=True),
    Index(None, "account_id", "released_us"),
)

# What is owed is the balance of the ledger account debt:<number>.
debt = Table(
    "debt",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("account_id", "account"),
    _text("number"),  # D00000001
    _text("kind"),
    _text("label"),
    _int("priority"),  # smaller is taken first
    _text("plan"),  # JSON
    _int("amount_minor"),  # at the start
    _text("tax_percent", nullable=True),
    _text("interest", nullable=True),  # JSON
    _text("state"),  # open | suspended | closed | cancelled
    _int("starts_us"),
    _int("created_us"),
    _ref("ledger_account_id", "ledger_account"),
    UniqueConstraint("utility_id", "number"),
    UniqueConstraint("ledger_account_id"),
    Index(None, "account_id", "state"),
    Index(None, "utility_id", "state"),
)

debt_log = Table(
    "debt_log",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("debt_id", "debt"),
    _int("at_us"),
    _text("what"),
    _text("detail"),  # JSON
    _ref("principal_id", "principal", nullable=True),
    Index(None, "debt_id"),
)

# What each sale took of a debt, from its first commit on; a voided sale took nothing.
debt_taken = Table(
    "debt_taken",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("debt_id", "debt"),
    _ref("sale_row_id", "sale"),
    _int("minor"),
    _int("at_us"),
    UniqueConstraint("sale_row_id", "debt_id"),
    Index(None, "debt_id", "at_us"),
)

free_registration = Table(
    "free_registration",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("account_id", "account"),
    _text("code"),
    _int("from_us"),
    _int("until_us", nullable=True),
    _text("evidence"),
    _ref("principal_id", "principal"),
    _int("created_us"),
    _int("ended_us", nullable=True),
    Index(None, "account_id", "code"),
)

free_claim = Table(
    "free_claim",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("supply_point_id", "supply_point"),
    _text("code"),
    _text("period"),  # "2026-11", in the utility's time zone
    _int("units"),  # Wh or mL
    _ref("sale_row_id", "sale"),
    UniqueConstraint("supply_point_id", "code", "period"),
    Index(None, "sale_row_id"),
)

receipt_print = Table(
    "receipt_print",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("sale_row_id", "sale"),
    _int("at_us"),
    _ref("principal_id", "principal"),
    _text("form"),
    Index(None, "sale_row_id"),
)
