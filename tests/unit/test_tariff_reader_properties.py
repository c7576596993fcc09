"""Whatever comes in: a tariff or a list of problems comes out, and what is stored says the same."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotmeter.tariff_packs import pack_texts
from slotmeter.vending.tariff.keys import GROUPS, KEYS
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.problems import TariffProblems
from slotmeter.vending.tariff.reader import check_tariff, parse_tariff, read_tariff, stored_tariff

PACKS = sorted(pack_texts().values())
EVERY_KEY = sorted({key for keys in KEYS.values() for key in keys})
READ_S_MAX = 10  # of work, whatever else the machine does

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=12),
    st.decimals(allow_nan=True).map(str),
    st.dates().map(str),
    st.sampled_from(EVERY_KEY),
)
documents = st.recursive(
    values,
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.dictionaries(st.sampled_from(EVERY_KEY) | st.text(max_size=5), parts, max_size=6),
    ),
    max_leaves=25,
)


def expect_whole(tariff: Tariff) -> None:
    """Check what pricing takes for granted of every tariff that was read."""
    assert tariff.energy.rules
    assert {rule.table for rule in tariff.energy.rules} <= set(tariff.energy.tables)
    for table in tariff.energy.tables.values():
        limits = [block.up_to for block in table.blocks]
        assert None not in limits[:-1]
        ends = [limit for limit in limits if limit is not None]
        assert ends == sorted(set(ends))
        assert all(block.price >= 0 for block in table.blocks)
    codes = [item.code for item in tariff.unit_items]
    codes += [item.code for item in tariff.fixed_items]
    bases = {*GROUPS, *codes}
    for item in tariff.percent_items:
        assert set(item.on) <= bases
        bases.add(item.code)
    codes += [item.code for item in tariff.percent_items]
    codes += [item.code for item in tariff.free_units]
    assert len(codes) == len(set(codes))


def read_or_refuse(text: str) -> None:
    try:
        document, tariff = read_tariff(text)
    except TariffProblems as error:
        refused = error
    else:
        assert stored_tariff(json.dumps(document)) == tariff
        expect_whole(tariff)
        return
    assert refused.problems
    for problem in refused.problems:
        assert problem["message"]
        for said in (problem["message"], problem["path"]):
            assert isinstance(said, str)
            assert said.isprintable()
            assert len(said) < 1_000


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    read_or_refuse(content.decode("utf-8", "surrogateescape"))


@given(st.sampled_from(PACKS), st.data())
@settings(max_examples=150, deadline=None)
def test_a_tariff_with_a_piece_changed_is_read_or_refused(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    piece = data.draw(
        st.sampled_from(EVERY_KEY)
        | st.text(max_size=8)
        | st.sampled_from(
            ["{", "}", "[", "]", ": ", "\n", "-1", "0", "&a", "*a", "! ", "null", "'"]
        )
    )

    read_or_refuse(text[:start] + piece + text[end:])


@given(documents)
@settings(max_examples=200, deadline=None)
def test_any_plain_value_is_read_or_refused(document: Any) -> None:
    try:
        tariff = parse_tariff(document)
    except TariffProblems:
        return
    assert tariff.energy.tables


@given(st.sampled_from(sorted(KEYS)), st.data())
@settings(max_examples=200, deadline=None)
def test_any_value_under_any_key_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    document: dict[str, Any] = {
        "tariff": "a",
        "title": "b",
        "commodity": "electricity",
        "currency": "KES",
        "energy": {"price": "2"},
    }
    part = data.draw(st.dictionaries(st.sampled_from(KEYS[kind]), documents, max_size=5))
    places: dict[str, Any] = {
        "tariff": part,
        "block": {"energy": {"blocks": [part]}},
        "levy": {"levies": {"a": part}},
        "tax": {"taxes": {"a": part}},
        "fixed charge": {"fixed": {"a": part}},
        "free units": {"free_units": {"a": part}},
        "condition": {"debts": {"rules": [{"cap": "5", "when": part}]}},
        "calendar": {"calendar": part},
        "day plan": {"calendar": {"days": [part]}},
    }
    read_or_refuse(json.dumps(document | places.get(kind, {kind.replace(" ", "_"): part})))


@given(
    st.lists(
        st.tuples(
            st.decimals(Decimal("0.001"), 10_000, places=3),
            st.decimals(Decimal("0.01"), 10_000, places=8),
        ),
        min_size=1,
        max_size=20,
        unique_by=lambda each: each[0],
    )
)
def test_blocks_that_rise_in_their_limits_are_read_exactly(
    blocks: list[tuple[Decimal, Decimal]],
) -> None:
    blocks.sort()
    listed = [{"to": f"{limit:f}", "price": f"{price:f}"} for limit, price in blocks]
    tariff = parse_tariff(
        {
            "tariff": "a",
            "title": "b",
            "commodity": "electricity",
            "currency": "KES",
            "energy": {"blocks": listed},
        }
    )

    found = tariff.energy.tables["standard"].blocks
    assert [(Decimal(block.up_to or 0) / 1000, block.price) for block in found] == blocks


@pytest.mark.parametrize("text", PACKS)
def test_a_pack_that_is_cut_off_anywhere_is_read_or_refused(text: str) -> None:
    for end in range(0, len(text), 37):
        read_or_refuse(text[:end])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 90_000,
        "{a: " * 20_000,
        "- " * 40_000,
        "a: " + "x" * 99_000,
        "a: 'x" + "\n" * 90_000,
        "\n".join(f"k{n}: v" for n in range(9_000)),
        "%YAML " + "1" * 5_000 + ".1\n---\na",
    ],
)
def test_the_largest_texts_are_refused_within_seconds(text: str) -> None:
    start = time.process_time()

    with pytest.raises(TariffProblems):
        check_tariff(text)

    assert time.process_time() - start < READ_S_MAX
