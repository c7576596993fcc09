"""The checks at the end of the demo hold for an honest town, and catch each kind of lie."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slotmeter.testing.consumption import Household
from slotmeter.testing.till import SaleRecord
from slotmeter.testing.token_maker import TokenMaker
from slotmeter.testing.town import FREE_UNITS, Home, SaleFate, Town, plan_town
from slotmeter.testing.town_check import (
    Finding,
    Platform,
    check_town,
    delivery_finding,
    delivery_times_s,
)
from slotmeter.testing.virtual_meter import VirtualMeter

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
MAKER = TokenMaker()
PAYER = MAKER.number(2)


def stamp(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


@dataclass
class Rest:
    """A town at rest: one electricity meter with two tokens, one water meter paid for once.

    Who lives at the electricity meter has free units, which came with the first token, and an old
    bill.
    """

    home: Home
    records: list[SaleRecord]
    meters: list[VirtualMeter]
    platform: Platform
    dark: int = 1
    back: int = 1

    def findings(self) -> dict[str, Finding]:
        found = check_town(
            Town(1, (self.home,)),
            self.records,
            self.meters,
            self.platform,
            asked_by_till="till",
            dark=self.dark,
            back=self.back,
        )
        return {finding.sentence: finding for finding in found}

    def broken(self) -> set[str]:
        return {sentence for sentence, finding in self.findings().items() if not finding.held}


def record(
    at: int, meter: str, token: str | None, units: str, free: str | None = None
) -> SaleRecord:
    sale = {
        "tokens": [
            {"purpose": purpose, "digits": digits}
            for purpose, digits in (("free", free), ("credit", token))
            if digits is not None
        ],
        "sale_id": f"s{at}",
        "receipt_number": f"R{at}",
        "token": token,
        "credit_mode": "platform" if token is None else "meter",
        "units": units,
    }
    return SaleRecord(f"s{at}", meter, "50.00", SaleFate.PLAIN, answers=[(201, sale)], tries=1)


def sale_of(made: SaleRecord, state: str) -> dict[str, Any]:
    verified = stamp(1.5) if state == "verified" else None
    return {
        **made.sale,
        "state": "issued",
        "meter": made.meter,
        "tendered": made.tendered,
        "sold_by": "till",
        "sold_at": stamp(0),
        "delivery": {"state": state, "verified_at": verified},
    }


def meter_of(meter: VirtualMeter, mode: str, **more: Any) -> dict[str, Any]:
    return {
        "number": meter.number,
        "commodity": meter.commodity.value,
        "credit_mode": mode,
        "credit_total": None,
        "account_balance": None,
        "register": "0",
        "supply": meter.supply.value,
        "last_contact_at": stamp(2),
        **more,
    }


def accepted(*units: str) -> list[dict[str, Any]]:
    return [{"units": each, "state": "accepted"} for each in units]


def event(at: int, kind: str, text: str) -> dict[str, Any]:
    return {"id": at, "kind": kind, "text": text}


@pytest.fixture
def rest() -> Rest:
    lamp = MAKER.meter(1, "electricity", made_at=NOW - timedelta(days=1))
    lamp.run_to(NOW)
    home = replace(plan_town(1, 1).homes[0], number=lamp.number, debt=100, has_free_units=True)
    free = MAKER.credit(lamp, FREE_UNITS * 10, at=NOW - timedelta(minutes=10))
    tokens = [MAKER.credit(lamp, 10, at=NOW - timedelta(minutes=after)) for after in (9, 8)]
    for token in (free, *tokens):
        lamp.type_token(token)
    lamp.acknowledge(lamp.report())
    tap = VirtualMeter.create(
        number=PAYER,
        commodity="water",
        credit_mode="platform",
        household=Household(seed=1),
        made_at=NOW,
    )
    records = [
        record(0, lamp.number, tokens[0], "1.0", free),
        record(1, lamp.number, tokens[1], "1.0"),
        record(2, PAYER, None, "0"),
    ]
    records[1].typed = True
    states = ("verified", "already_used", "none")
    platform = Platform(
        sales=[sale_of(made, state) for made, state in zip(records, states, strict=True)],
        meters=[
            meter_of(lamp, "meter", credit_total="7"),
            meter_of(tap, "platform", account_balance="37.00", register="0.3"),
        ],
        tokens={
            lamp.number: accepted("5.0", "1.0", "1.0"),
            PAYER: [],
        },
        commands=[
            {"id": 1, "kind": "load_token", "state": "verified", "reason": "sale", "causes": []},
            {"id": 2, "kind": "close_valve", "state": "verified", "reason": "x", "causes": []},
        ],
        events=[
            event(1, "supply_cut", "The meter cut supply: its credit is used up"),
            event(2, "supply_restored", "Supply given back by command (rule: there is credit)"),
        ],
        quarantined=0,
        debts=[{"account": home.account, "left": "70.00"}],
    )
    return Rest(home, records, [lamp, tap], platform)


def test_an_honest_town_holds(rest: Rest) -> None:
    assert rest.broken() == set()


def sell_beside_the_till(rest: Rest) -> None:
    """Somebody with another key sells a token, which the meter takes, and takes a payment."""
    lamp = rest.meters[0]
    lamp.type_token(MAKER.credit(lamp, 10, at=NOW))
    token = {**rest.platform.sales[0], "sale_id": "mine-1", "sold_by": "me"}
    payment = {**rest.platform.sales[2], "sale_id": "mine-2", "sold_by": "me"}
    rest.platform = replace(
        rest.platform,
        sales=[*rest.platform.sales, token, payment],
        meters=[
            meter_of(lamp, "meter", credit_total="8"),
            meter_of(rest.meters[1], "platform", account_balance="87.00", register="0.3"),
        ],
        tokens={lamp.number: accepted("5.0", "1.0", "1.0", "1.0"), PAYER: []},
        debts=[{"account": rest.home.account, "left": "55.00"}],
        by_number={},
    )


def test_sales_by_others_are_told_and_break_nothing(rest: Rest) -> None:
    sell_beside_the_till(rest)

    assert rest.broken() == set()
    assert "2 sales by others than the demo's till" in rest.findings()[ONCE].seen


def test_the_credit_of_anothers_sale_is_expected_of_the_meter(rest: Rest) -> None:
    sell_beside_the_till(rest)
    sales = [sale for sale in rest.platform.sales if sale["sale_id"] != "mine-1"]
    rest.platform = replace(rest.platform, sales=sales)

    assert rest.broken() == {CREDITED, OWED}


def test_cuts_by_the_meter_and_by_the_rule_are_told_apart(rest: Rest) -> None:
    by_rule = "Supply cut by command (rule: the credit is used up)"
    rest.platform = replace(
        rest.platform, events=[*rest.platform.events, event(3, "supply_cut", by_rule)]
    )

    assert rest.findings()[CAUSES].seen == (
        "1 cut by the meter itself at zero credit; "
        "1 cut by the platform's rule because the credit is used up; "
        "1 restored by the platform's rule because there is credit"
    )


def test_the_time_of_a_delivery_runs_from_sold_to_balance_risen(rest: Rest) -> None:
    assert delivery_times_s(rest.records, rest.platform) == [1.5]


ONCE = "every sale that the demo's till asked for is booked once, and no other in its name"
SAME = "a repeated request gets the same receipt and the same token"
TOKEN_EACH = "every sale has its own token, or is a payment"  # noqa: S105  a sentence, not a secret
ARRIVED = "every token reached its meter, typed or sent"
CREDITED = "every token was credited once"
OWED = "debts fell by their share of each purchase, and never below zero"
CHARGED = "nobody was charged for more than was used"
CAUSES = "every cut and reconnection has its cause"
SHOWN = "the platform shows every supply as it is"
STUCK = "nothing is stuck"
HEARD = "every meter was heard and understood"


def lose_a_sale(rest: Rest) -> None:
    rest.platform = replace(rest.platform, sales=rest.platform.sales[1:])


def book_twice(rest: Rest) -> None:
    twice = [*rest.platform.sales, rest.platform.sales[0]]
    rest.platform = replace(rest.platform, sales=twice)


def book_what_nobody_asked(rest: Rest) -> None:
    stranger = {**rest.platform.sales[0], "sale_id": "stranger"}
    rest.platform = replace(rest.platform, sales=[*rest.platform.sales, stranger])


def book_another_amount(rest: Rest) -> None:
    sales = copy.deepcopy(list(rest.platform.sales))
    sales[0]["tendered"] = "49.00"  # type: ignore[index]  # a dict behind the Mapping
    rest.platform = replace(rest.platform, sales=sales)


def answer_differently(rest: Rest) -> None:
    rest.records[0].answers.append((200, {**rest.records[0].sale, "receipt_number": "R9"}))


def make_twice(rest: Rest) -> None:
    rest.records[0].answers.append((201, rest.records[0].sale))


def sell_one_token_twice(rest: Rest) -> None:
    again = {**rest.records[1].sale, "token": rest.records[0].token}
    rest.records[1].answers[0] = (201, again)


def forget_the_token(rest: Rest) -> None:
    rest.records[0].answers[0] = (201, {**rest.records[0].sale, "token": None})


def give_free_units_to_nobody_registered(rest: Rest) -> None:
    rest.home = replace(rest.home, has_free_units=False)


def forget_the_free_units(rest: Rest) -> None:
    paid = [rest.records[0].sale["tokens"][-1]]
    rest.records[0].answers[0] = (201, {**rest.records[0].sale, "tokens": paid})
    lamp = rest.meters[0]
    rest.platform = replace(
        rest.platform,
        tokens={lamp.number: accepted("1.0", "1.0"), PAYER: []},
        by_number={},
    )


def take_too_little_of_a_debt(rest: Rest) -> None:
    rest.platform = replace(
        rest.platform, debts=[{"account": rest.home.account, "left": "85.00"}], by_number={}
    )


def forget_a_debt(rest: Rest) -> None:
    rest.platform = replace(rest.platform, debts=[], by_number={})


def leave_a_token_on_its_way(rest: Rest) -> None:
    sales = [sale_of(rest.records[0], "sent"), *rest.platform.sales[1:]]
    rest.platform = replace(rest.platform, sales=sales)


def call_a_typed_token_delivered(rest: Rest) -> None:
    sales = list(rest.platform.sales)
    sales[1] = sale_of(rest.records[1], "verified")
    rest.platform = replace(rest.platform, sales=sales)


def credit_twice(rest: Rest) -> None:
    lamp = rest.meters[0]
    lamp.type_token(MAKER.credit(lamp, 10, at=NOW))


def report_another_total(rest: Rest) -> None:
    rest.platform.by_number[rest.meters[0].number] = meter_of(
        rest.meters[0], "meter", credit_total="8"
    )


def charge_too_much(rest: Rest) -> None:
    tap = meter_of(rest.meters[1], "platform", account_balance="36.00", register="0.3")
    rest.platform = replace(rest.platform, meters=[rest.platform.meters[0], tap], by_number={})


def cut_without_cause(rest: Rest) -> None:
    silent = event(3, "supply_cut", "The meter cut supply")
    rest.platform = replace(rest.platform, events=[*rest.platform.events, silent])


def cut_unnoticed(rest: Rest) -> None:
    rest.dark = 2


def hold_in_silence(rest: Rest) -> None:
    held = {"id": 3, "kind": "open_relay", "state": "held", "reason": "x", "causes": []}
    rest.platform = replace(rest.platform, commands=[*rest.platform.commands, held])


def show_another_supply(rest: Rest) -> None:
    rest.platform.by_number[PAYER] = {**rest.platform.by_number[PAYER], "supply": "off"}


def leave_a_command(rest: Rest) -> None:
    waiting = {"id": 3, "kind": "load_token", "state": "queued", "reason": "x", "causes": []}
    rest.platform = replace(rest.platform, commands=[*rest.platform.commands, waiting])


def leave_a_sale_pending(rest: Rest) -> None:
    pending = {**rest.platform.sales[0], "state": "pending"}
    rest.platform = replace(rest.platform, sales=[pending, *rest.platform.sales[1:]])


def quarantine_a_frame(rest: Rest) -> None:
    rest.platform = replace(rest.platform, quarantined=1)


def never_hear_a_meter(rest: Rest) -> None:
    silent = {**rest.platform.meters[1], "last_contact_at": None}
    rest.platform = replace(rest.platform, meters=[rest.platform.meters[0], silent], by_number={})


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (lose_a_sale, ONCE),
        (book_twice, ONCE),
        (book_what_nobody_asked, ONCE),
        (book_another_amount, ONCE),
        (answer_differently, SAME),
        (make_twice, SAME),
        (sell_one_token_twice, TOKEN_EACH),
        (forget_the_token, TOKEN_EACH),
        (leave_a_token_on_its_way, ARRIVED),
        (call_a_typed_token_delivered, ARRIVED),
        (give_free_units_to_nobody_registered, TOKEN_EACH),
        (give_free_units_to_nobody_registered, CREDITED),
        (forget_the_free_units, CREDITED),
        (take_too_little_of_a_debt, OWED),
        (forget_a_debt, OWED),
        (credit_twice, CREDITED),
        (report_another_total, CREDITED),
        (charge_too_much, CHARGED),
        (cut_without_cause, CAUSES),
        (cut_unnoticed, CAUSES),
        (hold_in_silence, CAUSES),
        (show_another_supply, SHOWN),
        (leave_a_command, STUCK),
        (leave_a_sale_pending, STUCK),
        (quarantine_a_frame, HEARD),
        (never_hear_a_meter, HEARD),
    ],
)
def test_each_kind_of_lie_is_caught(rest: Rest, lie: Callable[[Rest], None], sentence: str) -> None:
    lie(rest)

    assert sentence in rest.broken()


def test_slow_deliveries_break_the_promise_at_the_size_it_is_made_for() -> None:
    assert not delivery_finding([1.0, 3.0, 5.0], homes=60, wanted_s=2.0).held


def test_in_a_larger_town_slowness_is_measured_and_breaks_nothing() -> None:
    finding = delivery_finding([1.0, 3.0, 5.0], homes=61, wanted_s=2.0)

    assert finding.held
    assert finding.word == "measured"
    assert "slow on this machine" in finding.seen
