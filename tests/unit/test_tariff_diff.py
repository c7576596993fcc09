"""What a new version changes: by meaning, with paths that a person finds again."""

from __future__ import annotations

import pytest

from slotmeter.services.tariff_diff import LINES_MAX, Changed, diff_documents, diff_text


def test_a_changed_value_is_named_by_its_path() -> None:
    old = {"energy": {"blocks": [{"to": "50", "price": "2.50"}, {"price": "20"}]}}
    new = {"energy": {"blocks": [{"to": "50", "price": "2.50"}, {"price": "21"}]}}

    assert diff_documents(old, new) == (Changed("energy.blocks[2].price", "20", "21"),)


def test_what_is_new_and_what_is_gone_are_told_apart() -> None:
    old = {"levies": {"a": {"per_unit": "1"}}}
    new = {"levies": {"b": {"per_unit": "1"}}}

    assert diff_documents(old, new) == (
        Changed("levies.a.per_unit", "1", None),
        Changed("levies.b.per_unit", None, "1"),
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [("21.5", "21.50"), ("16", "16.0"), ("-3", "-3.00"), (".5", "0.5"), ("1e2", "100")],
)
def test_another_way_of_writing_a_number_is_no_change(old: str, new: str) -> None:
    assert diff_documents({"price": old}, {"price": new}) == ()


@pytest.mark.parametrize(
    ("old", "new"), [("2026-07-01", "2026-7-1"), ("A1", "a1"), ("1 phase", "1.0 phase")]
)
def test_texts_that_only_look_like_numbers_are_compared_as_they_are(old: str, new: str) -> None:
    assert len(diff_documents({"x": old}, {"x": new})) == 1


def test_the_order_of_keys_is_no_change() -> None:
    assert diff_documents({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == ()


def test_true_and_a_text_that_says_so_are_not_told_apart_from_missing_by_accident() -> None:
    assert diff_documents({"whole": True}, {}) == (Changed("whole", "true", None),)


def test_a_very_long_text_diff_is_cut_and_says_so() -> None:
    text = diff_text("", "\n".join(str(number) for number in range(LINES_MAX * 2)))

    assert len(text.splitlines()) == LINES_MAX + 1
    assert "more lines" in text.splitlines()[-1]
