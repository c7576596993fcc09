"""Fixtures for every test. Plain functions that tests need are fixtures too: tests import nothing
from each other, so that any file runs alone."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import settings

from slotmeter.testing.postgres_server import PostgresServer, find_programs
from slotmeter.testing.site import free_ports as some_free_ports

LEAK_GRACE_S = 2.0
PORT_TRIES_MAX = 50

settings.register_profile("work", max_examples=50, deadline=None, print_blob=True)
settings.register_profile("ci", max_examples=100, deadline=None, print_blob=True)
settings.register_profile("deep", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") == "true" else "work")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start processes share one xdist worker; async tests must leave no task behind."""
    for item in items:
        if item.get_closest_marker("e2e") or item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.xdist_group("processes"))
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "no_task_left")


@pytest.fixture(scope="session", autouse=True)
def limit_of_core_files() -> Iterator[None]:
    """Keeps the limit of the tests' own process: a command run within it would take it for good,
    and with it the proof that another program does leave a core file."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ("slotmeter.cli", "slotmeter.security.site_tables"):
            patch.setattr(f"{place}.forbid_core_dumps", lambda: None)
        yield


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fails an async test that ends while a task it started still runs."""
    before = asyncio.all_tasks()

    yield

    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=LEAK_GRACE_S)
    for task in left:
        task.cancel()
    if left:
        pytest.fail(f"the test left tasks running: {sorted(task.get_name() for task in left)}")


@pytest.fixture
def free_port(free_ports: Callable[[], int]) -> int:
    """A port of 127.0.0.1 that is free for TCP and for UDP."""
    return free_ports()


@pytest.fixture(scope="session")
def free_ports() -> Callable[[], int]:
    """Call it for a port of 127.0.0.1 that is free for TCP and for UDP, another one each time."""
    given: set[int] = set()

    def take() -> int:
        for _ in range(PORT_TRIES_MAX):
            [port] = some_free_ports(1)
            if port not in given:
                given.add(port)
                return port
        raise OSError(f"expected a new free port within {PORT_TRIES_MAX} tries, got none")

    return take


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """Call it with a program's name for its path; without it the test skips, and fails in CI."""

    def require(name: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed, and CI must run this test")
        pytest.skip(f"{name} is not installed")

    return require


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own; without the programs the test skips, and fails in CI."""
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed, and CI must run this test")
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    with PostgresServer(programs) as server:
        yield server
