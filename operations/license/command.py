"""Runs one command and prints what it found."""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence

import msgspec

from operations.command import run_command
from operations.license.outcome import INCOMPLETE, Command, Desk
from operations.license.parser import parser
from operations.license.settings import command_settings
from shared.container import Container


def main(argv: Sequence[str] | None = None) -> int:
    """0 if all is done, 1 if the command was refused or failed, 2 if an argument cannot be used.

    3 if the change is stored, but the output names a follow-up step that has failed.
    """
    return run_command(_run(parser().parse_args(argv)))


async def _run(options: argparse.Namespace) -> int:
    command: Command = options.command
    container = Container(command_settings(os.environ))
    try:
        actor = f"license command of {getpass.getuser()}"
        desk = Desk(container.license_service(actor), container.license_admin)
        outcome = await command(desk, options)
    finally:
        await container.close()
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(outcome.value)).decode())
    else:
        print("\n".join(outcome.lines))
    for warning in outcome.warnings:
        print(warning, file=sys.stderr)
    return INCOMPLETE if outcome.warnings else 0
