"""Compares our server with the baseline and with a bare echo: all three up, measured in turn over rounds."""

# ruff: noqa: T201 - a terminal watches the rounds

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.baseline import prepare
from loadtests.bench import servers
from loadtests.bench.effort import Effort
from loadtests.bench.figures import Curve
from loadtests.bench.side import Measured, Side, run
from shared.domain.confidence.models import StoredModel
from shared.domain.trading.trades import Trade

HITS_99 = 0.01
HITS_0 = 1.0
WARM_UP_S = 1.0
# Shares of a side's own highest throughput at which its latency is measured.
CURVE = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@dataclass
class Sides:
    """The three servers, and what every run of them measured, by name and workload."""

    ours: Side
    baseline: Side
    echo: Side
    results: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)

    def measure(self, side: Side, workload: str, share: float, seconds: float) -> None:
        measured = run(side, fresh_share=share, seconds=seconds)
        self.results.setdefault((side.name, workload), []).append(measured)
        say(
            f"{side.name:<9} {workload:<9} {measured.per_second:>7,.0f}/s  p50 {measured.p50_ms:6.1f}  "
            f"p99 {measured.p99_ms:6.1f} ms  {measured.cpu_us:6.0f} us a request"
            + (f"  WRONG {measured.wrong}" if measured.wrong else "")
            + (f"  {measured.errors}" if measured.errors else "")
        )


@contextlib.contextmanager
def sides(
    directory: Path,
    stack: servers.RunningStack,
    trades: Sequence[Trade],
    champion: StoredModel,
    expected: Sequence[float],
) -> Iterator[Sides]:
    """Starts the baseline and the echo beside `stack`, and asks each side with every key once."""
    database = prepare.make_database(stack.addresses["database_url"], stack.load_keys)
    model = directory / "baseline.joblib"
    prepare.train(trades, champion.document["kind"], model)
    with (
        servers.baseline(directory, stack, model, database) as (baseline_pid, baseline_port),
        servers.echo(directory) as (echo_pid, echo_port),
    ):
        ours = servers.our_side(stack, expected)
        keys = stack.load_keys
        rival = Side("baseline", baseline_pid, baseline_port, keys, prepare.expected(model), ours.helpers)
        bare = Side("echo", echo_pid, echo_port, keys, [])
        for side in (ours, rival, bare):
            run(side, fresh_share=HITS_99 if side.expected else 0.0, seconds=2.0)
        yield Sides(ours, rival, bare)


def compare(every: Sides, effort: Effort) -> None:
    """Measures each side in turn, in another order each round."""
    turns = [
        (every.baseline, "99% hits", HITS_99, effort.hits_s),
        (every.ours, "99% hits", HITS_99, effort.hits_s),
        (every.echo, "echo", 0.0, effort.hits_s),
        (every.baseline, "0% hits", HITS_0, effort.misses_s),
        (every.ours, "0% hits", HITS_0, effort.misses_s),
    ]
    for number in range(effort.rounds):
        say(f"round {number + 1} of {effort.rounds}")
        for turn in turns[number % len(turns) :] + turns[: number % len(turns)]:
            every.measure(*turn)


def curve(side: Side, highest: float, seconds: float) -> Curve:
    """Measures a side's latency at rising loads. Requests fall due evenly, however slow the server is."""
    # The side's knowledge of its callers has expired while the other side was measured.
    run(side, fresh_share=HITS_99, seconds=min(seconds, WARM_UP_S))
    found = Curve(side.name, [], [], [])
    for share in CURVE:
        measured = run(side, fresh_share=HITS_99, seconds=seconds, rate=highest * share)
        found.per_second.append(highest * share)
        found.p50_ms.append(measured.p50_ms)
        found.p99_ms.append(measured.p99_ms)
    return found
