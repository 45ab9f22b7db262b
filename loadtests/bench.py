"""`make bench`: the hot path beside what a user would otherwise run, on one machine, in one run.

    python -m loadtests.bench [--quick] [--rounds 5] [--no-report]

Starts a stack of its own, the baseline and a bare echo, interleaves them over several rounds, proves the
limiter and single flight, lets Locust's users in, measures fan-out and bulk writes, and writes
docs/performance.md with its plot. Exit status 1 where a target is
missed. Everything else should be quiet meanwhile.
"""

# ruff: noqa: T201 - printing is what it is for

import argparse
import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests import (
    batch,
    bulk_writes,
    fanout,
    lean_start,
    limiter,
    locust_run,
    market,
    report,
    stack,
    stampede,
)
from loadtests.baseline import prepare
from loadtests.figures import Curve, Delivery, Figures, Side99And0, medians
from loadtests.measure import Measured, Side, percentile, run
from loadtests.processes import ROOT

HITS_99 = 0.01
HITS_0 = 1.0
WORKERS = 4
WARM_UP_S = 1.0
# Shares of a side's own highest throughput at which its latency is taken.
CURVE = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Effort:
    """How long each part measures, in seconds, and how often."""

    rounds: int = 5
    hits_s: float = 4.0
    misses_s: float = 3.0
    curve_s: float = 3.0
    limiter_s: float = 6.0
    keyset_rows: int = 5_000_000
    fanout_s: float = 8.0
    # Users and seconds; a bot that asks a hundred times is done after about half a minute.
    scenarios: tuple[tuple[str, int, int], ...] = (
        ("bots", 100, 45),
        ("opening_bell", 1_000, 20),
        ("mixed", 200, 20),
    )


QUICK = Effort(
    rounds=1,
    hits_s=2.0,
    misses_s=1.5,
    curve_s=1.0,
    keyset_rows=200_000,
    fanout_s=2.0,
    scenarios=(("bots", 20, 5), ("opening_bell", 100, 8), ("mixed", 20, 5)),
)


@dataclass
class Sides:
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


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@contextlib.contextmanager
def sides(directory: Path, running: stack.RunningStack) -> Iterator[Sides]:
    """All three servers up, with a model each, every key and every line of code seen once."""
    trades = stack.past_trades()
    champion = asyncio.run(stack.teach(running, trades))
    kind = champion.document["kind"]
    say(f"both sides learn from {len(trades)} trades; ours serves {champion.version}, {kind}")
    stack.await_model(running.port, running.load_keys[0], champion.version)
    database = prepare.make_database(running.addresses["database_url"], running.load_keys)
    model = directory / "baseline.joblib"
    prepare.train(trades, kind, model)
    with (
        stack.baseline(directory, running, model, database) as (baseline_pid, baseline_port),
        stack.echo(directory) as (echo_pid, echo_port),
    ):
        ours = stack.our_side(running, stack.our_expected(champion))
        keys = running.load_keys
        rival = Side("baseline", baseline_pid, baseline_port, keys, prepare.expected(model), ours.helpers)
        bare = Side("echo", echo_pid, echo_port, keys, [])
        for side in (ours, rival, bare):
            run(side, fresh_share=HITS_99 if side.expected else 0.0, seconds=2.0)
        yield Sides(ours, rival, bare)


def compare(every: Sides, effort: Effort) -> None:
    """The rounds: each side in turn, in another order each time."""
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
    """Latency of a side at rising loads, requests falling due evenly whether it keeps up or not."""
    # While the other side was measured, what this one knows of its callers has run out.
    run(side, fresh_share=HITS_99, seconds=min(seconds, WARM_UP_S))
    found = Curve(side.name, [], [], [])
    for share in CURVE:
        measured = run(side, fresh_share=HITS_99, seconds=seconds, rate=highest * share)
        found.per_second.append(highest * share)
        found.p50_ms.append(measured.p50_ms)
        found.p99_ms.append(measured.p99_ms)
    return found


def prove(running: stack.RunningStack, directory: Path, effort: Effort) -> dict[str, Any]:
    """Over four workers: the limiter, the stampede, and Locust's users."""
    ops_key = running.addresses["keys"]["ops"]
    with stack.more_workers(running, WORKERS, directory / "workers.log") as (_, port):
        proofs = []
        # The last load key was not used by any side; the demo bot's has the limit of a customer.
        for key, limit in ((running.load_keys[-1], 10_000), (running.addresses["keys"]["bot"], 100)):
            proof = limiter.prove("127.0.0.1", port, key, limit, effort.limiter_s)
            say(limiter.describe(proof))
            proofs.append(proof)
        flight: stampede.StampedeProof | str
        try:
            states = market.shuffled_states(seed=2)
            flight = stampede.prove(port, running.load_keys[:-1], ops_key, states)
            say(stampede.describe(flight))
        except stampede.Unmeasurable as error:
            flight = str(error)
            say(f"stampede not proven: {error}")
        scenarios = []
        for name, users, seconds in effort.scenarios:
            keys = running.state / "load_keys.txt"
            found = locust_run.measure(name, users, seconds, host=f"http://127.0.0.1:{port}", keys=keys)
            say(f"Locust, {name}: {found.requests:,} requests of {users} users, {found.failures} failed")
            for reason in found.reasons:
                say(f"  {reason}")
            scenarios.append(found)
    return {"limiter": proofs, "stampede": flight, "scenarios": scenarios}


def deliver(effort: Effort) -> Delivery:
    """A thousand subscribers of one group, ten messages a second."""
    load = fanout.Load(subscribers=1_000, rate=10.0, seconds=effort.fanout_s, size=300)
    result, _, _ = fanout.run(load, None)
    ordered = sorted(result.latencies)
    return Delivery(
        subscribers=load.subscribers,
        deliveries=len(ordered),
        lost_or_repeated=result.missing + result.repeated,
        p50_ms=percentile(ordered, 0.5) * 1e3,
        p99_ms=percentile(ordered, 0.99) * 1e3,
    )


def write(effort: Effort) -> tuple[bulk_writes.WriteRates, float]:
    """Trades in bulk beside single inserts and COPY, and deep pages of them."""
    arguments = ["--keyset-rows", str(effort.keyset_rows), "--repeats", "3" if effort.rounds > 1 else "1"]
    return bulk_writes.run(bulk_writes.parser().parse_args(arguments))


def bench(effort: Effort) -> Figures:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="signal-cloud-bench-") as name:
        directory = Path(name)
        # Postgres runs under an account of its own where we are root.
        directory.chmod(0o711)
        with stack.running_stack(directory) as running:
            say(f"a stack of its own is ready: {running.addresses['base_url']}")
            with sides(directory, running) as every:
                compare(every, effort)
                best = {key: medians(results) for key, results in every.results.items()}
                curves = [
                    curve(side, best[side.name, "99% hits"].per_second, effort.curve_s)
                    for side in (every.baseline, every.ours)
                ]
                hundred = batch.measure(every.ours)
                say(batch.describe(hundred))
            proofs = prove(running, directory, effort)
            start = lean_start.measure()
            say(lean_start.describe(start))
    delivery = deliver(effort)
    say(f"fan-out to {delivery.subscribers}: p50 {delivery.p50_ms:.1f}, p99 {delivery.p99_ms:.1f} ms")
    rates, dearest_page = write(effort)
    return Figures(
        rounds=effort.rounds,
        baseline=Side99And0(best["baseline", "99% hits"], best["baseline", "0% hits"]),
        ours=Side99And0(best["ours", "99% hits"], best["ours", "0% hits"]),
        echo=best["echo", "echo"],
        every=every.results,
        curves=curves,
        batch=hundred,
        start=start,
        delivery=delivery,
        writes=rates,
        paged_trades=effort.keyset_rows,
        dearest_page=dearest_page,
        took_s=time.monotonic() - began,
        **proofs,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one short round: for the harness, not for figures"
    )
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="of all sides (%(default)s)")
    parser.add_argument(
        "--report", type=Path, default=ROOT / "docs", help="directory written to (%(default)s)"
    )
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    # So that who is told to end leaves no stack running either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        figures = bench(QUICK if options.quick else Effort(rounds=options.rounds))
    except KeyboardInterrupt:
        say("stopped; nothing is written")
        raise SystemExit(130) from None
    if not options.quick:
        report.write(figures, options.report)
    print(report.summary(figures))
    raise SystemExit(0 if all(target.met for target in figures.targets()) else 1)


if __name__ == "__main__":
    main()
