"""A meter on base date 1993, from the last tokens under its old key to the first under the new one.

Its identifiers ended in November 2024. What was bought before and typed is used for good; what was
bought and not typed was worth something until the key was changed, and is given anew once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slotmeter.devices.commands import Outcome
from slotmeter.errors import Refused
from slotmeter.services.key_change_plan import KeyWish
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.registry import Registry
from slotmeter.testing.key_town import KeyTown, Wire, open_key_town
from slotmeter.testing.shop import SHOP_OPENS_AT
from slotmeter.testing.small_utility import KEY_ID, SmallMeter, tariff_document
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter.units import epoch_us
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

WIRE = Wire(DRIVER, RULES.credit_control, encode_report, decode_commands)
IN_2024 = datetime(2024, 10, 1, 9, 30, tzinfo=UTC)
"""Eight weeks before the identifiers of base date 1993 end."""


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[KeyTown]:
    async with open_key_town(tmp_path, WIRE) as opened:
        yield opened


async def on_1993(town: KeyTown) -> tuple[SmallMeter, VirtualMeter]:
    """A meter out of reach that is coded on base date 1993, and prices that were in force then."""
    town.shop.clock.set(IN_2024)
    document = tariff_document("electricity")
    await town.shop.utility.add_tariff(document, version=2, valid_from_us=epoch_us(IN_2024) - 1)
    row, thing = await town.meter(online=False, key_id="base-1993")
    town.shop.sql("UPDATE installation SET from_us = ?", epoch_us(IN_2024) - 1)
    return row, thing


async def test_a_meter_on_base_date_1993_goes_over_to_2014_and_nothing_that_was_paid_is_lost(
    town: KeyTown,
) -> None:
    shop = town.shop
    row, thing = await on_1993(town)
    used = await shop.sell(row.number, sale_id="used")
    shop.clock.advance(seconds=600)
    unused = await shop.sell(row.number, sale_id="unused")
    assert used.token is not None
    assert unused.token is not None
    typed_then = thing.type_token(used.token).outcome

    typed_twice = thing.type_token(used.token).outcome

    # Two years later its identifiers have ended.
    shop.clock.set(SHOP_OPENS_AT)
    town.run_to(thing, SHOP_OPENS_AT)
    with pytest.raises(Refused) as refused:
        await shop.sell(row.number, sale_id="refused")

    # One command issues the set.
    change, _ = await town.changes.make(
        town.supervisor, row.number, KeyWish(key_id=KEY_ID), "base date 1993 has ended"
    )
    assert change is not None
    taken = [thing.type_token(token.digits).outcome for token in change.tokens]

    # The next sale decodes.
    new = await shop.sell(row.number, sale_id="new")
    (credit,) = [each.digits for each in new.tokens if each.purpose == "credit" and each.digits]
    decoded = thing.type_token(credit).outcome

    # Old tokens, used or not, are of a key that the meter has no more.
    used_after = thing.type_token(used.token).outcome
    unused_after = thing.type_token(unused.token).outcome
    again = [thing.type_token(token.digits).outcome for token in change.tokens]
    await town.changes.declare(town.supervisor, change.row["id"], "the customer typed the set")

    # What was never typed is given anew, once.
    (of_unused,) = shop.column(
        "SELECT token.id FROM token JOIN sale ON sale.id = token.sale_row_id WHERE sale_id = ?",
        "unused",
    )
    asked = (town.supervisor, change.row["id"], of_unused, "bought in 2024, never typed")
    replaced, is_new = await town.replacements.replace(*asked)
    same, is_new_again = await town.replacements.replace(*asked)

    assert (typed_then, typed_twice) == (Outcome.DONE, Outcome.ALREADY_USED)
    assert refused.value.code == "key_change_needed"
    assert taken == [Outcome.WAITING, Outcome.DONE]
    assert [token.digits for token in new.tokens][:2] == [each.digits for each in change.tokens]
    assert decoded is Outcome.DONE
    assert (used_after, unused_after) == (Outcome.REJECTED, Outcome.REJECTED)
    assert again == [Outcome.REJECTED] * 2
    assert (is_new, is_new_again) == (True, False)
    assert same == replaced
    assert thing.type_token(replaced.digits).outcome is Outcome.DONE
    assert thing.credit_total == 15_000
    utility = await Registry(shop.database, shop.clock).utility("small")
    assert (await verify_ledger(shop.database, shop.clock, utility)).holds
