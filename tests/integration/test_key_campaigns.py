"""A campaign changes the keys of many meters; it can be stopped anywhere and gone on with."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.devices.commands import Outcome
from slotmeter.errors import Conflict, NotAllowed, NotFound, Refused, Unavailable
from slotmeter.services.campaign_sets import MeterSet, render_sets
from slotmeter.services.campaign_terms import CampaignWish, Progress, Selection
from slotmeter.testing.key_town import KeyTown, Wire, open_key_town
from slotmeter.testing.small_utility import SmallMeter, meter_number
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

WIRE = Wire(DRIVER, RULES.credit_control, encode_report, decode_commands)
WISH = CampaignWish("krn2", "krn-2")
ALL = Selection()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[KeyTown]:
    async with open_key_town(tmp_path, WIRE) as opened:
        yield opened


async def street(town: KeyTown) -> list[tuple[SmallMeter, VirtualMeter]]:
    """Two meters within reach and two that are not."""
    return [await town.meter(online=at < 2) for at in range(4)]


async def begun(town: KeyTown, wish: CampaignWish = WISH, selection: Selection = ALL) -> None:
    await town.office.campaigns.begin(town.supervisor, wish, "new keys")
    await town.office.campaigns.select(town.supervisor, wish.code, selection, "all of them")


async def test_meters_are_changed_delivered_and_proven(town: KeyTown) -> None:
    meters = await street(town)
    await begun(town)

    made = await town.office.campaigns.run(town.supervisor, "krn2")
    for row, thing in meters[:2]:
        await town.push(row, thing)

    assert made == Progress(waiting=4)
    after = await town.office.campaigns.progress(town.supervisor, "krn2")
    assert after == Progress(proven=2, waiting=2)
    assert [town.coded(row)["key_id"] for row, _ in meters[:2]] == ["krn-2"] * 2


async def test_it_goes_on_where_it_stopped(town: KeyTown) -> None:
    await street(town)
    await begun(town)
    campaigns = town.office.campaigns

    first = await campaigns.run(town.supervisor, "krn2", limit=3)
    # Stopped after the change of a meter was made and before it was noted.
    town.shop.sql(
        "UPDATE key_campaign_meter SET state = 'selected' WHERE id ="
        " (SELECT min(id) FROM key_campaign_meter)"
    )
    last = await campaigns.run(town.supervisor, "krn2")
    again = await campaigns.run(town.supervisor, "krn2")

    assert first == Progress(waiting=3, selected=1)
    assert last == again == Progress(waiting=4)
    assert town.shop.column("SELECT count(*) FROM key_change") == [4]


async def test_a_vault_that_is_closed_stops_it_and_loses_nothing(town: KeyTown) -> None:
    await street(town)
    await begun(town)
    await town.shop.security.close()
    with pytest.raises(Unavailable):
        await town.office.campaigns.run(town.supervisor, "krn2")
    after = await town.office.campaigns.progress(town.supervisor, "krn2")
    assert after == Progress(selected=4)


async def test_begun_and_selected_twice_it_is_the_same(town: KeyTown) -> None:
    await street(town)
    campaigns = town.office.campaigns
    _, is_new = await campaigns.begin(town.supervisor, WISH, "new keys")
    _, is_new_again = await campaigns.begin(town.supervisor, WISH, "new keys")
    added, _ = await campaigns.select(town.supervisor, "krn2", ALL, "all")
    added_again, _ = await campaigns.select(town.supervisor, "krn2", ALL, "all")
    assert (is_new, is_new_again, added, added_again) == (True, False, 4, 0)
    with pytest.raises(Conflict) as conflict:
        await campaigns.begin(town.supervisor, CampaignWish("krn2", "common"), "other")
    assert conflict.value.code == "campaign_exists"


async def test_meters_are_selected_by_key_base_date_area_or_number(town: KeyTown) -> None:
    meters = await street(town)
    old, _ = await town.meter(key_id="base-1993")
    campaigns = town.office.campaigns
    wish = CampaignWish("rollover", "sgc-123457-krn-1")
    await campaigns.begin(town.supervisor, wish, "rollover")

    async def select(selection: Selection) -> tuple[int, list[str]]:
        added, unknown = await campaigns.select(town.supervisor, "rollover", selection, "some")
        return added, [*unknown]

    assert await select(Selection(area="Town/Nor")) == (0, [])
    assert await select(Selection(commodity="water")) == (0, [])
    assert await select(Selection(base_date=1993, area="Town")) == (1, [])
    stranger = meter_number(999)
    numbers = [meters[0][0].number, old.number, stranger]
    assert await select(Selection(numbers=numbers)) == (1, [stranger])
    assert await select(Selection(key_id="base-1993")) == (0, [])


async def test_what_cannot_be_changed_is_named_and_stops_nobody(town: KeyTown) -> None:
    meters = await street(town)
    town.shop.sql("UPDATE meter SET key_id = 'lost' WHERE id = ?", meters[0][0].id)
    await begun(town)

    progress = await town.office.campaigns.run(town.supervisor, "krn2")

    assert progress == Progress(waiting=3, failed=1)
    page = await town.office.campaigns.members(town.supervisor, "krn2")
    (problem,) = [row["problem"] for row in page.rows if row["state"] == "failed"]
    assert problem.startswith("vending_key_unknown")
    town.shop.sql("UPDATE meter SET key_id = 'sgc-123457-krn-1' WHERE id = ?", meters[0][0].id)
    assert await town.office.campaigns.run(town.supervisor, "krn2", again=True) == Progress(
        waiting=4
    )


async def test_with_the_next_sale_each_meter_is_changed_when_it_buys(town: KeyTown) -> None:
    (buyer, thing), *_ = await street(town)
    await begun(town, CampaignWish("krn2", "krn-2", how="with_sale"))
    campaigns = town.office.campaigns

    assert await campaigns.run(town.supervisor, "krn2") == Progress(with_sale=4)
    await town.shop.sell(buyer.number)
    assert await campaigns.progress(town.supervisor, "krn2") == Progress(with_sale=3, waiting=1)
    await town.push(buyer, thing)
    assert await campaigns.progress(town.supervisor, "krn2") == Progress(with_sale=3, proven=1)


async def test_the_list_names_every_set_that_waits_and_a_meter_takes_it(town: KeyTown) -> None:
    meters = await street(town)
    await begun(town)
    await town.office.campaigns.run(town.supervisor, "krn2")

    first, following = await town.office.sets.sets(town.supervisor, "krn2", "print", limit=3)
    rest, end = await town.office.sets.sets(town.supervisor, "krn2", "print", after=following or 0)

    assert (len(first), len(rest), end) == (3, 1, None)
    rows = list(csv.DictReader(io.StringIO(render_sets([*first, *rest], "csv"))))
    digits = [rows[3]["token_1"], rows[3]["token_2"]]
    thing = next(thing for row, thing in meters if row.number == rows[3]["meter"])
    assert [thing.type_token(each).outcome for each in digits] == [Outcome.WAITING, Outcome.DONE]
    assert town.shop.column("SELECT count(printed_us) FROM key_campaign_meter") == [4]


@pytest.mark.parametrize("form", ["csv", "text", "html"])
def test_every_form_holds_the_tokens_the_mark_and_no_formula_or_markup(form: str) -> None:
    written = MeterSet("07000000018", "=HYPERLINK(1)<b>", "A1", "Town", "1 Road", ["1" * 20])
    text = render_sets([written], form, mark="TRAINING")
    assert "1111" in text.replace(" ", "")
    assert "TRAINING" in text
    assert "<b>" not in text or form != "html"
    assert "\n=" not in text.replace(",", "\n") or form != "csv"


async def test_unused_tokens_are_named_before_and_replaced_once_after(town: KeyTown) -> None:
    meters = await street(town)
    for at, (row, _) in enumerate(meters):
        await town.shop.sell(row.number, sale_id=f"s{at}")
    town.shop.sql("UPDATE command SET state = 'expired'")
    await begun(town)
    campaigns = town.office.campaigns

    warned = await campaigns.unused(town.supervisor, "krn2")
    await campaigns.run(town.supervisor, "krn2")
    for row, thing in meters[:2]:
        await town.push(row, thing)
    done = await town.office.sets.replace_unused(town.supervisor, "krn2", "key change")
    again = await town.office.sets.replace_unused(town.supervisor, "krn2", "key change")
    for row, thing in meters[:2]:
        await town.push(row, thing)

    assert len(warned.rows) == 4
    assert (done.replaced, again.replaced) == (2, 0)  # of those out of reach nobody knows
    assert [thing.credit_total for _, thing in meters] == [5_000, 5_000, 0, 0]


async def test_a_closed_campaign_makes_nothing_more(town: KeyTown) -> None:
    await street(town)
    await begun(town)
    await town.office.campaigns.close(town.supervisor, "krn2", "enough")
    with pytest.raises(Refused) as refused:
        await town.office.campaigns.run(town.supervisor, "krn2")
    assert refused.value.code == "campaign_closed"


async def test_without_the_right_there_is_no_campaign(town: KeyTown) -> None:
    with pytest.raises(NotAllowed):
        await town.office.campaigns.begin(town.shop.till, WISH, "mine")
    with pytest.raises(NotFound):
        await town.office.campaigns.progress(town.shop.till, "krn2")
    assert town.shop.column("SELECT what FROM act WHERE what LIKE '%refused'") == [
        "key.campaign.refused"
    ]
