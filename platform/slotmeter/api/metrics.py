"""What the server counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from slotmeter.services.metrics import FewNames

__all__ = ["CONTENT_TYPE", "HttpMetrics", "MetricsBoard", "PluginMetrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class PluginMetrics:
    """Counters of one plugin, ``slotmeter_<plugin>_<name>_total``; implements ``ports.Metrics``."""

    def __init__(self, registry: CollectorRegistry, plugin: str) -> None:
        """Hold the registry and the prefix."""
        self._registry = registry
        self._plugin = plugin
        self._counters: dict[str, tuple[Counter, FewNames]] = {}

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter; the first use of a name settles its labels."""
        known = self._counters.get(name)
        if known is None:
            made = Counter(
                f"slotmeter_{self._plugin}_{name}",
                f"{name.replace('_', ' ')}, counted by {self._plugin}",
                sorted(labels),
                registry=self._registry,
            )
            known = self._counters[name] = made, FewNames()
        counter, names = known
        few = dict(zip(labels, names.of(*labels.values()), strict=True))
        (counter.labels(**few) if few else counter).inc(amount)


class HttpMetrics:
    """Requests by route and status, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the counters."""
        self._requests = Counter(
            "slotmeter_http_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "slotmeter_http_request_seconds",
            "Time from headers to answer",
            ["route"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._count: dict[tuple[str, int], Callable[[], None]] = {}
        self._observe: dict[str, Callable[[float], None]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, status)
        count = self._count.get(key)
        if count is None:
            count = self._count[key] = self._requests.labels(route, str(status)).inc
        count()
        observe = self._observe.get(route)
        if observe is None:
            observe = self._observe[route] = self._seconds.labels(route).observe
        observe(seconds)


class MetricsBoard:
    """All metrics of one server."""

    def __init__(self) -> None:
        """Start an empty board of its own, so that two servers in one process do not mix."""
        self.registry = CollectorRegistry()
        self.http = HttpMetrics(self.registry)
        self._plugins: dict[str, PluginMetrics] = {}

    def plugin(self, key: str) -> PluginMetrics:
        """Return the counters of a plugin; its entries share them."""
        if key not in self._plugins:
            self._plugins[key] = PluginMetrics(self.registry, key)
        return self._plugins[key]

    def gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Show a value that is asked for at each scrape."""
        Gauge(f"slotmeter_{name}", about, registry=self.registry).set_function(value)

    def info(self, name: str, about: str, **facts: str) -> None:
        """Show facts that never change while the server runs."""
        Info(f"slotmeter_{name}", about, registry=self.registry).info(facts)

    def text(self) -> bytes:
        """Return the page that Prometheus reads."""
        return generate_latest(self.registry)
