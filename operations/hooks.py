"""Makes, lists, rotates and ends the hooks of licenses: `python -m operations.hooks create|list|rotate|end`.

Settings come from the environment, then local.settings.json, then the stack that runs on STATE, as for
operations.license.
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from operations import arguments
from operations.command import UsageError, run_command
from operations.license import command_settings
from shared.container import Container
from shared.domain.access.hooks import Hook, HookRequest
from shared.domain.decoding import decode
from shared.domain.durations import shown_duration
from shared.services.hook_registry import DEFAULT_OVERLAP, MAX_OVERLAP, HookRegistry
from shared.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the command is done, 1 if it was refused or failed, 2 if an argument cannot be used."""
    return run_command(_run(_parser().parse_args(argv)))


async def _run(options: argparse.Namespace) -> int:
    container = Container(hook_settings(os.environ, options.command))
    try:
        registry = container.hook_registry(f"hooks command of {getpass.getuser()}")
        print("\n".join(await lines_of(registry, options)))
    finally:
        await container.close()
    return 0


def hook_settings(environment: Mapping[str, str], command: str) -> Settings:
    """The settings of the command; raises UsageError if a new address would not be the deployment's."""
    settings = command_settings(environment)
    is_local = settings.public_url.startswith("http://")
    if command in ("create", "rotate") and settings.azure_client_id and is_local:
        raise UsageError(
            "PUBLIC_URL is not set, and the hook's address begins with it: set it to the address under which "
            "publishers reach the deployment, such as https://signals.example.com."
        )
    return settings


async def lines_of(registry: HookRegistry, options: argparse.Namespace) -> list[str]:
    """Runs the command of `options`; returns what to print."""
    match options.command:
        case "create":
            made = await registry.create(options.license, _request(options))
            return [made.hook.hook_id, f"its address, which is shown once: {made.url}"]
        case "rotate":
            if options.overlap > MAX_OVERLAP:
                raise UsageError(f"The former address may work for {shown_duration(MAX_OVERLAP)} at most.")
            made = await registry.rotate(options.hook, options.overlap, account_id=None)
            return [f"the new address, which is shown once: {made.url}"]
        case "end":
            ended = await registry.end(options.hook, account_id=None)
            return [f"{ended.hook_id} takes no alerts any more"]
        case _:
            found = await registry.of_license(options.license)
            return [_line(hook) for hook in found.hooks] or ["the license has no hooks"]


def _request(options: argparse.Namespace) -> HookRequest:
    """The hook to make, checked as `POST hooks` checks it; raises InvalidInput and UsageError."""
    mapping = options.mapping
    if mapping.endswith(".json"):
        try:
            mapping = json.loads(Path(mapping).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"The mapping {mapping} cannot be read: {error}") from error
    body = {
        "name": options.name,
        "mapping": mapping,
        "strategy": options.strategy,
        "symbols": options.symbols,
        "addresses": options.addresses,
    }
    return decode(msgspec.json.encode(body), HookRequest)


def _line(hook: Hook) -> str:
    mapping = hook.mapping if isinstance(hook.mapping, str) else "own mapping"
    state = "ended" if hook.ended_at else "takes alerts"
    limits = ",".join(hook.addresses) or "anywhere"
    return f"{hook.hook_id}  {state:<12} {mapping:<12} {hook.strategy:<16} from {limits:<20} {hook.name}"


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.hooks", description="Makes, lists, rotates and ends hooks of licenses."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    create = commands.add_parser("create", help="make a hook; its address is shown once")
    create.add_argument("license", help="the id of a license, lic_...")
    create.add_argument("--name", required=True, help="what its owner calls it")
    create.add_argument("--mapping", default="tradingview", help="a file of shared/hooks by name, or a .json")
    create.add_argument("--strategy", default="manual", help="the strategy of its signals")
    create.add_argument(
        "--symbols", type=_list, default=[], help="such as ES,NQ; all of the license's without it"
    )
    create.add_argument("--addresses", type=_list, default=[], help="such as tradingview or 203.0.113.0/24")
    listing = commands.add_parser("list", help="show the hooks of a license")
    listing.add_argument("license", help="the id of a license, lic_...")
    rotate = commands.add_parser("rotate", help="give a hook another address")
    rotate.add_argument("hook", help="the id of a hook, hook_...")
    rotate.add_argument(
        "--overlap", type=arguments.span, default=DEFAULT_OVERLAP, help="how long the former one works: 1h"
    )
    end = commands.add_parser("end", help="take no more alerts at once")
    end.add_argument("hook", help="the id of a hook, hook_...")
    return parser


if __name__ == "__main__":
    sys.exit(main())
