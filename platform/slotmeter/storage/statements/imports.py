"""Imports of files: how far each is, and what was wrong with their rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

_job = METADATA.tables["import_job"]
_problem = METADATA.tables["import_problem"]

READS: dict[str, Select[Any]] = {
    "import_job_of_file": select(_job)
    .where(
        _job.c.utility_id == bindparam("utility_id"),
        _job.c.kind == bindparam("kind"),
        _job.c.sha256 == bindparam("sha256"),
        _job.c.state == "running",
    )
    .order_by(_job.c.id.desc())
    .limit(1),
    "import_job": select(_job).where(
        _job.c.utility_id == bindparam("utility_id"), _job.c.id == bindparam("id")
    ),
    "import_jobs": select(_job)
    .where(_job.c.utility_id == bindparam("utility_id"), _job.c.id < bindparam("before"))
    .order_by(_job.c.id.desc())
    .limit(bindparam("limit")),
    "import_problems": select(
        _problem.c.id, _problem.c.row, _problem.c.field, _problem.c.code, _problem.c.reason
    )
    .where(
        _problem.c.import_job_id == bindparam("import_job_id"), _problem.c.id > bindparam("after")
    )
    .order_by(_problem.c.id)
    .limit(bindparam("limit")),
}

UPDATES: dict[str, UpdateBase] = {
    # Two who import the same file at once meet here: the second one finds another row done.
    "import_job_advance": update(_job)
    .where(
        _job.c.id == bindparam("of_job"),
        _job.c.state == "running",
        _job.c.row_done == bindparam("row_before"),
    )
    .values(
        row_done=bindparam("row_now"),
        added=_job.c.added + bindparam("more_added"),
        already_there=_job.c.already_there + bindparam("more_there"),
        updated_us=bindparam("at_us"),
    ),
    "import_job_end": update(_job)
    .where(_job.c.id == bindparam("of_job"), _job.c.state == "running")
    .values(
        state="done",
        bad_rows=bindparam("bad"),
        updated_us=bindparam("at_us"),
        ended_us=bindparam("at_us"),
    ),
}
