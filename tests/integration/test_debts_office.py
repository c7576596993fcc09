"""Debts in a real database: made, booked, arranged, suspended, written off; each act recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import Then
from slotmeter.services.debt_states import debt_read, debt_states, repayment_reads
from slotmeter.services.debt_terms import InterestWish, NewDebt, PlanWish
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.small_utility import SmallMeter
from slotmeter.units import epoch_us
from slotmeter.vending.pricing.situation import DebtState

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def meter(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter("electricity")


async def states(office: DebtOffice, meter: SmallMeter) -> tuple[DebtState, ...]:
    """What a sale would see now."""
    account = await office.shop.rows(
        "debt_account", utility_id=office.books.utility_id, number=meter.account_number
    )
    of_account: int = account[0]["id"]
    rows = await office.shop.database.read(
        [debt_read(of_account), Then(lambda found: repayment_reads(found, of_account))]
    )
    return debt_states(rows, epoch_us(office.shop.clock.now()), office.books.time_zone)


# --- making one -----------------------------------------------------------------------------------


async def test_a_debt_is_booked_on_an_account_of_its_own(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "300.00", "fine")

    assert (debt["number"], debt["state"], debt["balance_minor"]) == ("D00000001", "open", 30000)
    assert await office.shop.ledger("debt:D00000001", "income:debt:fine") == {
        "debt:D00000001": 30000,
        "income:debt:fine": -30000,
    }


@pytest.mark.parametrize(
    ("kind", "source", "contra"),
    [
        ("arrears", None, "opening"),
        ("arrears", "billed", "income:debt:arrears"),
        ("loan", None, "income:debt:loan"),
        ("stolen_cable", None, "income:debt:stolen_cable"),
    ],
)
async def test_what_a_debt_is_worth_comes_from_where_its_source_says(
    office: DebtOffice, meter: SmallMeter, kind: str, source: str | None, contra: str
) -> None:
    await office.owe(meter, "10.00", kind, source=source)

    assert await office.shop.ledger(contra) == {contra: -1000}


async def test_a_credit_goes_into_the_balance_that_the_platform_holds(office: DebtOffice) -> None:
    meter = await office.shop.utility.add_meter("water", credit_mode="platform")

    await office.owe(meter, "10.00", "emergency_credit", source="credit")

    account = f"customer:{meter.account_number}"
    assert await office.shop.ledger(account) == {account: -1000}


async def test_no_credit_is_lent_into_a_balance_that_is_not_there(
    office: DebtOffice, meter: SmallMeter
) -> None:
    with pytest.raises(Refused) as caught:
        await office.owe(meter, "10.00", "emergency_credit", source="credit")
    assert caught.value.code == "no_platform_balance"


async def test_emergency_credit_is_taken_once_until_it_is_repaid(
    office: DebtOffice, meter: SmallMeter
) -> None:
    await office.owe(meter, "10.00", "emergency_credit")

    with pytest.raises(Refused) as caught:
        await office.owe(meter, "10.00", "emergency_credit")
    assert caught.value.code == "emergency_credit_open"


async def test_debts_are_numbered_one_after_the_other(
    office: DebtOffice, meter: SmallMeter
) -> None:
    made = [await office.owe(meter, "10.00") for _ in range(3)]

    assert [debt["number"] for debt in made] == ["D00000001", "D00000002", "D00000003"]


async def test_the_same_number_with_the_same_facts_is_the_same_debt(
    office: DebtOffice, meter: SmallMeter
) -> None:
    new = NewDebt(meter.account_number, "loan", "50.00", number="L-1")
    first, made = await office.debts.add(office.origin, office.books, new, reason="once")
    office.shop.clock.advance(seconds=90_000)

    again, made_again = await office.debts.add(office.origin, office.books, new, reason="twice")

    assert (made, made_again, again["id"]) == (True, False, first["id"])
    assert await office.left("L-1") == 5000


async def test_the_same_number_with_other_facts_is_a_conflict(
    office: DebtOffice, meter: SmallMeter
) -> None:
    new = NewDebt(meter.account_number, "loan", "50.00", number="L-1")
    await office.debts.add(office.origin, office.books, new, reason="once")

    with pytest.raises(Conflict) as caught:
        await office.debts.add(
            office.origin, office.books, replace(new, amount="51.00"), reason="other"
        )
    assert caught.value.code == "debt_number_used"


async def test_a_debt_of_an_account_that_is_not_there_is_not_found(
    office: DebtOffice, meter: SmallMeter
) -> None:
    new = NewDebt("A9999", "loan", "50.00")

    with pytest.raises(NotFound) as caught:
        await office.debts.add(office.origin, office.books, new, reason="test")
    assert (caught.value.code, caught.value.field) == ("account_unknown", "account")


# --- what a sale sees -----------------------------------------------------------------------------


async def test_a_sale_sees_open_debts_by_priority(office: DebtOffice, meter: SmallMeter) -> None:
    for kind in ("fine", "emergency_credit", "loan", "arrears"):
        await office.owe(meter, "10.00", kind)

    seen = await states(office, meter)

    assert [state.kind for state in seen] == ["emergency_credit", "arrears", "loan", "fine"]


async def test_a_sale_sees_no_debts_of_another_account(
    office: DebtOffice, meter: SmallMeter
) -> None:
    await office.owe(await office.shop.utility.add_meter("water"), "10.00")

    assert await states(office, meter) == ()


async def test_a_debt_written_off_is_seen_no_more(office: DebtOffice, meter: SmallMeter) -> None:
    debt = await office.owe(meter, "10.00")

    await office.debts.cancel(office.origin, office.books, debt["number"], reason="died")

    assert await states(office, meter) == ()


# --- arrangements, suspensions --------------------------------------------------------------------


async def test_an_arrangement_counts_from_its_own_day(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "240.00", plan=PlanWish("percent", percent="90"))
    wish = PlanWish("instalments", amount="20.00", every="month")
    await office.debts.arrange(
        office.origin,
        office.books,
        debt["number"],
        wish,
        starts=date(2026, 12, 1),
        reason="agreed",
    )

    now = await states(office, meter)
    office.shop.clock.advance(seconds=70 * 86_400)  # 30 January
    later = await states(office, meter)

    assert [(state.percent, state.due_minor) for state in now] == [("90", None)]
    assert [(state.percent, state.due_minor) for state in later] == [(None, 4000)]


async def test_an_arrangement_at_once_may_not_begin_before_today(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "240.00")
    wish = PlanWish("instalments", amount="20.00", every="month", first=date(2026, 11, 20))

    with pytest.raises(Refused) as caught:
        await office.debts.arrange(
            office.origin, office.books, debt["number"], wish, reason="agreed"
        )
    assert (caught.value.code, caught.value.field) == ("bad_date", "plan.first")


async def test_a_suspended_debt_is_taken_again_from_the_day_it_names(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "240.00")
    await office.debts.suspend(
        office.origin, office.books, debt["number"], until=date(2026, 12, 1), reason="ill"
    )

    suspended = await office.debts.debt(office.books, debt["number"])
    now = await states(office, meter)
    office.shop.clock.advance(seconds=10 * 86_400)
    resumed = await office.debts.debt(office.books, debt["number"])
    later = await states(office, meter)

    assert (suspended["state"], resumed["state"]) == ("suspended", "open")
    assert ([each.due_minor for each in now], [each.due_minor for each in later]) == ([0], [None])


async def test_a_debt_resumed_is_taken_at_once(office: DebtOffice, meter: SmallMeter) -> None:
    debt = await office.owe(meter, "240.00")
    who = (office.origin, office.books, debt["number"])
    await office.debts.suspend(*who, reason="ill")

    office.shop.clock.advance(seconds=5)
    resumed = await office.debts.resume(*who, reason="well")

    assert resumed["state"] == "open"
    assert [state.due_minor for state in await states(office, meter)] == [None]


async def test_suspensions_do_not_overlap(office: DebtOffice, meter: SmallMeter) -> None:
    debt = await office.owe(meter, "240.00")
    who = (office.origin, office.books, debt["number"])
    await office.debts.suspend(
        *who, starts=date(2026, 12, 1), until=date(2026, 12, 20), reason="holidays"
    )

    with pytest.raises(Refused) as caught:
        await office.debts.suspend(*who, reason="ill")
    await office.debts.suspend(*who, until=date(2026, 12, 1), reason="ill")

    assert caught.value.code == "suspended_already"


async def test_a_debt_that_is_not_suspended_cannot_be_resumed(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "240.00")

    with pytest.raises(Refused) as caught:
        await office.debts.resume(office.origin, office.books, debt["number"], reason="well")
    assert caught.value.code == "not_suspended"


# --- ending ---------------------------------------------------------------------------------------


async def test_a_debt_written_off_is_an_expense(office: DebtOffice, meter: SmallMeter) -> None:
    debt = await office.owe(meter, "240.00", "loan")

    ended = await office.debts.cancel(office.origin, office.books, debt["number"], reason="gone")

    assert (ended["state"], ended["balance_minor"]) == ("cancelled", 0)
    assert await office.shop.ledger("write_off", "income:debt:loan") == {
        "write_off": 24000,
        "income:debt:loan": -24000,
    }


async def test_a_debt_made_by_mistake_leaves_nothing_in_the_books(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "240.00", "loan")

    await office.debts.cancel(
        office.origin, office.books, debt["number"], how="mistake", reason="wrong account"
    )

    codes = ("write_off", "income:debt:loan", f"debt:{debt['number']}")
    assert await office.shop.ledger(*codes) == {"income:debt:loan": 0, codes[2]: 0}


async def test_a_debt_that_bore_interest_is_no_mistake(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "240.00", interest=InterestWish("2", "month"))
    office.shop.clock.advance(seconds=40 * 86_400)
    await office.interest.post(office.origin, office.books, date(2026, 12, 20), reason="monthly")

    with pytest.raises(Refused) as caught:
        await office.debts.cancel(
            office.origin, office.books, debt["number"], how="mistake", reason="wrong"
        )
    assert caught.value.code == "debt_moved"


@pytest.mark.parametrize("act", ["arrange", "suspend", "resume", "cancel"])
async def test_nothing_is_changed_of_a_debt_that_has_ended(
    office: DebtOffice, meter: SmallMeter, act: str
) -> None:
    debt = await office.owe(meter, "240.00")
    who = (office.origin, office.books, debt["number"])
    await office.debts.cancel(*who, reason="gone")
    arguments = (PlanWish(),) if act == "arrange" else ()

    with pytest.raises(Refused) as caught:
        await getattr(office.debts, act)(*who, *arguments, reason="again")
    assert caught.value.code == "debt_ended"


# --- what is recorded -----------------------------------------------------------------------------


async def test_every_change_is_in_the_audit_trail_with_its_reason(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "240.00")
    who = (office.origin, office.books, debt["number"])
    await office.debts.arrange(*who, PlanWish("percent", percent="20"), reason="agreed")
    await office.debts.suspend(*who, reason="ill")
    office.shop.clock.advance(seconds=5)
    await office.debts.resume(*who, reason="well")
    await office.debts.cancel(*who, reason="gone")

    names = ("debt.add", "debt.arranged", "debt.suspended", "debt.resumed", "debt.cancel")
    acts = {what: office.acts(what) for what in names}
    assert {what: [act[:2] for act in found] for what, found in acts.items()} == {
        "debt.add": [("D00000001", "test")],
        "debt.arranged": [("D00000001", "agreed")],
        "debt.suspended": [("D00000001", "ill")],
        "debt.resumed": [("D00000001", "well")],
        "debt.cancel": [("D00000001", "gone")],
    }
    arranged = json.loads(acts["debt.arranged"][0][2])
    assert [arranged[side]["phases"][0]["shape"] for side in ("before", "after")] == [
        "once",
        "percent",
    ]


async def test_the_history_of_a_debt_tells_what_was_done_and_what_moved_it(
    office: DebtOffice, meter: SmallMeter
) -> None:
    debt = await office.owe(meter, "240.00")
    await office.debts.cancel(office.origin, office.books, debt["number"], reason="gone")

    history = await office.debts.history(office.books, debt["number"])

    assert [(line["what"], line["principal"]) for line in history.log] == [
        ("cancelled", "Clerk"),
        ("created", "Clerk"),
    ]
    assert [(row["kind"], row["amount_minor"]) for row in history.movements] == [
        ("write_off", -24000),
        ("debt", 24000),
    ]


async def test_debts_come_in_pages_the_newest_first(office: DebtOffice, meter: SmallMeter) -> None:
    for _ in range(5):
        await office.owe(meter, "10.00")

    first = await office.debts.debts(office.books, limit=3)
    assert isinstance(first.next, int)
    second = await office.debts.debts(office.books, limit=3, before=first.next)

    numbers = [row["number"] for row in (*first.rows, *second.rows)]
    assert numbers == [f"D0000000{digit}" for digit in (5, 4, 3, 2, 1)]
    assert second.next is None


async def test_debts_are_found_by_account_kind_and_state(
    office: DebtOffice, meter: SmallMeter
) -> None:
    other = await office.shop.utility.add_meter("water")
    fine = await office.owe(meter, "10.00", "fine")
    loan = await office.owe(meter, "10.00", "loan")
    theirs = await office.owe(other, "10.00", "fine")
    await office.debts.cancel(office.origin, office.books, loan["number"], reason="gone")

    async def numbers(**wanted: str) -> list[str]:
        page = await office.debts.debts(office.books, limit=9, **wanted)  # type: ignore[arg-type]  # the three are text
        return [row["number"] for row in page.rows]

    assert await numbers(account=meter.account_number) == [loan["number"], fine["number"]]
    assert await numbers(kind="fine") == [theirs["number"], fine["number"]]
    assert await numbers(state="cancelled") == [loan["number"]]
    assert await numbers(state="open") == [theirs["number"], fine["number"]]


async def test_the_books_still_agree_after_everything(
    office: DebtOffice, meter: SmallMeter
) -> None:
    for kind in ("arrears", "loan", "fine"):
        debt = await office.owe(meter, "77.77", kind, interest=InterestWish("1.25", "month"))
    office.shop.clock.advance(seconds=40 * 86_400)
    await office.interest.post(office.origin, office.books, date(2026, 12, 5), reason="monthly")
    await office.debts.cancel(office.origin, office.books, debt["number"], reason="gone")

    [utility] = await Registry(office.shop.database, office.shop.clock).utilities()
    verdict = await verify_ledger(office.shop.database, office.shop.clock, utility)

    assert [each for each in verdict.sentences if not each.holds] == []
