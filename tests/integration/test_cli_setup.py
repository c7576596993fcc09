"""From an empty folder to a meter that can buy, by the commands that a person types."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.vending.sts import luhn_digit

TARIFF = """\
tariff: DOM-E
title: Domestic electricity
commodity: electricity
currency: KES
price: "20.00"
tax: {name: VAT, percent: "16"}
"""
HEADING = (
    "meter,commodity,customer_number,customer_name,address,tariff,installed_on,sgc,krn,"
    "medium,address_on_medium,driver\n"
)

Run = Callable[..., tuple[int, str, str]]


def drn(serial: int) -> str:
    digits = f"07{serial:08d}"
    return digits + luhn_digit(digits)


def line(serial: int, **changes: str) -> str:
    values = {
        "meter": drn(serial),
        "commodity": "electricity",
        "customer_number": f"C-{serial}",
        "customer_name": f"Customer {serial}",
        "address": f"Road {serial}",
        "tariff": "DOM-E",
        "installed_on": "2025-03-01",
        "sgc": "600001",
        "krn": "1",
        "medium": "nbiot",
        "address_on_medium": f"ep-{serial}",
        "driver": "slotmeter_virtual",
    }
    return ",".join({**values, **changes}.values()) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the test's data folder; returns exit code, output and errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data", str(folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a utility, a tariff and a vending key, made once and copied."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "tariff.yaml").write_text(TARIFF)
    data = str(folder / "data")
    for arguments in (
        ("init", "--utility-name", "Ukweli Power"),
        ("tariff", "add", str(folder / "tariff.yaml")),
        ("vending-key", "add", "--sgc", "600001", "--krn", "1", "--generate"),
    ):
        assert main([*arguments, "--data", data]) == EXIT_OK
    return folder


@pytest.fixture
def ready(run: Run, folder: Path, tmp_path: Path, prepared: Path) -> Run:
    """Like ``run``, on a folder with a utility, a tariff and a vending key."""
    shutil.copytree(prepared / "data", folder)
    shutil.copy(prepared / "tariff.yaml", tmp_path)
    return run


def rows_of(folder: Path, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608  a name from this file


def import_file(run: Run, tmp_path: Path, *lines: str, options: tuple[str, ...] = ()) -> Any:
    path = tmp_path / "meters.csv"
    path.write_text(HEADING + "".join(lines))
    code, out, err = run("import", "meters", str(path), "--json", *options)
    return code, json.loads(out) if out else None, err


# --- init ---------------------------------------------------------------------------------------


def test_init_makes_a_folder_that_only_its_owner_can_read(run: Run, folder: Path) -> None:
    code, _, _ = run("init", "--utility-name", "Ukweli Power")

    assert code == EXIT_OK
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("dashboards.key", "master.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_init_prints_the_administrators_key_and_keeps_only_its_hash(run: Run, folder: Path) -> None:
    _, out, _ = run("init", "--utility-name", "Ukweli Power")

    key = out.strip().splitlines()[-1]
    assert key.startswith("smk_")
    assert key.encode() not in (folder / "slotmeter.db").read_bytes()


def test_the_administrators_key_can_go_to_a_file_instead(run: Run, tmp_path: Path) -> None:
    key_file = tmp_path / "admin.key"

    _, out, _ = run("init", "--utility-name", "Ukweli", "--admin-key-file", str(key_file))

    assert "smk_" not in out
    assert key_file.read_text().startswith("smk_")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_the_settings_that_init_writes_are_settings_that_serve_reads(
    run: Run, folder: Path
) -> None:
    from slotmeter.config import load

    run("init", "--utility-name", "Ukweli", "--http-port", "9001", "--no-dashboards")

    config = load(folder / "slotmeter.toml")
    assert config.data.folder.resolve() == folder.resolve()
    assert config.http.port == 9001
    assert config.dashboards.enabled is False
    assert config.dashboards_key_path.read_text().startswith("smk_")
    assert [entry.medium for entry in config.entries] == ["nbiot"]


def test_a_second_init_leaves_the_folder_alone(run: Run, folder: Path) -> None:
    run("init", "--utility-name", "Ukweli Power")

    code, _, err = run("init", "--utility-name", "Another")

    assert code == EXIT_FAILED
    assert "utility_exists" in err
    assert [row["name"] for row in rows_of(folder, "utility")] == ["Ukweli Power"]


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--currency", "shilling", "bad_currency"),
        ("--time-zone", "Mars/Olympus", "unknown_time_zone"),
        ("--code", "Has Spaces", "bad_code"),
        ("--utility-name", " ", "bad_name"),
    ],
)
def test_init_refuses_what_cannot_be(run: Run, option: str, value: str, code: str) -> None:
    exit_code, _, err = run("init", "--utility-name", "Ukweli", option, value)

    assert exit_code == EXIT_UNUSABLE
    assert code in err


def test_a_data_folder_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")

    code = main(["init", "--utility-name", "Ukweli", "--data", str(tmp_path / "file" / "data")])

    err = capsys.readouterr().err
    assert code == EXIT_UNUSABLE
    assert "data_folder_not_writable" in err
    assert "--data" in err


def test_a_database_of_a_newer_version_is_left_alone(ready: Run, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    code, _, err = ready("ledger", "verify")

    assert code == EXIT_UNUSABLE
    assert "database_newer" in err


def test_a_file_that_is_no_database_is_named(folder: Path, run: Run) -> None:
    folder.mkdir()
    (folder / "slotmeter.db").write_bytes(os.urandom(4096))

    code, _, err = run("ledger", "verify")

    assert code == EXIT_UNUSABLE
    assert "database_unusable" in err


def test_what_a_command_makes_in_a_folder_is_its_owners_only(folder: Path, run: Run) -> None:
    folder.mkdir(mode=0o755)
    umask = os.umask(0o022)
    try:
        run("init", "--utility-name", "Town")
        found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}
        umask_after = os.umask(0o022)
    finally:
        os.umask(umask)

    assert {"slotmeter.db", "master.key", "slotmeter.toml"} <= found.keys()
    assert set(found.values()) == {0o600}
    assert umask_after == 0o022


def test_a_database_that_others_could_read_is_closed_to_them(ready: Run, folder: Path) -> None:
    path = folder / "slotmeter.db"
    path.chmod(0o644)

    ready("ledger", "verify")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- tariffs, keys, policy ------------------------------------------------------------------------


def test_the_same_tariff_again_makes_no_new_version(ready: Run, tmp_path: Path) -> None:
    _, out, _ = ready("tariff", "add", str(tmp_path / "tariff.yaml"), "--json")

    assert json.loads(out) == {"tariff": "DOM-E", "version": 1, "new": False}


def test_a_changed_tariff_is_the_next_version(ready: Run, tmp_path: Path) -> None:
    path = tmp_path / "tariff.yaml"
    path.write_text(TARIFF.replace("20.00", "21.00"))

    _, out, _ = ready("tariff", "add", str(path), "--json")

    assert json.loads(out)["version"] == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (TARIFF.replace("KES", "USD"), "wrong_currency"),
        (TARIFF.replace('"20.00"', "cheap"), "tariff_invalid"),
        (TARIFF.replace("electricity\ncurrency", "water\ncurrency"), "commodity_changed"),
        ("- a list", "tariff_invalid"),
        ("a: [", "tariff_invalid"),
    ],
)
def test_a_tariff_that_cannot_be_is_refused(
    ready: Run, tmp_path: Path, text: str, code: str
) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(text)

    exit_code, _, err = ready("tariff", "add", str(path))

    assert exit_code == EXIT_UNUSABLE
    assert code in err


def test_a_version_cannot_start_before_the_one_in_force(ready: Run, tmp_path: Path) -> None:
    path = tmp_path / "tariff.yaml"
    path.write_text(TARIFF.replace("20.00", "21.00"))

    code, _, err = ready("tariff", "add", str(path), "--valid-from", "2020-01-01")

    assert code == EXIT_UNUSABLE
    assert "version_out_of_order" in err


def test_a_vending_key_is_never_printed_or_stored_in_clear(
    ready: Run, folder: Path, tmp_path: Path
) -> None:
    key = "0123456789abcdeffedcba98765432100f1e2d3c"
    (tmp_path / "key").write_text(key + "\n")

    code, out, err = ready(
        *("vending-key", "add", "--sgc", "600009", "--krn", "1"),
        *("--key-file", str(tmp_path / "key")),
    )

    assert code == EXIT_OK
    assert "check value" in out
    assert key not in (out + err).lower()
    stored = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert key.encode() not in stored.lower()
    assert bytes.fromhex(key) not in stored


@pytest.mark.parametrize("text", ["xyz", "0123", ""])
def test_a_key_file_that_holds_no_key_is_refused_without_showing_it(
    ready: Run, tmp_path: Path, text: str
) -> None:
    (tmp_path / "key").write_text(text)

    code, out, err = ready(
        *("vending-key", "add", "--sgc", "600009", "--krn", "1"),
        *("--key-file", str(tmp_path / "key")),
    )

    assert code == EXIT_UNUSABLE
    assert out == ""
    assert not text or text not in err.replace(str(tmp_path), "")


def test_a_policy_is_checked_and_kept(ready: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('cuts_per_hour: 3\nholidays: ["2026-12-25"]\n')

    assert ready("utility", "policy", "--file", str(path))[0] == EXIT_OK

    _, out, _ = ready("utility", "policy")
    assert json.loads(out) == {"cuts_per_hour": 3, "holidays": ["2026-12-25"]}


def test_a_policy_with_an_unknown_rule_is_refused(ready: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("cut_everybody: true\n")

    code, _, err = ready("utility", "policy", "--file", str(path))

    assert code == EXIT_UNUSABLE
    assert "policy_invalid" in err


# --- import ---------------------------------------------------------------------------------------


def test_good_rows_become_meters_with_all_that_belongs_to_them(
    ready: Run, folder: Path, tmp_path: Path
) -> None:
    code, result, _ = import_file(ready, tmp_path, line(1), line(2))

    assert code == EXIT_OK
    assert (result["added"], result["bad_rows"]) == (2, 0)
    for table in ("meter", "customer", "account", "supply_point", "installation", "device"):
        assert len(rows_of(folder, table)) == 2, table
    assert {row["key_id"] for row in rows_of(folder, "meter")} == {"600001-1"}


def test_one_bad_row_keeps_all_out(ready: Run, folder: Path, tmp_path: Path) -> None:
    code, result, _ = import_file(ready, tmp_path, line(1), line(2, installed_on="2025-02-30"))

    assert code == EXIT_UNUSABLE
    assert [(each["row"], each["field"]) for each in result["problems"]] == [(3, "installed_on")]
    assert rows_of(folder, "meter") == []
    assert rows_of(folder, "customer") == []


def test_accept_good_takes_the_good_rows_and_exits_1(
    ready: Run, folder: Path, tmp_path: Path
) -> None:
    code, result, _ = import_file(
        ready, tmp_path, line(1), line(2, tariff="NONE"), options=("--accept-good",)
    )

    assert code == EXIT_FAILED
    assert (result["added"], result["bad_rows"]) == (1, 1)
    assert [row["number"] for row in rows_of(folder, "meter")] == [drn(1)]


def test_the_same_file_again_changes_nothing(ready: Run, folder: Path, tmp_path: Path) -> None:
    import_file(ready, tmp_path, line(1), line(2))
    before = {table: rows_of(folder, table) for table in ("meter", "customer", "act")}

    code, result, _ = import_file(ready, tmp_path, line(1), line(2))

    assert code == EXIT_OK
    assert (result["added"], result["already_there"]) == (0, 2)
    assert {table: rows_of(folder, table) for table in before} == before


def test_an_import_that_was_cut_short_is_finished_by_repeating_it(
    ready: Run, folder: Path, tmp_path: Path
) -> None:
    import_file(ready, tmp_path, line(1))

    _, result, _ = import_file(ready, tmp_path, line(1), line(2), line(3))

    assert (result["added"], result["already_there"]) == (2, 1)
    assert len(rows_of(folder, "meter")) == 3


def test_check_only_writes_nothing(ready: Run, folder: Path, tmp_path: Path) -> None:
    code, _, _ = import_file(ready, tmp_path, line(1), options=("--check-only",))

    assert code == EXIT_OK
    assert rows_of(folder, "meter") == []


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"tariff": "NONE"}, "tariff", "unknown_tariff"),
        ({"commodity": "water"}, "tariff", "wrong_tariff"),
        ({"sgc": "600099"}, "sgc", "vending_key_unknown"),
        ({"krn": "2"}, "sgc", "vending_key_unknown"),
        ({"driver": "nobody"}, "driver", "unknown_driver"),
        ({"medium": "pigeon"}, "medium", "wrong_medium"),
        ({"address_on_medium": "ep-1"}, "address_on_medium", "device_taken"),
        ({"customer_number": "C-1"}, "customer_name", "customer_differs"),
        ({"meter": drn(1)}, "customer_number", "meter_differs"),
    ],
)
def test_what_only_the_database_knows_is_checked_too(
    ready: Run, tmp_path: Path, changes: dict[str, str], field: str, code: str
) -> None:
    import_file(ready, tmp_path, line(1))

    _, result, _ = import_file(ready, tmp_path, line(2, **changes))

    assert [(each["field"], each["code"]) for each in result["problems"]] == [(field, code)]


def test_a_key_of_another_kind_than_the_rows_is_named(ready: Run, tmp_path: Path) -> None:
    path = tmp_path / "meters.csv"
    path.write_text(HEADING.strip() + ",kt\n" + line(1).strip() + ",1\n")

    code, _, err = ready("import", "meters", str(path))

    assert code == EXIT_UNUSABLE
    assert "row 2, kt: the vending key of sgc 600001 krn 1 has 2, the row 1" in err


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [("table_set", "prodution", "table_set: there is no"), ("ken", "1", "the vending key expired")],
)
def test_what_would_fail_every_sale_of_a_meter_is_named_before_it_comes_in(
    ready: Run, tmp_path: Path, column: str, value: str, named: str
) -> None:
    path = tmp_path / "meters.csv"
    path.write_text(f"{HEADING.strip()},{column}\n{line(1).strip()},{value}\n")

    code, _, err = ready("import", "meters", str(path))

    assert (code, named in err) == (EXIT_UNUSABLE, True)


def test_a_file_that_is_not_there_is_named(ready: Run) -> None:
    code, _, err = ready("import", "meters", "nowhere.csv")

    assert code == EXIT_UNUSABLE
    assert "nowhere.csv cannot be read" in err


def test_many_rows_come_in_several_units(ready: Run, folder: Path, tmp_path: Path) -> None:
    _, result, _ = import_file(ready, tmp_path, *(line(serial) for serial in range(1, 451)))

    assert result["added"] == 450
    assert len([row for row in rows_of(folder, "act") if row["what"] == "meter.import"]) == 3


# --- ledger ---------------------------------------------------------------------------------------


def test_an_untouched_ledger_holds(ready: Run) -> None:
    code, out, _ = ready("ledger", "verify", "--json")

    assert code == EXIT_OK
    assert json.loads(out)["holds"] is True


def test_a_balance_that_nothing_was_posted_to_is_named_with_exit_code_1(
    ready: Run, folder: Path
) -> None:
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection, connection:
        connection.execute(
            "INSERT INTO ledger_account SELECT 1, id, 'till:x', 'asset', 'KES', 500, 0, NULL "
            "FROM utility"
        )

    code, out, _ = ready("ledger", "verify")

    assert code == EXIT_FAILED
    assert "BROKEN  every balance is the sum of its postings" in out
    assert "till:x: expected 0, found 500" in out
