"""Nothing goes round the gate: the syntax trees of all packages are searched for ways to do so.

A command reaches a meter only as a row of ``command`` that the queue hands out. So the rows, the
cutting orders, their release, and what the queue hands out are looked for, wherever they are made.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from slotmeter.devices.commands import CUTTING, CommandKind

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("platform", "drivers", "nbiot", "lorawan", "plc", "dashboards", "rules")
SERVICES = "platform/slotmeter/services"

MAKES_ROWS = {f"{SERVICES}/control.py"}
ASKS_THE_GATE = {
    f"{SERVICES}/credit.py",  # the rule of credit control
    f"{SERVICES}/command_requests.py",  # people
    f"{SERVICES}/intents.py",  # a cut that a late command undid
}
CHECKS_AGAIN = {
    f"{SERVICES}/command_queue.py",  # before a cut is handed out
    f"{SERVICES}/command_sweep.py",  # when a hold ends
    f"{SERVICES}/command_requests.py",  # when a second person agrees
}
CHANGES_STATES = {
    f"{SERVICES}/command_rows.py",  # where `change` is defined
    f"{SERVICES}/command_order.py",  # supersedes
    f"{SERVICES}/regate.py",  # applies a verdict
    f"{SERVICES}/command_queue.py",
    f"{SERVICES}/command_sweep.py",
    f"{SERVICES}/token_effects.py",  # what meters report
    f"{SERVICES}/intents.py",  # what is asked again
    f"{SERVICES}/reversal.py",  # stops deliveries of a sale that was taken back
}
NAMES_CUTS = {
    "platform/slotmeter/devices/commands.py",  # defines them
    f"{SERVICES}/control.py",  # the gate
    f"{SERVICES}/command_rows.py",  # how long they live
}
# A device's own side, and what only reads: a driver's list of commands, a dashboard's words.
RECEIVES = (
    # How drivers write and read commands, and what a driver's author is told is wrong.
    *(
        "platform/slotmeter/devices/command_layout.py",
        "platform/slotmeter/devices/command_checks.py",
    ),
    *("platform/slotmeter/testing/", "drivers/", "dashboards/", "platform/slotmeter/api/"),
    "nbiot/slotmeter_nbiot/push_meter.py",  # a virtual meter reads what the platform sent
)
RAW_SQL = re.compile(
    r"\b(insert\s+(or\s+\w+\s+)?into|update|replace\s+into)\s+[\"'`]?command\b", re.I
)


def sources() -> Iterator[tuple[str, ast.Module]]:
    for root in ROOTS:
        for path in sorted((ROOT / root).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(), str(path))


TREES = dict(sources())


def name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and name_of(node.func) == name:
                yield path, node


def strings(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def docstrings(tree: ast.Module) -> set[int]:
    """Identities of the constants that are documentation."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def test_the_search_sees_the_packages() -> None:
    assert f"{SERVICES}/control.py" in TREES
    assert len(TREES) > 50


def test_rows_of_command_are_made_in_one_place() -> None:
    places = {
        path
        for path, call in calls("Insert")
        if call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == "command"
    }

    assert places == MAKES_ROWS


def test_no_insert_hides_its_table_where_commands_are_handled() -> None:
    hidden = [
        f"{path}:{call.lineno}"
        for path, call in calls("Insert")
        if not (call.args and isinstance(call.args[0], ast.Constant))
        and not path.startswith(("platform/slotmeter/testing/",))
        and "command" in set(strings(TREES[path]))
    ]

    assert hidden == []


def test_no_statement_writes_rows_of_command_beside_the_unit_of_work() -> None:
    found = [
        f"{path}: {text.strip()[:60]}"
        for path, tree in TREES.items()
        if "/migrations/" not in path
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for text in (node.value,)
        if RAW_SQL.search(text) and id(node) not in docstrings(tree)
    ]

    assert found == []


def test_statements_that_change_commands_are_those_of_the_gate_and_of_a_medium_s_lease() -> None:
    from slotmeter.storage.statements import catalogue

    updates = {
        name
        for name, statement in catalogue().updates.items()
        if getattr(statement.table, "name", "") == "command"
    }

    assert updates == {"control_change", "control_hold", "media_lease"}


@pytest.mark.parametrize(
    ("statement", "places"),
    [
        ("control_change", {f"{SERVICES}/command_rows.py"}),
        ("control_hold", {f"{SERVICES}/regate.py"}),
    ],
)
def test_a_statement_that_changes_commands_is_used_in_one_place(
    statement: str, places: set[str]
) -> None:
    users = {
        path
        for path, tree in TREES.items()
        if "/storage/statements/" not in path and statement in set(strings(tree))
    }

    assert users == places


def test_cuts_are_ordered_only_where_the_gate_is_asked_in_the_same_function() -> None:
    places = set()
    for path, tree in TREES.items():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            names = {
                name_of(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)
            }
            if "Cut" in names:
                places.add(path)
                assert "may_cut" in names, f"{path}:{function.lineno} orders a cut unasked"

    assert places == ASKS_THE_GATE


def test_a_command_that_leaves_others_behind_ends_them_wherever_it_comes_to_be_queued() -> None:
    places = {path for path, _ in calls("overtake_steps")}

    assert places == {
        f"{SERVICES}/control.py",  # queued at once
        f"{SERVICES}/command_order.py",  # asked again: held cuts since then
        f"{SERVICES}/regate.py",  # released from its hold
    }


def test_verdicts_are_applied_only_where_the_gate_is_asked() -> None:
    places = {path for path, _ in calls("apply_verdict")}

    assert places == CHECKS_AGAIN
    assert places <= {path for path, _ in calls("may_cut")}


def test_verdicts_are_made_only_by_the_gate() -> None:
    assert {path for path, _ in calls("CutVerdict")} == MAKES_ROWS


def test_the_seal_of_a_verdict_is_named_only_by_the_gate() -> None:
    users = {
        path
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name | ast.Attribute) and name_of(node) == "_Seal")
        or (isinstance(node, ast.alias) and node.name == "_Seal")
        or (isinstance(node, ast.Attribute) and node.attr == "gate_seal")
    }

    assert users == MAKES_ROWS


def test_no_frozen_value_is_changed_past_its_checks_where_commands_are_handled() -> None:
    """``object.__setattr__`` would turn a refusal into a verdict that nobody gave."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        if path.startswith(SERVICES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "__setattr__"
    ]

    assert found == []


def test_states_of_commands_change_in_known_places_only() -> None:
    users = {
        path
        for path, call in calls("change")
        if any("CommandState" in ast.dump(argument) for argument in call.args)
        or path in CHANGES_STATES
    }

    assert users <= CHANGES_STATES


def test_commands_are_handed_out_by_the_queue_only() -> None:
    makers = {
        path
        for path, _ in calls("CommandOut")
        if not path.startswith(RECEIVES) and not path.endswith("/devices/commands.py")
    }

    assert {path for path in makers if "simulator" not in path} == {f"{SERVICES}/command_queue.py"}


def test_no_code_names_a_cutting_kind_but_the_gate_and_what_only_reads() -> None:
    members = {kind.name for kind in CUTTING}
    values = {kind.value for kind in CUTTING}
    users = set()
    for path, tree in TREES.items():
        spoken = docstrings(tree)
        for node in ast.walk(tree):
            by_member = isinstance(node, ast.Attribute) and node.attr in members
            by_value = (
                isinstance(node, ast.Constant) and node.value in values and id(node) not in spoken
            )
            if by_member or by_value:
                users.add(path)

    assert {path for path in users if not path.startswith(RECEIVES)} <= NAMES_CUTS


def test_every_kind_is_either_cutting_or_known_to_take_nothing_away() -> None:
    harmless = {
        CommandKind.LOAD_TOKEN,
        CommandKind.CLOSE_RELAY,
        CommandKind.OPEN_VALVE,
        CommandKind.READ_NOW,
        CommandKind.SET_VALVE,  # never to 0 percent: that is a cut and needs a verdict
        CommandKind.SET_LOAD_LIMIT,  # never so low that it is a cut
        CommandKind.SET_TARIFF,
        CommandKind.SET_CLOCK,
        CommandKind.SET_CREDIT_MODE,
        CommandKind.CLEAR_TAMPER,
    }

    assert set(CommandKind) == CUTTING | harmless
