"""What large volumes need: words to search by, and imports that go on where they stopped.

The same conventions as in ``schema``. The words repeat what customers and supply points say, so
that a name is found among a million of them; they are changed along with these.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text

from slotmeter.storage.columns import id_column as _id
from slotmeter.storage.columns import int_column as _int
from slotmeter.storage.columns import ref_column as _ref
from slotmeter.storage.columns import text_column as _text
from slotmeter.storage.metadata import METADATA

__all__ = ["APPEND_ONLY"]

APPEND_ONLY = ("import_problem",)
"""Tables of this module whose rows are never changed nor removed."""

# Words of a customer's name and of addresses, folded; found by how they begin. Ordered by code
# point on every database: the order of a language would put what begins alike apart.
search_word = Table(
    "search_word",
    METADATA,
    Column("utility_id", BigInteger, ForeignKey("utility.id"), primary_key=True),
    Column("word", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    Column("supply_point_id", BigInteger, ForeignKey("supply_point.id"), primary_key=True),
    Index(None, "supply_point_id", "word"),
    sqlite_with_rowid=False,
)

import_job = Table(
    "import_job",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _text("kind"),  # meters | debts | free_units
    _text("sha256"),  # of the file, hex: the same file again is the same job until it has ended
    _text("file_name"),
    _int("rows"),  # of the file
    _int("row_done"),  # everything up to this row is done, as a spreadsheet counts
    _int("added"),
    _int("already_there"),
    _int("bad_rows"),
    _text("state"),  # running | done
    _ref("principal_id", "principal", nullable=True),
    _text("address"),
    _text("reason"),
    _int("created_us"),
    _int("updated_us"),
    _int("ended_us", nullable=True),
    Index(None, "utility_id", "kind", "sha256"),
)

import_problem = Table(
    "import_problem",
    METADATA,
    _id(),
    _ref("utility_id", "utility"),
    _ref("import_job_id", "import_job"),
    _int("row"),  # as a spreadsheet counts
    _text("field"),
    _text("code"),
    _text("reason"),
    Index(None, "import_job_id", "row"),
)
