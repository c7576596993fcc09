"""Operations of the ledger beside sales: corrections, float, commission, swaps, closed periods.

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

APPEND_ONLY = ("accounting_period", "commission_plan", "ledger_operation", "meter_swap")
"""Tables of this module whose rows are never changed nor removed."""

# One row for each operation that somebody asked for: who asks again under the same request id gets
# the same answer, and no subject is operated on twice in one way.
ledger_operation = Table(
    "ledger_operation",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("principal_id", "principal"),
    _text("request_id"),  # the caller's own; unique per principal
    _text("request_hash"),
    _text("kind"),  # reversal | pay_in | limit | refund | commission | swap
    _text("subject"),  # a receipt, a deposit slip, a branch and an instant, an installation
    _text("number"),  # K00000001
    _ref("branch_id", "branch", nullable=True),  # whose till it moved
    _ref("account_id", "account", nullable=True),  # whose money or credit it moved
    _ref("sale_row_id", "sale", nullable=True),  # corrected by this
    _ref("new_sale_row_id", "sale", nullable=True),  # sold instead
    _int("amount_minor"),
    _text("currency"),
    _text("reason"),
    _text("detail"),  # JSON
    _int("at_us"),
    UniqueConstraint("principal_id", "request_id"),
    UniqueConstraint("utility_id", "kind", "subject"),
    UniqueConstraint("utility_id", "number"),
    Index(None, "utility_id", "at_us"),
    Index(None, "sale_row_id"),
    Index(None, "new_sale_row_id"),
)

# Each begins where the one before ended; a trigger lets no journal into one that is closed.
accounting_period = Table(
    "accounting_period",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _int("from_us"),
    _int("to_us"),  # the first instant that does not belong to it
    _text("through_day"),  # its last local day
    _int("journals"),
    _int("postings"),
    _text("sums"),  # JSON: by control account and currency
    _text("digest"),  # SHA-256 over this and the period before, hex
    _ref("principal_id", "principal"),
    _text("reason"),
    _int("closed_us"),
    UniqueConstraint("utility_id", "to_us"),
)

# The newest row that has begun counts; NULL in body is no commission.
commission_plan = Table(
    "commission_plan",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("branch_id", "branch"),
    _int("from_us"),
    _text("body", nullable=True),  # JSON
    _ref("principal_id", "principal"),
    _text("reason"),
    _int("created_us"),
    Index(None, "branch_id", "from_us"),
)

# What was left on a meter moves once: an installation ends once.
meter_swap = Table(
    "meter_swap",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("supply_point_id", "supply_point"),
    _ref("old_installation_id", "installation"),
    _ref("old_meter_id", "meter"),
    _ref("new_meter_id", "meter"),
    _int("old_register", nullable=True),  # Wh or mL when it was taken off
    _int("new_register", nullable=True),  # Wh or mL when it was put on
    _int("credit"),  # left on the old meter: Wh or mL, or money in 0.00001 of it
    _int("moved"),  # of that, given to the new meter
    _ref("token_id", "token", nullable=True),  # the replacement token, if credit moved by one
    _ref("principal_id", "principal"),
    _text("reason"),
    _int("at_us"),
    UniqueConstraint("old_installation_id"),
    Index(None, "new_meter_id"),
    Index(None, "token_id"),
)
