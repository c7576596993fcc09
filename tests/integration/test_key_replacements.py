"""Tokens that a change of key made worthless come again once, and only once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.devices.commands import Outcome
from slotmeter.errors import NotAllowed, NotFound, Refused
from slotmeter.services.key_change_plan import ChangeView, KeyWish
from slotmeter.testing.key_town import KeyTown, Wire, open_key_town
from slotmeter.testing.small_utility import SmallMeter
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


async def changed(
    town: KeyTown, *, online: bool = False
) -> tuple[SmallMeter, VirtualMeter, ChangeView, str]:
    """A meter with a token that was not typed before its key was changed."""
    row, thing = await town.meter(online=online)
    sale = await town.shop.sell(row.number, sale_id="before")
    if online:
        town.shop.sql("UPDATE command SET state = 'expired'")
    change, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    assert change is not None
    assert sale.token is not None
    return row, thing, change, sale.token


async def test_an_unused_token_is_replaced_under_the_new_key(town: KeyTown) -> None:
    row, thing, change, old = await changed(town, online=True)
    await town.push(row, thing)
    (unused,) = change.unused

    made, is_new = await town.replacements.replace(
        town.supervisor, change.row["id"], unused["id"], "bought before the change"
    )
    await town.push(row, thing)

    assert is_new
    assert thing.type_token(old).outcome is Outcome.REJECTED
    assert thing.credit_total == 5_000
    assert thing.type_token(made.digits).outcome is Outcome.ALREADY_USED
    states = town.shop.column("SELECT state FROM token WHERE amount > 0 ORDER BY id")
    assert states == ["replaced", "verified"]
    assert town.shop.column("SELECT kind FROM alarm") == []


async def test_asked_twice_the_same_token_comes_and_no_other(town: KeyTown) -> None:
    _, thing, change, _ = await changed(town)
    for token in change.tokens:
        thing.type_token(token.digits)
    await town.changes.declare(town.supervisor, change.row["id"], "done")
    asked = (town.supervisor, change.row["id"], change.unused[0]["id"], "not typed")

    first, _ = await town.replacements.replace(*asked)
    again, is_new = await town.replacements.replace(*asked)

    assert (again, is_new) == (first, False)
    assert town.shop.column("SELECT count(*) FROM token WHERE purpose = 'replacement'") == [1]
    assert thing.type_token(first.digits).outcome is Outcome.DONE


async def test_no_money_moves_with_it(town: KeyTown) -> None:
    _, _, change, _ = await changed(town)
    before = town.shop.column("SELECT count(*) FROM posting")
    await town.changes.declare(town.supervisor, change.row["id"], "done")
    await town.replacements.replace(
        town.supervisor, change.row["id"], change.unused[0]["id"], "not typed"
    )
    assert town.shop.column("SELECT count(*) FROM posting") == before


async def test_before_the_proof_nothing_is_replaced(town: KeyTown) -> None:
    _, _, change, _ = await changed(town)
    with pytest.raises(Refused) as refused:
        await town.replacements.replace(
            town.supervisor, change.row["id"], change.unused[0]["id"], "too early"
        )
    assert refused.value.code == "key_change_not_proven"


async def test_a_token_that_the_meter_took_is_not_replaced(town: KeyTown) -> None:
    row, thing = await town.meter()
    await town.shop.sell(row.number, sale_id="before")
    await town.push(row, thing)
    change, _ = await town.changes.make(town.supervisor, row.number, NEW_KEY, "new key")
    assert change is not None
    assert change.unused == []
    await town.push(row, thing)
    (token_id,) = town.shop.column("SELECT id FROM token WHERE amount > 0")

    with pytest.raises(Refused) as refused:
        await town.replacements.replace(town.supervisor, change.row["id"], token_id, "again")

    assert refused.value.code == "token_used"


async def test_tokens_of_the_new_key_or_of_another_meter_are_not_replaced(town: KeyTown) -> None:
    row, _, change, _ = await changed(town)
    other, _ = await town.meter(online=False)
    await town.changes.declare(town.supervisor, change.row["id"], "done")
    await town.shop.sell(row.number, sale_id="after")
    await town.shop.sell(other.number, sale_id="other")
    _, after, foreign = town.shop.column("SELECT id FROM token WHERE amount > 0 ORDER BY id")

    with pytest.raises(Refused) as refused:
        await town.replacements.replace(town.supervisor, change.row["id"], after, "why not")
    assert refused.value.code == "token_not_of_old_key"
    with pytest.raises(NotFound):
        await town.replacements.replace(town.supervisor, change.row["id"], foreign, "why not")


async def test_without_the_right_nothing_is_replaced(town: KeyTown) -> None:
    _, _, change, _ = await changed(town)
    with pytest.raises(NotAllowed):
        await town.replacements.replace(
            town.shop.till, change.row["id"], change.unused[0]["id"], "please"
        )
    assert town.shop.column("SELECT what FROM act WHERE what LIKE '%.refused'") == [
        "key.replace.refused"
    ]
