"""What an act says that it changed."""

from __future__ import annotations

from slotmeter.services.act_changes import changed


def test_only_what_differs_is_said() -> None:
    assert changed({"a": 1, "b": 2}, {"a": 1, "b": 3}) == {"before": {"b": 2}, "after": {"b": 3}}


def test_what_is_there_on_one_side_only_is_said() -> None:
    assert changed({"a": 1}, {"b": 2}) == {
        "before": {"a": 1, "b": None},
        "after": {"a": None, "b": 2},
    }


def test_what_was_made_has_nothing_before() -> None:
    assert changed(None, {"a": 1}) == {"before": None, "after": {"a": 1}}


def test_what_is_gone_has_nothing_after() -> None:
    assert changed({"a": 1}, None) == {"before": {"a": 1}, "after": None}
