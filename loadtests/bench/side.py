"""Puts one server under load: measures throughput, latencies and processor time, and checks every answer."""

import array
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from loadtests.bench import market
from loadtests.bench.generator import Outcome, Plan
from loadtests.bench.market import PATH
from loadtests.bench.processes import ROOT, cpu_seconds, processors

HOT_STATES = 10
# More than any side answers in a second: the generator gets this many unseen states for each second.
MOST_PER_SECOND = 50_000

# Both sides round to four decimals, and the last one may differ between one row and a batch.
TOLERANCE = 0.00011


@dataclass
class Side:
    """A server under test. `expected` holds the right confidence of every state; it is empty for the echo."""

    name: str
    pid: int
    port: int
    keys: Sequence[str]
    expected: Sequence[float]
    helpers: Sequence[int] = ()
    _unseen: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._unseen = market.shuffled_states(seed=1)
        self.hot = self._unseen[:HOT_STATES]
        del self._unseen[:HOT_STATES]

    def fresh(self, count: int) -> list[int]:
        """Returns the `count` states that were asked about longest ago."""
        taken, rest = self._unseen[:count], self._unseen[count:]
        self._unseen = rest + taken
        return taken


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one run measured. Latencies in ms, processor time in us a request.

    `cpu_us` is of the server's processes, `helper_cpu_us` of its data services. `generator_busy` is the share
    of its processor that the load generator used; near 1 the run measures the generator, not the server.
    """

    requests: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us: float
    helper_cpu_us: float
    generator_busy: float
    hit_share: float
    wrong: int
    errors: dict[str, int]


def run(
    side: Side, *, fresh_share: float, connections: int = 100, seconds: float = 4.0, rate: float = 0.0
) -> Measured:
    """Loads `side` for `seconds`: in open loop with a `rate` above 0, otherwise as fast as it answers."""
    share = fresh_share if rate <= 0 else fresh_share * rate / MOST_PER_SECOND
    fresh = side.fresh(min(market.STATES // 2, int(seconds * MOST_PER_SECOND * share) + 200))
    hot = side.hot if fresh_share < 1 else []
    plan = Plan(
        host="127.0.0.1",
        port=side.port,
        heads=[market.request_head(PATH, side.port, key) for key in side.keys[:connections]],
        hot=[market.body(number) for number in hot],
        fresh=[market.body(number) for number in fresh],
        fresh_share=fresh_share,
        connections=connections,
        seconds=seconds,
        rate=rate,
        bare=not side.expected,
        cpus=processors()[1],
    )
    before, helpers_before = cpu_seconds([side.pid]), cpu_seconds(side.helpers)
    outcome = generate([plan])[0]
    cpu_s, helper_s = cpu_seconds([side.pid]) - before, cpu_seconds(side.helpers) - helpers_before
    return _measured(outcome, _wrong(side, outcome, hot, fresh), cpu_s, helper_s)


def generate(plans: Sequence[Plan]) -> list[Outcome]:
    """Runs one generator process for each plan, all at once; raises CalledProcessError if one fails."""
    command = [sys.executable, "-m", "loadtests.bench.generator"]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        for _ in plans
    ]
    try:
        for process, plan in zip(running, plans, strict=True):
            assert process.stdin is not None
            process.stdin.write(msgspec.msgpack.encode(plan))
            process.stdin.close()
        outcomes = []
        for process in running:
            assert process.stdout is not None
            said = process.stdout.read()
            if process.wait() != 0:
                raise subprocess.CalledProcessError(process.returncode, command)
            outcomes.append(msgspec.msgpack.decode(said, type=Outcome))
        return outcomes
    finally:
        for process in running:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def percentile(ordered: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least `share` of all values do not exceed; nan if there are none."""
    if not ordered:
        return float("nan")
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def _wrong(side: Side, outcome: Outcome, hot: Sequence[int], fresh: Sequence[int]) -> int:
    """Counts answers that are older than allowed or have a confidence other than that of their state."""
    wrong = outcome.stale
    for number, values in zip(hot, outcome.hot_values, strict=True):
        wrong += sum(abs(value - side.expected[number]) > TOLERANCE for value in values)
    for index, value in outcome.fresh_values:
        wrong += abs(value - side.expected[fresh[index]]) > TOLERANCE
    return wrong


def _measured(outcome: Outcome, wrong: int, cpu_s: float, helper_s: float) -> Measured:
    latencies = array.array("d")
    latencies.frombytes(outcome.latencies)
    ordered = sorted(latencies)
    errors = dict(outcome.errors)
    if outcome.exhausted:
        errors["states ran out"] = 1
    asked = max(1, outcome.requests)
    return Measured(
        requests=outcome.requests,
        per_second=outcome.counted / outcome.span_s,
        p50_ms=percentile(ordered, 0.50) * 1e3,
        p95_ms=percentile(ordered, 0.95) * 1e3,
        p99_ms=percentile(ordered, 0.99) * 1e3,
        cpu_us=cpu_s / asked * 1e6,
        helper_cpu_us=helper_s / asked * 1e6,
        generator_busy=outcome.cpu_s / outcome.wall_s,
        hit_share=1 - outcome.not_cached / asked,
        wrong=wrong,
        errors=errors,
    )
