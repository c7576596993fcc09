"""The catalogue of statements and the code that names them agree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.dialects import mssql, oracle
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import CreateTable

import slotmeter
from slotmeter.storage import statements
from slotmeter.storage.dialect import Statements
from slotmeter.storage.dialects.variants import read_for
from slotmeter.storage.schema import METADATA
from slotmeter.storage.statements import catalogue

SOURCE = Path(slotmeter.__file__).parent


def _named(kind: str) -> Iterator[tuple[str, str]]:
    """Yield (name, place) of every ``Read("…")`` or ``Update("…")`` in the platform."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == kind
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
            ):
                yield node.args[0].value, f"{path.relative_to(SOURCE)}:{node.lineno}"


def test_every_read_that_the_code_names_exists() -> None:
    missing = [place for name, place in _named("Read") if name not in catalogue().reads]

    assert missing == []


def test_every_update_that_the_code_names_exists() -> None:
    missing = [place for name, place in _named("Update") if name not in catalogue().updates]

    assert missing == []


def test_every_table_that_the_code_inserts_into_exists() -> None:
    missing = [place for name, place in _named("Insert") if name not in METADATA.tables]

    assert missing == []


def test_no_statement_lies_unused() -> None:
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in SOURCE.rglob("*.py")
        if "statements" not in path.parts
    )
    names = [*catalogue().reads, *catalogue().updates]

    assert [name for name in names if f'"{name}"' not in text] == []


def test_every_statement_compiles_for_sqlite() -> None:
    compiled = Statements()

    assert set(compiled.reads) == set(catalogue().reads)
    assert set(compiled.updates) == set(catalogue().updates)


def test_an_insert_into_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        Statements().insert("meter", {"id": 1, "colour": "red"})


def test_two_statements_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from slotmeter.storage.statements import access, selling

    name, statement = next(iter(selling.READS.items()))
    monkeypatch.setitem(access.READS, name, statement)
    statements.catalogue.cache_clear()

    try:
        with pytest.raises(ValueError, match=name):
            statements.catalogue()
    finally:
        monkeypatch.undo()
        statements.catalogue.cache_clear()


KINDS: tuple[Callable[[], Dialect], ...] = (MariaDBDialect, oracle.dialect, mssql.dialect)
DIALECTS = [kind() for kind in KINDS]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_statement_and_table_can_be_written_for_databases_that_may_come(
    dialect: Dialect,
) -> None:
    found = catalogue()
    texts = [
        *(str(read_for(each, dialect).compile(dialect=dialect)) for each in found.reads.values()),
        *(str(each.compile(dialect=dialect)) for each in found.updates.values()),
        *(str(table.insert().compile(dialect=dialect)) for table in METADATA.tables.values()),
        *(str(CreateTable(table).compile(dialect=dialect)) for table in METADATA.tables.values()),
    ]

    assert len(texts) == len(found.reads) + len(found.updates) + 2 * len(METADATA.tables)
    assert all(texts)
