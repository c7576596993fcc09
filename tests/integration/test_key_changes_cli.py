"""Keys of meters on the command line: one command issues a set, a few run a campaign."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, main
from slotmeter.testing.office_folder import make_office_folder
from slotmeter.testing.small_utility import meter_number

Run = Callable[..., tuple[int, str, str]]
METERS = (
    "meter,commodity,credit_mode,customer_number,customer_name,phone,address,area,tariff,"
    "installed_on,sgc,krn,ti,kt,base_date\n"
    "{three},electricity,meter,C-3,Faith Wanjiru,,Road 3,North/A,DOM-E,2025-03-01,{coded}\n"
    "{four},electricity,meter,C-4,Hassan Ali,,Road 4,South/B,DOM-E,2025-03-01,{coded}\n"
)
METER = meter_number(3)


@pytest.fixture(scope="session")
def keyed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An office's folder with two vending keys and two meters on the first, made once."""
    folder = tmp_path_factory.mktemp("keys")
    data = make_office_folder(folder)
    at = ("--data", str(data))
    meters = METERS.format(three=METER, four=meter_number(4), coded="600727,1,1,2,2014")
    (folder / "keyed.csv").write_text(meters)
    made = [
        *(
            main(["vending-key", "add", "--sgc", "600727", "--krn", krn, "--generate", *at])
            for krn in "12"
        ),
        main(["import", "meters", str(folder / "keyed.csv"), *at]),
    ]
    assert made == [EXIT_OK] * 3
    return data


@pytest.fixture
def run(keyed_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, as somebody if ``who`` is given; returns exit code, output and errors."""
    folder = tmp_path / "data"
    shutil.copytree(keyed_folder, folder)
    capsys.readouterr()

    def command(*arguments: str, who: str = "") -> tuple[int, str, str]:
        acting = ("--key-file", str(folder / f"{who}.key"), "--reason", "test") if who else ()
        code = main([*arguments, *acting, "--data", str(folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_one_command_issues_the_set_and_another_ends_the_change(run: Run) -> None:
    plan = run("key-change", "plan", METER, "--to", "600727-2")
    code, out, _ = run("key-change", "issue", METER, "--to", "600727-2", "--json", who="boss")
    made = json.loads(out)
    declared = run("key-change", "declare", str(made["id"]), who="boss")
    listed = run("key-change", "list", "--meter", METER)

    assert "krn: 1 -> 2" in plan[1]
    assert code == EXIT_OK
    assert [len(token["digits"]) for token in made["tokens"]] == [20, 20]
    assert "proven by declared" in declared[1]
    assert f"{METER}  600727-1 -> 600727-2  proven by declared" in listed[1]


def test_a_set_with_the_next_sale_is_asked_for_and_taken_back(run: Run) -> None:
    asked = run("key-change", "issue", METER, "--to", "600727-2", "--with-sale", who="boss")
    assert asked[1] == f"the next sale to meter {METER} makes its key change tokens\n"
    assert run("key-change", "forget", METER, who="boss")[0] == EXIT_OK
    assert run("key-change", "forget", METER, who="boss")[0] != EXIT_OK


def test_who_lacks_the_right_gets_no_set(run: Run) -> None:
    code, out, err = run("key-change", "issue", METER, "--to", "600727-2", who="till")
    assert (code, out) == (EXIT_FAILED, "")
    assert "right_missing" in err


def test_a_campaign_writes_the_sets_of_its_meters(run: Run, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.txt"
    numbers.write_text(f"{METER}\n{meter_number(4)}\n{meter_number(9)}\n")
    out = tmp_path / "sets.csv"

    steps = [
        run("key-campaign", "begin", "krn2", "--to", "600727-2", who="boss"),
        run("key-campaign", "select", "krn2", "--file", str(numbers), who="boss"),
        run("key-campaign", "run", "krn2", who="boss"),
        run("key-campaign", "sets", "krn2", "--out", str(out), who="boss"),
        run("key-campaign", "show", "krn2"),
        run("key-campaign", "meters", "krn2"),
        run("key-campaign", "unused", "krn2"),
        run("key-campaign", "close", "krn2", who="boss"),
    ]

    assert [code for code, _, _ in steps] == [EXIT_OK] * len(steps)
    assert f"{meter_number(9)} is no meter with a key" in steps[1][2]
    assert steps[4][1] == "2 meters: waiting 2\n"
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert {row["meter"] for row in rows} == {METER, meter_number(4)}
    assert out.stat().st_mode & 0o077 == 0


def test_a_management_token_is_made_once_for_each_request(run: Run) -> None:
    asked = ("token", "make", METER, "power_limit", "--value", "5000", "--request-id", "p1")
    first = run(*asked, who="boss")
    again = run(*asked, who="boss")
    assert first[0] == EXIT_OK
    assert len(first[1].replace(" ", "").strip()) == 20
    assert again[1] == first[1]


def test_a_token_of_a_set_is_traced_to_who_made_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, _ = run("key-change", "issue", METER, "--to", "600727-2", "--json", who="boss")
    made = json.loads(out)
    monkeypatch.setattr("sys.stdin", io.StringIO(made["tokens"][0]["digits"] + "\n"))

    code, said, _ = run("audit", "trace", who="boss")

    assert code == EXIT_OK
    assert f"for meter {METER}: key_change" in said
    assert "made for  boss at" in said
    assert f"belongs   to key change {made['id']}" in said
