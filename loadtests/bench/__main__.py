"""Runs `make bench`: measures the hot path beside what a user would otherwise run, on one machine.

    python -m loadtests.bench [--quick] [--rounds 5] [--report docs]

Starts a stack of its own and measures a cached confidence under Microsoft's worker library. Then compares
our server, the baseline and a bare echo in turn over several rounds, proves the rate limiter and single
flight, runs Locust's users, measures fan-out and bulk writes, and writes docs/performance.md with its plot.
Ends with status 1 if a target is missed. Nothing else should run on the machine at the same time.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import signal
import time
from pathlib import Path
from typing import Any

from loadtests.bench import (
    app_start,
    batch,
    bulk_writes,
    fanout,
    limiter,
    market,
    report,
    servers,
    stampede,
)
from loadtests.bench.comparison import Sides, compare, curve, say, sides
from loadtests.bench.effort import QUICK, Effort
from loadtests.bench.figures import Curve, Delivery, Figures, Side99And0, medians
from loadtests.bench.processes import ROOT, temporary_directory
from loadtests.bench.side import Measured, percentile
from loadtests.bench.targets import targets
from loadtests.bench.worker import cost
from loadtests.locust import run as locust_run

WORKERS = 4


def prove(stack: servers.RunningStack, directory: Path, effort: Effort) -> dict[str, Any]:
    """Proves the limiter and single flight, and runs Locust's users, all over four workers."""
    ops_key = stack.addresses["keys"]["ops"]
    with servers.more_workers(stack, WORKERS, directory / "workers.log") as (_, port):
        proofs = []
        # No side has used the last load key; the demo bot's key has the limit of a customer.
        for key, limit in ((stack.load_keys[-1], 10_000), (stack.addresses["keys"]["bot"], 100)):
            proof = limiter.prove("127.0.0.1", port, key, limit, effort.limiter_s)
            say(limiter.describe(proof))
            proofs.append(proof)
        flight: stampede.StampedeProof | str
        try:
            states = market.shuffled_states(seed=2)
            flight = stampede.prove(port, stack.load_keys[:-1], ops_key, states)
            say(stampede.describe(flight))
        except stampede.Unmeasurable as error:
            flight = str(error)
            say(f"stampede not proven: {error}")
        scenarios = []
        for name, users, seconds in effort.scenarios:
            keys = stack.state / "load_keys.txt"
            found = locust_run.measure(name, users, seconds, host=f"http://127.0.0.1:{port}", keys=keys)
            say(f"Locust, {name}: {found.requests:,} requests of {users} users, {found.failures} failed")
            for reason in found.reasons:
                say(f"  {reason}")
            scenarios.append(found)
    return {"limiter": proofs, "stampede": flight, "scenarios": scenarios}


def deliver(effort: Effort) -> Delivery:
    """Sends ten messages a second to a thousand subscribers of one group."""
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
    """Compares bulk writes of trades with single inserts and COPY, and measures deep pages of trades."""
    arguments = ["--keyset-rows", str(effort.keyset_rows), "--repeats", str(effort.write_repeats)]
    return bulk_writes.run(bulk_writes.parser().parse_args(arguments))


def curves(every: Sides, best: dict[tuple[str, str], Measured], effort: Effort) -> list[Curve]:
    return [
        curve(side, best[side.name, "99% hits"].per_second, effort.curve_s)
        for side in (every.baseline, every.ours)
    ]


def measure_hot_path(directory: Path, effort: Effort) -> dict[str, Any]:
    """Returns the figures that need a running stack, by their names in Figures."""
    with servers.running_stack(directory) as stack:
        say(f"a stack of its own is ready: {stack.addresses['base_url']}")
        trades = servers.past_trades()
        champion = servers.serve_model(stack, trades)
        kind = champion.document["kind"]
        say(f"both sides learn from {len(trades)} trades; ours serves {champion.version}, {kind}")
        expected = servers.our_expected(champion)
        worker = cost.measure(stack, expected, effort.rounds, effort.worker_s)
        say(cost.describe(worker))
        with sides(directory, stack, trades, champion, expected) as every:
            compare(every, effort)
            best = {key: medians(results) for key, results in every.results.items()}
            latency_curves = curves(every, best, effort)
            hundred = batch.measure(every.ours)
            say(batch.describe(hundred))
        proofs = prove(stack, directory, effort)
    return {
        "worker": worker,
        "baseline": Side99And0(best["baseline", "99% hits"], best["baseline", "0% hits"]),
        "ours": Side99And0(best["ours", "99% hits"], best["ours", "0% hits"]),
        "echo": best["echo", "echo"],
        "every": every.results,
        "curves": latency_curves,
        "batch": hundred,
        **proofs,
    }


def bench(effort: Effort) -> Figures:
    began = time.monotonic()
    with temporary_directory() as directory:
        hot_path = measure_hot_path(directory, effort)
    start = app_start.measure()
    say(app_start.describe(start))
    delivery = deliver(effort)
    say(f"fan-out to {delivery.subscribers}: p50 {delivery.p50_ms:.1f}, p99 {delivery.p99_ms:.1f} ms")
    rates, slowest_page = write(effort)
    return Figures(
        rounds=effort.rounds,
        start=start,
        delivery=delivery,
        writes=rates,
        paged_trades=effort.keyset_rows,
        slowest_page=slowest_page,
        took_s=time.monotonic() - began,
        **hot_path,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one short round: tests the bench; its figures say little"
    )
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="of all sides (%(default)s)")
    parser.add_argument(
        "--report", type=Path, default=ROOT / "docs", help="directory written to (%(default)s)"
    )
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    # SIGTERM would leave the stack running; an interrupt stops it on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        figures = bench(QUICK if options.quick else Effort(rounds=options.rounds))
    except KeyboardInterrupt:
        say("stopped; nothing is written")
        raise SystemExit(130) from None
    if not options.quick:
        report.write(figures, options.report)
    print(report.summary(figures))
    raise SystemExit(0 if all(target.met for target in targets(figures)) else 1)


if __name__ == "__main__":
    main()
