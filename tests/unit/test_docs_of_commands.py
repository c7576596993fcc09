"""The pages about the command line say what the command line does."""

from __future__ import annotations

import re
from pathlib import Path

from slotmeter.cli import COMMANDS
from slotmeter.services.meter_row import COLUMNS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_command_has_a_chapter() -> None:
    page = (DOCS / "reference" / "cli.md").read_text()
    chapters = set(re.findall(r"`slotmeter ([a-z-]+)", page))

    assert set(COMMANDS) - chapters == set()


def test_the_table_of_the_meter_file_is_the_one_that_is_read() -> None:
    page = (DOCS / "reference" / "meter-file.md").read_text()
    rows = [
        f"| `{each.name}` | {'yes' if each.needed else ''} | {each.meaning} | "
        f"{f'`{each.default}`' if each.default else ''} | "
        f"{f'`{each.example}`' if each.example else ''} |"
        for each in COLUMNS
    ]

    assert [row for row in rows if row not in page] == []
    assert len(re.findall(r"^\| `", page, flags=re.MULTILINE)) == len(COLUMNS)
