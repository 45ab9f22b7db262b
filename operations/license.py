"""Manages the licenses and API keys of a running stack or of a deployment: `python -m operations.license`.

Settings come from the environment, then local.settings.json, then the stack that runs on STATE.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from local.host.configuration import load_local_settings
from local.places import ROOT
from local.stack.options import state_directory
from local.stack.running_stack import settings_of_running
from operations import arguments
from operations.command import run_command
from shared.adapters.plans import shipped_plans
from shared.container import Container
from shared.domain.access.keys import KEY_LENGTH, PREFIX, public_id_in
from shared.domain.access.license_filter import LicenseFilter
from shared.domain.access.licenses import ALL_SCOPES, License, is_license_id
from shared.domain.access.plans import STANDARD, Overrides
from shared.domain.market.bars import is_symbol
from shared.domain.market.symbols import symbol_fault
from shared.errors import ConfigurationError
from shared.services.key_making import CreatedKey
from shared.services.license_keys import Effect
from shared.services.licenses import LicenseService, LicenseView
from shared.settings import Settings, read_settings
from shared.settings_reader import SettingsReader

NAMES = (
    "DATABASE_URL",
    "TABLES_CONNECTION_STRING",
    "REDIS_URL",
    "WEBPUBSUB_CONNECTION_STRING",
    "WEBPUBSUB_HUB",
    "API_KEY_PEPPER",
    "PUBLIC_URL",
)
# Of a deployment under Entra ID; these never mix with the settings of a stack on this machine.
ENTRA_NAMES = (
    "AZURE_CLIENT_ID",
    "DATABASE_URL",
    "DATABASE_ROLE",
    "TABLES_ENDPOINT",
    "REDIS_URL",
    "WEBPUBSUB_ENDPOINT",
    "WEBPUBSUB_HUB",
    "API_KEY_PEPPER",
    "PUBLIC_URL",
    "IDENTITY_ENDPOINT",
)
# The app needs these two to verify events of Web PubSub; this command receives none.
_UNUSED = dict.fromkeys(("AZURE_TENANT_ID", "WEBPUBSUB_EVENTS_PRINCIPAL"), str(UUID(int=0)))
_FROM_STANDARD_INPUT = "- reads a whole key from standard input"
# The exit status of a change that is stored, but of which a follow-up step has failed.
INCOMPLETE = 3


class Outcome(NamedTuple):
    """What a command found: as a value for `--json`, and as lines to read.

    `warnings` say which follow-up steps of a change have failed.
    """

    value: Any
    lines: list[str]
    warnings: Sequence[str] = ()


Command = Callable[[LicenseService, argparse.Namespace], Awaitable[Outcome]]


def main(argv: Sequence[str] | None = None) -> int:
    """0 if all is done, 1 if the command was refused or failed, 2 if an argument cannot be used.

    3 if the change is stored, but the output names a follow-up step that has failed.
    """
    return run_command(_run(_parser().parse_args(argv)))


async def _run(options: argparse.Namespace) -> int:
    command: Command = options.command
    container = Container(command_settings(os.environ))
    try:
        actor = f"license command of {getpass.getuser()}"
        options.admin = container.license_admin
        outcome = await command(container.license_service(actor), options)
    finally:
        await container.close()
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(outcome.value)).decode())
    else:
        print("\n".join(outcome.lines))
    for warning in outcome.warnings:
        print(warning, file=sys.stderr)
    return INCOMPLETE if outcome.warnings else 0


def command_settings(environment: Mapping[str, str]) -> Settings:
    """Settings of the deployment or the stack that the command works on; raises ConfigurationError."""
    given = dict(environment)
    load_local_settings(ROOT, given)
    if given.get("AZURE_CLIENT_ID"):
        return read_settings(_UNUSED | {name: given[name] for name in ENTRA_NAMES if name in given})
    state = state_directory(SettingsReader(environment))
    stack = settings_of_running(state)
    try:
        return read_settings({**stack, **{name: given[name] for name in NAMES if given.get(name)}})
    except ConfigurationError as error:
        if stack:
            raise
        raise ConfigurationError(
            f"no stack runs on {state} (start one with `make up`, or name its directory with STATE=dir), "
            f"and in the environment: {error.detail}"
        ) from error


async def _create(service: LicenseService, options: argparse.Namespace) -> Outcome:
    license_ = await service.create_license(
        options.account,
        plan=options.plan,
        overrides=Overrides(
            symbols=options.symbols,
            strategies=options.strategies,
            requests_per_minute=options.requests_per_minute,
        ),
        expires_at=options.expires,
        is_new_account=not options.same_account,
        may_be_unserved=options.new_symbols,
    )
    created = await service.create_key(license_.license_id, options.scopes)
    value = {"license": license_, "key": created.key, "plain_key": created.plain}
    return Outcome(value, [*_license_lines(license_), "", *_created_lines(created)])


async def _show(service: LicenseService, options: argparse.Namespace) -> Outcome:
    view: LicenseView = await service.show(options.license)
    lines = _license_lines(view.license)
    for key in view.keys:
        end = f", ends {_time(key.expires_at)}" if key.expires_at else ""
        lines.append(f"  {PREFIX}{key.public_id}...  {key.status}, {'+'.join(key.scopes)}{end}")
    return Outcome(view, lines if view.keys else [*lines, "  no keys"])


async def _list(service: LicenseService, options: argparse.Namespace) -> Outcome:
    licenses = (
        await options.admin.page(LicenseFilter(), "id", descending=False, cursor=None, limit=1_000)
    ).licenses
    lines = [
        f"{each.license_id}  {each.account_id:<24} {each.plan:<12} {each.status:<10} "
        f"{each.terms.requests_per_minute:>7}/min  {','.join(each.terms.symbols)}"
        for each in licenses
    ]
    return Outcome(licenses, lines or ["there are no licenses"])


async def _add_key(service: LicenseService, options: argparse.Namespace) -> Outcome:
    created = await service.create_key(options.license, options.scopes, expires_at=options.expires)
    return Outcome({"key": created.key, "plain_key": created.plain}, _created_lines(created))


async def _rotate(service: LicenseService, options: argparse.Namespace) -> Outcome:
    created, effect = await service.rotate_key(options.key, options.overlap)
    old = public_id_in(options.key)
    lines = [*_created_lines(created), f"The old key {PREFIX}{old}... ends within {options.overlap}."]
    value = {
        "key": created.key,
        "plain_key": created.plain,
        "replaces": old,
        "effect": effect,
    }
    return Outcome(value, lines, _warnings(effect))


async def _unrotated(service: LicenseService, options: argparse.Namespace) -> Outcome:
    keys = await service.keys_hashed_before(options.since)
    lines = [f"{PREFIX}{key.public_id}...  {key.license_id}  {'+'.join(key.scopes)}" for key in keys]
    return Outcome(keys, lines or ["every valid key has been hashed since"])


async def _suspend(service: LicenseService, options: argparse.Namespace) -> Outcome:
    return _effect(await service.suspend_license(options.license))


async def _resume(service: LicenseService, options: argparse.Namespace) -> Outcome:
    effect = await service.resume_license(options.license)
    return Outcome(effect, _license_lines(effect.license), _warnings(effect, ends=False))


async def _revoke(service: LicenseService, options: argparse.Namespace) -> Outcome:
    if is_license_id(options.subject):
        return _effect(await service.revoke_license(options.subject))
    effect = await service.revoke_key(options.subject)
    value = {"revoked_key": public_id_in(options.subject), "effect": effect}
    lines = [f"The key {PREFIX}{public_id_in(options.subject)}... is revoked."]
    return Outcome(value, lines, _warnings(effect))


def _effect(effect: Effect) -> Outcome:
    return Outcome(effect, _license_lines(effect.license), _warnings(effect))


def _warnings(effect: Effect, *, ends: bool = True) -> list[str]:
    """A line for each follow-up step that has failed; `ends` is whether the change ends something."""
    lines = []
    if not effect.caches_told:
        delay = "learn the end from Table Storage within 5" if ends else "may refuse the license for 60"
        lines.append(f"Redis was not told: processes {delay} seconds.")
    if not effect.connections_closed:
        lines.append(
            "Connections were not closed: Web PubSub did not answer. The timer closes them within 10 seconds "
            "of its return. Run this command again to close them earlier."
        )
    if not effect.audited:
        lines.append("The audit log did not get an entry: Postgres did not answer. Note it elsewhere.")
    return ["The change is stored and stands, but it is not complete.", *lines] if lines else []


def _license_lines(license_: License) -> list[str]:
    terms = shipped_plans().terms_of(license_)
    own = license_.overrides
    limit = f"{terms.requests_per_minute} requests a minute a key{_override(own.requests_per_minute)}"
    return [
        f"{license_.license_id}  {license_.status}",
        f"  account  {license_.account_id}",
        f"  plan     {license_.plan}, {limit}",
        f"  symbols  {', '.join(terms.symbols)}{_override(own.symbols)}",
        f"  expires  {_time(license_.expires_at) if license_.expires_at else 'never'}",
    ]


def _override(value: object) -> str:
    return "" if value is None else " (override)"


def _created_lines(created: CreatedKey) -> list[str]:
    return [created.plain, f"This key ({', '.join(created.key.scopes)}) is shown once; keep it safe."]


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.license", description="Manages licenses and API keys."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Command, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(command=run)
        return added

    create = command("create", _create, "make a license and its first key")
    create.add_argument("--account", required=True, help="the account that gets it")
    create.add_argument(
        "--same-account",
        action="store_true",
        help="the account exists and gets one more license, which shares its trades",
    )
    create.add_argument("--plan", choices=list(shipped_plans()), default=STANDARD)
    create.add_argument("--symbols", type=_symbols, help="such as ES,NQ, instead of the plan's")
    create.add_argument(
        "--strategies", type=_names, help="whose confidences it covers, instead of the plan's; empty for all"
    )
    create.add_argument(
        "--new-symbols",
        action="store_true",
        help="the symbols may be new: this license's feeder or publisher is the first to serve them",
    )
    create.add_argument(
        "--requests-per-minute", type=int, metavar="N", help="of each key, instead of the plan's"
    )
    show = command("show", _show, "show a license and its keys")
    command("list", _list, "list the first 1000 licenses")
    add_key = command("add-key", _add_key, "make one more key for a license")
    rotate = command("rotate", _rotate, "replace a key; the old one ends after an overlap")
    unrotated = command("unrotated", _unrotated, "list the keys not used since the pepper was rotated")
    suspend = command("suspend", _suspend, "refuse all keys of a license until it is resumed")
    resume = command("resume", _resume, "end a suspension")
    revoke = command("revoke", _revoke, "end a license with all its keys, or one key, for good")

    for each in (create, add_key):
        each.add_argument("--scopes", type=_scopes, default=("bot",), help=f"out of {','.join(ALL_SCOPES)}")
        each.add_argument(
            "--expires", type=arguments.expiry, help="a time such as 2027-01-31T00:00:00Z, or a span: 90d"
        )
    for each in (show, add_key, suspend, resume):
        each.add_argument("license", help="such as lic_4f...")
    unrotated.add_argument("--since", type=arguments.time, required=True, help="such as 2027-01-31T00:00:00Z")
    rotate.add_argument("key", type=_key, help=f"such as {PREFIX}Ab12Cd, or Ab12Cd; {_FROM_STANDARD_INPUT}")
    rotate.add_argument(
        "--overlap", type=arguments.span, default=timedelta(days=1), help="such as 24h (the default)"
    )
    revoke.add_argument(
        "subject",
        type=_key,
        metavar="license-or-key",
        help=f"such as lic_4f... or {PREFIX}Ab12Cd; {_FROM_STANDARD_INPUT}",
    )
    return parser


def _symbols(text: str) -> tuple[str, ...]:
    symbols = tuple(part.strip() for part in text.split(","))
    for symbol in symbols:
        if not is_symbol(symbol):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list such as ES,NQ. {symbol_fault(symbol)}")
    return symbols


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _key(text: str) -> str:
    """An argument that names a key; never a whole one, because every user of a machine can read arguments."""
    if text == "-":
        return sys.stdin.readline().strip()
    if len(text) >= KEY_LENGTH - len(PREFIX):
        raise argparse.ArgumentTypeError(
            "this may be a whole key, and other users can read arguments: give the first 6 characters after "
            f"{PREFIX}, or - and the key on standard input"
        )
    return text


def _scopes(text: str) -> tuple[str, ...]:
    scopes = tuple(part.strip() for part in text.split(","))
    if not scopes or not set(scopes) <= set(ALL_SCOPES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list out of {','.join(ALL_SCOPES)}")
    return scopes


if __name__ == "__main__":
    sys.exit(main())
