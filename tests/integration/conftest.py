"""Towns to test in: one served, with every answer checked against the OpenAPI document; and one of
devices, which nothing serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from slotmeter.api.openapi import openapi_document
from slotmeter.api.routes import ROUTES
from slotmeter.config import DatabaseConfig, LimitsConfig
from slotmeter.ports import Caller
from slotmeter.storage.postgres_database import PostgresDatabase
from slotmeter.testing.api_town import ApiTown, Reply, serve_small_utility
from slotmeter.testing.databases import name_postgres
from slotmeter.testing.device_side import DeviceTown, Script, device_town
from slotmeter.testing.postgres_server import PostgresServer, waited_for
from slotmeter_rules import RULES

DOCUMENT = openapi_document("test")
PROBLEM_KEYS = {"type", "title", "status", "code", "detail", "request_id"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked ``both_databases`` runs on SQLite and on PostgreSQL."""
    if metafunc.definition.get_closest_marker("both_databases"):
        metafunc.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def empty_tables(postgres: PostgresServer) -> str:
    """The name of a database on PostgreSQL that has all tables and no rows, to copy from."""
    name = postgres.make_database()

    async def make() -> None:
        config = DatabaseConfig(url=postgres.url(name), require_durable=False)
        await (await PostgresDatabase.open(config)).close()

    waited_for(make())
    return name


@pytest.fixture(autouse=True)
def database_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which database the folder of a test has: ``sqlite``, or by its settings ``postgresql``."""
    kind: str = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        yield kind
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    folder: Path = request.getfixturevalue("tmp_path")
    name = server.make_database(template=request.getfixturevalue("empty_tables"))
    name_postgres(folder, server.url(name))
    yield kind
    server.drop_database(name)


def operation_for(method: str, path: str) -> dict[str, Any] | None:
    """The operation of the document that a request reaches."""
    given = path.split("/")
    for route in ROUTES:
        parts = route.path.split("/")
        if len(parts) == len(given) and all(
            want.startswith("{") or want == got for want, got in zip(parts, given, strict=True)
        ):
            found: dict[str, Any] | None = DOCUMENT["paths"][route.path].get(method.lower())
            return found
    return None


def check_reply(method: str, path: str, reply: Reply) -> None:
    """Fail when an answer is not what the document promises."""
    assert "X-Request-Id" in reply.headers
    if reply.status >= 400:
        assert reply.headers["Content-Type"].startswith("application/problem+json")
        assert reply.json.keys() >= PROBLEM_KEYS
        assert reply.json["status"] == reply.status
        assert reply.json["request_id"] == reply.headers["X-Request-Id"]
    operation = operation_for(method, path)
    if operation is None:
        return
    name = operation["operationId"]
    assert str(reply.status) in operation["responses"], f"{name} does not declare {reply.status}"
    kind = reply.headers["Content-Type"].partition(";")[0]
    content = operation["responses"][str(reply.status)]["content"]
    assert kind in content, f"{name} does not declare {kind}"
    if kind.endswith("json"):
        schema = {**content[kind]["schema"], "components": DOCUMENT["components"]}
        Draft202012Validator(schema).validate(reply.json)


@pytest.fixture
def api_limits() -> LimitsConfig:
    """The server's limits; a test module overrides it for others."""
    return LimitsConfig(drain_timeout_s=2.0)


@pytest.fixture
async def api(tmp_path: Path, api_limits: LimitsConfig) -> AsyncIterator[ApiTown]:
    """A served small utility: prices of 20.00 and 16 % tax, nobody and no meter yet."""
    async with serve_small_utility(tmp_path, api_limits, check_reply) as town:
        yield town


@pytest.fixture
def script() -> Script:
    """What the driver of the town's devices reads out of payloads; a test fills it."""
    return Script()


@pytest.fixture
async def town(tmp_path: Path, script: Script) -> AsyncIterator[DeviceTown]:
    """A small utility with its device side and the rule of credit that we ship; no meter yet."""
    async with device_town(tmp_path, RULES.credit_control, script) as opened:
        yield opened


@pytest.fixture
async def operator(town: DeviceTown) -> Caller:
    """A person who may ask for commands."""
    return await town.utility.add_principal("operator", "operator")
