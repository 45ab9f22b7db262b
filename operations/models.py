"""Lists model versions, and accepts a frozen one: `python -m operations.models list|accept`.

Settings come from the environment, then local.settings.json, then the stack that runs on STATE, as for
operations.license. DATABASE_URL's login must be able to take both roles, as the owner of the database can.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence

from operations.command import run_command
from operations.license import command_settings
from shared.container import Container
from shared.services.models import ModelVersion


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the command is done, 1 if it was refused or failed, 2 if an argument cannot be used."""
    return run_command(_run(_parser().parse_args(argv)))


async def _run(options: argparse.Namespace) -> int:
    container = Container(command_settings(os.environ))
    models = container.model_service(f"models command of {getpass.getuser()}")
    try:
        if options.command == "list":
            versions = await models.list(options.strategy)
            print("\n".join(map(_line, versions)) or "there are no models")
        else:
            await models.accept(options.version)
            print(f"{options.version} is served within five seconds.")
    finally:
        await container.close()
    return 0


def _line(model: ModelVersion) -> str:
    return (
        f"{model.version}  {model.status:<10} {model.basis:<10} "
        f"average {model.average:.4f} of {model.n} signals"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.models", description="Lists model versions, and accepts a frozen one."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    listing = commands.add_parser("list", help="show the newest versions, with what they serve on average")
    listing.add_argument("--strategy", help="only this strategy's, such as vwap_bounce")
    accept = commands.add_parser("accept", help="serve a version that training has frozen")
    accept.add_argument("version", help="as `list` shows it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
