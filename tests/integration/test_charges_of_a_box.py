"""Meters in one box whose credit the platform holds: what one frame of the node charges them."""

from __future__ import annotations

import pytest

from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.meter_box import NEW_BOX, MeterBox

pytestmark = pytest.mark.both_databases


async def test_the_first_charges_of_a_utility_may_come_in_one_frame_of_a_box(
    town: DeviceTown,
) -> None:
    boss = await town.utility.add_principal("Boss", "supervisor")
    meters = [await town.utility.add_meter(credit_mode="platform", online=False) for _ in range(3)]
    box = MeterBox(town, boss, meters)
    await box.bindings.add_node(boss, NEW_BOX, reason="new box")
    await box.bind()
    await box.read()
    box.registers = {number: value + 1_000 for number, value in box.registers.items()}
    await box.read()

    assert town.rows("SELECT code, message FROM quarantine") == []
    assert all(town.balance(meter) < 0 for meter in meters)
    codes = [row["code"] for row in town.rows("SELECT code FROM ledger_account")]
    assert sorted(codes) == sorted(set(codes))
    assert town.rows("SELECT sum(balance_minor) AS sum FROM ledger_account") == [{"sum": 0}]
