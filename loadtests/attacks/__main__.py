"""Measures what each attack does to an innocent bot on a stack of its own.

    python -m loadtests.attacks [--only NAME] [--seconds 30] [--json FILE]

Starts a stack with two host processes, and an innocent bot that asks confidences, reports trades, reads
pages and performance, publishes signals and hears them on a socket. For each attack it compares the bot's p95
of each kind of request before the attack and during it. Wanted: within 3 times, and no failure. Ends with
status 1 if an attack misses that. Nothing else should run on the machine at the same time.

The attacks:
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import signal
from pathlib import Path

from loadtests.attacks import measuring, report
from loadtests.attacks.catalog import ATTACKS
from loadtests.attacks.stack import LOAD_PLAN, attacked_stack, new_bot, store_trades
from loadtests.bench.processes import temporary_directory

WORKERS = 2
# Far above what the bot sends, because the limits are not what is measured here.
BOT_PER_MINUTE = 10_000
# So that pages and performance have something to read.
BOT_TRADES = 2_000


def parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    catalog = "\n".join(f"  {attack.name:<18} {attack.about}" for attack in ATTACKS.values())
    made = argparse.ArgumentParser(
        prog="python -m loadtests.attacks",
        description=__doc__ + catalog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--only", action="append", default=[], choices=ATTACKS, metavar="NAME", help="may be given again"
    )
    made.add_argument("--seconds", type=float, default=30.0, help="of each attack (default %(default)s)")
    made.add_argument(
        "--quiet-seconds", type=float, default=20.0, help="before each attack (default %(default)s)"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    return made


def say(text: str) -> None:
    print(text, flush=True)


def run(options: argparse.Namespace) -> list[measuring.Result]:
    attacks = measuring.chosen(options.only)
    results = []
    with temporary_directory() as directory, attacked_stack(directory, WORKERS) as stack:
        say(f"a stack of its own is ready: {stack.addresses['base_url']}, {WORKERS} host processes")
        bot = new_bot(stack, "innocent", BOT_PER_MINUTE, *LOAD_PLAN)
        store_trades(stack, bot, BOT_TRADES)
        for number, attack in enumerate(attacks, start=1):
            say(f"{number} of {len(attacks)}, {attack.name}: {attack.about}")
            result = measuring.measure(stack, bot, attack, options.quiet_seconds, options.seconds)
            results.append(result)
            say("\n".join(report.described(result)))
            if options.json is not None:  # after each attack, so that a long run loses nothing
                report.write_json(results, options.json)
    return results


def main() -> None:
    made = parser()
    options = made.parse_args()
    if min(options.seconds, options.quiet_seconds) < 5:
        made.error("the phases need 5 seconds or more each")
    # SIGTERM would leave the stack running; an interrupt stops it on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = run(options)
    except KeyboardInterrupt:
        say("stopped")
        raise SystemExit(130) from None
    say(report.table(results))
    raise SystemExit(0 if all(result.is_met for result in results) else 1)


if __name__ == "__main__":
    main()
