"""Collects what one run of the bench measured."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests.bench.app_start import AppStart
from loadtests.bench.batch import BatchCost
from loadtests.bench.bulk_writes import WriteRates
from loadtests.bench.limiter import LimiterProof
from loadtests.bench.side import Measured
from loadtests.bench.stampede import StampedeProof
from loadtests.bench.worker.cost import WorkerCost
from loadtests.locust.run import Scenario


@dataclass(frozen=True)
class Side99And0:
    """Medians of one side at 99% and at 0% cache hits."""

    hits: Measured
    misses: Measured


@dataclass(frozen=True)
class Curve:
    """Latency of one side at offered loads."""

    name: str
    per_second: list[float]
    p50_ms: list[float]
    p99_ms: list[float]


@dataclass(frozen=True)
class Delivery:
    """Messages to one group: the time from the call to each subscriber's frame."""

    subscribers: int
    deliveries: int
    lost_or_repeated: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Figures:
    """All parts of one run. `stampede` is a text with the reason if it could not be measured."""

    rounds: int
    worker: WorkerCost
    baseline: Side99And0
    ours: Side99And0
    echo: Measured
    every: Mapping[tuple[str, str], Sequence[Measured]]
    curves: list[Curve]
    limiter: list[LimiterProof]
    stampede: StampedeProof | str
    scenarios: list[Scenario]
    batch: BatchCost
    start: AppStart
    delivery: Delivery
    writes: WriteRates
    paged_trades: int
    slowest_page: float
    took_s: float


def medians(results: Sequence[Measured]) -> Measured:
    """Returns the median of each figure, but the sum of requests, wrong answers and errors."""
    errors: dict[str, int] = {}
    for each in results:
        for what, count in each.errors.items():
            errors[what] = errors.get(what, 0) + count
    names = (
        "per_second",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "cpu_us",
        "helper_cpu_us",
        "generator_busy",
        "hit_share",
    )
    middle = {name: statistics.median(getattr(each, name) for each in results) for name in names}
    return Measured(
        requests=sum(each.requests for each in results),
        wrong=sum(each.wrong for each in results),
        errors=errors,
        **middle,
    )
