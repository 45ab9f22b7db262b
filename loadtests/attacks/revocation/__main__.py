"""Measures what a bot still gets after its entitlement has ended, under faults of Redis.

    python -m loadtests.attacks.revocation [--ending NAME] [--redis NAME] [--json FILE]

Starts a stack with two host processes and a Valkey of its own. For each fault of Redis, it ends the
entitlement of one bot in each way, all at the same time. Each bot asks both processes for confidences and
URLs, holds sockets, and tries client access URLs from before its end; a publisher sends signals steadily.
Wanted after the command has returned, or after the instant of expiry: no HTTP 200 after 5 s, no signal on any
socket after 10 s, no old URL lets in, and publishing goes on. Ends with status 1 if that is missed.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import asyncio
import signal
from pathlib import Path

import aiohttp

from loadtests.attacks.revocation import report
from loadtests.attacks.revocation.endings import ENDINGS, FAULTS
from loadtests.attacks.revocation.valkey import running_valkey
from loadtests.attacks.revocation.watch import SIGNALS_WITHIN_S, Cell, Innocents, Watch
from loadtests.attacks.stack import attacked_stack
from loadtests.bench.processes import temporary_directory
from loadtests.bench.servers import more_workers


def parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    lists = "\n".join(
        [
            "endings:",
            *(f"  {each.name:<15} {each.about}" for each in ENDINGS.values()),
            "faults of Redis:",
            *(f"  {each.name:<15} {each.about}" for each in FAULTS.values()),
        ]
    )
    made = argparse.ArgumentParser(
        prog="python -m loadtests.attacks.revocation",
        description=f"{__doc__}\n{lists}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, known in (("ending", ENDINGS), ("redis", FAULTS)):
        made.add_argument(
            f"--{name}", action="append", default=[], choices=known, metavar="NAME", help="may be given again"
        )
    made.add_argument(
        "--seconds", type=float, default=16.0, help="to watch after the end (default %(default)s)"
    )
    made.add_argument(
        "--healed-seconds", type=float, default=10.0, help="to watch once Redis is back (default %(default)s)"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    return made


def say(text: str) -> None:
    print(text, flush=True)


async def run(options: argparse.Namespace) -> tuple[list[Cell], list[Innocents]]:
    endings = [ENDINGS[name] for name in options.ending or ENDINGS]
    faults = [FAULTS[name] for name in options.redis or FAULTS]
    cells: list[Cell] = []
    innocents: list[Innocents] = []
    with (
        temporary_directory() as directory,
        running_valkey(directory) as valkey,
        attacked_stack(directory, 1, {"REDIS_URL": valkey.url}) as stack,
        more_workers(stack, 1, directory / "second.log") as (_, second_port),
    ):
        say(f"a stack of its own is ready: {stack.addresses['base_url']} and port {second_port}")
        for number, fault in enumerate(faults, start=1):
            say(f"{number} of {len(faults)}, Redis {fault.name}: {fault.about}")
            async with aiohttp.ClientSession() as session:
                watch = Watch(
                    stack=stack,
                    second_port=second_port,
                    valkey=valkey,
                    fault=fault,
                    endings=endings,
                    session=session,
                )
                found, beside = await watch.run(options.seconds, options.healed_seconds)
            cells += found
            innocents.append(beside)
            say("\n".join(report.described(found, beside)))
            if options.json is not None:  # after each fault, so that a long run loses nothing
                report.write_json(cells, innocents, options.json)
    return cells, innocents


def main() -> None:
    made = parser()
    options = made.parse_args()
    if min(options.seconds, options.healed_seconds) <= 0:
        made.error("the seconds must be above 0")
    # SIGTERM would leave the stack running; an interrupt stops it on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cells, innocents = asyncio.run(run(options))
    except KeyboardInterrupt:
        say("stopped")
        raise SystemExit(130) from None
    say(report.table(cells, innocents))
    if options.seconds < SIGNALS_WITHIN_S:
        say(f"the watch was shorter than {SIGNALS_WITHIN_S:.0f} s, so what is met says little")
    raise SystemExit(0 if all([each.is_met for each in cells] + [each.is_met for each in innocents]) else 1)


if __name__ == "__main__":
    main()
