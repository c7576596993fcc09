"""The plan of a town is seeded, complete, and a file that the import takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from slotmeter.services.meter_file import read_meter_file
from slotmeter.testing.town import CURRENCY, TARIFFS, TIME_ZONE, Home, SaleFate, plan_town
from slotmeter.testing.town_life import amount_for
from slotmeter.testing.town_prices import debt_share, tariff_of
from slotmeter.units import Commodity, epoch_us
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.reader import parse_tariff

NOW = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)


def test_the_same_seed_gives_the_same_town() -> None:
    assert plan_town(30, 7) == plan_town(30, 7)


def test_another_seed_gives_another_town() -> None:
    assert plan_town(30, 7) != plan_town(30, 8)


def test_every_meter_has_a_number_of_its_own() -> None:
    homes = plan_town(5_000, 1).homes

    assert len({home.number for home in homes}) == len(homes)


def test_all_three_utilities_and_both_kinds_of_credit_live_in_six_homes() -> None:
    homes = plan_town(6, 1).homes

    assert {home.commodity for home in homes} == set(Commodity)
    assert {home.credit_mode for home in homes} == {"meter", "platform"}


def test_about_half_of_the_water_meters_leave_their_credit_to_the_platform() -> None:
    water = [home for home in plan_town(60, 1).homes if home.commodity is Commodity.WATER]

    platform = sum(home.credit_mode == "platform" for home in water)
    assert platform == len(water) // 2


def test_some_meters_lose_the_network_and_most_do_not() -> None:
    homes = plan_town(60, 1).homes
    away = [home for home in homes if home.offline_from_s is not None]

    assert 2 <= len(away) < len(homes) / 2


@pytest.mark.parametrize("seed", range(5))
def test_of_twenty_sales_one_is_doubled_and_one_loses_its_answer(seed: int) -> None:
    town = plan_town(1, seed)

    for block in range(10):
        fates = Counter(town.fate(sale) for sale in range(block * 20, block * 20 + 20))
        assert fates == {SaleFate.PLAIN: 18, SaleFate.DOUBLED: 1, SaleFate.LOST: 1}


def test_the_import_takes_the_towns_file_without_a_complaint() -> None:
    content = plan_town(200, 3).meter_file(date(2026, 1, 1)).encode()

    file = read_meter_file(content, currency=CURRENCY, today=date(2026, 1, 2))

    assert file.problems == ()
    assert len(file.rows) == 200


@pytest.mark.parametrize("document", TARIFFS, ids=lambda each: each["tariff"])
def test_the_towns_tariffs_are_tariffs(document: dict[str, object]) -> None:
    assert parse_tariff(document).code == document["tariff"]


@pytest.mark.parametrize("speed", [1, 600, 10_000])
@pytest.mark.parametrize("home", plan_town(12, 1).homes, ids=lambda home: home.number)
def test_whatever_the_speed_a_purchase_is_one_that_the_tariff_allows(
    home: Home, speed: int
) -> None:
    amount = Decimal(amount_for(home, speed, NOW))

    assert 20 <= amount <= 50_000


def test_a_later_purchase_of_the_month_has_no_charge_to_pay() -> None:
    [home] = plan_town(1, 1).homes

    assert Decimal(amount_for(home, 600, NOW)) > Decimal(amount_for(home, 600, NOW, before=1_000))


def test_a_purchase_is_enough_for_the_use_it_is_meant_for() -> None:
    home = replace(plan_town(1, 1).homes[0], debt=100)
    money = Decimal(amount_for(home, 600, NOW, before=60_000))
    used = home.use_of(home.purchase_s, 600, epoch_us(NOW))

    left_minor = int((money - debt_share(money)) * 100)
    situation = Situation(epoch_us(NOW), TIME_ZONE, prior_units=60_000)
    got = price_tender(tariff_of(home.commodity), situation, left_minor).units

    assert used <= got <= used + 600, "enough, and not more than 10 shillings buy beyond it"


def test_some_households_owe_and_some_have_free_units_and_none_pays_into_an_account() -> None:
    homes = plan_town(30, 1).homes
    owing = [home for home in homes if home.debt]
    given = [home for home in homes if home.has_free_units]

    assert 0 < len(owing) < len(homes) / 2
    assert 0 < len(given) < len(homes) / 2
    assert {home.credit_mode for home in (*owing, *given)} == {"meter"}


def test_the_use_of_a_time_is_the_sum_of_the_uses_of_its_parts() -> None:
    home = plan_town(1, 1).homes[0]
    start = epoch_us(NOW)

    whole = home.use_of(3_600, 24, start)
    parts = sum(home.use_of(600, 24, start + part * 600 * 24 * 1_000_000) for part in range(6))

    assert abs(whole - parts) <= 6


@pytest.mark.parametrize("homes", [0, 5_001])
def test_a_town_of_no_homes_or_too_many_is_refused(homes: int) -> None:
    with pytest.raises(ValueError, match="a town has"):
        plan_town(homes, 1)
