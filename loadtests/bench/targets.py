"""Holds the figures of a run against their targets."""

from dataclasses import dataclass

from loadtests.bench.bulk_writes import COPY_MIN, DEPTH_MAX, SINGLE_MIN
from loadtests.bench.figures import Figures
from loadtests.bench.side import HOT_STATES, Measured
from loadtests.bench.stampede import TIMED_ROUNDS
from loadtests.bench.worker.cost import WorkerCost

MAX_TIMES_ECHO = 1.3
MAX_OWN_US = 20.0
# Nothing measurable: the rounds of one run differ by as much.
MAX_SESSION_TIMES = 1.05
MIN_THROUGHPUT_HITS = 20.0
MIN_THROUGHPUT_MISSES = 25.0
MAX_P99_TIMES_P50 = 4.0
MAX_STAMPEDE_TIMES = 3.0
MAX_BATCH_TIMES = 5.0
MAX_START_S = 0.6
MAX_START_MB = 90.0


@dataclass(frozen=True)
class Target:
    """One figure and its bound; `wanted` and `found` are texts for a reader."""

    what: str
    wanted: str
    found: str
    met: bool

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'} {self.what}: {self.found} (wanted: {self.wanted})"


def targets(figures: Figures) -> list[Target]:
    """Returns every target in the order of the report."""
    return [
        *worker_targets(figures.worker),
        *_hot_path(figures),
        *_limiter(figures),
        *_stampede(figures),
        _right_answers(figures),
        *_start_and_batch(figures),
        *_writes(figures),
        _none(
            "messages lost or repeated in fan-out",
            figures.delivery.lost_or_repeated,
            figures.delivery.deliveries,
        ),
        _none(
            "failed or wrong answers to Locust's users",
            sum(each.failures for each in figures.scenarios),
            sum(each.requests for each in figures.scenarios),
        ),
    ]


def worker_targets(cost: WorkerCost) -> list[Target]:
    """Returns the targets of the part that runs under Microsoft's worker library."""
    return [
        _at_most(
            "a cached confidence under the worker library, times an echo",
            MAX_TIMES_ECHO,
            cost.times_echo,
            digits=2,
        ),
        _at_most("the app's own share of a cached confidence, us", MAX_OWN_US, cost.own_us),
        _at_most(
            "a confidence for a bot that holds a session, times one without",
            MAX_SESSION_TIMES,
            cost.session_times,
            digits=3,
        ),
        _none("wrong confidences under the worker library", cost.wrong, HOT_STATES),
    ]


def _hot_path(figures: Figures) -> list[Target]:
    ours, baseline = figures.ours, figures.baseline
    hits = ours.hits.per_second / baseline.hits.per_second
    misses = ours.misses.per_second / baseline.misses.per_second
    return [
        _at_least("throughput at 99% hits, times the baseline", MIN_THROUGHPUT_HITS, hits),
        _at_least("throughput at 0% hits, times the baseline", MIN_THROUGHPUT_MISSES, misses),
        _p99("p99 at 99% hits, times p50", ours.hits),
        _p99("p99 at 0% hits, times p50", ours.misses),
    ]


def _p99(what: str, measured: Measured) -> Target:
    return _at_most(what, MAX_P99_TIMES_P50, measured.p99_ms / measured.p50_ms)


def _limiter(figures: Figures) -> list[Target]:
    return [
        Target(
            f"requests let through of a limit of {proof.limit:,}, 4 client processes, 4 workers",
            f"{proof.limit:,}",
            f"{proof.let_through:,}",
            proof.holds,
        )
        for proof in figures.limiter
    ]


def _stampede(figures: Figures) -> list[Target]:
    what = "evaluations in a stampede"
    if isinstance(figures.stampede, str):
        return [Target(what, "1", figures.stampede, met=False)]
    proof = figures.stampede
    clean = not proof.errors and not proof.values_differ
    counts = ", ".join(str(count) for count in proof.evaluations)
    return [
        Target(
            f"{what} of {proof.callers} callers, 4 workers",
            "1 each time",
            f"{counts}; {proof.timed_evaluations} in {TIMED_ROUNDS}",
            proof.is_single_flight and clean,
        ),
        _at_most(
            "delay of a stampede's last answer behind that of as many cached ones, times one uncached answer",
            MAX_STAMPEDE_TIMES,
            proof.late_ms / proof.single_ms,
        ),
    ]


def _right_answers(figures: Figures) -> Target:
    runs = [each for (name, _), results in figures.every.items() if name == "ours" for each in results]
    asked = sum(each.requests for each in runs)
    bad = sum(each.wrong + sum(each.errors.values()) for each in runs)
    return _none("wrong, stale or failed answers of ours", bad, asked)


def _start_and_batch(figures: Figures) -> list[Target]:
    return [
        _at_most("100 states in one call, times one state", MAX_BATCH_TIMES, figures.batch.times),
        _at_most("start of function_app, s", MAX_START_S, figures.start.seconds, digits=2),
        _at_most("memory after the start, MB", MAX_START_MB, figures.start.memory_mb, digits=0),
    ]


def _writes(figures: Figures) -> list[Target]:
    return [
        _at_least("trades in bulk, times single inserts", SINGLE_MIN, figures.writes.times_single),
        _at_least("trades in bulk, share of a bare COPY", COPY_MIN, figures.writes.of_copy, digits=2),
        _at_most(
            f"slowest page of {figures.paged_trades:,} trades, times the first",
            DEPTH_MAX,
            figures.slowest_page,
            digits=2,
        ),
    ]


def _at_least(what: str, wanted: float, found: float, digits: int = 1) -> Target:
    return Target(what, f"at least {wanted:g}", f"{found:.{digits}f}", found >= wanted)


def _at_most(what: str, wanted: float, found: float, digits: int = 1) -> Target:
    return Target(what, f"at most {wanted:g}", f"{found:.{digits}f}", found <= wanted)


def _none(what: str, bad: int, of: int) -> Target:
    return Target(what, "0", f"{bad} of {of:,}", bad == 0)
