"""What ``/metrics`` says of the standby that reports are read from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from slotmeter.storage.postgres_replica import ReplicaState

__all__ = ["ReplicaMetrics"]


class ReplicaMetrics(Collector):
    """Shows what a replica counts, at each scrape."""

    def __init__(self, registry: CollectorRegistry, state: ReplicaState) -> None:
        """Show it on a registry."""
        self._state = state
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return the counters as they are."""
        read = CounterMetricFamily("slotmeter_replica_reads", "Looks that the standby answered.")
        read.add_metric((), self._state.read)
        fallen = CounterMetricFamily(
            "slotmeter_replica_fallbacks",
            "Looks that the primary answered instead of the standby, by why.",
            labels=["cause"],
        )
        for cause, count in sorted(self._state.fallen_back.items()):
            fallen.add_metric((cause,), count)
        lag = GaugeMetricFamily(
            "slotmeter_replica_lag_seconds", "How far the standby was behind, when last looked at."
        )
        lag_s = self._state.lag_s
        lag.add_metric((), math.nan if lag_s is None else lag_s)
        return read, fallen, lag
