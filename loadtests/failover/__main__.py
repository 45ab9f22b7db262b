"""Moves a service under load from one local stack to another, and counts what bots lose.

    python -m loadtests.failover [--mode planned|forced] [--runs N] [--json FILE]

Starts an active stack, a passive one whose database follows it by streaming replication, their shared
licenses, and a stand-in for Front Door. Bots of examples/ trade on signals that a publisher sends. Then the
real failover command moves the service, with a stand-in for az and pulumi. `planned`: both regions work.
`forced`: every process of the active stack is killed at once, after its replica was cut off for --cut
seconds. Wanted: each bot has acted on each published signal exactly once, no sequence was given twice, and
each acknowledged trade is stored. Ends with status 1 if that is missed.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from loadtests.bench.processes import server, temporary_directory
from loadtests.failover.bots import RunningBot, await_subscribed, start_bot, stop_bots
from loadtests.failover.publisher import Publisher
from loadtests.failover.regions import LocalAzure, local_database, two_regions
from loadtests.failover.verdict import Verdict, judge, stored
from local.stack.ports import free_ports
from operations.cloud import Cloud
from operations.failover.move import Move
from operations.failover.regions import RegionDatabase, read_region
from operations.failover.steps import steps
from operations.steps import run_steps

SETTLED_WITHIN_S = 60.0
POLL_S = 0.2


def rehearse(options: argparse.Namespace, directory: Path) -> Verdict:
    """One move on fresh stacks."""
    with two_regions(directory) as (active, passive), contextlib.ExitStack() as stack:
        (port,) = free_ports(1)
        door = ["-m", "loadtests.failover.front_door", str(port), active.url, passive.url]
        stack.enter_context(server(door, {}, directory / "front-door.log", port))
        url = f"http://127.0.0.1:{port}"
        keys = json.loads((active.state / "up" / "keys.json").read_text())
        bots = [start_bot(directory, n, url, keys[f"demo-bot-{n}"]) for n in range(1, options.bots + 1)]
        stack.callback(stop_bots, bots)
        await_subscribed(bots)
        publisher = Publisher(url, keys["publisher"], options.rate)
        publisher.start()
        try:
            time.sleep(options.before)
            azure = LocalAzure(active, passive, url, keys["bot2"])
            lost_at, command_s = _move(options, azure)
            time.sleep(options.after)
        finally:
            publisher.stop()
        _settle(bots, publisher)
        stop_bots(bots)
        found = stored(passive.document["database_url"])
        return judge(
            options.mode, publisher, bots, found,
            lost_at=lost_at, promoted_at=azure.promoted_at, command_s=command_s,
        )  # fmt: skip


def _move(options: argparse.Namespace, azure: LocalAzure) -> tuple[float, float]:
    """Moves; returns when the old region ended (`time.time()`), and how long the command took in seconds."""
    is_forced = options.mode == "forced"
    if is_forced:
        if options.cut:
            azure.new.cut_replication()
            time.sleep(options.cut)
        azure.old.lose()
    began = time.time()
    cloud = Cloud(azure.run, pause=lambda _: time.sleep(POLL_S), say=lambda text: print(f"    {text}"))
    old, new = read_region(cloud, azure.old.name), read_region(cloud, azure.new.name)
    database = RegionDatabase(new, local_database)
    run_steps(steps(Move(cloud, old, new, database, is_forced=is_forced)), say=cloud.say)
    return began, time.time() - began


def _settle(bots: Sequence[RunningBot], publisher: Publisher) -> None:
    """Waits until every bot has acted on the last signal and reported every trade, for a bounded time."""
    last = max(signal.event_at for signal in publisher.signals if signal.acknowledged)
    deadline = time.monotonic() + SETTLED_WITHIN_S
    for bot in bots:
        while time.monotonic() < deadline:
            trades = {event["trade"]["trade_id"] for event in bot.events("trade")}
            if last in bot.received() and trades <= bot.acknowledged().keys():
                break
            time.sleep(POLL_S)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    verdicts = []
    for number in range(options.runs):
        print(f"run {number + 1} of {options.runs}, {options.mode}", flush=True)
        with temporary_directory() as directory:
            verdicts.append(rehearse(options, directory))
        print(verdicts[-1].line(), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=2) + "\n")
    return 0 if all(verdict.is_good for verdict in verdicts) else 1


def _at_least[Number: (int, float)](kind: Callable[[str], Number], low: float) -> Callable[[str], Number]:
    """Reads a number that must not be below `low`."""

    def number(text: str) -> Number:
        value = kind(text)
        if not low <= value < math.inf:
            raise argparse.ArgumentTypeError(f"must be {low:g} or more, got {text}")
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.failover",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--mode", choices=("planned", "forced"), default="forced")
    parser.add_argument(
        "--runs", type=_at_least(int, 1), default=1, help="moves, each on fresh stacks (%(default)s)"
    )
    parser.add_argument("--bots", type=int, default=3, choices=(1, 2, 3), help="bots (%(default)s)")
    parser.add_argument(
        "--rate", type=_at_least(float, 0.1), default=10.0, help="signals a second (%(default)s)"
    )
    parser.add_argument(
        "--before",
        type=_at_least(float, 0),
        default=8.0,
        help="seconds under load before the move (%(default)s)",
    )
    parser.add_argument(
        "--after",
        type=_at_least(float, 0),
        default=8.0,
        help="seconds under load after the move (%(default)s)",
    )
    parser.add_argument(
        "--cut", type=_at_least(float, 0), default=2.0, help="seconds that the replica lags (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
