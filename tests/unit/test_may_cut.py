"""The gate: what is refused, what is held, and that nobody makes a verdict but the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices.commands import CommandKind
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.control import (
    CutFacts,
    CutVerdict,
    Verdict,
    fits,
    may_cut,
    may_restore,
)
from slotmeter.services.protection import Policy, parse_policy
from slotmeter.units import HOUR_US, Commodity

NOON_US = 1_800_000_000_000_000  # 2027-01-15 08:00 UTC
NIGHTS = parse_policy(
    {"protected_hours": [{"days": ["fri"], "from": "06:00", "to": "10:00"}]},
)
FACTS = CutFacts(
    meter_id=7,
    now_us=NOON_US,
    time_zone="UTC",
    policy=Policy(),
    installed=True,
    measured_us=NOON_US,
    received_us=NOON_US,
    critical_until_us=None,
    balance=0,
    noticed_us=NOON_US - HOUR_US,
    paid_us=NOON_US - 2 * HOUR_US,
    cuts_last_hour=0,
    cause=CommandCause.RULE,
)


def codes(facts: CutFacts) -> list[str]:
    return [cause.code for cause in may_cut(facts).causes]


def test_a_customer_without_credit_who_was_warned_may_be_cut() -> None:
    verdict = may_cut(FACTS)

    assert verdict.verdict is Verdict.ALLOWED
    assert verdict.causes == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"measured_us": None}, "stale_reading"),
        ({"received_us": None}, "stale_reading"),
        ({"measured_us": NOON_US - 24 * HOUR_US - 1}, "stale_reading"),
        ({"received_us": NOON_US - 24 * HOUR_US - 1}, "stale_reading"),
        ({"balance": None}, "unknown_balance"),
        ({"balance": 1}, "credit_left"),
        ({"noticed_us": None}, "no_notice"),
        ({"noticed_us": NOON_US - 3 * HOUR_US}, "no_notice"),
        ({"critical_until_us": NOON_US + 1}, "critical_account"),
        ({"installed": False}, "meter_not_installed"),
        ({"policy": None}, "policy_unreadable"),
    ],
)
def test_a_cut_is_refused(change: dict[str, Any], code: str) -> None:
    facts = replace(FACTS, **change)

    assert may_cut(facts).verdict is Verdict.REFUSED
    assert codes(facts) == [code]


@pytest.mark.parametrize(
    "change",
    [
        {"measured_us": NOON_US - 24 * HOUR_US},
        {"measured_us": NOON_US + 24 * HOUR_US},
        {"balance": -1},
        {"noticed_us": NOON_US - 2 * HOUR_US},
        {"paid_us": None},
        {"critical_until_us": NOON_US},
        {"cuts_last_hour": 19},
    ],
)
def test_a_cut_at_the_bound_is_allowed(change: dict[str, Any]) -> None:
    assert may_cut(replace(FACTS, **change)).verdict is Verdict.ALLOWED


def test_a_clock_that_runs_ahead_does_not_make_a_reading_younger() -> None:
    facts = replace(FACTS, measured_us=NOON_US + 999 * HOUR_US, received_us=NOON_US - 25 * HOUR_US)

    assert codes(facts) == ["stale_reading"]


def test_a_stricter_policy_asks_for_a_fresher_reading() -> None:
    facts = replace(
        FACTS, policy=Policy(reading_age_hours_max=1), measured_us=NOON_US - HOUR_US - 1
    )

    assert codes(facts) == ["stale_reading"]


def test_a_cut_in_protected_hours_is_held_until_they_end() -> None:
    verdict = may_cut(replace(FACTS, policy=NIGHTS))

    assert verdict.verdict is Verdict.HELD
    assert verdict.until_us == NOON_US + 2 * HOUR_US
    assert verdict.causes[0].until_us == verdict.until_us


def test_a_cut_beyond_those_of_an_hour_is_held_for_a_second_person() -> None:
    facts = replace(FACTS, cuts_last_hour=20)

    assert may_cut(facts).verdict is Verdict.HELD
    assert codes(facts) == ["cut_limit"]
    assert may_cut(facts).until_us is None
    assert may_cut(replace(facts, confirmed=True)).verdict is Verdict.ALLOWED


def test_a_second_person_does_not_end_protected_hours() -> None:
    facts = replace(FACTS, policy=NIGHTS, cuts_last_hour=99, confirmed=True)

    assert codes(facts) == ["protected_hours"]


def test_all_causes_are_told_at_once_and_a_refusal_counts_most() -> None:
    facts = replace(
        FACTS,
        policy=NIGHTS,
        critical_until_us=NOON_US + 1,
        measured_us=None,
        balance=None,
        noticed_us=None,
        cuts_last_hour=20,
    )
    verdict = may_cut(facts)

    assert verdict.verdict is Verdict.REFUSED
    assert verdict.until_us is None
    assert codes(facts) == [
        "critical_account",
        "stale_reading",
        "unknown_balance",
        "no_notice",
        "protected_hours",
        "cut_limit",
    ]


def test_a_person_may_cut_a_customer_who_has_credit_but_not_without_notice() -> None:
    facts = replace(FACTS, cause=CommandCause.PERSON, balance=500)

    assert may_cut(facts).verdict is Verdict.ALLOWED
    assert codes(replace(facts, noticed_us=None)) == ["no_notice"]


def test_safety_needs_no_evidence_of_debt_and_waits_for_no_hours() -> None:
    facts = replace(
        FACTS,
        cause=CommandCause.PERSON,
        safety=True,
        policy=NIGHTS,
        measured_us=None,
        balance=None,
        noticed_us=None,
    )

    assert may_cut(facts).verdict is Verdict.ALLOWED


def test_safety_does_not_cut_a_critical_account() -> None:
    facts = replace(FACTS, cause=CommandCause.PERSON, safety=True, critical_until_us=NOON_US + 1)

    assert codes(facts) == ["critical_account"]


def test_safety_does_not_lift_the_limit_of_cuts() -> None:
    facts = replace(FACTS, cause=CommandCause.PERSON, safety=True, cuts_last_hour=20)

    assert codes(facts) == ["cut_limit"]


@pytest.mark.parametrize("cause", [CommandCause.RULE, CommandCause.SERVICE])
def test_nobody_but_a_person_states_safety(cause: CommandCause) -> None:
    with pytest.raises(TypeError, match="only a person"):
        may_cut(replace(FACTS, cause=cause, safety=True))


def test_a_program_does_not_cut_a_customer_who_has_credit() -> None:
    assert codes(replace(FACTS, cause=CommandCause.SERVICE, balance=1)) == ["credit_left"]


def test_a_verdict_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError, match="may_cut"):
        CutVerdict(Verdict.ALLOWED, (), None, 7, NOON_US, gate_seal=object())


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": Verdict.ALLOWED},
        {"causes": ()},
        {"until_us": NOON_US},
        {"meter_id": 8},
        {"at_us": NOON_US + 1},
    ],
)
def test_a_verdict_cannot_be_copied_with_other_words(change: dict[str, Any]) -> None:
    held = may_cut(replace(FACTS, policy=NIGHTS))

    with pytest.raises(TypeError, match="may_cut"):
        replace(held, **change)


@given(
    policy=st.sampled_from([None, Policy(), NIGHTS, Policy(cuts_per_hour=0)]),
    measured_us=st.none() | st.integers(NOON_US - 30 * HOUR_US, NOON_US + HOUR_US),
    balance=st.none() | st.integers(-5, 5),
    noticed_us=st.none() | st.integers(NOON_US - 4 * HOUR_US, NOON_US),
    critical_until_us=st.none() | st.integers(NOON_US - 1, NOON_US + 1),
    cuts=st.integers(0, 30),
    cause=st.sampled_from([CommandCause.RULE, CommandCause.PERSON, CommandCause.SERVICE]),
)
def test_no_cut_is_allowed_while_anything_speaks_against_it(
    policy: Policy | None,
    measured_us: int | None,
    balance: int | None,
    noticed_us: int | None,
    critical_until_us: int | None,
    cuts: int,
    cause: CommandCause,
) -> None:
    facts = replace(
        FACTS,
        policy=policy,
        measured_us=measured_us,
        balance=balance,
        noticed_us=noticed_us,
        critical_until_us=critical_until_us,
        cuts_last_hour=cuts,
        cause=cause,
    )
    is_clear = (
        policy is not None
        and policy is not NIGHTS
        and measured_us is not None
        and measured_us >= NOON_US - 24 * HOUR_US
        and balance is not None
        and (cause is CommandCause.PERSON or balance <= 0)
        and noticed_us is not None
        and noticed_us >= NOON_US - 2 * HOUR_US
        and (critical_until_us is None or critical_until_us <= NOON_US)
        and cuts < policy.cuts_per_hour
    )

    verdict = may_cut(facts)

    assert (verdict.verdict is Verdict.ALLOWED) == is_clear
    assert bool(verdict.causes) != is_clear


# --- giving back --------------------------------------------------------------------------------


def test_gas_is_never_opened_from_afar() -> None:
    verdict = may_restore(Commodity.GAS)

    assert verdict.verdict is Verdict.REFUSED
    assert verdict.causes[0].code == "gas_needs_person_at_site"


@pytest.mark.parametrize("commodity", [Commodity.ELECTRICITY, Commodity.WATER])
def test_electricity_and_water_are_given_back_without_condition(commodity: Commodity) -> None:
    assert may_restore(commodity).verdict is Verdict.ALLOWED


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [
        (CommandKind.OPEN_RELAY, {Commodity.ELECTRICITY}),
        (CommandKind.CLOSE_RELAY, {Commodity.ELECTRICITY}),
        (CommandKind.OPEN_VALVE, {Commodity.WATER, Commodity.GAS}),
        (CommandKind.CLOSE_VALVE, {Commodity.WATER, Commodity.GAS}),
        (CommandKind.READ_NOW, set(Commodity)),
        (CommandKind.LOAD_TOKEN, set(Commodity)),
    ],
)
def test_a_command_fits_meters_that_have_what_it_moves(
    kind: CommandKind, fitting: set[Commodity]
) -> None:
    assert {commodity for commodity in Commodity if fits(kind, commodity)} == fitting
