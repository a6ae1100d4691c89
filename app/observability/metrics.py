"""What this process counts for Prometheus; no label holds anything of a tenant."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import REGISTRY, Counter, Info
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app import __version__

#: Upper bounds of the latency buckets, in seconds.
BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
_BOUNDS_MS: Final = tuple(int(bound * 1000) for bound in BOUNDS_S)


class Attempts(Collector):
    """Counts attempts by outcome and duration: a batch costs one pass, and no lock."""

    def __init__(self) -> None:
        self._buckets: dict[str, list[int]] = {}
        self._sum_ms: dict[str, int] = {}

    def add(self, attempts: Iterable[tuple[str, int]]) -> None:
        """Count (outcome, duration in milliseconds)."""
        buckets, sums = self._buckets, self._sum_ms
        for outcome, duration_ms in attempts:
            if outcome not in buckets:
                sums[outcome] = 0
                buckets[outcome] = [0] * (len(_BOUNDS_MS) + 1)
            buckets[outcome][bisect_left(_BOUNDS_MS, duration_ms)] += 1
            sums[outcome] += duration_ms

    def collect(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "oneprotect_attempts", "Attempts recorded, by outcome.", labels=["outcome"]
        )
        latency = HistogramMetricFamily(
            "oneprotect_attempt_duration_seconds",
            "Time of one attempt: DNS, connect, TLS, send, read.",
            labels=["outcome"],
        )
        for outcome, counts in sorted(self._buckets.items()):
            below, cumulated = 0, []
            names = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
            for name, count in zip(names, list(counts), strict=True):
                below += count
                cumulated.append((name, below))
            total.add_metric([outcome], below)
            latency.add_metric([outcome], cumulated, self._sum_ms[outcome] / 1000)
        yield total
        yield latency


attempts: Final = Attempts()
REGISTRY.register(attempts)

lease_expiries: Final = Counter(
    "oneprotect_lease_expiries", "Deliveries taken back from workers that died or stalled."
)
late_records: Final = Counter(
    "oneprotect_late_records", "Attempts whose lease was taken over before they were recorded."
)
events_accepted: Final = Counter(
    "oneprotect_events_accepted", "Events kept, with all their deliveries; repeats not counted."
)
Info("oneprotect_build", "Which version this is.").info({"version": __version__})
