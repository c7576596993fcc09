"""The meter file: what is read, and how each kind of bad line is named."""

from __future__ import annotations

from datetime import date

import pytest

from slotmeter.errors import Refused
from slotmeter.services.meter_file import MeterFile, read_meter_file, template
from slotmeter.services.meter_row import COLUMNS
from slotmeter.units import Commodity
from slotmeter.vending.sts import luhn_digit

TODAY = date(2026, 6, 15)


def drn(serial: int) -> str:
    digits = f"07{serial:08d}"
    return digits + luhn_digit(digits)


def values(serial: int = 1, **changes: str) -> dict[str, str]:
    number = drn(serial)
    row = {
        "meter": number,
        "commodity": "electricity",
        "credit_mode": "meter",
        "customer_number": f"C-{serial}",
        "customer_name": f"Customer {serial}",
        "address": f"Road {serial}",
        "tariff": "DOM-E",
        "installed_on": "2025-03-01",
        "sgc": "600001",
        "krn": "1",
        "medium": "nbiot",
        "address_on_medium": f"ep-{number}",
        "driver": "slotmeter_virtual",
        "purchase_max": "",
    }
    return {**row, **changes}


def text_of(*rows: dict[str, str], delimiter: str = ",", newline: str = "\n") -> str:
    headings = list(rows[0])
    lines = [delimiter.join(headings)]
    lines += [delimiter.join(row[name] for name in headings) for row in rows]
    return newline.join(lines) + newline


def read(text: str | bytes) -> MeterFile:
    content = text.encode() if isinstance(text, str) else text
    return read_meter_file(content, currency="KES", today=TODAY)


def problems_of(*rows: dict[str, str]) -> list[tuple[int, str, str]]:
    return [(each.row, each.field, each.code) for each in read(text_of(*rows)).problems]


def test_a_good_row_is_read_with_its_key_parameters() -> None:
    [row] = read(text_of(values(kt="2", ti="7", base_date="2035", purchase_max="500.50"))).rows

    assert row.commodity is Commodity.ELECTRICITY
    assert row.installed_on == date(2025, 3, 1)
    assert row.purchase_max_minor == 50_050
    assert row.parameters is not None
    assert (row.parameters.ti, row.parameters.base_date, row.parameters.dkga) == (7, 2035, "04")


def test_what_is_left_out_follows_from_the_rest() -> None:
    [row] = read(text_of(values())).rows

    assert row.account == "C-1"
    assert row.supply_point == drn(1)
    assert row.customer_address == "Road 1"


def test_the_template_is_a_good_file() -> None:
    file = read(template())

    assert file.problems == ()
    assert len(file.rows) == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["without BOM", "with BOM"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_what_spreadsheets_write_is_read(delimiter: str, bom: bytes, newline: str) -> None:
    text = text_of(values(1), values(2), delimiter=delimiter, newline=newline)

    file = read(bom + text.encode())

    assert file.problems == ()
    assert [row.meter for row in file.rows] == [drn(1), drn(2)]


def test_the_order_of_the_columns_is_free() -> None:
    row = values()
    backwards = dict(reversed(list(row.items())))

    assert read(text_of(backwards)).rows == read(text_of(row)).rows


def test_empty_lines_and_empty_cells_at_the_end_are_passed_over() -> None:
    heading, line, *_ = text_of(values()).splitlines()

    file = read(f"{heading},,\n\n{line},,\n,,,\n")

    assert file.problems == ()
    assert [row.row for row in file.rows] == [3]


def test_a_cell_may_hold_the_delimiter_in_quotes() -> None:
    [row] = read(text_of(values(address='"Road 5, Flat ""B"""'))).rows

    assert row.address == 'Road 5, Flat "B"'


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"meter": drn(1)[:-1] + str((int(drn(1)[-1]) + 1) % 10)}, "meter", "wrong_check_digit"),
        ({"meter": "12345"}, "meter", "bad_drn"),
        ({"meter": ""}, "meter", "missing"),
        ({"commodity": "steam"}, "commodity", "unknown_commodity"),
        ({"commodity": ""}, "commodity", "missing"),
        ({"credit_mode": "bank"}, "credit_mode", "unknown_credit_mode"),
        ({"customer_number": ""}, "customer_number", "missing"),
        ({"customer_number": "C 1"}, "customer_number", "bad_name"),
        ({"customer_name": "x" * 201}, "customer_name", "too_long"),
        ({"customer_name": "Ann\x07"}, "customer_name", "not_printable"),
        ({"tariff": ""}, "tariff", "missing"),
        ({"installed_on": "2025-02-30"}, "installed_on", "wrong_date"),
        ({"installed_on": "01/03/2025"}, "installed_on", "wrong_date"),
        ({"installed_on": "20250301"}, "installed_on", "wrong_date"),
        ({"installed_on": "2026-06-16"}, "installed_on", "wrong_date"),
        ({"installed_on": "1899-12-31"}, "installed_on", "wrong_date"),
        ({"installed_on": ""}, "installed_on", "missing"),
        ({"sgc": "60001"}, "sgc", "bad_sgc"),
        ({"sgc": ""}, "sgc", "missing"),
        ({"krn": "0"}, "krn", "bad_krn"),
        ({"krn": "one"}, "krn", "bad_krn"),
        ({"krn": "-1"}, "krn", "bad_krn"),
        ({"purchase_max": "0"}, "purchase_max", "amount_not_positive"),
        ({"purchase_max": "1.234"}, "purchase_max", "amount_too_precise"),
        ({"driver": ""}, "driver", "missing"),
        ({"credit_mode": "platform"}, "sgc", "not_for_platform_credit"),
    ],
)
def test_a_bad_cell_is_named_with_row_column_and_code(
    changes: dict[str, str], field: str, code: str
) -> None:
    found = problems_of(values(7), values(1, **changes))

    assert (3, field, code) in found


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("ti", "100", "bad_ti"),
        ("kt", "4", "bad_kt"),
        ("ken", "256", "bad_ken"),
        ("base_date", "2015", "bad_base_date"),
        ("ea", "9", "bad_ea"),
        ("dkga", "03", "bad_dkga"),
    ],
)
def test_a_key_parameter_out_of_range_is_named(column: str, value: str, code: str) -> None:
    assert problems_of(values(1, **{column: value})) == [(2, column, code)]


def test_every_bad_cell_of_a_row_is_named_at_once() -> None:
    found = problems_of(values(1, commodity="steam", installed_on="soon", tariff=""))

    assert {field for _, field, _ in found} == {"commodity", "installed_on", "tariff"}


def test_a_reason_says_what_was_expected_and_what_came() -> None:
    [problem] = read(text_of(values(1, installed_on="1.3.2025"))).problems

    assert problem.reason == "expected YYYY-MM-DD as 2025-03-01, got '1.3.2025'"


@pytest.mark.parametrize("rounded", ["6.0E+10", "1234567890"])
def test_a_number_that_a_spreadsheet_spoilt_gets_a_hint(rounded: str) -> None:
    [problem] = read(text_of(values(1, meter=rounded))).problems

    assert "spreadsheet" in problem.reason


def test_a_meter_that_comes_twice_is_named_with_its_first_row() -> None:
    file = read(text_of(values(1), values(2), values(1)))

    assert [(each.row, each.code) for each in file.problems] == [(4, "duplicate_meter")]
    assert "row 2" in file.problems[0].reason
    assert len(file.rows) == 2


def test_one_device_cannot_serve_two_meters() -> None:
    found = problems_of(values(1), values(2, address_on_medium=f"ep-{drn(1)}"))

    assert found == [(3, "address_on_medium", "duplicate_address_on_medium")]


def test_one_customer_cannot_have_two_names() -> None:
    found = problems_of(values(1), values(2, customer_number="C-1"))

    assert found == [(3, "customer_name", "customer_differs")]


def test_one_account_cannot_belong_to_two_customers() -> None:
    found = problems_of(values(1, **{"account": "A"}), values(2, **{"account": "A"}))

    assert found == [(3, "account", "account_differs")]


def test_a_customer_may_have_several_meters_on_one_account() -> None:
    rows = [values(1), values(2, customer_number="C-1", customer_name="Customer 1")]

    assert problems_of(*rows) == []


def test_platform_credit_needs_no_keys_but_a_device() -> None:
    free = values(1, credit_mode="platform", sgc="", krn="")
    silent = {**free, "medium": "", "address_on_medium": "", "driver": ""}

    assert problems_of(free) == []
    assert {code for _, _, code in problems_of(silent)} == {"missing"}


def test_a_row_with_too_many_cells_is_named() -> None:
    heading, line = text_of(values()).splitlines()

    [problem] = read(f"{heading}\n{line},more\n").problems

    assert (problem.row, problem.field, problem.code) == (2, "row", "wrong_cell_count")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b"\n", "file_without_heading"),
        (b"a,b\n1,2\n", "file_without_heading"),
        (text_of(values()).replace("tariff", "price_list").encode(), "file_unknown_column"),
        (text_of({**values(), "meter ": "x"}).encode(), "file_heading_twice"),
        (b"meter,commodity\n1,2\n", "file_missing_column"),
        (text_of(values(1, customer_name="Zo\xeb")).encode("latin-1"), "file_not_utf8"),
        (text_of(values()).encode("utf-16"), "file_not_utf8"),
        (text_of(values(1, address='"open')).encode(), "file_cut"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_says_why(content: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read(content)

    assert refused.value.code == code


def test_bytes_that_are_not_utf8_are_named_by_line() -> None:
    content = text_of(values(1), values(2, customer_name="Zo\xeb")).encode("latin-1")

    with pytest.raises(Refused, match="line 3"):
        read(content)


def test_every_column_says_what_it_means() -> None:
    assert all(column.meaning.endswith(".") for column in COLUMNS)
    assert all(column.example for column in COLUMNS if column.needed)
