"""No plugin opens a file or a database of its own: what it keeps is in ``context.records``.

Imports are held by a contract of import-linter; what needs no import is looked for here.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = (
    "drivers/slotmeter_drivers",
    "nbiot/slotmeter_nbiot",
    "nbiot/slotmeter_ip",
    "lorawan/slotmeter_lorawan",
    "plc/slotmeter_plc",
    "rules/slotmeter_rules",
)
OF_FILES = {
    "open",
    "open_code",
    "fdopen",
    "mkdir",
    "makedirs",
    "mkfifo",
    "write_text",
    "write_bytes",
}
BY_NAME = {"importlib", "__import__", "exec", "eval"}
"""Ways to what was not imported by its name."""


def opened_in(text: str) -> list[tuple[int, str]]:
    """Return line and name of each call that opens a file, or that could import what does."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = node.func
            name = getattr(called, "id", None) or getattr(called, "attr", "")
            if name in OF_FILES | BY_NAME:
                found.append((node.lineno, name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.name for each in node.names] + [getattr(node, "module", None) or ""]
            found += [(node.lineno, "importlib") for name in names if name.startswith("importlib")]
    return found


@pytest.mark.parametrize("folder", PLUGINS)
def test_a_plugin_opens_no_file(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))

    opened = {
        f"{path.relative_to(ROOT)}:{line}": name
        for path in modules
        for line, name in opened_in(path.read_text(encoding="utf-8"))
    }

    assert modules
    assert opened == {}


@pytest.mark.parametrize(
    "text",
    [
        "open('a.db')",
        "import os\nos.open('a', 0)",
        "place.write_text('x')",
        "import importlib\n",
        "from importlib import import_module",
        "__import__('sqlite3')",
    ],
)
def test_what_opens_a_file_is_found(text: str) -> None:
    assert opened_in(text)


def test_the_contract_of_imports_names_every_plugin() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = document["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each["name"].startswith("no plugin opens storage")]

    assert set(contract["source_modules"]) == {Path(folder).name for folder in PLUGINS}
    assert {"sqlite3", "sqlalchemy", "asyncpg", "pathlib"} <= set(contract["forbidden_modules"])
