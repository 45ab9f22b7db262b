"""Runs one of the commands of the local stack: `python -m local COMMAND`. Most are targets of make, too."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Literal

from local.places import ROOT
from local.setup.node import NodeMissing, ensure_azurite, install_packages

MISUSED = 2
INTERRUPTED = 130

type Arguments = list[str]


def up(arguments: Arguments) -> int:
    """run the stack until Ctrl-C; reads PORT, WORKERS, STATE, LOAD_KEYS, MARKET_CLOCK, STANDBY_OF"""
    return _serve("up", arguments)


def run(arguments: Arguments) -> int:
    """run the stack, a replay and three bots; also reads BARS, STAMP, ZONE, SPEED, FROM, TO, EXIT"""
    return _serve("run", arguments)


def _serve(mode: Literal["run", "up"], arguments: Arguments) -> int:
    from local.demo.options import read_replay_options
    from local.session import serve
    from local.stack.options import read_stack_options
    from shared.errors import ConfigurationError
    from shared.settings_reader import SettingsReader

    if arguments:
        return _misused(f"{mode} takes its options as variables, such as PORT=7072: see make help")
    reader = SettingsReader(os.environ)
    options = read_stack_options(mode, reader)
    replay = read_replay_options(reader) if mode == "run" else None
    try:
        reader.check()
    except ConfigurationError as error:
        return _misused(error.detail)
    return serve(options, replay)


def simulate(arguments: Arguments) -> int:
    """write simulated bars; --help has the details"""
    from local.demo.simulate import main as make_bars

    return make_bars(arguments)


def test(arguments: Arguments) -> int:
    """install Azurite, JavaScript clients and checkov, then run the tests; arguments go to pytest"""
    from local.setup.tools import CHECKOV, POLICIES, ToolMissing, ensure_tool

    try:
        ensure_tool("checkov", CHECKOV)
        ensure_tool("policies", POLICIES)
        ensure_azurite()
        for lock in sorted((ROOT / "tests").glob("**/package-lock.json")):
            if "node_modules" not in lock.parts:
                install_packages(lock.parent, lock.parent)
    except (NodeMissing, ToolMissing) as error:
        return _misused(str(error))
    # One process more than processors, because tests wait about a third of their time. Each process starts
    # servers of its own, so more than four would cost memory.
    processes = min(4, (os.process_cpu_count() or 1) + 1)
    chosen = arguments or ["-n", str(processes), "--dist", "loadfile"]
    # Tests start hundreds of processes, and without bytecode each would compile the same modules again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", *chosen]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _misused(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return MISUSED


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "run": run,
    "up": up,
    "simulate": simulate,
    "test": test,
}


def main() -> int:
    listing = "\n".join(f"  {name:<10} {command.__doc__}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="Runs Signal Cloud on one machine.",
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
