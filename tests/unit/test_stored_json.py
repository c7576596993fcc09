"""JSON columns are written one way, so that what is stored can be compared and read by people."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import slotmeter.services
from slotmeter.ports import Insert
from slotmeter.services.access import Origin, act_row
from slotmeter.services.events import compact_json

SERVICES = Path(slotmeter.services.__file__).parent


STORED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


def calls_of_dumps(path: Path) -> list[str]:
    """Where a module writes JSON by itself."""
    return [
        f"{path.name}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "dumps"
    ]


def test_services_write_json_by_the_one_writer_only() -> None:
    modules = list(SERVICES.glob("*.py"))

    assert len(modules) > 20
    assert [call for path in modules for call in calls_of_dumps(path)] == []


def test_a_name_in_an_act_is_stored_as_it_is_written() -> None:
    step = act_row(
        lambda: 1,
        Origin("local:test", "test"),
        1,
        0,
        what="x",
        subject="x",
        reason="x",
        data={"b": "Zoë", "a": [1, 2]},
    )

    assert isinstance(step, Insert)
    assert step.row["data"] == '{"a":[1,2],"b":"Zoë"}' == compact_json({"b": "Zoë", "a": [1, 2]})


@given(STORED)
def test_what_is_stored_is_what_the_standard_library_writes(document: object) -> None:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert compact_json(document) == text


@pytest.mark.parametrize("document", [{7: "a", 6: "b"}, [2**80], {"key": (1, 2)}])
def test_what_only_the_standard_library_writes_is_stored_as_well(document: object) -> None:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert compact_json(document) == text
