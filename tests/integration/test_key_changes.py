"""A meter's key is changed: the set reaches the meter, the next sale decodes, old tokens do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from slotmeter.devices.commands import Outcome
from slotmeter.errors import Conflict, NotAllowed, Refused
from slotmeter.services.key_change_plan import KeyWish
from slotmeter.services.selling import SellRequest
from slotmeter.testing.key_town import KeyTown, Wire, open_key_town
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

WIRE = Wire(DRIVER, RULES.credit_control, encode_report, decode_commands)
NEW_KEY = KeyWish(key_id="krn-2")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[KeyTown]:
    async with open_key_town(tmp_path, WIRE) as opened:
        yield opened


async def bought(town: KeyTown, meter: str, sale_id: str) -> list[str]:
    """Sell 5 kWh and return what stands on the receipt, in the order of typing."""
    town.shop.clock.advance(seconds=120)
    request = SellRequest(sale_id, meter, "116.00")
    sale, _ = await town.shop.selling.sell(town.shop.till, request)
    receipt = await town.shop.selling.receipt(town.shop.till, sale.receipt_number)
    assert [each.digits for each in sale.tokens] == [each.digits for each in receipt.typing_order]
    return [token.digits for token in receipt.typing_order]


def typed(thing: VirtualMeter, digits: list[str]) -> list[Outcome]:
    return [thing.type_token(each).outcome for each in digits]


async def test_a_meter_on_base_date_1993_is_refused_with_key_change_needed(town: KeyTown) -> None:
    row, _ = await town.meter(key_id="base-1993")

    with pytest.raises(Refused) as refused:
        await bought(town, row.number, "s1")

    assert refused.value.code == "key_change_needed"


async def test_from_1993_the_virtual_meter_takes_the_set_and_the_next_sale(town: KeyTown) -> None:
    row, thing = await town.meter(key_id="base-1993")

    change, is_new = await town.changes.make(
        town.supervisor, row.number, KeyWish(key_id="sgc-123457-krn-1"), "rollover"
    )
    await town.push(row, thing)
    (token,) = await bought(town, row.number, "s1")
    await town.push(row, thing)

    assert is_new
    assert change is not None
    assert len(change.tokens) == 2
    shown = await town.changes.show(town.supervisor, change.row["id"])
    assert (shown.row["state"], shown.row["proof"]) == ("proven", "delivery")
    assert town.coded(row)["wanted"] is None
    assert thing.credit_total == 5_000
    assert typed(thing, [token]) == [Outcome.ALREADY_USED]


@pytest.mark.parametrize(("wish", "coded", "size"), [
    (NEW_KEY, {}, 2),
    (KeyWish(key_id="krn-2", three_tokens=True), {}, 3),
    (NEW_KEY, {"ea": 11}, 4),
    (KeyWish(tariff_index=7), {}, 2),
])  # fmt: skip
async def test_a_typed_set_of_any_size_is_proven_by_the_meter(
    town: KeyTown, wish: KeyWish, coded: dict[str, Any], size: int
) -> None:
    row, thing = await town.meter(**coded)
    change, _ = await town.changes.make(town.supervisor, row.number, wish, "new key")
    assert change is not None

    outcomes = typed(thing, [token.digits for token in change.tokens])
    town.shop.sql("UPDATE command SET state = 'expired'")
    await town.push(row, thing, times=1)

    assert outcomes == [Outcome.WAITING] * (size - 1) + [Outcome.DONE]
    shown = await town.changes.show(town.supervisor, change.row["id"])
    assert (shown.row["state"], shown.row["proof"]) == ("proven", "keypad")


async def test_sales_before_the_proof_list_the_set_first_and_are_under_the_new_key(
    town: KeyTown,
) -> None:
    row, thing = await town.meter(online=False)
    change, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    assert change is not None

    first = await bought(town, row.number, "s1")
    second = await bought(town, row.number, "s2")

    key_set = [token.digits for token in change.tokens]
    assert first[:2] == second[:2] == key_set
    assert typed(thing, first) == [Outcome.WAITING, Outcome.DONE, Outcome.DONE]
    # The set cannot be taken again; the credit behind it can.
    assert typed(thing, second) == [Outcome.REJECTED, Outcome.REJECTED, Outcome.DONE]
    assert thing.credit_total == 10_000


async def test_with_the_next_sale_the_set_is_made_by_it(town: KeyTown) -> None:
    row, thing = await town.meter()
    wish = KeyWish(key_id="krn-2", with_sale=True)

    made, is_new = await town.changes.make(town.supervisor, row.number, wish, "new key")
    tokens = await bought(town, row.number, "s1")
    await town.push(row, thing)

    assert (made, is_new) == (None, True)
    assert len(tokens) == 3
    (change,) = (await town.changes.changes(town.supervisor)).rows
    assert change["state"] == "proven"
    assert town.coded(row)["key_id"] == "krn-2"
    assert thing.credit_total == 5_000
    assert len(await bought(town, row.number, "s2")) == 1


async def test_a_token_under_the_new_key_proves_the_change_too(town: KeyTown) -> None:
    row, thing = await town.meter()
    wish = KeyWish(key_id="krn-2", with_sale=True)
    await town.changes.make(town.supervisor, row.number, wish, "new key")
    tokens = await bought(town, row.number, "s1")
    town.shop.sql("UPDATE command SET state = 'expired'")
    assert typed(thing, tokens[:2]) == [Outcome.WAITING, Outcome.DONE]
    thing.acknowledge(thing.report())  # what was typed is lost on its way to us

    thing.type_token(tokens[2])
    await town.push(row, thing, times=1)

    (change,) = (await town.changes.changes(town.supervisor)).rows
    assert (change["state"], change["proof"]) == ("proven", "token")


async def test_old_tokens_are_named_and_the_meter_refuses_them_afterwards(town: KeyTown) -> None:
    row, thing = await town.meter(online=False)
    used = await bought(town, row.number, "s1")
    unused = await bought(town, row.number, "s2")
    assert typed(thing, used) == [Outcome.DONE]

    change, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    assert change is not None
    typed(thing, [token.digits for token in change.tokens])

    # Nothing tells us what was typed at a meter out of reach: both are named.
    assert {token["receipt_number"] for token in change.unused} == {"R00000001", "R00000002"}
    assert typed(thing, [*unused, *used]) == [Outcome.REJECTED, Outcome.REJECTED]


async def test_no_identifier_is_given_twice_under_either_key(town: KeyTown) -> None:
    row, _ = await town.meter(online=False)
    for at in range(2):
        await town.shop.sell(row.number, sale_id=f"a{at}")
    await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    for at in range(2):
        await town.shop.sell(row.number, sale_id=f"b{at}")

    tids = town.shop.column("SELECT tid FROM token WHERE purpose = 'credit' ORDER BY id")
    assert tids == sorted(set(tids))


@pytest.mark.parametrize(("wish", "code"), [
    (KeyWish(key_id="expired"), "key_expired"),
    (KeyWish(key_id="common"), "key_type_not_allowed"),
    (KeyWish(key_id="sgc-123457-krn-1"), "key_change_not_due"),
    (KeyWish(tariff_index=100), "bad_ti"),
])  # fmt: skip
async def test_a_change_that_cannot_work_is_refused(
    town: KeyTown, wish: KeyWish, code: str
) -> None:
    row, _ = await town.meter()
    with pytest.raises(Refused) as refused:
        await town.changes.make(town.supervisor, row.number, wish, "new key")
    assert refused.value.code == code
    assert town.shop.column("SELECT count(*) FROM key_change") == [0]


async def test_away_from_an_expired_key_is_allowed(town: KeyTown) -> None:
    row, thing = await town.meter(key_id="expired", ken=10)
    change, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "expired")
    assert change is not None
    await town.push(row, thing)
    assert town.coded(row)["key_id"] == "krn-2"


async def test_the_same_wish_again_is_the_same_change_and_another_a_conflict(town: KeyTown) -> None:
    row, _ = await town.meter()
    first, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    again, is_new = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    assert first is not None
    assert again is not None
    assert (again.row["id"], is_new) == (first.row["id"], False)

    with pytest.raises(Conflict) as conflict:
        await town.changes.make(town.supervisor, row.number, KeyWish(tariff_index=7), "other")
    assert conflict.value.code == "key_change_open"


async def test_a_declared_change_moves_the_stored_key(town: KeyTown) -> None:
    row, _ = await town.meter(online=False)
    change, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    assert change is not None

    shown = await town.changes.declare(town.supervisor, change.row["id"], "the customer rang")

    assert (shown.row["proof"], shown.row["end_reason"]) == ("declared", "the customer rang")
    assert town.coded(row)["key_id"] == "krn-2"
    with pytest.raises(Refused) as refused:
        await town.changes.cancel(town.supervisor, change.row["id"], "too late")
    assert refused.value.code == "key_change_ended"


async def test_a_cancelled_change_leaves_the_key_and_not_once_tokens_need_the_new_one(
    town: KeyTown,
) -> None:
    row, thing = await town.meter(online=False)
    change, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    assert change is not None
    await town.changes.cancel(town.supervisor, change.row["id"], "mistake")
    assert town.coded(row)["wanted"] is None
    assert typed(thing, await bought(town, row.number, "s1")) == [Outcome.DONE]

    other, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    assert other is not None
    await bought(town, row.number, "s2")
    with pytest.raises(Refused) as refused:
        await town.changes.cancel(town.supervisor, other.row["id"], "mistake")
    assert refused.value.code == "sold_under_new_key"


async def test_without_the_right_nothing_happens_but_the_attempt_is_kept(town: KeyTown) -> None:
    row, _ = await town.meter()
    with pytest.raises(NotAllowed):
        await town.changes.make(town.shop.till, row.number, NEW_KEY, "new key")
    (act,) = town.shop.rows_of("SELECT * FROM act WHERE what = 'key.change.refused'")
    assert act["subject"] == f"meter:{row.number}"
    assert act["principal_id"] == town.shop.till.principal.id


async def test_a_sale_with_a_set_that_stopped_between_its_commits_is_completed_whole(
    town: KeyTown,
) -> None:
    row, thing = await town.meter(online=False)
    wish = KeyWish(key_id="krn-2", with_sale=True)
    await town.changes.make(town.supervisor, row.number, wish, "new key")
    request = SellRequest("s1", row.number, "116.00")
    await town.shop.first_commit_only(request)

    await town.shop.selling.recover()

    sale, is_new = await town.shop.selling.sell(town.shop.till, request)
    assert not is_new
    digits = [str(token.digits) for token in sale.tokens]
    assert typed(thing, digits) == [Outcome.WAITING, Outcome.DONE, Outcome.DONE]
