"""`python -m local license ...`: licenses and API keys of a running stack or of a deployment.

Settings come from the environment, then local.settings.json, then the stack that runs on STATE.
"""

import argparse
import asyncio
import getpass
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from local.host.configuration import load_local_settings
from local.places import ROOT
from shared.container import Container
from shared.domain.access.keys import PREFIX, public_id_in
from shared.domain.access.licenses import ALL_SCOPES, DEFAULT_REQUESTS_PER_MINUTE, License, is_license_id
from shared.domain.market.bars import Symbol
from shared.errors import SignalCloudError
from shared.services.licenses import CreatedKey, Effect, LicenseService, LicenseView
from shared.settings import Settings, read_settings

NAMES = (
    "DATABASE_URL",
    "TABLES_CONNECTION_STRING",
    "REDIS_URL",
    "WEBPUBSUB_CONNECTION_STRING",
    "API_KEY_PEPPER",
)
# Of a deployment that Entra ID opens: never mixed with what a stack on this machine uses.
ENTRA_NAMES = (
    "AZURE_CLIENT_ID",
    "DATABASE_URL",
    "TABLES_ENDPOINT",
    "REDIS_URL",
    "WEBPUBSUB_ENDPOINT",
    "API_KEY_PEPPER",
)
_ENTRA_OPTIONS = ("WEBPUBSUB_HUB", "DATABASE_ROLE", "IDENTITY_ENDPOINT")
DEFAULT_SYMBOLS = "ES,NQ,CL,YM,RTY"

_UNITS: dict[str, timedelta] = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


class Outcome(NamedTuple):
    """What a command found: for `--json`, and as lines to read."""

    value: Any
    lines: list[str]


Command = Callable[[LicenseService, argparse.Namespace], Awaitable[Outcome]]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it is done, 1 when it was refused, 2 when it was asked wrongly."""
    options = _parser().parse_args(argv)
    settings = _settings(os.environ)
    is_entra = "AZURE_CLIENT_ID" in settings
    missing = [name for name in (ENTRA_NAMES if is_entra else NAMES) if not settings.get(name)]
    if missing and is_entra:
        print(
            f"AZURE_CLIENT_ID is set, which means a deployment, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not",
            file=sys.stderr,
        )
        return 1
    if missing:
        state = _state_directory(os.environ)
        print(
            f"no stack runs on {state} (start one with `make up`, or name its directory with STATE=dir), "
            f"and the environment does not set {', '.join(missing)}",
            file=sys.stderr,
        )
        return 1
    try:
        outcome = asyncio.run(_run(read_settings(settings), options.command, options))
    except SignalCloudError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        for field in error.errors:
            print(f"  {field.field}: {field.message}", file=sys.stderr)
        if error.internal:
            print(f"  {error.internal}", file=sys.stderr)
        return 1
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(outcome.value)).decode())
    else:
        print("\n".join(outcome.lines))
    return 0


async def _run(settings: Settings, command: Command, options: argparse.Namespace) -> Outcome:
    container = Container(settings)
    try:
        return await command(container.license_service(f"license command of {getpass.getuser()}"), options)
    finally:
        await container.close()


def _state_directory(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("STATE") or ".local")


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    from local.stack import settings_of_running

    given = dict(environment)
    load_local_settings(ROOT, given)
    if given.get("AZURE_CLIENT_ID"):
        return {name: given[name] for name in (*ENTRA_NAMES, *_ENTRA_OPTIONS) if given.get(name)}
    found = dict(settings_of_running(_state_directory(environment)))
    found.update({name: given[name] for name in (*NAMES, "WEBPUBSUB_HUB") if given.get(name)})
    return found


async def _create(service: LicenseService, options: argparse.Namespace) -> Outcome:
    license_ = await service.create_license(
        options.account,
        plan=options.plan,
        symbols=options.symbols,
        requests_per_minute=options.requests_per_minute,
        expires_at=options.expires,
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
    licenses = await service.list_licenses()
    lines = [
        f"{each.license_id}  {each.account_id:<24} {each.plan:<12} {each.status:<10} "
        f"{each.requests_per_minute:>7}/min  {','.join(each.symbols)}"
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
        "caches_told": effect.caches_told,
    }
    return Outcome(value, [*lines, *_warnings(effect)])


async def _unrotated(service: LicenseService, options: argparse.Namespace) -> Outcome:
    keys = await service.keys_hashed_before(options.since)
    lines = [f"{PREFIX}{key.public_id}...  {key.license_id}  {'+'.join(key.scopes)}" for key in keys]
    return Outcome(keys, lines or ["every key in force was hashed since"])


async def _suspend(service: LicenseService, options: argparse.Namespace) -> Outcome:
    return _effect(await service.suspend_license(options.license))


async def _resume(service: LicenseService, options: argparse.Namespace) -> Outcome:
    return _effect(await service.resume_license(options.license))


async def _revoke(service: LicenseService, options: argparse.Namespace) -> Outcome:
    if is_license_id(options.subject):
        return _effect(await service.revoke_license(options.subject))
    effect = await service.revoke_key(options.subject)
    value = {"revoked_key": public_id_in(options.subject), "effect": effect}
    return Outcome(
        value, [f"The key {PREFIX}{public_id_in(options.subject)}... is revoked.", *_warnings(effect)]
    )


def _effect(effect: Effect) -> Outcome:
    return Outcome(effect, [*_license_lines(effect.license), *_warnings(effect)])


def _warnings(effect: Effect) -> list[str]:
    lines = []
    if not effect.caches_told:
        lines.append("Redis could not be told: the change takes effect within 60 seconds.")
    if not effect.connections_closed:
        lines.append("Web PubSub could not be told: open connections stay until they end; run this again.")
    return lines


def _license_lines(license_: License) -> list[str]:
    return [
        f"{license_.license_id}  {license_.status}",
        f"  account  {license_.account_id}",
        f"  plan     {license_.plan}, {license_.requests_per_minute} requests a minute a key",
        f"  symbols  {', '.join(license_.symbols)}",
        f"  expires  {_time(license_.expires_at) if license_.expires_at else 'never'}",
    ]


def _created_lines(created: CreatedKey) -> list[str]:
    return [created.plain, f"This key ({', '.join(created.key.scopes)}) is shown once; keep it safe."]


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local license", description="Licenses and API keys.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Command, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(command=run)
        return added

    create = command("create", _create, "a new license with a first key")
    create.add_argument("--account", required=True, help="the account that it is for")
    create.add_argument("--plan", default="standard")
    create.add_argument("--symbols", type=_symbols, default=_symbols(DEFAULT_SYMBOLS), help="such as ES,NQ")
    create.add_argument("--requests-per-minute", type=int, default=DEFAULT_REQUESTS_PER_MINUTE, metavar="N")
    show = command("show", _show, "one license and its keys")
    command("list", _list, "the first 1000 licenses")
    add_key = command("add-key", _add_key, "one more key for a license")
    rotate = command("rotate", _rotate, "a new key in the place of one that ends after an overlap")
    unrotated = command("unrotated", _unrotated, "keys not used since the pepper was rotated")
    suspend = command("suspend", _suspend, "refuse all keys of a license until it is resumed")
    resume = command("resume", _resume, "end a suspension")
    revoke = command("revoke", _revoke, "end a license with all its keys, or one key, for good")

    for each in (create, add_key):
        each.add_argument("--scopes", type=_scopes, default=("bot",), help=f"of {','.join(ALL_SCOPES)}")
        each.add_argument(
            "--expires", type=_expiry, help="a time such as 2027-01-31T00:00:00Z, or a span: 90d"
        )
    for each in (show, add_key, suspend, resume):
        each.add_argument("license", help="such as lic_4f...")
    unrotated.add_argument("--since", type=_time_of, required=True, help="such as 2027-01-31T00:00:00Z")
    rotate.add_argument("key", help=f"such as {PREFIX}Ab12Cd, or Ab12Cd")
    rotate.add_argument("--overlap", type=_span, default=timedelta(days=1), help="such as 24h (the default)")
    revoke.add_argument("subject", metavar="license-or-key", help=f"such as lic_4f... or {PREFIX}Ab12Cd")
    return parser


def _symbols(text: str) -> tuple[str, ...]:
    try:
        return msgspec.convert(tuple(part.strip() for part in text.split(",")), tuple[Symbol, ...])
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of symbols such as ES,NQ") from None


def _scopes(text: str) -> tuple[str, ...]:
    scopes = tuple(part.strip() for part in text.split(","))
    if not scopes or not set(scopes) <= set(ALL_SCOPES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list out of {','.join(ALL_SCOPES)}")
    return scopes


def _span(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a span such as 30m, 24h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def _expiry(text: str) -> datetime:
    if re.fullmatch(r"\d{1,5}[smhd]", text):
        return datetime.now(UTC) + _span(text)
    try:
        return _time_of(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor 90d") from None


def _time_of(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2027-01-31T00:00:00Z")
    return value.astimezone(UTC)
