"""Compares a cached confidence with an echo of the same answer, both run by Microsoft's worker library."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from loadtests.bench import market
from loadtests.bench.processes import ROOT, processors
from loadtests.bench.servers import RunningStack
from loadtests.bench.side import HOT_STATES, TOLERANCE
from loadtests.bench.worker.process import Outcome, Plan, Round

CONCURRENCY = 32
# As many as the HTTP part has connections; few enough that no key reaches its rate limit on a fast machine.
KEYS = 100


@dataclass(frozen=True)
class WorkerCost:
    """What the rounds cost. `wrong` counts hot states whose confidence was not that of the stored model."""

    rounds: Sequence[Round]
    wrong: int

    @property
    def times_echo(self) -> float:
        """Processor time of a cached confidence, times that of the echo; median of the rounds."""
        return statistics.median(self.each_times_echo)

    @property
    def each_times_echo(self) -> list[float]:
        return [each.library_confidence.cpu_us / each.library_echo.cpu_us for each in self.rounds]

    @property
    def own_us(self) -> float:
        """Processor time of the function called directly, less that of the echo; median of the rounds."""
        return statistics.median(self.each_own_us)

    @property
    def each_own_us(self) -> list[float]:
        return [each.direct_confidence.cpu_us - each.direct_echo.cpu_us for each in self.rounds]

    @property
    def session_times(self) -> float:
        """Processor time of a confidence for a bot that holds a session, times one without; median."""
        return self.median(lambda each: each.library_session.cpu_us / each.library_confidence.cpu_us)

    @property
    def session_us(self) -> float:
        """The same as a difference, with the functions called directly; median of the rounds."""
        return self.median(lambda each: each.direct_session.cpu_us - each.direct_confidence.cpu_us)

    @property
    def counted_us(self) -> float:
        """Processor time that the counts of misuse add to a confidence; median of the rounds."""
        return self.median(lambda each: each.direct_confidence.cpu_us - each.direct_uncounted.cpu_us)

    @property
    def cached_share(self) -> float:
        """Share of the confidences that were answered from the cache."""
        sides = [side for each in self.rounds for side in (each.library_confidence, each.direct_confidence)]
        return 1 - sum(side.uncached for side in sides) / sum(side.calls for side in sides)

    def median(self, figure: Callable[[Round], float]) -> float:
        return statistics.median(map(figure, self.rounds))


def measure(stack: RunningStack, expected: Sequence[float], rounds: int, seconds: float) -> WorkerCost:
    """Runs all rounds in one process of its own on the services of `stack`.

    `expected` holds the right confidence of every state. Raises CalledProcessError if the process fails.
    """
    hot = market.shuffled_states(seed=3)[:HOT_STATES]
    plan = Plan(
        keys=stack.load_keys[:KEYS],
        bodies=[market.body(number) for number in hot],
        concurrency=CONCURRENCY,
        rounds=rounds,
        seconds=seconds,
        cpus=processors()[0],
    )
    outcome = run_process(plan, stack.app_settings)
    differences = [
        abs(value - expected[number]) for value, number in zip(outcome.confidences, hot, strict=True)
    ]
    return WorkerCost(outcome.rounds, sum(difference > TOLERANCE for difference in differences))


def run_process(plan: Plan, settings: Mapping[str, str]) -> Outcome:
    """Runs `plan` in a process of its own; raises RuntimeError with its last output if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.worker.process"],
        cwd=ROOT,
        env={**os.environ, **settings},
        input=msgspec.msgpack.encode(plan),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        end = done.stderr.decode()[-2_000:]
        raise RuntimeError(f"the measured process ended with {done.returncode}: {end}")
    return msgspec.msgpack.decode(done.stdout, type=Outcome)


def describe(cost: WorkerCost) -> str:
    each = ", ".join(f"{times:.2f}" for times in cost.each_times_echo)
    own = ", ".join(f"{us:.1f}" for us in cost.each_own_us)
    return (
        f"worker library, {CONCURRENCY} at once: a cached confidence costs {cost.times_echo:.2f} times an "
        f"echo ({each}); called directly, {cost.own_us:.1f} us more than the echo ({own}); "
        f"{cost.cached_share:.1%} cached, {cost.wrong} wrong; with a session "
        f"{cost.session_times:.3f} times one without ({cost.session_us:+.2f} us called directly), the counts "
        f"of misuse cost {cost.counted_us:+.2f} us"
    )
