"""Published vectors through the engine, and what happens to vectors that are wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from slotmeter.vending.sts.conformance import KINDS, VectorError, check_vector

FILE = Path(__file__).resolve().parents[1] / "vectors" / "sts.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text())["vectors"]
FIRST_OF_KIND = {vector["kind"]: vector for vector in reversed(VECTORS)}


def changed(vector: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a copy with one field replaced, or removed when the value is ``...``."""
    copied = copy.deepcopy(vector)
    *above, last = path.split(".")
    place = copied
    for name in above:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copied


def other_digit(value: object) -> object:
    """Return a value of the same type that differs in one place."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value[:-1], other_digit(value[-1])]
    assert isinstance(value, str)
    return value[:-1] + ("1" if value[-1] != "1" else "2")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_a_published_vector_comes_out(vector: dict[str, Any]) -> None:
    checked = check_vector(vector)

    assert checked.differences == ()
    assert checked.unused == ()


def test_there_are_288_vectors_of_every_kind_but_one_that_is_ours() -> None:
    assert len(VECTORS) == 288
    assert set(KINDS) - set(FIRST_OF_KIND) == {"proprietary_management"}


EXPECTED_FIELDS = [(kind, name) for kind, v in FIRST_OF_KIND.items() for name in v["expected"]]


@pytest.mark.parametrize(("kind", "name"), EXPECTED_FIELDS)
def test_one_changed_digit_in_any_expected_field_is_noticed(kind: str, name: str) -> None:
    vector = FIRST_OF_KIND[kind]
    wrong = other_digit(vector["expected"][name])

    checked = check_vector(changed(vector, f"expected.{name}", wrong))

    assert [difference.name for difference in checked.differences] == [name]
    assert checked.differences[0].expected == wrong
    assert checked.differences[0].got == vector["expected"][name]


CREDIT = FIRST_OF_KIND["credit_electricity"]
CURRENCY = FIRST_OF_KIND["credit_electricity_currency"]
KEY_CHANGE = FIRST_OF_KIND["key_change_2_tokens"]


@pytest.mark.parametrize(
    ("vector", "path", "value", "field"),
    [
        (CREDIT, "kind", "credit_sunshine", "kind"),
        (CREDIT, "kind", 7, "kind"),
        (CREDIT, "kind", ..., "kind"),
        (CREDIT, "inputs", ..., "inputs"),
        (CREDIT, "inputs", [], "inputs"),
        (CREDIT, "expected", ..., "expected"),
        (CREDIT, "expected", {}, "expected"),
        (CREDIT, "expected.colour", "red", "expected.colour"),
        (CREDIT, "expected.tid", "85740", "expected.tid"),
        (CREDIT, "expected.token", 58625789986991357486, "expected.token"),
        (CREDIT, "inputs.pan", ..., "inputs.pan"),
        (CREDIT, "inputs.pan", 600727000000000009, "inputs.pan"),
        (CREDIT, "inputs.pan", "600727000000000008", "inputs.pan"),
        (CREDIT, "inputs.sgc", "20145", "inputs.sgc"),
        (CREDIT, "inputs.krn", 0, "inputs.krn"),
        (CREDIT, "inputs.krn", True, "inputs.krn"),
        (CREDIT, "inputs.key_type", 4, "inputs.key_type"),
        (CREDIT, "inputs.ti", "1x", "inputs.ti"),
        (CREDIT, "inputs.ti", "100", "inputs.ti"),
        (CREDIT, "inputs.ea", 9, "inputs.ea"),
        (CREDIT, "inputs.dkga", "03", "inputs.dkga"),
        (CREDIT, "inputs.dkga", "02", "inputs.dkga"),
        (CREDIT, "inputs.base_date", 2000, "inputs.base_date"),
        (CREDIT, "inputs.vending_key", "ab", "inputs.vending_key"),
        (CREDIT, "inputs.vending_key", "zz" * 20, "inputs.vending_key"),
        (CREDIT, "inputs.issued_at", "yesterday", "inputs.issued_at"),
        (CREDIT, "inputs.issued_at", ..., "inputs.issued_at"),
        (CREDIT, "inputs.subclass", 1, "inputs.subclass"),
        (CREDIT, "inputs.token_class", 1, "inputs.subclass"),
        (CREDIT, "inputs.amount_units", "1", "inputs.amount_units"),
        (CREDIT, "inputs.rnd", ..., "inputs.rnd"),
        (CREDIT, "inputs.tables", "none", "inputs.tables"),
        (CURRENCY, "inputs.amount_currency", "one", "inputs.amount_currency"),
        (CURRENCY, "inputs.amount_currency", True, "inputs.amount_currency"),
        (KEY_CHANGE, "inputs.new.krn", ..., "inputs.new.krn"),
        (KEY_CHANGE, "inputs.current.sgc", 1, "inputs.current.sgc"),
        (KEY_CHANGE, "inputs.new.rollover", 2, "inputs.new.rollover"),
        (KEY_CHANGE, "inputs.new", "old", "inputs.new"),
        (KEY_CHANGE, "inputs.three_kct", 1, "kind"),
        (FIRST_OF_KIND["key_expiry"], "inputs.ken", 256, "inputs.ken"),
        (FIRST_OF_KIND["meter_test_display"], "inputs.control", "g", "inputs.control"),
        (FIRST_OF_KIND["meter_test_display"], "inputs.subclass", 3, "inputs.subclass"),
        (FIRST_OF_KIND["meter_test_display"], "inputs.control_bits", 28, "inputs.control_bits"),
        (FIRST_OF_KIND["extended_class2_sub10"], "inputs.token_index", 64, "inputs.token_index"),
        (FIRST_OF_KIND["extended_class2_sub10"], "inputs.flag_index", 512, "inputs.flag_index"),
        (FIRST_OF_KIND["credit_token_from_decoder_key"], "inputs.ea", 9, "inputs.ea"),
        (FIRST_OF_KIND["credit_token_from_decoder_key"], "inputs.subclass", 8, "inputs.subclass"),
        (FIRST_OF_KIND["ea07_block_sample_tables"], "inputs.token_class", 4, "inputs.token_class"),
        (FIRST_OF_KIND["misty1_block"], "inputs.key", "00", "inputs.key"),
    ],
)
def test_a_wrong_vector_is_refused_with_the_field_at_fault(
    vector: dict[str, Any], path: str, value: object, field: str
) -> None:
    with pytest.raises(VectorError) as refusal:
        check_vector(changed(vector, path, value))

    assert refusal.value.field == field


WITH_FIELDS = next(v for v in VECTORS if v["kind"] == "crc16" and "tid" in v["inputs"])


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("inputs.rnd", 4, "inputs.bytes"),
        ("inputs.issued_at", "2016-12-11T15:50", "inputs.tid"),
    ],
)
def test_bytes_that_contradict_their_fields_are_refused(
    path: str, value: object, field: str
) -> None:
    with pytest.raises(VectorError) as refusal:
        check_vector(changed(WITH_FIELDS, path, value))

    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("vector", "path", "value", "got"),
    [
        (CREDIT, "inputs.amount_units", 18_201_625, "refused: one token carries at most"),
        (CREDIT, "inputs.issued_at", "2013-12-31T23:59", "refused: the time is before"),
        (CREDIT, "inputs.rnd", 16, "refused: rnd must be"),
    ],
)
def test_what_the_engine_refuses_counts_as_failed(
    vector: dict[str, Any], path: str, value: object, got: str
) -> None:
    checked = check_vector(changed(vector, path, value))

    assert {difference.name for difference in checked.differences} == set(vector["expected"])
    assert all(str(difference.got).startswith(got) for difference in checked.differences)


def test_inputs_that_play_no_part_are_named() -> None:
    checked = check_vector(changed(CREDIT, "inputs.weather", "fine"))

    assert checked.unused == ("inputs.weather",)


def test_letters_of_hex_may_be_upper_case() -> None:
    upper = CREDIT["expected"]["decoder_key"].upper()

    assert check_vector(changed(CREDIT, "expected.decoder_key", upper)).differences == ()


def test_a_rollover_that_is_not_given_follows_from_the_base_dates() -> None:
    later = next(
        v
        for v in VECTORS
        if v["kind"].startswith("key_change") and v["inputs"]["new"]["rollover"] == 1
    )

    assert check_vector(changed(later, "inputs.new.rollover", ...)).differences == ()


def test_an_identifier_may_be_given_in_place_of_a_time() -> None:
    vector = changed(changed(CREDIT, "inputs.issued_at", ...), "inputs.tid", 85_740)

    assert check_vector(vector).differences == ()


def test_a_currency_token_can_be_checked_from_its_decoder_key_alone() -> None:
    inputs = {
        "ea": 11,
        "decoder_key": CURRENCY["expected"]["decoder_key"],
        "token_class": 0,
        "subclass": 4,
        "tid": CURRENCY["expected"]["tid"],
        "amount_currency": CURRENCY["inputs"]["amount_currency"],
    }
    vector = {**FIRST_OF_KIND["credit_token_from_decoder_key"], "inputs": inputs}

    checked = check_vector({**vector, "expected": {"token": CURRENCY["expected"]["token"]}})

    assert checked.differences == ()


def test_a_pan_that_is_wrong_has_no_drn() -> None:
    vector = changed(FIRST_OF_KIND["pan_luhn"], "inputs.pan", "600727000000000008")

    wanted_drn = check_vector(vector)
    told = check_vector({**vector, "expected": {"valid": False, "drn": None}})

    assert [difference.name for difference in wanted_drn.differences] == ["valid", "drn"]
    assert told.differences == ()


def test_makers_own_class_2_tokens_can_be_checked() -> None:
    vector = changed(FIRST_OF_KIND["set_tariff_rate"], "kind", "proprietary_management")
    vector["inputs"]["subclass"] = 11

    checked = check_vector({**vector, "expected": {"value_field": "8eff", "tid": 12_347_776}})

    assert checked.differences == ()
