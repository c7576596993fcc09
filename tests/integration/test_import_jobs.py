"""Imports that stop and go on, files that were cut, and the report of what was wrong."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.cli.data_folder import open_folder
from slotmeter.errors import Conflict
from slotmeter.services.driver_packs import load_drivers
from slotmeter.services.import_jobs import FileToImport, ImportJobs
from slotmeter.services.meter_file import read_meter_file
from slotmeter.services.meter_import import BATCH_ROWS, MeterImport
from slotmeter.storage.data_files import DATABASE_FILE
from slotmeter.testing.office_folder import OFFICE_TARIFF
from slotmeter.testing.small_utility import meter_number

ROWS = 2 * BATCH_ROWS + 50
HEADING = (
    "meter,commodity,credit_mode,customer_number,customer_name,tariff,installed_on,medium,"
    "address_on_medium,driver,address\n"
)


class Stopped(Exception):
    """Somebody pulled the plug."""


def lines(count: int = ROWS, first: int = 1) -> str:
    return HEADING + "".join(
        f"{meter_number(serial)},electricity,platform,C-{serial},Amina Otieno,DOM-E,2025-03-01,"
        f"nbiot,ep-{serial},slotmeter_virtual,Road {serial}\n"
        for serial in range(first, first + count)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (tmp_path / "tariff.yaml").write_text(OFFICE_TARIFF)
    main(["init", "--utility-name", "Mji", "--no-dashboards", "--data", str(data)])
    main(["tariff", "add", str(tmp_path / "tariff.yaml"), "--data", str(data)])
    return data


def do_import(folder: Path, text: str | bytes, *more: str) -> int:
    file = folder.parent / "meters.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return main(["import", "meters", str(file), "--data", str(folder), *more])


def count_of(folder: Path, what: str) -> list[Any]:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        return connection.execute(what).fetchall()


def stop_after_first_batch(_done: int) -> None:
    raise Stopped


async def write(folder: Path, text: str, progress: Callable[[int], None]) -> None:
    """Import as the command does, and stop where ``progress`` says."""
    async with open_folder(folder) as opened, opened.keys() as keys:
        utility = await opened.registry.utility(None)
        today = opened.clock.now().date()
        file = read_meter_file(text.encode(), currency="KES", today=today)
        jobs = ImportJobs(opened.database, opened.clock, utility.id)
        wanted = FileToImport("meters", "meters.csv", text.encode(), file.rows_read)
        job = await jobs.begin(opened.origin, wanted, reason="test")
        importing = MeterImport(
            opened.database, opened.clock, utility, keys=keys, drivers=load_drivers()
        )
        await importing.add(opened.origin, file.rows, reason="test", job=job, progress=progress)


def test_an_import_that_stopped_goes_on_where_it_was(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Stopped):
        asyncio.run(write(folder, lines(), stop_after_first_batch))
    stopped = count_of(folder, "SELECT count(*) FROM meter")
    capsys.readouterr()

    code = do_import(folder, lines(), "--json")

    said = capsys.readouterr()
    assert stopped == [(BATCH_ROWS,)]
    assert code == EXIT_OK
    assert f"going on after row {BATCH_ROWS + 1}," in said.err
    assert json.loads(said.out)["added"] == ROWS - BATCH_ROWS
    assert count_of(folder, "SELECT count(*) FROM meter") == [(ROWS,)]
    assert count_of(folder, "SELECT state, added, row_done FROM import_job") == [
        ("done", ROWS, ROWS + 1)
    ]


def test_two_who_import_one_file_at_once_do_not_both_write_it(folder: Path) -> None:
    with pytest.raises(Stopped):
        asyncio.run(write(folder, lines(), stop_after_first_batch))

    with pytest.raises(Conflict) as caught:
        asyncio.run(write_from_the_start(folder, lines()))

    assert caught.value.code == "changed_meanwhile"


async def write_from_the_start(folder: Path, text: str) -> None:
    async with open_folder(folder) as opened, opened.keys() as keys:
        utility = await opened.registry.utility(None)
        file = read_meter_file(text.encode(), currency="KES", today=opened.clock.now().date())
        wanted = FileToImport("meters", "meters.csv", text.encode(), file.rows_read)
        jobs = ImportJobs(opened.database, opened.clock, utility.id)
        job = await jobs.begin(opened.origin, wanted, reason="test")
        importing = MeterImport(
            opened.database, opened.clock, utility, keys=keys, drivers=load_drivers()
        )
        await importing.add(opened.origin, file.rows, reason="test", job=job.at(0))


def test_an_import_that_ended_is_looked_at_anew(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    do_import(folder, lines(3))
    capsys.readouterr()

    assert do_import(folder, lines(3), "--json") == EXIT_OK
    assert json.loads(capsys.readouterr().out)["already_there"] == 3


def test_a_file_cut_within_a_row_is_refused_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = lines(5)[:-40]

    assert do_import(folder, cut) == EXIT_UNUSABLE
    said = capsys.readouterr().err
    assert "was it cut? Take it whole (row_cut)" in said
    assert count_of(folder, "SELECT count(*) FROM meter") == [(0,)]


def test_the_good_rows_of_a_cut_file_and_then_the_whole_file_make_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do_import(folder, lines(5)[:-40], "--accept-good") == EXIT_FAILED
    assert count_of(folder, "SELECT count(*) FROM meter") == [(4,)]
    capsys.readouterr()

    assert do_import(folder, lines(5), "--json") == EXIT_OK
    said = json.loads(capsys.readouterr().out)
    assert (said["added"], said["already_there"]) == (1, 4)


def test_a_file_of_fewer_rows_than_said_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do_import(folder, lines(4), "--rows", "5") == EXIT_UNUSABLE
    assert "file_incomplete" in capsys.readouterr().err
    assert count_of(folder, "SELECT count(*) FROM meter") == [(0,)]


@pytest.mark.parametrize(
    "text",
    [
        (lines(2) + '"' + meter_number(9)).encode(),
        lines(2).encode() + "Ü".encode()[:1],
    ],
)
def test_a_file_cut_within_a_cell_or_a_character_is_refused(
    folder: Path, text: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do_import(folder, text) == EXIT_UNUSABLE
    assert "file_cut" in capsys.readouterr().err


def test_a_file_without_a_last_line_break_is_taken_and_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do_import(folder, lines(2).rstrip("\n")) == EXIT_OK
    assert "does not end with a line break" in capsys.readouterr().err


def test_every_problem_of_an_import_can_be_had_as_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = lines(4).replace("DOM-E", "NONE", 2)
    do_import(folder, text, "--accept-good")
    capsys.readouterr()
    main(["import", "list", "--json", "--data", str(folder)])
    [job] = json.loads(capsys.readouterr().out)["items"]

    code = main(["import", "problems", str(job["id"]), "--data", str(folder)])

    said = capsys.readouterr().out.splitlines()
    assert code == EXIT_OK
    assert (job["rows"], job["added"], job["bad_rows"], job["state"]) == (4, 2, 2, "done")
    assert said[0] == "row,field,code,reason"
    assert [line.split(",")[:3] for line in said[1:]] == [
        ["2", "tariff", "unknown_tariff"],
        ["3", "tariff", "unknown_tariff"],
    ]


def test_an_import_that_nobody_made_is_not_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "problems", "999999", "--data", str(folder)]) == EXIT_FAILED
    assert "import_unknown" in capsys.readouterr().err
