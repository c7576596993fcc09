"""Files of debts: every bad row named, nothing by halves, and nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.errors import Refused
from slotmeter.services.account_file import FileDone
from slotmeter.services.debt_import import BATCH_ROWS, COLUMNS, DebtImport, debt_template
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter

HEADING = "number,account,kind,amount,plan,percent,instalment,every,first,currency\n"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def meter(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter("electricity")


async def bring_in(
    office: DebtOffice, text: str | bytes, *, accept_good: bool = False, check_only: bool = False
) -> FileDone:
    content = text if isinstance(text, bytes) else text.encode()
    importing = DebtImport(office.shop.database, office.shop.clock, office.origin, office.books)
    return await importing.run(
        content, reason="old system", accept_good=accept_good, check_only=check_only
    )


async def numbers(office: DebtOffice) -> list[str]:
    page = await office.debts.debts(office.books, limit=400)
    return sorted(row["number"] for row in page.rows)


async def test_the_template_is_a_file_that_could_be_brought_in(
    office: DebtOffice, meter: SmallMeter
) -> None:
    text = debt_template().replace("C-1001", meter.account_number)

    done = await bring_in(office, text)

    assert (done.written, done.problems) == (1, ())
    debt = await office.debts.debt(office.books, "LOAN-17")
    assert (debt["label"], debt["balance_minor"], debt["priority"]) == ("Cooker", 24000, 2)


async def test_the_same_file_again_changes_nothing(office: DebtOffice, meter: SmallMeter) -> None:
    text = f"{HEADING}A-1,{meter.account_number},arrears,300.00,percent,30,,,,\n"
    await bring_in(office, text)

    again = await bring_in(office, text)

    assert (again.written, again.already_there, again.problems) == (0, 1, ())
    assert await office.left("A-1") == 30000


async def test_a_spreadsheets_file_is_read_with_its_mark_and_semicolons(
    office: DebtOffice, meter: SmallMeter
) -> None:
    text = f"number;account;kind;amount\r\nA-1;{meter.account_number};fine;12.50\r\n"

    done = await bring_in(office, b"\xef\xbb\xbf" + text.encode())

    assert (done.written, await office.left("A-1")) == (1, 1250)


async def test_every_bad_row_is_named_and_nothing_is_written(
    office: DebtOffice, meter: SmallMeter
) -> None:
    mine = meter.account_number
    text = HEADING + "".join(
        f"{row}\n"
        for row in (
            f"A-1,{mine},arrears,300.00,,,,,,",
            f"A-2,{mine},arrears,,,,,,,",
            f"A-3,{mine},loan,240.00,instalments,,20.00,month,31.12.2026,",
            f"A-4,{mine},loan,240.00,instalments,,20.00,month,2026-02-30,",
            "A-5,A9999,fine,10.00,,,,,,",
            f"A-6,{mine},fine,10.00,,,,,,USD",
            f'A-7,{mine},fine,"10,00",,,,,,',
            f"A-1,{mine},fine,10.00,,,,,,",
            f"A-9,{mine},fine,10.00,percent,,,,,",
            f"D00000009,{mine},fine,10.00,,,,,,",
            f"A-11,{mine},fine,10.00",
        )
    )

    done = await bring_in(office, text)

    assert [(each.row, each.field, each.code) for each in done.problems] == [
        (3, "amount", "missing"),
        (4, "first", "bad_date"),
        (5, "first", "bad_date"),
        (6, "account", "account_unknown"),
        (7, "currency", "currency_mismatch"),
        (8, "amount", "amount_malformed"),
        (9, "number", "duplicate_number"),
        (10, "percent", "bad_percent"),
        (11, "number", "bad_number"),
        (12, "row", "wrong_cell_count"),
    ]
    assert (done.written, await numbers(office)) == (0, [])


async def test_good_rows_are_written_when_they_are_asked_for(
    office: DebtOffice, meter: SmallMeter
) -> None:
    mine = meter.account_number
    text = f"{HEADING}A-1,{mine},fine,1.00,,,,,,\nA-2,A9,fine,1.00,,,,,,\n"

    done = await bring_in(office, text, accept_good=True)

    assert (done.written, done.bad_rows, await numbers(office)) == (1, 1, ["A-1"])


async def test_checking_writes_nothing(office: DebtOffice, meter: SmallMeter) -> None:
    text = f"{HEADING}A-1,{meter.account_number},fine,1.00,,,,,,\n"

    done = await bring_in(office, text, check_only=True)

    assert (done.rows, done.problems, await numbers(office)) == (1, (), [])


async def test_a_number_with_other_facts_is_a_problem(
    office: DebtOffice, meter: SmallMeter
) -> None:
    text = f"{HEADING}A-1,{meter.account_number},fine,1.00,,,,,,\n"
    await bring_in(office, text)

    done = await bring_in(office, text.replace("1.00", "2.00"))

    assert [(each.field, each.code) for each in done.problems] == [("number", "debt_number_used")]


async def test_emergency_credit_comes_once_for_an_account(
    office: DebtOffice, meter: SmallMeter
) -> None:
    mine = meter.account_number
    rows = "".join(f"E-{at},{mine},emergency_credit,10.00,,,,,,\n" for at in (1, 2))

    done = await bring_in(office, HEADING + rows)

    assert [(each.row, each.code) for each in done.problems] == [(3, "emergency_credit_open")]


async def test_many_rows_go_to_one_account_of_income(office: DebtOffice, meter: SmallMeter) -> None:
    count = 2 * BATCH_ROWS + 1
    rows = "".join(f"F-{at},{meter.account_number},fine,1.00,,,,,,\n" for at in range(count))

    done = await bring_in(office, HEADING + rows)

    assert done.written == count
    assert await office.shop.ledger("income:debt:fine") == {"income:debt:fine": -100 * count}
    assert len(office.acts("debt.add")) == count


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b"\xff\xfeA", "file_not_utf8"),
        (b"number,account,kind,amount,colour\n", "file_unknown_column"),
        (b"number,account\nA,B\n", "file_missing_column"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_whole(
    office: DebtOffice, content: bytes, code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await bring_in(office, content)
    assert caught.value.code == code


def test_the_page_names_every_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "debts.md").read_text()
    rows = [
        f"| `{each.name}` | {'yes' if each.needed else ''} | {each.meaning} | "
        f"{f'`{each.example}`' if each.example else ''} |"
        for each in COLUMNS
    ]

    assert [row for row in rows if row not in page] == []
