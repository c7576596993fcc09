"""``slotmeter conformance tariffs`` as a user meets it, and what no published case would notice."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import main
from slotmeter.tariff_packs import pack_texts
from slotmeter.vending.pricing.conformance import KINDS, Published, check_case
from slotmeter.vending.tariff.reader import read_tariff

FILE = Path(__file__).resolve().parents[1] / "vectors" / "tariffs.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text())
BY_HAND_FILE = FILE.with_name("tariffs-by-hand.json")
BY_HAND: dict[str, dict[str, Any]] = {
    entry["id"]: entry for entry in json.loads(BY_HAND_FILE.read_text())["tariffs"]
}
ENTRIES: dict[str, dict[str, Any]] = {entry["id"]: entry for entry in DOCUMENT["tariffs"]}
CASES = [(code, at) for code, entry in ENTRIES.items() for at in range(len(entry["cases"]))]

Run = Callable[..., tuple[int, str, str]]
Write = Callable[[object], Path]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call it with the arguments after ``conformance tariffs`` for exit code, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["conformance", "tariffs", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def vectors(tmp_path: Path) -> Write:
    """Call it with a document for a file that holds it."""

    def write(document: object) -> Path:
        path = tmp_path / "vectors.json"
        path.write_text(json.dumps(document))
        return path

    return write


def with_case(code: str = "zw-zetdc-stepped-2019-11", /, **changes: object) -> dict[str, Any]:
    """Return the published file with changes to the first case of a tariff; ... removes a key."""
    document = copy.deepcopy(DOCUMENT)
    case = next(entry for entry in document["tariffs"] if entry["id"] == code)["cases"][0]
    case.update(changes)
    for key in [key for key, value in case.items() if value is ...]:
        del case[key]
    return document


# --- published cases ------------------------------------------------------------------------------


def test_every_published_case_comes_out_to_the_cent_and_unit(run: Run) -> None:
    code, out, _ = run("--vectors", FILE)

    assert code == 0
    assert out.splitlines() == [
        "kind              passed  failed",
        "money_to_units        11       0",
        "units_to_money         9       0",
        "volume_to_energy       2       0",
        "money_split            3       0",
        "rate_with_vat          2       0",
        "",
        "27 passed, 0 failed",
    ]


def test_a_script_gets_the_same_as_json(run: Run) -> None:
    code, out, _ = run("--vectors", FILE, "--json")

    result = json.loads(out)
    assert code == 0
    assert (result["suite"], result["passed"], result["failed"]) == ("tariffs", 27, 0)
    assert result["kinds"]["money_split"] == {"passed": 3, "failed": 0}
    assert result["failures"] == result["unused_inputs"] == []


def test_the_published_cases_are_of_every_kind_but_measured_use() -> None:
    published = {ENTRIES[code]["cases"][at]["kind"] for code, at in CASES}

    assert set(KINDS) - published == {"use_to_money"}


def test_every_case_worked_out_by_hand_comes_out(run: Run) -> None:
    code, out, _ = run("--vectors", BY_HAND_FILE)

    assert code == 0
    assert out.splitlines()[-1] == "72 passed, 0 failed"
    assert "play no part" not in out


def other_digit(value: object) -> object:
    """Return a published number, or a list of them, that differs in its last digit."""
    if isinstance(value, list):
        return [*value[:-1], other_digit(value[-1])]
    assert isinstance(value, str)
    return value[:-1] + ("1" if value[-1] != "1" else "2")


@pytest.mark.parametrize(("code", "at"), CASES, ids=[f"{code}-{at + 1}" for code, at in CASES])
def test_one_other_digit_in_any_expectation_fails(code: str, at: int) -> None:
    published = Published(read_tariff(pack_texts()[code])[1], ENTRIES[code])
    case = ENTRIES[code]["cases"][at]

    for name, right in case["expect"].items():
        wrong = other_digit(right)
        changed = {**case, "expect": {**case["expect"], name: wrong}}
        if name == "corrected_m3":
            continue  # its number of decimals says how to round, so that it is covered by kwh
        differing = [
            (each.name, each.expected) for each in check_case(published, changed).differences
        ]
        assert differing == [(name, wrong)]


def test_the_first_differences_are_shown_with_what_came_out(run: Run, vectors: Write) -> None:
    document = with_case(expect={"units": "83"})

    code, out, _ = run("--vectors", vectors(document))

    assert code == 1
    assert "zw-zetdc-stepped-2019-11 case 1 (money_to_units)" in out
    assert "  units: expected 83\n" in out
    assert "got 82\n" in out
    assert out.splitlines()[-1] == "26 passed, 1 failed"


# --- what cannot be used --------------------------------------------------------------------------

SIMPLE = """\
tariff: xx-simple
title: Simple
commodity: electricity
currency: KES
energy: {price: 10}
"""


def only(**case: object) -> dict[str, Any]:
    """Return a file with one case of the tariff ``xx-simple``."""
    return {"tariffs": [{"id": "xx-simple", "cases": [case]}]}


@pytest.fixture
def simple(tmp_path: Path) -> Path:
    path = tmp_path / "simple.yaml"
    path.write_text(SIMPLE)
    return path


def test_a_tariff_given_as_a_file_is_used(run: Run, vectors: Write, simple: Path) -> None:
    document = only(kind="money_to_units", tender="25", expect={"units": "2.5"})

    assert run("--vectors", vectors(document), "--tariffs", simple)[0] == 0


def test_tariffs_of_a_folder_are_used(run: Run, vectors: Write, simple: Path) -> None:
    document = only(kind="money_to_units", tender="25", expect={"units": "2.5"})

    assert run("--vectors", vectors(document), "--tariffs", simple.parent)[0] == 0


def test_a_given_tariff_wins_over_the_one_that_comes_along(
    run: Run, vectors: Write, tmp_path: Path
) -> None:
    path = tmp_path / "dearer.yaml"
    path.write_text(pack_texts()["zw-zetdc-stepped-2019-11"].replace("0.41", "0.42"))

    assert run("--vectors", FILE, "--tariffs", path)[0] == 1


def test_a_case_without_its_tariff_ends_the_run(run: Run, vectors: Write) -> None:
    document = only(kind="money_to_units", tender="25", expect={"units": "2.5"})

    code, out, error = run("--vectors", vectors(document))

    assert (code, out) == (2, "")
    assert "xx-simple" in error
    assert "(tariff_missing)" in error


def test_two_files_for_one_tariff_end_the_run(
    run: Run, vectors: Write, simple: Path, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.yaml"
    twin.write_text(SIMPLE)

    code, _, error = run("--vectors", FILE, "--tariffs", simple, twin)

    assert code == 2
    assert "(tariff_twice)" in error


def test_a_tariff_that_cannot_be_read_is_named_with_its_line(run: Run, simple: Path) -> None:
    simple.write_text(SIMPLE.replace("price: 10", "prize: 10"))

    code, _, error = run("--vectors", FILE, "--tariffs", simple)

    assert code == 2
    assert str(simple) in error
    assert "line 5" in error


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "moon_phase"}, "case 1, kind: 'moon_phase' is not known"),
        ({"kind": ...}, "case 1, kind: None is not known"),
        ({"weather": "fine"}, "case 1, weather: it is not a known input"),
        ({"expect": {"sunshine": "1"}}, "case 1, expect.sunshine: it is neither"),
        ({"expect": {}}, "case 1, expect: expected results"),
        ({"expect": {"units": "many"}}, "case 1, expect.units: expected a number"),
        ({"expect": {"units": True}}, "case 1, expect.units: expected a number"),
        ({"tender": ...}, "case 1, tender: it is missing"),
        ({"tender": "fifty"}, "case 1, tender: expected an amount"),
        ({"tender": "50.005"}, "case 1, tender: ZWL has 2 decimals"),
        ({"prior_units": "much"}, "case 1, prior_units: expected a number"),
        ({"prior_units": "0.0001"}, "case 1, prior_units: 0.0001 is too precise"),
        ({"prior_units": ["0"]}, "case 1, prior_units: expected a text"),
        ({"fixed_due": "perhaps"}, "case 1, fixed_due: expected true or false"),
        ({"date": "soon"}, "case 1, date: expected a date"),
        ({"free_units_due": "50"}, "case 1, free_units_due: the tariff gives no 50 free units"),
        ({"connection": "15 mm"}, "case 1, connection: expected a connection of the tariff"),
        ({"class": "a", "customer_class": "b"}, "case 1, customer_class: class says the same"),
        ({"taken": "5"}, "case 1, taken: expected the amount of each charge by its name"),
        ({"taken": {"rent": "5"}}, "case 1, taken.rent: no charge of this name is open"),
        ({"kind": "use_to_money"}, "case 1, use: expected units by stretch of time"),
        ({"kind": "use_to_money", "use": {"today": "1"}}, "case 1, use: expected start/end"),
    ],
)
def test_a_case_that_cannot_be_run_ends_the_run_and_is_named(
    run: Run, vectors: Write, changes: dict[str, object], said: str
) -> None:
    code, out, error = run("--vectors", vectors(with_case(**changes)))

    assert (code, out) == (2, "")
    assert f"vector zw-zetdc-stepped-2019-11 {said}" in error


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], 'a list "tariffs"'),
        ({"tariffs": []}, "holds no cases"),
        ({"tariffs": [{"id": "xx-simple", "cases": []}]}, "holds no cases"),
        ({"tariffs": [{"cases": []}]}, "tariff number 1"),
        ({"tariffs": [{"id": "xx-simple"}]}, 'no list "cases"'),
        ({"tariffs": [{"id": "xx-simple", "cases": ["none"]}]}, "is not an object"),
        (
            {"tariffs": [{"id": "xx-simple", "cases": []}, {"id": "xx-simple", "cases": []}]},
            "once more",
        ),
    ],
)
def test_a_file_that_holds_no_cases_cannot_be_used(
    run: Run, vectors: Write, simple: Path, document: object, said: str
) -> None:
    code, out, error = run("--vectors", vectors(document), "--tariffs", simple)

    assert (code, out) == (2, "")
    assert said in error


@pytest.mark.parametrize(("key", "value"), [("currency", "UGX"), ("resource", "water")])
def test_cases_of_another_currency_or_commodity_end_the_run(
    run: Run, vectors: Write, simple: Path, key: str, value: str
) -> None:
    document = only(kind="money_to_units", tender="25", expect={"units": "2.5"})
    document["tariffs"][0][key] = value

    code, _, error = run("--vectors", vectors(document), "--tariffs", simple)

    assert code == 2
    assert f"({key}_mismatch)" in error


def test_a_purchase_that_is_refused_but_should_not_be_fails(run: Run, vectors: Write) -> None:
    code, out, _ = run("--vectors", vectors(with_case(tender="0.01")))

    assert code == 1
    assert "(tender_too_small)" in out


@pytest.mark.parametrize(
    ("tender", "refused", "code"),
    [("0.01", "tender_too_small", 0), ("0.01", True, 0), ("50", True, 1), ("0.01", "other", 1)],
)
def test_a_refusal_can_be_expected(
    run: Run, vectors: Write, tender: str, refused: object, code: int
) -> None:
    document = with_case(tender=tender, expect={"refused": refused})

    assert run("--vectors", vectors(document))[0] == code


# --- what a case may say --------------------------------------------------------------------------


def differences(text: str, **case: object) -> list[tuple[str, object]]:
    """Run one case by a tariff; return what differs, with what came out."""
    published = Published(read_tariff(text)[1])
    return [(each.name, each.got) for each in check_case(published, case).differences]


def test_a_case_of_an_order_goes_on_where_the_one_before_ended() -> None:
    published = Published(read_tariff(pack_texts()["zw-zetdc-stepped-2019-11"])[1])
    first = {"kind": "money_to_units", "order": 1, "tender": "50", "expect": {"units": "82"}}
    second = {"kind": "money_to_units", "order": 2, "tender": "50", "expect": {"units": "54"}}

    assert check_case(published, first).differences == ()
    assert check_case(published, second).differences == ()


TAXED = f"""{SIMPLE}
taxes: {{lighting: {{label: Street light, percent: 5, on: [energy]}}}}
fixed:
  service: {{label: Service fee, amount: 20}}
  rent: {{label: Meter rent, amount: 4}}
"""


def test_a_rate_of_a_case_takes_the_place_of_the_only_one_of_that_name() -> None:
    expect = {"lighting": "2.00", "total": "22.00"}

    assert (
        differences(
            TAXED, kind="units_to_money", units="2", lighting="0.1", fixed_due=False, expect=expect
        )
        == []
    )


def test_a_rate_that_no_class_pays_fails() -> None:
    text = pack_texts()["id-pln-r1-1300va"]

    got = differences(
        text, kind="money_to_units", tender="50000", ppj="0.05", expect={"ppj": "2500"}
    )

    assert got == [
        ("ppj", "refused: no class pays ppj of 5 %: 3 %, 6 % (rate_not_in_tariff)"),
    ]


def test_fixed_charges_are_due_when_nothing_was_bought_before() -> None:
    first = {"fixed": "24", "service_fee": "20", "meter_rent": "4", "service": "20"}
    later = {"fixed": "0", "service_fee": "0"}
    case = {"kind": "units_to_money", "units": "2"}

    assert differences(TAXED, **case, expect=first) == []
    assert differences(TAXED, **case, prior_units="1", expect=later) == []


def test_amounts_with_and_without_tax_are_told_apart() -> None:
    expect = {
        "total": "45.00",
        "total_excl_vat": "44.00",
        "energy_incl_vat": "21.00",
        "energy_excl_vat": "20.00",
        "vat": "1.00",
        "service_fee_incl_vat": "20.00",
        "fixed_incl_vat": "24.00",
        "taxes": "1",
        "levies": "0",
        "average_c_per_kwh": "2250",
        "average_per_kwh": "22.5",
    }

    assert differences(TAXED, kind="units_to_money", units="2", expect=expect) == []


def test_a_debt_of_a_case_is_repaid() -> None:
    expect = {"debt": "30.00", "arrears": "30.00", "units": "7.0"}

    assert (
        differences(
            SIMPLE,
            kind="money_to_units",
            tender="100",
            debt="45",
            debt_percent="0.3",
            expect=expect,
        )
        == []
    )


def test_demand_and_average_use_of_a_case_reach_the_tariff() -> None:
    text = """\
tariff: t
title: t
commodity: electricity
currency: KES
energy:
  tables: {small: {price: 1}, large: {price: 2}}
  use: [{average: {to: 30}, table: small}, {table: large}]
fixed: {demand: {label: Demand, amount: 5, per: demand_kw}}
"""
    case = {"kind": "units_to_money", "units": "10", "demand_kw": "3"}

    assert differences(text, **case, average_units="30", expect={"total": "25"}) == []
    assert differences(text, **case, average_units="30.1", expect={"total": "35"}) == []


def test_gas_may_be_published_in_cubic_metres_or_in_energy() -> None:
    text = """\
tariff: t
title: t
commodity: gas
currency: GBP
energy: {price: 0.10}
energy_content: {correction: 1, calorific_value: 36}
rounding: {lines: half_up}
"""
    case = {"kind": "units_to_money", "units": "10"}
    by_volume = Published(read_tariff(text)[1], {"unit": "m3"})

    # 10 m³ x 36 MJ/m³ / 3.6 are 100 kWh
    assert differences(text, **case, expect={"total": "1.00", "units": "10"}) == []
    assert (
        check_case(by_volume, {**case, "expect": {"total": "10", "units": "10"}}).differences == ()
    )
