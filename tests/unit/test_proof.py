"""What a meter's credit total proves of the tokens it says it accepted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slotmeter.services.proof import Accepted, Proof, prove


def new(token_id: int, amount: int) -> Accepted:
    return Accepted(token_id, amount, is_new=True)


def old(token_id: int, amount: int) -> Accepted:
    return Accepted(token_id, amount, is_new=False)


def test_a_rise_by_the_token_of_this_report_proves_it() -> None:
    assert prove(150, 100, 100, [new(1, 50)]) == Proof(frozenset({1}), 150, mismatch=False)


def test_several_tokens_are_proven_by_their_sum() -> None:
    proof = prove(180, 100, 100, [new(1, 50), new(2, 30)])

    assert proof == Proof(frozenset({1, 2}), 180, mismatch=False)


def test_no_rise_after_an_accepted_token_is_a_mismatch() -> None:
    assert prove(100, 100, 100, [new(1, 50)]) == Proof(frozenset(), 100, mismatch=True)


def test_a_rise_without_a_token_is_a_mismatch() -> None:
    assert prove(150, 100, 100, []) == Proof(frozenset(), 100, mismatch=True)


def test_a_rise_and_its_token_may_come_in_different_reports() -> None:
    first = prove(150, 100, 100, [])
    second = prove(150, 150, first.explained, [new(1, 50)])

    assert first.mismatch
    assert second == Proof(frozenset({1}), 150, mismatch=False)


def test_a_token_is_proven_although_an_older_difference_stays_open() -> None:
    first = prove(107, 100, 100, [])
    second = prove(157, 107, first.explained, [new(1, 50)])

    assert second == Proof(frozenset({1}), 150, mismatch=True)


def test_a_token_told_before_its_rise_is_proven_although_an_older_difference_stays_open() -> None:
    first = prove(107, 100, 100, [])
    quiet = prove(107, 107, first.explained, [new(1, 50)])
    third = prove(157, 107, quiet.explained, [old(1, 50)])

    assert quiet == Proof(frozenset(), 100, mismatch=True)
    assert third == Proof(frozenset({1}), 150, mismatch=True)


def test_a_token_left_open_is_proven_with_the_next_one() -> None:
    first = prove(100, 100, 100, [new(1, 50)])
    second = prove(180, 100, first.explained, [old(1, 50), new(2, 30)])

    assert second == Proof(frozenset({1, 2}), 180, mismatch=False)


def test_a_quiet_report_is_no_mismatch() -> None:
    assert prove(100, 100, 100, []) == Proof(frozenset(), 100, mismatch=False)


def test_the_first_report_is_a_baseline() -> None:
    assert prove(700, None, None, []) == Proof(frozenset(), 700, mismatch=False)


def test_a_new_meter_s_first_report_proves_what_explains_all_of_it() -> None:
    assert prove(50, None, None, [new(1, 50)]) == Proof(frozenset({1}), 50, mismatch=False)


def settled(token_id: int, amount: int) -> Accepted:
    return Accepted(token_id, amount, is_new=False, is_settled=True)


def test_a_baseline_that_known_tokens_do_not_explain_proves_none_and_is_no_mismatch() -> None:
    assert prove(700, None, None, [new(1, 50)]) == Proof(frozenset(), 700, mismatch=False)


def test_a_token_settled_by_the_baseline_need_not_show_in_a_later_rise() -> None:
    assert prove(700, 700, 700, [settled(1, 50)]) == Proof(frozenset(), 700, mismatch=False)


def test_a_token_after_the_baseline_is_proven_beside_a_settled_one() -> None:
    proof = prove(730, 700, 700, [settled(1, 50), new(2, 30)])

    assert proof == Proof(frozenset({2}), 730, mismatch=False)


def test_a_rise_that_the_settled_token_completes_proves_it() -> None:
    proof = prove(780, 700, 700, [settled(1, 50), new(2, 30)])

    assert proof == Proof(frozenset({1, 2}), 780, mismatch=False)


def test_a_total_that_falls_is_a_mismatch() -> None:
    assert prove(90, 100, 100, []).mismatch


@given(st.integers(0, 10**6), st.lists(st.integers(1, 1_000), max_size=6))
def test_credit_is_explained_exactly_when_rises_and_tokens_have_one_sum(
    baseline: int, amounts: list[int]
) -> None:
    tokens = [new(number, amount) for number, amount in enumerate(amounts)]

    right = prove(baseline + sum(amounts), baseline, baseline, tokens)
    wrong = prove(baseline + sum(amounts) + 1, baseline, baseline, tokens)

    assert right.proven == frozenset(range(len(amounts)))
    assert not right.mismatch
    assert wrong.proven == frozenset()
    assert wrong.mismatch
