"""Another meter at the same place: what was left moves once, and the old one buys no more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import Caller, Row
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.meter_swap import MeterSwaps, SwapWish, movable, movable_money
from slotmeter.services.operations import Asked
from slotmeter.services.registry import Registry
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.services.sole_tokens import SoleTokens
from slotmeter.testing.debt_office import DebtOffice, open_debt_office
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import VENDING_KEY, SmallMeter, meter_number
from slotmeter.vending.sts import KeyParameters, Register, derive_decoder_key
from slotmeter.vending.sts.amounts import decode_currency, encode_currency
from slotmeter.vending.sts.meter import StsMeter
from slotmeter.vending.sts.meter_state import MeterConfig
from slotmeter.vending.sts.results import ResultCode

pytestmark = pytest.mark.both_databases

NEW = meter_number(900)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[DebtOffice]:
    async with open_debt_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def boss(office: DebtOffice) -> Caller:
    return await office.shop.utility.add_principal("Boss", "supervisor")


@pytest.fixture
async def old(office: DebtOffice) -> SmallMeter:
    return await office.shop.utility.add_meter(online=False)


def swaps(office: DebtOffice) -> MeterSwaps:
    shop = office.shop
    tokens = SoleTokens(
        shop.database,
        shop.security,
        sample_safe(),
        shop.clock,
        draw_rnd=lambda: 5,
        tids=ONE_LANE,
    )
    return MeterSwaps(shop.database, shop.clock, tokens)


async def swap(
    office: DebtOffice, boss: Caller, wish: SwapWish, request_id: str = "w1"
) -> tuple[Row, str | None, bool]:
    return await swaps(office).swap(Asked(boss, request_id, "the display was dark"), wish)


async def broken(office: DebtOffice) -> list[str]:
    shop = office.shop
    utility = await Registry(shop.database, shop.clock).utility("small")
    verdict = await verify_ledger(shop.database, shop.clock, utility)
    return [each.name for each in verdict.sentences if not each.holds]


async def test_the_new_meter_takes_a_token_for_what_was_left(
    office: DebtOffice, boss: Caller, old: SmallMeter
) -> None:
    wish = SwapWish(old.number, NEW, "12.34", old_register="4711.5", new_register="0")

    operation, token, is_new = await swap(office, boss, wish)

    coded = office.shop.column("SELECT parameters FROM meter WHERE number = ?", NEW)[0]
    parameters = KeyParameters.from_dict(json.loads(coded))
    key = derive_decoder_key(VENDING_KEY.key, parameters)
    config = MeterConfig(parameters.pan, frozenset({Register.ELECTRICITY}))
    meter = StsMeter.made(config, parameters, key, made_tid=1)
    assert is_new
    assert token is not None
    assert meter.enter(token).code is ResultCode.ACCEPT
    # A token counts tenths: 12.3 of the 12.34 kWh move, never more than was there.
    detail = json.loads(operation["detail"])
    assert (detail["credit"], detail["moved"]) == (12_340, 12_300)
    assert (detail["old_register"], detail["new_register"]) == (4_711_500, 0)
    assert await broken(office) == []


async def test_the_credit_moves_once(office: DebtOffice, boss: Caller, old: SmallMeter) -> None:
    wish = SwapWish(old.number, NEW, "12.3")
    first = await swap(office, boss, wish)

    again = await swap(office, boss, wish)

    assert again == (first[0], first[1], False)
    assert office.shop.column("SELECT count(*) FROM token") == [1]
    with pytest.raises(Refused) as caught:
        await swap(office, boss, wish, "w2")
    assert caught.value.code == "meter_removed"


async def test_the_old_meter_buys_no_more_and_the_new_one_buys_for_the_same_account(
    office: DebtOffice, boss: Caller, old: SmallMeter
) -> None:
    await office.owe(old, "20.00")
    await swap(office, boss, SwapWish(old.number, NEW))

    sale = await office.shop.sell(NEW)

    assert sale.quantity == 4_100  # 96.00 of 116.00 after the debt, at 23.20
    with pytest.raises(Refused) as caught:
        await office.shop.sell(old.number, sale_id="s2")
    assert caught.value.code in ("meter_not_installed", "meter_removed")


async def test_a_keypad_meter_gives_way_to_one_that_is_online(
    office: DebtOffice, boss: Caller, old: SmallMeter
) -> None:
    await office.shop.sell(old.number)
    online = {"medium": "nbiot", "address_on_medium": "ep-9", "driver": "slotmeter_virtual"}

    _, token, _ = await swap(office, boss, SwapWish(old.number, NEW, "12.3", coding=online))
    await office.shop.sell(NEW, sale_id="s2")

    column = office.shop.column
    of_new = "(SELECT id FROM meter WHERE number = ?)"
    queued = column(
        f"SELECT kind FROM command WHERE meter_id = {of_new} ORDER BY id",  # noqa: S608  our own
        NEW,
    )
    assert token is not None
    assert queued == ["load_token", "load_token"]  # what was left, and what was bought since
    assert column("SELECT count(*) FROM sale WHERE account_id = (SELECT id FROM account)") == [2]
    assert column("SELECT state FROM meter WHERE number = ?", old.number) == ["removed"]
    with pytest.raises(Refused) as caught:
        await office.shop.sell(old.number, sale_id="s3")
    assert caught.value.code in ("meter_not_installed", "meter_removed")


async def test_what_was_bought_and_not_typed_is_listed(
    office: DebtOffice, boss: Caller, old: SmallMeter
) -> None:
    sale = await office.shop.sell(old.number)

    operation, token, _ = await swap(office, boss, SwapWish(old.number, NEW))

    assert token is None
    assert json.loads(operation["detail"])["unused_receipts"] == [sale.receipt_number]


async def test_a_meter_whose_credit_the_platform_holds_is_swapped_without_a_token(
    office: DebtOffice, boss: Caller
) -> None:
    old = await office.shop.utility.add_meter(credit_mode="platform")
    await office.shop.sell(old.number)
    device = {"medium": "nbiot", "address_on_medium": "ep-9", "driver": "slotmeter_virtual"}

    _, token, _ = await swap(office, boss, SwapWish(old.number, NEW, coding=device))

    assert token is None
    assert await office.shop.ledger(f"customer:{old.account_number}") == {
        f"customer:{old.account_number}": -11_600
    }


async def test_a_meter_that_is_installed_somewhere_cannot_be_put_on(
    office: DebtOffice, boss: Caller, old: SmallMeter
) -> None:
    other = await office.shop.utility.add_meter(online=False)

    with pytest.raises(Refused) as caught:
        await swap(office, boss, SwapWish(old.number, other.number))

    assert caught.value.code == "meter_installed_elsewhere"


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"credit": "-1"}, "amount_malformed"),
        ({"credit": "1e3"}, "amount_malformed"),
        ({"credit": "0.0001"}, "amount_too_precise"),
        ({"coding": {"colour": "red"}}, "meter_row_wrong"),
        ({"coding": {"krn": "x"}}, "meter_row_wrong"),
        ({"new": "07000000001"}, "meter_row_wrong"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    office: DebtOffice, boss: Caller, old: SmallMeter, wish: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await swap(office, boss, SwapWish(**{"old": old.number, "new": NEW, **wish}))

    assert caught.value.code == code
    assert office.shop.column("SELECT count(*) FROM installation WHERE to_us IS NOT NULL") == [0]


async def test_a_key_that_the_vault_does_not_have_stops_a_swap_before_it_begins(
    office: DebtOffice, boss: Caller, old: SmallMeter
) -> None:
    with pytest.raises((NotFound, Refused)):
        await swap(office, boss, SwapWish(old.number, NEW, "1", coding={"sgc": "999999"}))

    assert office.shop.column("SELECT count(*) FROM meter WHERE number = ?", NEW) == [0]


@given(st.integers(0, 10**9))
def test_no_more_moves_than_was_there_and_next_to_nothing_is_lost(amount: int) -> None:
    moved = movable("electricity", amount)

    assert 0 <= moved <= amount
    # tenths of a kWh up to 1638.3 kWh, one part in a thousand above
    assert amount - moved <= max(100, amount // 1_000)


# --- meters that count money ----------------------------------------------------------------------


@pytest.fixture
async def by_money(office: DebtOffice) -> SmallMeter:
    meter = await office.shop.utility.add_meter(online=False)
    office.shop.sql("UPDATE meter SET transfer = 'currency' WHERE id = ?", meter.id)
    return meter


async def test_the_money_on_a_meter_moves_to_another_that_counts_money_once(
    office: DebtOffice, boss: Caller, by_money: SmallMeter
) -> None:
    wish = SwapWish(by_money.number, NEW, "123.45678")

    operation, token, _ = await swap(office, boss, wish)
    _, again, is_new = await swap(office, boss, wish)

    [stored] = office.shop.rows_of(
        "SELECT request, purpose, amount, meter_id FROM token WHERE sale_row_id IS NULL"
    )
    request, detail = json.loads(stored["request"]), json.loads(operation["detail"])
    [put_on] = office.shop.rows_of("SELECT id, transfer FROM meter WHERE number = ?", NEW)
    assert token is not None
    assert (again, is_new) == (token, False)
    assert (stored["purpose"], stored["amount"]) == ("replacement", 0)
    assert (put_on["id"], put_on["transfer"]) == (stored["meter_id"], "currency")
    assert (request["subclass"], request["value"]) == (4, detail["moved"])
    assert (detail["credit"], detail["transfer"]) == (12_345_678, "currency")
    assert 12_345_678 - 1_000 < detail["moved"] <= 12_345_678
    assert await broken(office) == []


async def test_money_does_not_move_to_a_meter_that_counts_units(
    office: DebtOffice, boss: Caller, by_money: SmallMeter, old: SmallMeter
) -> None:
    await swap(office, boss, SwapWish(old.number, NEW))  # the first meter is free then
    office.shop.sql("UPDATE meter SET state = 'active' WHERE id = ?", old.id)

    with pytest.raises(Refused) as caught:
        await swap(office, boss, SwapWish(by_money.number, old.number, "5.00"), "w2")

    assert caught.value.code == "transfer_differs"


async def test_a_meter_that_counts_money_and_holds_none_is_swapped_without_a_token(
    office: DebtOffice, boss: Caller, by_money: SmallMeter
) -> None:
    _, token, is_new = await swap(office, boss, SwapWish(by_money.number, NEW))

    assert (token, is_new) == (None, True)


@pytest.mark.parametrize(
    ("credit", "code"),
    [("1.234567", "amount_too_precise"), ("-1", "amount_malformed"), ("x", "amount_malformed")],
)
async def test_an_amount_of_money_that_cannot_be_is_refused(
    office: DebtOffice, boss: Caller, by_money: SmallMeter, credit: str, code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await swap(office, boss, SwapWish(by_money.number, NEW, credit))

    assert (caught.value.code, caught.value.field) == (code, "credit")


@given(st.integers(1, 10**11))
def test_no_more_money_moves_than_was_there(amount_e5: int) -> None:
    moved = movable_money(amount_e5)

    assert 0 <= amount_e5 - moved <= max(1, amount_e5 // 1_000)
    assert decode_currency(encode_currency(moved)) == moved
