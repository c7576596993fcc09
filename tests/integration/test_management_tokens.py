"""Tokens that manage a meter: by right, once for each request, and they work at the meter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.devices.commands import Outcome
from slotmeter.errors import Conflict, NotAllowed, Refused
from slotmeter.services.key_change_plan import KeyWish
from slotmeter.services.management_tokens import ManagementWish
from slotmeter.testing.key_town import KeyTown, Wire, open_key_town
from slotmeter.vending.sts import TokenRequest
from slotmeter.vending.sts.explain import explain
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

WIRE = Wire(DRIVER, RULES.credit_control, encode_report, decode_commands)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[KeyTown]:
    async with open_key_town(tmp_path, WIRE) as opened:
        yield opened


def wish(kind: str, value: int | None = None, request_id: str = "m1") -> ManagementWish:
    return ManagementWish(request_id, kind, value, "because of a test")


async def test_a_supervisor_clears_tamper_at_a_meter_within_reach(town: KeyTown) -> None:
    row, thing = await town.meter()
    thing.open_cover()
    thing.close_cover()
    await town.push(row, thing, times=1)
    assert town.shop.column("SELECT tamper FROM device") == [1]

    made, _ = await town.management.make(town.supervisor, row.number, wish("clear_tamper"))
    await town.push(row, thing)

    assert not thing.tamper
    assert town.shop.column("SELECT tamper FROM device") == [0]
    after = await town.management.token(town.supervisor, made.row["id"])
    assert (after["state"], after["command_state"]) == ("accepted", "verified")


async def test_a_cashier_is_not_allowed_and_the_attempt_is_kept(town: KeyTown) -> None:
    row, thing = await town.meter()
    with pytest.raises(NotAllowed):
        await town.management.make(town.shop.till, row.number, wish("clear_tamper"))
    (act,) = town.shop.rows_of("SELECT * FROM act WHERE what = 'token.manage.refused'")
    assert act["principal_id"] == town.shop.till.principal.id
    assert "clear_tamper" in act["data"]
    assert town.shop.column("SELECT count(*) FROM token") == [0]
    assert thing.credit_total == 0


async def test_the_same_request_gives_the_same_token(town: KeyTown) -> None:
    row, _ = await town.meter()
    first, is_new = await town.management.make(town.supervisor, row.number, wish("clear_credit"))
    again, is_new_again = await town.management.make(
        town.supervisor, row.number, wish("clear_credit")
    )
    assert (is_new, is_new_again) == (True, False)
    assert again.digits == first.digits
    with pytest.raises(Conflict) as conflict:
        await town.management.make(town.supervisor, row.number, wish("clear_tamper"))
    assert conflict.value.code == "request_id_reused"


async def test_clear_credit_takes_all_credit(town: KeyTown) -> None:
    row, thing = await town.meter()
    await town.shop.sell(row.number)
    await town.push(row, thing)
    assert thing.credit

    await town.management.make(town.supervisor, row.number, wish("clear_credit"))
    await town.push(row, thing)

    assert thing.credit == 0
    assert town.shop.column("SELECT kind FROM alarm WHERE kind = 'credit_mismatch'") == []


@pytest.mark.parametrize(("kind", "value", "name"), [
    ("power_limit", 5_000, "set_maximum_power_limit"),
    ("phase_unbalance", 900, "set_maximum_phase_power_unbalance_limit"),
    ("tariff_rate", 7, "set_tariff_rate"),
    ("flag", 3, "extended"),
])  # fmt: skip
async def test_each_kind_is_a_token_that_the_meter_takes(
    town: KeyTown, kind: str, value: int, name: str
) -> None:
    row, thing = await town.meter(online=False)
    made, _ = await town.management.make(town.supervisor, row.number, wish(kind, value))
    assert thing.type_token(made.digits).outcome in (Outcome.DONE, Outcome.UNSUPPORTED)
    (stored,) = town.shop.column("SELECT request FROM token")
    assert TokenRequest.from_dict(json.loads(stored)).name == name


async def test_a_test_token_is_in_clear_and_has_no_identifier(town: KeyTown) -> None:
    row, thing = await town.meter(online=False)
    made, _ = await town.management.make(town.supervisor, row.number, wish("test_display", 0))
    assert made.digits == "56493153725450313471"  # every test, any maker
    assert explain(made.digits).token_class == 1
    assert thing.type_token(made.digits).tid is None
    assert town.shop.column("SELECT tid FROM token") == [-1]


async def test_identifiers_are_shared_with_credit(town: KeyTown) -> None:
    row, _ = await town.meter(online=False)
    await town.shop.sell(row.number, sale_id="a")
    await town.management.make(town.supervisor, row.number, wish("clear_tamper"))
    await town.shop.sell(row.number, sale_id="b")
    tids = town.shop.column("SELECT tid FROM token ORDER BY id")
    assert tids == sorted(set(tids))


async def test_while_a_key_change_is_open_it_is_under_the_new_key(town: KeyTown) -> None:
    row, thing = await town.meter(online=False)
    change, _ = await town.changes.make(
        town.supervisor, row.number, KeyWish(key_id="krn-2"), "new key"
    )
    assert change is not None
    made, _ = await town.management.make(town.supervisor, row.number, wish("clear_tamper"))

    assert made.key_change_id == change.row["id"]
    digits = [*(token.digits for token in change.tokens), made.digits]
    assert [thing.type_token(each).outcome for each in digits][-1] is Outcome.DONE


@pytest.mark.parametrize(("commodity", "kind", "value", "code"), [
    ("electricity", "open_door", None, "token_kind_unknown"),
    ("water", "power_limit", 5, "token_kind_does_not_fit"),
    ("electricity", "power_limit", None, "token_value_missing"),
    ("electricity", "power_limit", 18_201_625, "token_value_out_of_range"),
    ("electricity", "clear_credit", 9, "token_value_out_of_range"),
])  # fmt: skip
async def test_what_no_meter_can_be_told_is_refused(
    town: KeyTown, commodity: str, kind: str, value: int | None, code: str
) -> None:
    row, _ = await town.meter(commodity)
    with pytest.raises(Refused) as refused:
        await town.management.make(town.supervisor, row.number, wish(kind, value))
    assert refused.value.code == code
