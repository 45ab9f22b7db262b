"""`python -m local COMMAND`: everything that runs on one machine. `make help` lists the same as targets."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

from local.node import NodeMissing, ensure_azurite, install_packages
from local.places import ROOT

MISUSED = 2
INTERRUPTED = 130

type Arguments = list[str]


def up(arguments: Arguments) -> int:
    """the stack, until Ctrl-C; reads PORT, WORKERS, STATE, LOAD_KEYS, MARKET_CLOCK"""
    return _serve("up", arguments)


def run(arguments: Arguments) -> int:
    """the stack, a replay and three bots; reads BARS, SPEED, FROM, TO, EXIT as well"""
    return _serve("run", arguments)


def _serve(mode: str, arguments: Arguments) -> int:
    from local.options import BadOption, job_options, stack_options
    from local.session import serve

    if arguments:
        return _misused(f"{mode} takes its options as variables, such as PORT=7072: see make help")
    try:
        if mode == "run":
            return serve(stack_options("run", os.environ), job_options(os.environ))
        return serve(stack_options("up", os.environ), None)
    except BadOption as error:
        return _misused(str(error))


def license_(arguments: Arguments) -> int:
    """create, show, rotate, suspend, revoke licenses and keys; --help has the details"""
    from local.license import main as manage

    return manage(arguments)


def simulate(arguments: Arguments) -> int:
    """make simulated bars; --help has the details"""
    from local.simulate import main as make_bars

    return make_bars(arguments)


def calendars(arguments: Arguments) -> int:
    """make shared/calendars anew from the market-calendar library"""
    from local.calendars import main as make_calendars

    return make_calendars(arguments)


def test(arguments: Arguments) -> int:
    """every test, after Azurite, JavaScript clients and checkov are installed; arguments go to pytest"""
    from local.tools import CHECKOV, POLICIES, ToolMissing, ensure_tool

    try:
        ensure_tool("checkov", CHECKOV)
        ensure_tool("policies", POLICIES)
        ensure_azurite()
        for lock in sorted((ROOT / "tests").glob("**/package-lock.json")):
            if "node_modules" not in lock.parts:
                install_packages(lock.parent, lock.parent)
    except (NodeMissing, ToolMissing) as error:
        return _misused(str(error))
    # Tests wait more than they compute; each process has servers of its own, so that few are enough.
    chosen = arguments or ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
    return subprocess.run([sys.executable, "-m", "pytest", *chosen], cwd=ROOT, check=False).returncode


def _misused(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return MISUSED


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "run": run,
    "up": up,
    "license": license_,
    "simulate": simulate,
    "calendars": calendars,
    "test": test,
}


def main() -> int:
    listing = "\n".join(f"  {name:<10} {command.__doc__}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="Signal Cloud on one machine.",
        epilog=f"commands:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    command = parser.parse_args(sys.argv[1:2]).command
    return COMMANDS[command](sys.argv[2:])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
