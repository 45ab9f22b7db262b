"""Runs one attack beside the innocent bot, and compares what the bot saw before it and during it."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType

import msgspec
import psutil

from loadtests.attacks import attacker, field, innocent
from loadtests.attacks.catalog import ATTACKS, GROWTH, Attack
from loadtests.attacks.stack import LOAD_PLAN, BotKey, new_bot, store_trades
from loadtests.bench.processes import ROOT, cpu_seconds, tree
from loadtests.bench.servers import RunningStack
from loadtests.bench.side import percentile

# Both processes import, prepare and connect in this time; the bot's first requests warm the servers.
LEAD_S = 6.0
# An attack needs a moment to take effect, and its last requests a moment to end.
ONSET_S = 1.0
AFTERMATH_S = 4.0
MEMORY_EVERY_S = 0.25
STOP_TIMEOUT_S = 40.0
ALLOWED_TIMES = 3.0
KINDS = (*innocent.RATES, "signal")
# Fewer answers than this say nothing of a p95.
FEWEST = 5


@dataclass(frozen=True)
class KindFigures:
    """One kind of request: how many, its p95 in ms, and its failures, each before and during the attack."""

    kind: str
    quiet: int
    attacked: int
    quiet_p95_ms: float
    attacked_p95_ms: float

    @property
    def times(self) -> float:
        return self.attacked_p95_ms / self.quiet_p95_ms


@dataclass(frozen=True)
class Result:
    """`failures` are the bot's during the attack and its aftermath, by kind and text, in order of number.

    `exceeded` is what the attacker got beyond what the attack's `most` allows, by name.

    Memory is that of all worker processes of the host, in MB: quiet, the most under attack, and afterwards.
    """

    name: str
    figures: list[KindFigures]
    failures: dict[str, int]
    quiet_failures: dict[str, int]
    answers: dict[str, int]
    notes: dict[str, float]
    attacker_cpu_s: float
    host_cpu_s: float
    memory_mb: tuple[float, float, float]
    exceeded: dict[str, float]

    @property
    def worst(self) -> KindFigures:
        return max(self.figures, key=lambda each: each.times)

    @property
    def server_errors(self) -> int:
        return sum(count for text, count in self.failures.items() if text.partition(": ")[2][:1] == "5")

    @property
    def is_met(self) -> bool:
        return not self.failures and not self.exceeded and self.worst.times <= ALLOWED_TIMES


@contextmanager
def _process(module: ModuleType, plan: msgspec.Struct) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a module with its plan on standard input; kills it if the block ends early."""
    child = subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", module.__name__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdin is not None
        child.stdin.write(msgspec.msgpack.encode(plan))
        child.stdin.close()
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def _outcome[T](child: subprocess.Popen[bytes], kind: type[T]) -> T:
    assert child.stdout is not None
    written = child.stdout.read()
    if child.wait(STOP_TIMEOUT_S):
        raise RuntimeError(f"a process of the measure ended with status {child.returncode}")
    return msgspec.msgpack.decode(written, type=kind)


def _memory_mb(pid: int) -> float:
    total = 0
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 1e6


def _most_memory_mb(pid: int, until: float) -> float:
    most = 0.0
    while (left_s := until - time.monotonic()) > 0:
        most = max(most, _memory_mb(pid))
        time.sleep(min(MEMORY_EVERY_S, left_s))
    return most


def measure(stack: RunningStack, bot: BotKey, attack: Attack, quiet_s: float, attack_s: float) -> Result:
    """Returns what the bot saw in `quiet_s` before the attack and in the `attack_s` of it."""
    plan = LOAD_PLAN if attack.stored_trades else ()
    own = new_bot(stack, attack.name, attack.per_minute, *plan) if attack.per_minute else None
    if own is not None and attack.stored_trades:
        store_trades(stack, own, attack.stored_trades)
    quiet_from = time.monotonic() + LEAD_S
    starts_at, ends_at = quiet_from + quiet_s, quiet_from + quiet_s + attack_s
    publisher = stack.addresses["keys"]["publisher"]
    bot_plan = innocent.Plan(
        port=stack.port, key=bot.key, publisher_key=publisher, ends_at=ends_at + AFTERMATH_S / 2
    )
    attack_plan = field.Plan(
        name=attack.name,
        port=stack.port,
        key=own.key if own is not None else "",
        starts_at=starts_at,
        ends_at=ends_at,
    )
    with _process(innocent, bot_plan) as playing, _process(attacker, attack_plan) as attacking:
        time.sleep(max(0.0, starts_at - 0.5 - time.monotonic()))
        host = stack.pid("host")
        before_mb, before_cpu = _memory_mb(host), cpu_seconds([host])
        most_mb = _most_memory_mb(host, ends_at)
        host_cpu_s = cpu_seconds([host]) - before_cpu
        of_attacker = _outcome(attacking, field.Outcome)
        of_bot = _outcome(playing, innocent.Outcome)
    time.sleep(max(0.0, ends_at + AFTERMATH_S - time.monotonic()))
    before = [each for each in of_bot.samples if quiet_from <= each.due_at < starts_at]
    during = [each for each in of_bot.samples if each.due_at >= starts_at]
    got = {**of_attacker.notes, **of_attacker.answers, GROWTH: most_mb - before_mb}
    return Result(
        name=attack.name,
        figures=_figures(before, [each for each in during if starts_at + ONSET_S <= each.due_at < ends_at]),
        failures=_failures(during),
        quiet_failures=_failures(before),
        answers=of_attacker.answers,
        notes=of_attacker.notes,
        attacker_cpu_s=of_attacker.cpu_s,
        host_cpu_s=host_cpu_s,
        memory_mb=(before_mb, most_mb, _memory_mb(host)),
        exceeded={name: got[name] for name, most in attack.most.items() if got.get(name, 0) > most},
    )


def _failures(samples: Sequence[innocent.Sample]) -> dict[str, int]:
    return dict(Counter(f"{each.kind}: {each.failure}" for each in samples if each.failure).most_common())


def _figures(before: Sequence[innocent.Sample], during: Sequence[innocent.Sample]) -> list[KindFigures]:
    """Returns the figures of each kind; a failed request counts with the time until it failed."""
    figures = []
    for kind in KINDS:
        quiet, attacked = (
            sorted(each.latency_s for each in samples if each.kind == kind) for samples in (before, during)
        )
        if min(len(quiet), len(attacked)) < FEWEST:
            raise RuntimeError(
                f"only {len(quiet)} quiet and {len(attacked)} attacked samples of {kind}: "
                "the bot did not start in time, or the phases are too short"
            )
        p95 = [percentile(values, 0.95) * 1e3 for values in (quiet, attacked)]
        figures.append(KindFigures(kind, len(quiet), len(attacked), *p95))
    return figures


def chosen(names: Sequence[str]) -> list[Attack]:
    """Returns the attacks of these names, or all; those that change the stack for good come last."""
    attacks = [ATTACKS[name] for name in names] if names else list(ATTACKS.values())
    return sorted(attacks, key=lambda attack: attack.lasting)
