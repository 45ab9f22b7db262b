"""Lists model versions, and accepts a frozen one: `python -m operations.models list|accept`.

Settings come from the environment, then local.settings.json, then the stack that runs on STATE, as for
operations.license. The database login must be allowed to take the role of jobs, as the timers' is.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence

import msgspec

from operations.command import run_command
from operations.license import command_settings
from shared.container import Container
from shared.domain.confidence.models import ModelDocument, StoredModel
from shared.errors import Conflict, NotFound


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the command is done, 1 if it was refused or failed, 2 if an argument cannot be used."""
    return run_command(_run(_parser().parse_args(argv)))


async def _run(options: argparse.Namespace) -> int:
    container = Container(command_settings(os.environ))
    try:
        if options.command == "list":
            models = await container.stores.models.list(options.strategy)
            print("\n".join(map(_line, models)) or "there are no models")
        else:
            print(await _accept(container, options.version))
    finally:
        await container.close()
    return 0


async def _accept(container: Container, version: str) -> str:
    """Serves a frozen version from now on; raises NotFound, and Conflict for a version that is not frozen."""
    models = container.stores.models
    stored = next((one for one in await models.list(None) if one.version == version), None)
    if stored is None:
        raise NotFound(f"There is no model version {version} among the newest; `list` shows them.")
    if not _is_frozen(stored):
        raise Conflict(
            f"{version} is {stored.status} and not frozen; only frozen versions need to be accepted."
        )
    # The entry comes first: a promotion that nobody can account for would be worse than an entry too many.
    actor = f"models command of {getpass.getuser()}"
    await container.stores.audit.write(actor, "model accepted", version, {"strategy": stored.strategy})
    await models.promote(version)
    return f"{version} is served within five seconds."


def _line(stored: StoredModel) -> str:
    document = msgspec.convert(stored.document, ModelDocument)
    status = "frozen" if _is_frozen(stored) else stored.status
    average = document.base_rate if document.average is None else document.average
    return f"{stored.version}  {status:<10} {stored.basis:<10} average {average:.4f} of {document.n} signals"


def _is_frozen(stored: StoredModel) -> bool:
    """Whether this is the version that a run would have promoted, had it not changed too much."""
    document = msgspec.convert(stored.document, ModelDocument)
    return document.frozen and stored.status == "candidate" and document.decision == stored.basis


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
