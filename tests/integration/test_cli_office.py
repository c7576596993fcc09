"""The office on the command line: tariffs with two people, classes, free units, and their files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.testing.office_folder import OFFICE_TARIFF, make_office_folder
from slotmeter.testing.small_utility import meter_number

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def office_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two accounts, a clerk and a boss with keys, made once and copied."""
    return make_office_folder(tmp_path_factory.mktemp("office"))


@pytest.fixture
def run(office_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, as somebody if ``who`` is given; returns exit code, output and errors."""
    folder = tmp_path / "data"
    shutil.copytree(office_folder, folder)
    capsys.readouterr()

    def command(*arguments: str, who: str = "") -> tuple[int, str, str]:
        acting = ("--key-file", str(folder / f"{who}.key"), "--reason", "test") if who else ()
        code = main([*arguments, *acting, "--data", str(folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def cheaper(tmp_path: Path) -> str:
    """A file with the same tariff at a lower price."""
    path = tmp_path / "cheaper.yaml"
    path.write_text(OFFICE_TARIFF.replace("price: 20", "price: 18.50"))
    return str(path)


def drafted(run: Run, file: str) -> str:
    code, out, _ = run("tariff", "draft", file, "--json", who="clerk")
    assert code == EXIT_OK
    return str(json.loads(out)["draft"])


# --- tariffs --------------------------------------------------------------------------------------


def test_two_people_bring_a_new_version_into_force(run: Run, cheaper: str) -> None:
    draft = drafted(run, cheaper)
    submitted = run("tariff", "submit", draft, who="clerk")
    approved = run("tariff", "approve", draft, who="boss")
    _, shown, _ = run("tariff", "show", "DOM-E")

    assert (submitted[0], approved[0]) == (EXIT_OK, EXIT_OK)
    assert "is version 2, in force from" in approved[1]
    assert "price: 18.50" in shown


def test_one_person_does_not(run: Run, cheaper: str) -> None:
    _, out, _ = run("tariff", "draft", cheaper, "--json", who="boss")
    draft = str(json.loads(out)["draft"])
    run("tariff", "submit", draft, who="boss")

    code, _, err = run("tariff", "approve", draft, who="boss")

    assert code == EXIT_FAILED
    assert "second_person_needed" in err


def test_a_key_without_the_right_does_not(run: Run, cheaper: str) -> None:
    code, _, err = run("tariff", "draft", cheaper, who="till")

    assert code == EXIT_FAILED
    assert "right_missing" in err


def test_the_diff_of_a_file_names_the_price(run: Run, cheaper: str) -> None:
    code, out, _ = run("tariff", "diff", cheaper)

    assert code == EXIT_OK
    assert "energy.price: 20 -> 18.50" in out


def test_a_file_with_mistakes_is_not_drafted_and_each_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(
        OFFICE_TARIFF.replace("price: 20", "price: cheap").replace("percent: 16", "percent: x")
    )

    code, _, err = run("tariff", "draft", str(path), who="clerk")

    assert code == EXIT_UNUSABLE
    assert "broken.yaml:5:" in err
    assert "broken.yaml:6:" in err


def test_a_rejected_draft_says_so(run: Run, cheaper: str) -> None:
    draft = drafted(run, cheaper)
    run("tariff", "submit", draft, who="clerk")
    run("tariff", "reject", draft, who="boss")

    _, out, _ = run("tariff", "drafts")

    assert "rejected by boss" in out


def test_a_scheduled_version_is_taken_back(run: Run, cheaper: str) -> None:
    draft = drafted(run, cheaper)
    run("tariff", "submit", draft, who="clerk")
    run("tariff", "approve", draft, "--valid-from", "2099-01-01", who="boss")

    back = ("tariff", "withdraw", "--tariff", "DOM-E", "--version", "2")
    code, out, _ = run(*back, who="boss")
    again, _, err = run(*back, who="boss")

    assert (code, again) == (EXIT_OK, EXIT_FAILED)
    assert "never took effect" in out
    assert "version_withdrawn" in err


def test_the_list_shows_what_is_in_force(run: Run) -> None:
    _, out, _ = run("tariff", "list", "--json")

    assert [(each["tariff"], each["version"]) for each in json.loads(out)] == [("DOM-E", 1)]


def test_a_utility_gets_its_tax_number_before_tax_invoices_go_live(run: Run, cheaper: str) -> None:
    draft = drafted(run, cheaper)
    run("tariff", "submit", draft, who="clerk")
    run("utility", "particulars", "--tax-number", "")
    without, _, err = run("tariff", "approve", draft, who="boss")
    run("utility", "particulars", "--tax-number", "P051234567X")

    approved, _, _ = run("tariff", "approve", draft, who="boss")

    assert (without, approved) == (EXIT_UNUSABLE, EXIT_OK)
    assert "tax_number_missing" in err


# --- classes --------------------------------------------------------------------------------------


def test_an_account_gets_a_class(run: Run) -> None:
    run("class", "add", "shop", "--title", "Shops", who="clerk")
    code, _, _ = run("class", "set", "C-1", "shop", who="clerk")
    _, out, _ = run("class", "show", "C-1", "--json")

    assert code == EXIT_OK
    assert [each["class"] for each in json.loads(out)] == ["shop"]


def test_a_file_of_classes_is_written_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    run("class", "add", "shop", "--title", "Shops", who="clerk")
    path = tmp_path / "classes.csv"
    path.write_text(
        "account,class,from\nC-1,shop,\nC-9,shop,\nC-2,castle,\nC-2,shop,2020-01-01\nC-2,shop,soon\n"
    )

    code, _, err = run("class", "import", str(path), who="clerk")
    _, shown, _ = run("class", "show", "C-1", "--json")

    assert code == EXIT_UNUSABLE
    assert [line.split(",")[0] for line in err.splitlines()] == [
        "row 3",
        "row 4",
        "row 5",
        "row 6",
    ]
    assert json.loads(shown) == []


def test_a_file_given_twice_changes_nothing_the_second_time(run: Run, tmp_path: Path) -> None:
    run("class", "add", "shop", "--title", "Shops", who="clerk")
    path = tmp_path / "classes.csv"
    path.write_text("account,class\nC-1,shop\nC-2,shop\n")

    first = run("class", "import", str(path), who="clerk")
    second = run("class", "import", str(path), who="clerk")

    assert "written: 2" in first[1]
    assert "written: 0, 2 already there" in second[1]


def test_a_review_changes_nothing_unless_told_to(run: Run, tmp_path: Path) -> None:
    run("class", "add", "small", "--title", "Small", who="clerk")
    path = tmp_path / "rules.yaml"
    path.write_text("commodity: electricity\nmonths: 1\nrules: [{class: small}]\n")

    code, out, _ = run("class", "review", str(path), who="clerk")
    _, shown, _ = run("class", "show", "C-1", "--json")

    assert code == EXIT_OK
    assert "2 accounts" in out
    assert json.loads(shown) == []


# --- free units -----------------------------------------------------------------------------------


def test_a_household_is_registered_listed_and_reminded(run: Run) -> None:
    registering = ("free-units", "register", "C-1", "fbe", "--evidence", "list 7")
    code, _, _ = run(*registering, who="clerk")
    _, listed, _ = run("free-units", "list", "--in-force", "--json")
    _, missing, _ = run("free-units", "not-collected")

    assert code == EXIT_OK
    assert [(each["account"], each["by"]) for each in json.loads(listed)] == [("C-1", "clerk")]
    assert missing.splitlines()[1].startswith("C-1,Amina Otieno,+254700000001,fbe,")


def test_an_ended_registration_no_longer_counts(run: Run) -> None:
    registering = ("free-units", "register", "C-1", "fbe", "--evidence", "list 7", "--json")
    _, out, _ = run(*registering, who="clerk")
    run("free-units", "end", str(json.loads(out)["registration"]), who="clerk")

    _, listed, _ = run("free-units", "list", "--in-force", "--json")

    assert json.loads(listed) == []


def test_a_file_of_registrations_names_every_bad_row(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "free.csv"
    path.write_text(
        "account,code,from,until,evidence\n"
        "C-1,fbe,2026-11-01,2027-11-01,list 7\n"
        "C-2,fbe,2026-11-01,2026-10-01,list 7\n"
        "C-7,fbe,2026-11-01,,list 7\n"
        "C-2,fbe,2026-11-01,,\n"
    )

    code, out, err = run("free-units", "import", str(path), "--accept-good", who="clerk")

    assert code == EXIT_FAILED
    assert "ends_before_it_begins" in err
    assert "account_unknown" in err
    assert "row 5, evidence" in err
    assert "written: 1" in out


def test_a_registration_that_was_ended_is_made_again_by_the_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "free.csv"
    path.write_text("account,code,from,until,evidence\nC-1,fbe,2026-11-01,,list 7\n")
    run("free-units", "import", str(path), who="clerk")
    _, repeated, _ = run("free-units", "import", str(path), who="clerk")
    _, listed, _ = run("free-units", "list", "--json")
    run("free-units", "end", str(json.loads(listed)[0]["registration"]), who="clerk")

    _, again, _ = run("free-units", "import", str(path), who="clerk")
    _, in_force, _ = run("free-units", "list", "--in-force", "--json")

    assert "written: 0" in repeated
    assert "written: 1" in again
    assert [each["account"] for each in json.loads(in_force)] == ["C-1"]


def test_a_template_is_a_file_that_can_be_checked(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["free-units", "template"]) == EXIT_OK
    assert capsys.readouterr().out.startswith("account,code,from,until,evidence\n")


def test_a_preview_of_a_month_without_sales_says_so(run: Run, cheaper: str) -> None:
    draft = drafted(run, cheaper)

    code, _, err = run("tariff", "preview", draft, who="clerk")

    assert code == EXIT_UNUSABLE
    assert "no_sales_to_preview" in err


def test_an_empty_database_has_nothing_that_differs(run: Run) -> None:
    code, out, _ = run("tariff", "reprice", "--verify", "--json")

    assert code == EXIT_OK
    assert (json.loads(out)["sales"], json.loads(out)["different"]) == (0, 0)


# --- terms ----------------------------------------------------------------------------------------


def test_an_account_is_switched_and_the_settlement_is_printed(run: Run) -> None:
    reading = ("--reading", f"{meter_number(1)}=12.5")
    code, slip, _ = run("account", "switch", "C-1", "postpaid", *reading, who="clerk")
    _, shown, _ = run("account", "terms", "C-1", "--json")

    assert code == EXIT_OK
    assert "SETTLEMENT" in slip
    assert "12.5 kWh" in slip
    assert json.loads(shown)["terms"] == "postpaid"


def test_a_switch_without_the_reading_of_a_meter_is_refused(run: Run) -> None:
    code, _, err = run("account", "switch", "C-1", "postpaid", who="clerk")

    assert code == EXIT_UNUSABLE
    assert "reading_missing" in err
