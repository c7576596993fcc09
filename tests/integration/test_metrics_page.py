"""docs/reference/metrics.md against what is counted: neither has a name that the other has not."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, HttpConfig
from slotmeter.runtime import Runtime
from slotmeter.runtime.replica_metrics import ReplicaMetrics
from slotmeter.storage.postgres_replica import ReplicaState

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "metrics.md"
MEDIA = {"nbiot": "slotmeter_nbiot", "ip": "slotmeter_ip"}


def named() -> set[str]:
    """Every metric that the page names."""
    return set(re.findall(r"`(slotmeter_\w+)(?:\{[a-z,]+\})?`", PAGE.read_text(encoding="utf-8")))


async def of_server(folder: Path) -> set[str]:
    """Every metric that a server shows before anything has happened."""
    made = ["init", "--data", str(folder), "--utility-name", "Town"]
    assert await asyncio.to_thread(main, made) == 0
    parts = {"http": HttpConfig(port=0), "dashboards": DashboardsConfig(enabled=False)}
    runtime = await Runtime.started(Config.default(folder).model_copy(update=parts))
    try:
        url = runtime.listeners[0].address
        async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as reply:
            text = await reply.text()
    finally:
        await runtime.stop()
    # When a counter began, which the library adds to each of them, is no metric of ours.
    found = re.findall(r"^# TYPE (\w+) \w+$", text, re.MULTILINE)
    return {name for name in found if not name.endswith("_created")}


def of_replica() -> set[str]:
    """What a server with a standby shows besides."""
    registry = CollectorRegistry()
    ReplicaMetrics(registry, ReplicaState())
    families = [(each.name, each.type) for each in registry.collect()]
    return {f"{name}_total" if kind == "counter" else name for name, kind in families}


def of_media() -> set[str]:
    """What the media of this repository count, each name from its first use on."""
    found = set()
    for key, package in MEDIA.items():
        for path in (ROOT / "nbiot" / package).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            names = re.findall(r"metrics\.count\(\s*\"(\w+)\"", text)
            found |= {f"slotmeter_{key}_{name}_total" for name in names}
    return found


async def test_the_page_of_metrics_names_all_that_is_counted_and_nothing_else(
    tmp_path: Path,
) -> None:
    counted = await of_server(tmp_path / "data") | of_replica() | of_media()

    assert sorted(counted - named()) == []
    assert sorted(named() - counted) == []
    assert len(counted) > 60
