"""Use at meters whose credit the platform holds, charged through the tariff language."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.small_utility import SmallMeter

M3 = 1_000_000
BLOCKS: dict[str, Any] = {
    "tariff": "steps",
    "title": "Steps",
    "commodity": "water",
    "currency": "KES",
    "energy": {"label": "Water", "blocks": [{"to": "6", "price": "10"}, {"price": "50"}]},
    "levies": {"sewer": {"label": "Sewerage", "per_unit": "2"}},
    "taxes": {"vat": {"label": "VAT", "percent": "10", "on": ["energy", "sewer"]}},
}


async def steps_meter(town: DeviceTown, **changes: Any) -> SmallMeter:
    """A water meter under a tariff of steps, which has reported once."""
    await town.utility.add_tariff({**BLOCKS, **changes})
    meter = await town.utility.add_meter("water", credit_mode="platform", tariff="steps")
    await report(town, meter, 100)
    return meter


async def report(town: DeviceTown, meter: SmallMeter, cubic_metres: int) -> None:
    town.side.clock.advance(seconds=3600)
    await town.side.report(meter, {"volume": cubic_metres * M3})


def ledger(town: DeviceTown) -> dict[str, int]:
    rows = town.rows("SELECT code, balance_minor FROM ledger_account ORDER BY code")
    return {row["code"]: row["balance_minor"] for row in rows}


def segments(town: DeviceTown) -> list[tuple[int, int]]:
    rows = town.rows("SELECT start_register, register FROM meter_charge ORDER BY id")
    return [(row["start_register"] // M3, row["register"] // M3) for row in rows]


async def assert_ledger_holds(town: DeviceTown) -> None:
    utility = await Registry(town.side.uow, town.side.clock).utility(None)
    verdict = await verify_ledger(town.side.uow, town.side.clock, utility)
    assert [each for each in verdict.sentences if not each.holds] == []


async def test_steps_levies_and_taxes_of_use_go_to_their_accounts(town: DeviceTown) -> None:
    meter = await steps_meter(town)

    await report(town, meter, 104)
    await report(town, meter, 110)

    # 6 at 10, 4 at 50; 10 at 2; 10 % of 280.
    assert ledger(town) == {
        "customer:A0001": 30_800,
        "income:water": -26_000,
        "levy:sewer": -2_000,
        "tax:vat": -2_800,
    }
    assert segments(town) == [(100, 110)]
    await assert_ledger_holds(town)


async def test_a_new_month_starts_the_steps_again(town: DeviceTown) -> None:
    meter = await steps_meter(town)
    await report(town, meter, 110)
    town.side.clock.set(datetime(2026, 12, 2, tzinfo=UTC))

    await report(town, meter, 112)
    await report(town, meter, 118)

    # Until the first value in December, 12 in November; then 6 at the first step again.
    assert segments(town) == [(100, 112), (112, 118)]
    assert ledger(town)["income:water"] == -(6 * 1000 + 6 * 5000 + 6 * 1000)


async def test_a_new_version_within_the_month_counts_the_steps_on(town: DeviceTown) -> None:
    meter = await steps_meter(town)
    await report(town, meter, 104)
    dearer = {"label": "Water", "blocks": [{"to": "6", "price": "20"}, {"price": "60"}]}
    await town.utility.add_tariff(
        {**BLOCKS, "energy": dearer}, version=2, valid_from_us=town.now_us + 1
    )

    await report(town, meter, 105)
    await report(town, meter, 108)

    # 5 at 10 under the old version; 1 of the first step is left under the new one, 2 are beyond.
    assert segments(town) == [(100, 105), (105, 108)]
    assert ledger(town)["income:water"] == -(5 * 1000 + 2000 + 2 * 6000)


async def test_a_new_class_reprices_nothing_that_was_used_before(town: DeviceTown) -> None:
    tables = {
        "label": "Water",
        "tables": {"poor": {"price": "1"}, "others": {"price": "10"}},
        "use": [{"class": ["indigent"], "table": "poor"}, {"table": "others"}],
    }
    meter = await steps_meter(town, energy=tables)
    await report(town, meter, 104)
    account = town.row("SELECT id FROM account WHERE number = ?", meter.account_number)
    await town.insert(
        "account_class",
        {
            "account_id": account["id"],
            "class_code": "indigent",
            "from_us": town.now_us,
            "reason": "",
            "principal_id": town.seller.principal.id,
            "created_us": town.now_us,
        },
    )

    await report(town, meter, 105)
    await report(town, meter, 109)

    assert segments(town) == [(100, 105), (105, 109)]
    assert ledger(town)["income:water"] == -(5 * 1000 + 4 * 100)


async def test_use_without_a_price_is_not_charged_but_alarmed_and_goes_by_the_next_prices(
    town: DeviceTown,
) -> None:
    meter = await steps_meter(town, valid_until="2026-11-23")
    await report(town, meter, 101)
    town.side.clock.set(datetime(2026, 11, 24, tzinfo=UTC))
    await report(town, meter, 103)
    before = ledger(town)
    alarms = town.rows("SELECT kind, cleared_us FROM alarm")

    await town.utility.add_tariff(
        {**BLOCKS, "energy": {"price": "100"}}, version=2, valid_from_us=town.now_us
    )
    await report(town, meter, 104)
    await report(town, meter, 105)

    assert before["income:water"] == -1000
    assert alarms == [{"kind": "no_price_in_force", "cleared_us": None}]
    assert ledger(town)["income:water"] == -(1000 + 4 * 10_000)
    assert segments(town) == [(100, 101), (101, 105)]
    assert town.row("SELECT count(*) AS open FROM alarm WHERE cleared_us IS NULL")["open"] == 0
    await assert_ledger_holds(town)


@pytest.mark.parametrize("month", [1, 7])
async def test_a_table_that_a_date_switches_on_is_used_from_that_date(
    town: DeviceTown, month: int
) -> None:
    until = f"2027-{month:02d}-01"
    tables = {
        "label": "Water",
        "tables": {"usual": {"price": "10"}, "drought": {"price": "40"}},
        "use": [{"until": until, "table": "usual"}, {"table": "drought"}],
    }
    meter = await steps_meter(town, energy=tables)
    town.side.clock.set(datetime(2027, month, 2, tzinfo=UTC))

    await report(town, meter, 101)
    await report(town, meter, 102)

    assert ledger(town)["income:water"] == -(1000 + 4000)
