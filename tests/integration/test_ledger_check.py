"""``ledger verify`` holds on an honest ledger, and names each kind of damage."""

from __future__ import annotations

import pytest

from slotmeter.services.ledger_check import PENDING_S_MAX, LedgerVerdict, verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.services.selling import SellRequest
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import tariff_document

pytestmark = pytest.mark.both_databases

GENEROUS = {
    "tariff": "generous",
    "title": "Generous",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"price": "3.00"},
    "free_units": {"basic": {"label": "Basic", "units": "5", "registered": False}},
    "rounding": {"units": "half_up"},
}
"""Free units for all, and units that are rounded up now and then, which the customer gains."""

CHARGE = {"code": "service", "label": "Service", "amount": "10.00", "taxed": True}


@pytest.fixture
async def sold(api: ApiTown) -> ApiTown:
    """A small utility with two tokens and one payment sold."""
    await api.utility.add_tariff(
        tariff_document("gas", tariff="gas-with-charge", fixed_charge=CHARGE)
    )
    meters = [
        await api.utility.add_meter(),
        await api.utility.add_meter("gas", tariff="gas-with-charge", online=False),
        await api.utility.add_meter("water", credit_mode="platform"),
    ]
    till = await api.utility.add_principal("till", "vendor")
    for at, meter in enumerate(meters):
        await api.selling.sell(till, SellRequest(f"s{at}", meter.number, "116.00"))
    return api


async def verdict_of(api: ApiTown) -> LedgerVerdict:
    utility = await Registry(api.database, api.clock).utility(None)
    return await verify_ledger(api.database, api.clock, utility)


def damage(api: ApiTown, statement: str) -> None:
    """Change the database as no program of ours can: without triggers and references."""
    api.behind.damage(statement)


async def test_an_honest_ledger_holds(sold: ApiTown) -> None:
    verdict = await verdict_of(sold)

    assert [each.sentence for each in verdict.sentences if not each.holds] == []
    assert verdict.holds


async def test_every_sentence_but_those_of_what_is_not_there_looked_at_something(
    sold: ApiTown,
) -> None:
    verdict = await verdict_of(sold)

    idle = {each.name for each in verdict.sentences if each.checked == 0}
    assert idle == {"pending_tokens", "debts_owed", "debts_repaid", "reversed", "swaps", "periods"}


async def test_the_figures_count_what_is_there(sold: ApiTown) -> None:
    figures = (await verdict_of(sold)).figures

    assert figures["sales_issued"] == 3
    assert figures["tokens"] == 2
    assert figures["tendered_minor"] == 3 * 11_600
    assert figures["journals"] == 3


@pytest.fixture
async def generous(api: ApiTown) -> ApiTown:
    """A small utility that gave free units with a purchase, and alone without one."""
    await api.utility.add_tariff(GENEROUS)
    buys, comes = [await api.utility.add_meter(tariff="generous") for _ in range(2)]
    till = await api.utility.add_principal("till", "vendor")
    await api.selling.sell(till, SellRequest("buys", buys.number, "100.10"))
    await api.selling.sell(till, SellRequest("comes", comes.number, "0", claim_free=True))
    return api


async def test_free_units_and_roundings_that_customers_gain_are_honest(generous: ApiTown) -> None:
    verdict = await verdict_of(generous)

    assert [each.sentence for each in verdict.sentences if not each.holds] == []
    assert verdict.figures["tokens"] == 3
    assert generous.sql("SELECT balance_minor FROM ledger_account WHERE code = 'rounding'") == [
        (10,)
    ]


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE token SET amount = amount + 100 WHERE purpose = 'free'", "free_units"),
        ("UPDATE free_claim SET units = units + 1", "free_units"),
        ("UPDATE token SET digits = NULL WHERE purpose = 'free'", "sales_tokens"),
        ("DELETE FROM free_claim", "sales_tokens"),
    ],
)
async def test_damage_to_free_units_is_named(generous: ApiTown, statement: str, name: str) -> None:
    damage(generous, statement)

    verdict = await verdict_of(generous)

    assert name in {each.name for each in verdict.sentences if not each.holds}


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        (
            "UPDATE posting SET amount_minor = amount_minor + 1 "
            "WHERE id = (SELECT max(id) FROM posting)",
            "journals_balance",
        ),
        (
            "DELETE FROM posting WHERE journal_id = (SELECT max(id) FROM journal)",
            "journals_complete",
        ),
        (
            "UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE code = 'till:head'",
            "balances",
        ),
        (
            "UPDATE posting SET currency = 'USD' WHERE id = (SELECT max(id) FROM posting)",
            "posting_scope",
        ),
        (
            "UPDATE journal SET sale_row_id = (SELECT min(id) FROM sale)",
            "sales_booked",
        ),
        ("UPDATE sale SET tender_minor = tender_minor + 1 WHERE sale_id = 's0'", "sales_tender"),
        ("UPDATE token SET digits = NULL", "sales_tokens"),
        ("UPDATE sale SET state = 'pending' WHERE sale_id = 's0'", "pending_tokens"),
        ("UPDATE token SET amount = amount + 100", "token_amounts"),
        ("UPDATE token SET digits_index = '11111111111111111111'", "tokens_once"),
        ("UPDATE ledger_account SET reserved_minor = 5 WHERE code = 'till:head'", "reserved"),
        ("UPDATE charge SET taken_minor = due_minor + 1", "charges"),
        ("UPDATE charge SET taken_minor = taken_minor - 1", "charges_earned"),
        ("UPDATE sale SET kept_minor = 5 WHERE sale_id = 's0'", "kept"),
        (
            "INSERT INTO meter_charge "
            "SELECT 1, m.utility_id, m.id, a.id, v.id, 0, 9, 7, 0, 1, 1, NULL, 1, NULL, NULL "
            "FROM meter m, account a, tariff_version v LIMIT 1",
            "consumption",
        ),
    ],
)
async def test_each_kind_of_damage_is_named(sold: ApiTown, statement: str, name: str) -> None:
    damage(sold, statement)

    verdict = await verdict_of(sold)

    assert not verdict.holds
    assert name in {each.name for each in verdict.sentences if not each.holds}


async def test_a_difference_says_what_was_expected_and_found(sold: ApiTown) -> None:
    damage(sold, "UPDATE sale SET tender_minor = 11700 WHERE sale_id = 's0'")

    [tender] = [each for each in (await verdict_of(sold)).sentences if each.name == "sales_tender"]

    assert [(each.expected, each.found) for each in tender.differences] == [("11700", "11600")]


async def test_a_sale_between_its_commits_is_stuck_only_after_a_while(sold: ApiTown) -> None:
    damage(sold, "UPDATE sale SET state = 'pending' WHERE sale_id = 's0'")

    before = {each.name: each.holds for each in (await verdict_of(sold)).sentences}
    sold.clock.advance(seconds=PENDING_S_MAX + 1)
    after = {each.name: each.holds for each in (await verdict_of(sold)).sentences}

    assert before["nothing_stuck"]
    assert not after["nothing_stuck"]


async def test_who_waits_is_told_how_far_it_is(sold: ApiTown) -> None:
    told: list[tuple[int, int]] = []
    utility = await Registry(sold.database, sold.clock).utility(None)

    await verify_ledger(sold.database, sold.clock, utility, lambda *each: told.append(each))

    assert [done for done, _ in told] == list(range(told[0][1]))
