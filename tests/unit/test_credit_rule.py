"""The rule of credit control, case by case and as a property."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices.entities import SupplyState
from slotmeter.ports import CreditView, Wish
from slotmeter.units import Commodity
from slotmeter_rules import RULES
from slotmeter_rules.credit_control import credit_control

VIEW = CreditView(
    commodity=Commodity.WATER,
    balance_minor=1_000,
    low_credit_minor=500,
    supply=SupplyState.ON,
    warned=False,
    cut_pending=False,
    restore_pending=False,
    cut_by_credit=False,
)
VIEWS = st.builds(
    CreditView,
    commodity=st.sampled_from(Commodity),
    balance_minor=st.integers(-1_000, 1_000),
    low_credit_minor=st.integers(0, 500),
    supply=st.sampled_from(SupplyState),
    warned=st.booleans(),
    cut_pending=st.booleans(),
    restore_pending=st.booleans(),
    cut_by_credit=st.booleans(),
)


@pytest.mark.parametrize(
    ("changes", "wish"),
    [
        ({}, Wish.NOTHING),
        ({"balance_minor": 501}, Wish.NOTHING),
        ({"balance_minor": 500}, Wish.WARN),
        ({"balance_minor": 500, "warned": True}, Wish.NOTHING),
        ({"balance_minor": 0}, Wish.WARN),
        ({"balance_minor": 0, "warned": True}, Wish.CUT),
        ({"balance_minor": -1, "warned": True}, Wish.CUT),
        ({"balance_minor": 0, "warned": True, "supply": SupplyState.UNKNOWN}, Wish.CUT),
        ({"balance_minor": 0, "warned": True, "supply": SupplyState.ARMED}, Wish.CUT),
        ({"balance_minor": 0, "warned": True, "supply": SupplyState.OFF}, Wish.NOTHING),
        ({"balance_minor": 0, "warned": True, "cut_pending": True}, Wish.NOTHING),
        ({"supply": SupplyState.OFF, "cut_by_credit": True}, Wish.RESTORE),
        ({"supply": SupplyState.OFF, "cut_by_credit": False}, Wish.NOTHING),
        (
            {"supply": SupplyState.OFF, "cut_by_credit": True, "restore_pending": True},
            Wish.NOTHING,
        ),
        ({"cut_pending": True, "cut_by_credit": True}, Wish.RESTORE),
        ({"cut_pending": True, "cut_by_credit": False}, Wish.NOTHING),
    ],
)
def test_credit_control_wishes(changes: dict[str, Any], wish: Wish) -> None:
    assert credit_control(replace(VIEW, **changes)).wish is wish


@given(VIEWS)
def test_nobody_with_credit_is_cut_and_nobody_without_is_given_back(view: CreditView) -> None:
    wish = credit_control(view).wish

    assert not (wish is Wish.CUT and view.balance_minor > 0)
    assert not (wish is Wish.RESTORE and view.balance_minor <= 0)


@given(VIEWS)
def test_nobody_is_cut_without_a_warning_before(view: CreditView) -> None:
    assert view.warned or credit_control(view).wish is not Wish.CUT


@given(VIEWS)
def test_a_person_s_cut_is_never_undone(view: CreditView) -> None:
    assert credit_control(replace(view, cut_by_credit=False)).wish is not Wish.RESTORE


@given(VIEWS)
def test_every_wish_comes_with_a_sentence(view: CreditView) -> None:
    assert credit_control(view).cause


def test_the_pack_is_found_by_its_entry_point() -> None:
    (point,) = entry_points(group="slotmeter.rules", name="builtin")

    assert point.load() is RULES
    assert RULES.credit_control is credit_control
