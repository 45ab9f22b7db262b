"""Measures a cached confidence under Microsoft's worker library alone, on a stack of its own.

    python -m loadtests.bench.worker [--rounds 5] [--seconds 1]

Prints what each round cost and ends with status 1 if a target is missed. Nothing is written.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse

from loadtests.bench import servers
from loadtests.bench.effort import Effort
from loadtests.bench.processes import temporary_directory
from loadtests.bench.targets import worker_targets
from loadtests.bench.worker import cost


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.worker", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="of all sides (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=Effort.worker_s, help="of each side in a round (%(default)s)"
    )
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be 1 or more, --seconds above 0")
    with temporary_directory() as directory, servers.running_stack(directory) as stack:
        champion = servers.serve_model(stack, servers.past_trades())
        found = cost.measure(stack, servers.our_expected(champion), options.rounds, options.seconds)
    print(cost.describe(found))
    targets = worker_targets(found)
    for target in targets:
        print(target)
    raise SystemExit(0 if all(target.met for target in targets) else 1)


if __name__ == "__main__":
    main()
