"""The one place that makes commands: what it writes, doubles, supersedes and refuses."""

from __future__ import annotations

from datetime import date
from itertools import count
from typing import Any

import pytest

from slotmeter.devices.commands import CommandKind, CommandState
from slotmeter.ports import Insert, Row, Update
from slotmeter.services.command_order import RESTORE_PROOF_US
from slotmeter.services.command_rows import (
    EXPIRES_US,
    HELD_CUT_EXPIRES_US,
    HELD_RECHECK_US,
    CommandCause,
    causes_of,
    change,
    confirmed_by,
    hold_text,
    render_command,
    states_safety,
)
from slotmeter.services.control import (
    Cut,
    CutFacts,
    CutVerdict,
    Order,
    Queued,
    Target,
    may_cut,
    queue_steps,
)
from slotmeter.services.protection import Policy
from slotmeter.services.regate import apply_verdict
from slotmeter.units import Commodity

NOW_US = 1_800_000_000_000_000
WATER = Target(utility_id=1, meter_id=7, device_id=8, commodity=Commodity.WATER)
GAS = Target(utility_id=1, meter_id=7, device_id=8, commodity=Commodity.GAS)


def verdict(*, meter_id: int = 7, now_us: int = NOW_US, **changes: Any) -> CutVerdict:
    facts = {
        "time_zone": "UTC",
        "policy": Policy(),
        "installed": True,
        "measured_us": now_us,
        "received_us": now_us,
        "critical_until_us": None,
        "balance": 0,
        "noticed_us": now_us,
        "paid_us": None,
        "cuts_last_hour": 0,
        "cause": CommandCause.RULE,
        **changes,
    }
    return may_cut(CutFacts(meter_id=meter_id, now_us=now_us, **facts))


def cut(**changes: Any) -> Cut:
    return Cut(verdict(**changes), CommandCause.RULE, "the credit is used up")


def order(kind: CommandKind = CommandKind.OPEN_VALVE, **more: Any) -> Order:
    return Order(kind, CommandCause.RULE, "there is credit again", **more)


def queue(what: Order | Cut, *pending: Row, target: Target = WATER, now_us: int = NOW_US) -> Queued:
    ids = count(100)
    return queue_steps(what, target, pending=pending, now_us=now_us, new_id=lambda: next(ids))


def row(what: Order | Cut, **changes: Any) -> dict[str, Any]:
    return {**queue(what).command, "id": 50, **changes}


def superseded(queued: Queued) -> list[Any]:
    return [
        step.params["of_command"]
        for step in queued.steps
        if isinstance(step, Update) and step.params["to_state"] == "superseded"
    ]


def test_who_gives_back_again_after_a_cut_was_held_takes_that_cut_back() -> None:
    waits = row(order())
    held = row(cut(policy=Policy(cuts_per_hour=1), cuts_last_hour=5), id=60)

    queued = queue(order(), waits, held)

    assert (queued.command["id"], queued.is_new) == (50, False)
    assert superseded(queued) == [60]


def tables(queued: Queued) -> list[str]:
    return [step.table for step in queued.steps if isinstance(step, Insert)]


def test_a_command_comes_with_its_history_and_an_event() -> None:
    queued = queue(order())

    assert queued.command["state"] == "queued"
    assert tables(queued) == ["command", "command_log", "event"]


def test_a_token_comes_without_an_event_since_its_sale_tells() -> None:
    token = Order(CommandKind.LOAD_TOKEN, CommandCause.SALE, "sale R1", token_id=5, sale_row_id=6)

    queued = queue(token)

    assert tables(queued) == ["command", "command_log"]
    assert (queued.command["token_id"], queued.command["sale_row_id"]) == (5, 6)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (WATER, "close_valve"),
        (GAS, "close_valve"),
        (Target(1, 7, 8, Commodity.ELECTRICITY), "open_relay"),
    ],
)
def test_a_cut_takes_the_kind_that_the_commodity_needs(target: Target, kind: str) -> None:
    assert queue(cut(), target=target).command["kind"] == kind


def test_an_order_cannot_be_a_cut() -> None:
    with pytest.raises(TypeError, match="verdict"):
        order(CommandKind.CLOSE_VALVE)


@pytest.mark.parametrize(
    ("kind", "token_id"), [(CommandKind.LOAD_TOKEN, None), (CommandKind.READ_NOW, 5)]
)
def test_a_token_belongs_to_a_token_command_and_to_no_other(
    kind: CommandKind, token_id: int | None
) -> None:
    with pytest.raises(TypeError, match="token_id"):
        order(kind, token_id=token_id)


@pytest.mark.parametrize("changes", [{"meter_id": 6}, {"now_us": NOW_US - 1}])
def test_a_verdict_is_good_for_one_meter_and_one_moment(changes: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="another meter or another moment"):
        queue(cut(**changes))


def test_a_command_that_the_meter_has_no_part_for_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="nothing that close_relay moves"):
        queue(order(CommandKind.CLOSE_RELAY))


def test_a_refused_cut_is_a_row_that_has_ended_with_all_causes() -> None:
    queued = queue(cut(balance=None, noticed_us=None))

    assert queued.command["state"] == "refused"
    assert queued.command["ended_us"] == NOW_US
    codes = [cause["code"] for cause in causes_of(queued.command["hold"])]
    assert codes == ["unknown_balance", "no_notice"]


def test_a_held_cut_waits_until_its_hours_end_and_a_day_longer() -> None:
    always = Policy(holidays=frozenset({date(2027, 1, 15)}))
    queued = queue(cut(policy=always))

    midnight_us = NOW_US + 16 * 3_600_000_000
    assert queued.command["state"] == "held"
    assert queued.command["not_before_us"] == midnight_us
    assert queued.command["expires_us"] == midnight_us + HELD_CUT_EXPIRES_US


def test_a_cut_held_for_a_second_person_is_looked_at_again_soon() -> None:
    queued = queue(cut(cuts_last_hour=20))

    assert queued.command["not_before_us"] == NOW_US + HELD_RECHECK_US


def test_gas_is_refused_to_be_opened_and_an_unsent_cut_is_taken_back() -> None:
    waiting = row(cut(), state="queued")

    queued = queue(order(), waiting, target=GAS)

    assert queued.command["state"] == "refused"
    assert superseded(queued) == [50]


# --- doubles and opposites ----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "sent", "acknowledged"])
def test_a_command_like_one_on_its_way_is_not_doubled(state: str) -> None:
    waiting = row(order(), state=state, acknowledged_us=NOW_US - RESTORE_PROOF_US + 1)

    queued = queue(order(), waiting)

    assert queued.command["id"] == 50
    assert not queued.is_new


def test_giving_back_that_was_called_done_but_not_shown_in_time_is_asked_for_anew() -> None:
    waiting = row(order(), state="acknowledged", acknowledged_us=NOW_US - RESTORE_PROOF_US)

    queued = queue(order(), waiting)

    assert queued.is_new
    assert superseded(queued) == [50]


def test_a_cut_that_was_called_done_is_not_doubled_however_long_ago() -> None:
    waiting = row(cut(), state="acknowledged", acknowledged_us=NOW_US - 2 * RESTORE_PROOF_US)

    assert not queue(cut(), waiting).is_new


def test_another_token_is_another_command() -> None:
    waiting = {**row(order()), "kind": "load_token", "token_id": 5}
    token = Order(CommandKind.LOAD_TOKEN, CommandCause.SALE, "sale R2", token_id=6)

    assert queue(token, waiting).is_new


def test_a_held_cut_is_not_doubled_by_another_held_one() -> None:
    waiting = row(cut(cuts_last_hour=20))

    assert not queue(cut(cuts_last_hour=20), waiting).is_new


def test_a_cut_that_may_go_takes_the_place_of_a_held_one() -> None:
    waiting = row(cut(cuts_last_hour=20))

    queued = queue(cut(), waiting)

    assert queued.is_new
    assert superseded(queued) == [50]


def test_a_refused_cut_is_shown_even_while_another_is_held() -> None:
    waiting = row(cut(cuts_last_hour=20))

    queued = queue(cut(balance=None), waiting)

    assert queued.command["state"] == "refused"
    assert superseded(queued) == []


@pytest.mark.parametrize("state", ["queued", "held", "sent", "acknowledged"])
def test_giving_back_supersedes_every_cut_that_has_not_ended(state: str) -> None:
    assert superseded(queue(order(), row(cut(), state=state))) == [50]


@pytest.mark.parametrize("state", ["queued", "sent", "acknowledged"])
def test_a_cut_that_may_go_supersedes_every_giving_back_that_has_not_ended(state: str) -> None:
    assert superseded(queue(cut(), row(order(), state=state))) == [50]


@pytest.mark.parametrize(("state", "ended"), [("sent", [50]), ("acknowledged", [])])
def test_giving_gas_back_in_vain_takes_back_what_the_meter_has_not_done(
    state: str, ended: list[int]
) -> None:
    assert superseded(queue(order(), row(cut(), state=state), target=GAS)) == ended


def test_a_held_cut_supersedes_nothing() -> None:
    assert superseded(queue(cut(cuts_last_hour=20), row(order()))) == []


def for_safety(**changes: Any) -> Cut:
    facts = {"cause": CommandCause.PERSON, "safety": True, **changes}
    return Cut(verdict(**facts), CommandCause.PERSON, "a broken pipe", safety=True)


@pytest.mark.parametrize("state", ["queued", "held", "sent", "acknowledged"])
def test_a_cut_for_safety_takes_the_place_of_one_that_a_payment_would_take_back(
    state: str,
) -> None:
    queued = queue(for_safety(), row(cut(), state=state))

    assert queued.is_new
    assert superseded(queued) == [50]


def test_a_cut_for_safety_is_not_doubled_by_one_for_debt() -> None:
    assert not queue(cut(), row(for_safety())).is_new


def test_a_held_cut_for_safety_is_not_ended_by_one_for_debt() -> None:
    waiting = row(for_safety(cuts_last_hour=20))

    assert superseded(queue(cut(), waiting)) == []


# --- meeting the gate again ---------------------------------------------------------------------


def again(before: Row, **changes: Any) -> tuple[Row, list[Any]]:
    ids = count(200)
    return apply_verdict(
        before, verdict(**changes), pending=(before,), now_us=NOW_US, new_id=lambda: next(ids)
    )


def test_a_queued_cut_that_is_still_allowed_stays_as_it_is() -> None:
    before = row(cut())

    assert again(before) == (before, [])


def test_a_held_cut_that_is_allowed_is_queued_with_its_short_life() -> None:
    after, _ = again(row(cut(cuts_last_hour=20)))

    assert after["state"] == "queued"
    assert after["expires_us"] == NOW_US + EXPIRES_US[CommandKind.CLOSE_VALVE]


def test_a_queued_cut_may_become_held() -> None:
    after, _ = again(row(cut()), cuts_last_hour=20)

    assert after["state"] == "held"


def test_a_held_cut_that_stays_held_for_the_same_cause_says_nothing_new() -> None:
    after, steps = again(row(cut(cuts_last_hour=20)), cuts_last_hour=25)

    assert after["state"] == "held"
    assert [type(step) for step in steps] == [Update]


def test_a_held_cut_that_is_held_for_another_cause_says_so() -> None:
    holiday = Policy(holidays=frozenset({date(2027, 1, 15)}))

    _, steps = again(row(cut(cuts_last_hour=20)), policy=holiday)

    assert [type(step) for step in steps] == [Update, Insert]


def test_a_cut_whose_customer_has_credit_again_is_superseded() -> None:
    after, _ = again(row(cut()), balance=100)

    assert after["state"] == "superseded"


def test_a_cut_that_lost_its_evidence_is_refused() -> None:
    after, _ = again(row(cut()), measured_us=None)

    assert after["state"] == "refused"


def test_a_second_person_is_remembered_while_other_causes_hold() -> None:
    holiday = Policy(holidays=frozenset({date(2027, 1, 15)}))
    before = row(cut(cuts_last_hour=20))
    ids = count(200)

    after, _ = apply_verdict(
        before,
        verdict(policy=holiday, confirmed=True),
        pending=(before,),
        now_us=NOW_US,
        new_id=lambda: next(ids),
        confirmed_by_id=44,
    )

    assert after["state"] == "held"
    assert confirmed_by(after["hold"]) == 44


def test_a_verdict_about_another_meter_is_not_applied() -> None:
    with pytest.raises(TypeError, match="another meter"):
        again(row(cut()), meter_id=6)


# --- rows ---------------------------------------------------------------------------------------


def test_what_the_gate_was_told_is_kept_beside_the_causes() -> None:
    text = hold_text((), safety=True, confirmed_by_id=3)

    assert causes_of(text) == []
    assert states_safety(text)
    assert confirmed_by(text) == 3


def test_a_command_that_nothing_holds_keeps_nothing() -> None:
    assert hold_text(()) is None
    assert causes_of(None) == []
    assert not states_safety(None)
    assert confirmed_by(None) is None


def test_a_step_that_the_table_does_not_know_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="cannot go from queued to verified"):
        change(row(order()), CommandState.VERIFIED, "", now_us=1, new_id=lambda: 1)


def test_a_rendered_command_shows_times_as_text_and_no_token() -> None:
    shown = render_command({**row(cut(cuts_last_hour=20)), "token_digits": "1" * 20})

    assert shown["created_at"] == "2027-01-15T08:00:00.000000Z"
    assert shown["sent_at"] is None
    assert "1" * 20 not in str(shown)
