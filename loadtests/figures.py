"""What one run of the bench came to, and the targets that it is held against."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests.batch import BatchCost
from loadtests.bulk_writes import COPY_MIN, DEPTH_MAX, SINGLE_MIN, WriteRates
from loadtests.lean_start import LeanStart
from loadtests.limiter import LimiterProof
from loadtests.locust_run import Scenario
from loadtests.measure import Measured
from loadtests.stampede import TIMED_ROUNDS, StampedeProof

MIN_THROUGHPUT_HITS = 25.0
MIN_THROUGHPUT_MISSES = 35.0
MAX_P99_SHARE = 1 / 20
MAX_CPU_SHARE = 1 / 20
MIN_OF_ECHO = 0.65
MAX_STAMPEDE_TIMES = 3.0
MAX_BATCH_TIMES = 5.0
MAX_START_S = 0.6
MAX_START_MB = 90.0


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
class Target:
    """One line of "done when"; `wanted` and `found` are for reading."""

    what: str
    wanted: str
    found: str
    met: bool


@dataclass(frozen=True)
class Figures:
    """`stampede` is a text where it could not be measured: then its target is missed."""

    rounds: int
    baseline: Side99And0
    ours: Side99And0
    echo: Measured
    every: Mapping[tuple[str, str], Sequence[Measured]]
    curves: list[Curve]
    limiter: list[LimiterProof]
    stampede: StampedeProof | str
    scenarios: list[Scenario]
    batch: BatchCost
    start: LeanStart
    delivery: Delivery
    writes: WriteRates
    paged_trades: int
    dearest_page: float
    took_s: float

    def targets(self) -> list[Target]:
        ours, baseline = self.ours, self.baseline
        hits = ours.hits.per_second / baseline.hits.per_second
        misses = ours.misses.per_second / baseline.misses.per_second
        of_echo = ours.hits.per_second / self.echo.per_second
        p99 = baseline.hits.p99_ms / ours.hits.p99_ms
        cpu = baseline.hits.cpu_us / ours.hits.cpu_us
        return [
            _at_least("throughput at 99% hits, times the baseline", MIN_THROUGHPUT_HITS, hits),
            _at_least("p99 at 99% hits, the baseline's over ours", 1 / MAX_P99_SHARE, p99),
            _at_least("CPU a request at 99% hits, the baseline's over ours", 1 / MAX_CPU_SHARE, cpu),
            _at_least("throughput at 0% hits, times the baseline", MIN_THROUGHPUT_MISSES, misses),
            _at_least("throughput at 99% hits, share of the bare echo", MIN_OF_ECHO, of_echo, digits=2),
            *(
                Target(
                    f"let through of a limit of {proof.limit:,}, 4 client processes, 4 workers",
                    f"{proof.limit:,}",
                    f"{proof.let_through:,}",
                    proof.holds,
                )
                for proof in self.limiter
            ),
            *self._stampede_targets(),
            self._right_answers(),
            _at_most("100 states in one call, times one state", MAX_BATCH_TIMES, self.batch.times),
            _at_most("start of function_app, s", MAX_START_S, self.start.seconds, digits=2),
            _at_most("memory after it, MB", MAX_START_MB, self.start.memory_mb, digits=0),
            _at_least("trades in bulk, times single inserts", SINGLE_MIN, self.writes.times_single),
            _at_least("trades in bulk, share of a bare COPY", COPY_MIN, self.writes.of_copy, digits=2),
            _at_most(
                f"dearest page of {self.paged_trades:,} trades, times the first",
                DEPTH_MAX,
                self.dearest_page,
                digits=2,
            ),
            _none(
                "messages lost or repeated in fan-out",
                self.delivery.lost_or_repeated,
                self.delivery.deliveries,
            ),
            _none(
                "failed or wrong answers to Locust's users",
                sum(each.failures for each in self.scenarios),
                sum(each.requests for each in self.scenarios),
            ),
        ]

    def _stampede_targets(self) -> list[Target]:
        what = "evaluations in a stampede"
        if isinstance(self.stampede, str):
            return [Target(what, "1", self.stampede, met=False)]
        proof = self.stampede
        clean = not proof.errors and not proof.values_differ
        counts = ", ".join(str(count) for count in proof.evaluations)
        return [
            Target(
                f"{what} of {proof.askers}, 4 workers",
                "1 each time",
                f"{counts}; {proof.timed_evaluations} in {TIMED_ROUNDS}",
                proof.is_single_flight and clean,
            ),
            _at_most(
                "last answer of a stampede behind that of as many cached ones, times one uncached answer",
                MAX_STAMPEDE_TIMES,
                proof.late_ms / proof.single_ms,
            ),
        ]

    def _right_answers(self) -> Target:
        runs = [each for (name, _), results in self.every.items() if name == "ours" for each in results]
        asked = sum(each.requests for each in runs)
        bad = sum(each.wrong + sum(each.errors.values()) for each in runs)
        return _none("wrong, stale or failed answers of ours", bad, asked)


def medians(results: Sequence[Measured]) -> Measured:
    """The median of each figure; of wrong answers and errors the sum."""
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


def _at_least(what: str, wanted: float, found: float, digits: int = 1) -> Target:
    return Target(what, f"at least {wanted:g}", f"{found:.{digits}f}", found >= wanted)


def _at_most(what: str, wanted: float, found: float, digits: int = 1) -> Target:
    return Target(what, f"at most {wanted:g}", f"{found:.{digits}f}", found <= wanted)


def _none(what: str, bad: int, of: int) -> Target:
    return Target(what, "0", f"{bad} of {of:,}", bad == 0)
