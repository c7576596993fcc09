"""How a sale's delivery moves on, and which moment each stamp takes."""

from __future__ import annotations

import itertools

import pytest

from slotmeter.ports import Update
from slotmeter.services.delivery import Delivery, Happening, after, delivery_steps

D, H = Delivery, Happening


@pytest.mark.parametrize(
    ("happenings", "end"),
    [
        ([H.SENT, H.ACCEPTED, H.PROVEN], D.VERIFIED),
        ([H.SENT, H.SENT, H.ACCEPTED], D.ACCEPTED),
        ([H.TYPED, H.SENT, H.ALREADY_USED], D.ALREADY_USED),
        ([H.TYPED, H.PROVEN, H.SENT, H.ALREADY_USED], D.ALREADY_USED),
        ([H.SENT, H.GAVE_UP], D.FAILED),
        ([H.GAVE_UP], D.FAILED),
        ([H.GAVE_UP, H.TYPED], D.ALREADY_USED),
        ([H.GAVE_UP, H.ACCEPTED, H.PROVEN], D.VERIFIED),
        ([H.SENT, H.ACCEPTED, H.PROVEN, H.SENT, H.ALREADY_USED, H.GAVE_UP], D.VERIFIED),
    ],
)
def test_a_pending_delivery_ends_as(happenings: list[Happening], end: Delivery) -> None:
    state = D.PENDING
    for happening in happenings:
        state = after(state, happening)

    assert state is end


def test_nothing_is_verified_without_proof_after_acceptance() -> None:
    reached = {
        (before, happening)
        for before, happening in itertools.product(D, H)
        if after(before, happening) is D.VERIFIED and before is not D.VERIFIED
    }

    assert reached == {(D.ACCEPTED, H.PROVEN)}


@pytest.mark.parametrize("state", [D.NONE, D.KEYPAD, D.VERIFIED, D.ALREADY_USED])
def test_an_end_stays_whatever_happens(state: Delivery) -> None:
    assert {after(state, happening) for happening in H} == {state}


@pytest.mark.parametrize(
    ("happening", "stamped"),
    [
        (H.SENT, {"to_sent_us"}),
        (H.ACCEPTED, {"to_accepted_us"}),
        (H.TYPED, {"to_accepted_us"}),
        (H.ALREADY_USED, {"to_accepted_us"}),
        (H.PROVEN, {"to_verified_us"}),
        (H.GAVE_UP, set()),
    ],
)
def test_each_happening_sets_its_own_stamp(happening: Happening, stamped: set[str]) -> None:
    _, (step,) = delivery_steps(1, 2, "sent", happening, now_us=99)

    assert isinstance(step, Update)
    assert {name for name, value in step.params.items() if value == 99} == stamped
