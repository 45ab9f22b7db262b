"""Moves the service to the other region: `python -m operations.failover --planned|--forced`.

--planned loses nothing and needs both regions: for drills, and for the way back. --forced is for a lost
region. Each step asks Azure whether it is done, so after a failure you run the same command again.
SIGNAL_CLOUD_KEY is the key of the smoke test's bot. docs/operations.md, Region loss, says what is lost and
how long it takes.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from operations.cloud import Cloud
from operations.command import UsageError, run_plainly
from operations.failover.move import Move
from operations.failover.regions import RegionDatabase, read_region
from operations.failover.steps import SERVING, steps
from operations.steps import duration, run_steps


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the other region serves, 1 if a step failed, 2 if a value cannot be used, 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    return run_plainly(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if not (options.dry_run or os.environ.get("SIGNAL_CLOUD_KEY")):
        raise UsageError("SIGNAL_CLOUD_KEY is not set: it is the key of the smoke test's bot")
    if options.source == options.target:
        raise UsageError(f"--source and --target are both {options.source}: they are two stacks")
    move(Cloud(dry_run=options.dry_run), options)
    return 0


def move(cloud: Cloud, options: argparse.Namespace) -> None:
    """Reads both regions, asks for a confirmation and runs the steps; raises SignalCloudError."""
    old, new = (read_region(cloud, stack) for stack in (options.source, options.target))
    planned = steps(Move(cloud, old, new, RegionDatabase(new), is_forced=options.forced))
    serving = sum(step.usual_s for step in planned if step.name in SERVING)
    cloud.say(f"moves the service from {old.stack} ({old['location']}) to {new.stack} ({new['location']})")
    cloud.say(f"usually {duration(serving)} until bots are served again, if licenses and keys can be read")
    if not (options.yes or options.dry_run) and input(f"Type {new.stack} to go on: ").strip() != new.stack:
        raise UsageError("not confirmed, so nothing was changed")
    run_steps(planned, dry_run=options.dry_run, say=cloud.say, now=cloud.now)
    if not options.dry_run:
        cloud.say(f"{new.stack} is the active region")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.failover",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--planned", action="store_true", help="both regions work: loses nothing")
    how.add_argument(
        "--forced", action="store_true", help="the active region is lost, and what its replica lacks"
    )
    parser.add_argument("--source", default="prod", metavar="STACK", help="the active stack (prod)")
    parser.add_argument("--target", default="standby", metavar="STACK", help="the passive stack (standby)")
    parser.add_argument(
        "--dry-run", action="store_true", help="read, and print each change without making it"
    )
    parser.add_argument("--yes", action="store_true", help="ask for no confirmation")
    return parser


if __name__ == "__main__":
    sys.exit(main())
