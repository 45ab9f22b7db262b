"""Declares the commands and their arguments."""

import argparse
import sys
from datetime import timedelta
from typing import Any, get_args

import msgspec

from operations import arguments
from operations.license import many, single
from operations.license.outcome import Command
from shared.adapters.plans import shipped_plans
from shared.domain.access.bulk import MAX_EXTENSION_DAYS, BulkAction
from shared.domain.access.keys import KEY_LENGTH, PREFIX
from shared.domain.access.license_filter import MAX_EXPIRING_DAYS, ORDERS
from shared.domain.access.licenses import ALL_SCOPES, LicenseStatus
from shared.domain.access.plans import STANDARD, Overrides
from shared.domain.market.bars import is_symbol
from shared.domain.market.symbols import symbol_fault

DEFAULT_LISTED = 1_000
_FROM_STANDARD_INPUT = "- reads a whole key from standard input"


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command; its namespace has the command to run as `command`."""
    made = argparse.ArgumentParser(
        prog="python -m operations.license", description="Manages licenses and API keys."
    )
    commands = made.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Command, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(command=run)
        return added

    _add_create(command("create", single.create, "make a license and its first key"))
    show = command("show", single.show, "show a license and its keys")
    listed = command("list", many.listed, "list licenses by filter, in order")
    _add_list(listed)
    extend = command("extend", single.extend, "extend a license, also after it has expired")
    plan = command("plan", single.plan, "move a license to another plan")
    override = command("override", single.override, "let single values of a license differ from its plan's")
    note = command("note", single.note, "set notes, mail address or Discord user of a license")
    suspend = command("suspend", single.suspend, "refuse all keys of a license until it is resumed")
    resume = command("resume", single.resume, "end a suspension")
    revoke = command("revoke", single.revoke, "end a license with all its keys, or one key, for good")
    add_key = command("add-key", single.add_key, "make one more key for a license")
    _add_key_arguments(add_key)
    rotate = command("rotate", single.rotate, "replace a key; the old one ends after an overlap")
    unrotated = command("unrotated", single.unrotated, "list the keys not used since the pepper was rotated")
    _add_bulk(command("bulk", many.bulk, "change all licenses that fit a filter; a dry run without --yes"))

    for each in (show, extend, plan, override, note, add_key, suspend, resume):
        each.add_argument("license", help="such as lic_4f...")
    extend.add_argument(
        "until", type=_until, help="a span such as 30d, or a time such as 2027-01-31T00:00:00Z"
    )
    plan.add_argument("plan", choices=list(shipped_plans()))
    _add_overrides(override)
    _add_contact(note, default=None)
    unrotated.add_argument("--since", type=arguments.time, required=True, help="such as 2027-01-31T00:00:00Z")
    _add_rotate(rotate)
    revoke.add_argument(
        "subject",
        type=_key,
        metavar="license-or-key",
        help=f"such as lic_4f... or {PREFIX}Ab12Cd; {_FROM_STANDARD_INPUT}",
    )
    return made


def _add_list(listed: argparse.ArgumentParser) -> None:
    _add_filter(listed)
    listed.add_argument(
        "--order",
        choices=[f"{sign}{order}" for order in ORDERS for sign in ("", "-")],
        default="id",
        help="backwards with a minus sign: --order=-created",
    )
    listed.add_argument(
        "--limit",
        type=_number(1, 1_000_000),
        default=DEFAULT_LISTED,
        metavar="N",
        help=f"at most so many (default {DEFAULT_LISTED})",
    )
    listed.add_argument("--csv", action="store_true", help="print one table of all that fit, in CSV")


def _add_overrides(override: argparse.ArgumentParser) -> None:
    override.add_argument(
        "values",
        action=_Overrides,
        nargs="+",
        metavar="name=value",
        help="name= takes the plan's value again; the names: " + ", ".join(Overrides.__struct_fields__),
    )
    override.add_argument("--new-symbols", action="store_true", help="the symbols may be new")


def _add_rotate(rotate: argparse.ArgumentParser) -> None:
    rotate.add_argument("key", type=_key, help=f"such as {PREFIX}Ab12Cd, or Ab12Cd; {_FROM_STANDARD_INPUT}")
    rotate.add_argument(
        "--overlap", type=arguments.span, default=timedelta(days=1), help="such as 24h (the default)"
    )


def _add_create(create: argparse.ArgumentParser) -> None:
    create.add_argument("--account", required=True, help="the account that gets it")
    create.add_argument(
        "--same-account",
        action="store_true",
        help="the account exists and gets one more license, which shares its trades",
    )
    create.add_argument("--plan", choices=list(shipped_plans()), default=STANDARD)
    create.add_argument("--reference", help="your name for it; the same again makes no second license")
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
        "--requests-per-minute",
        "--rpm",
        type=int,
        metavar="N",
        help="of each key, instead of the plan's",
    )
    create.add_argument(
        "--no-key",
        action="store_true",
        help="make no key: the holder gets it by a link, which goes to the --email",
    )
    _add_contact(create, default="")
    _add_key_arguments(create)


def _add_contact(to: argparse.ArgumentParser, default: str | None) -> None:
    to.add_argument("--notes", default=default, help="whatever operators should know")
    to.add_argument("--email", help="the holder's mail address, which gets all news of the license")
    to.add_argument("--discord", metavar="ID", help="the holder's number at Discord")


def _add_key_arguments(to: argparse.ArgumentParser) -> None:
    to.add_argument("--scopes", type=_scopes, default=("bot",), help=f"out of {','.join(ALL_SCOPES)}")
    to.add_argument(
        "--expires", type=arguments.expiry, help="a time such as 2027-01-31T00:00:00Z, or a span: 90d"
    )


def _add_filter(to: argparse.ArgumentParser) -> None:
    to.add_argument("--plan", dest="in_plan", choices=list(shipped_plans()), help="licenses of this plan")
    to.add_argument("--status", choices=get_args(LicenseStatus), help="what the licenses are now")
    to.add_argument("--account", help="licenses of one account")
    to.add_argument("--symbol", help="licenses that cover it")
    to.add_argument("--reference", help="the license with this reference")
    to.add_argument(
        "--expiring", type=_number(1, MAX_EXPIRING_DAYS), metavar="DAYS", help="that expire so soon"
    )
    to.add_argument("--text", help="in account, reference, mail or notes")


def _add_bulk(bulk: argparse.ArgumentParser) -> None:
    bulk.add_argument("action", choices=get_args(BulkAction))
    _add_filter(bulk)
    bulk.add_argument("--days", type=_number(1, MAX_EXTENSION_DAYS), help="to extend by")
    bulk.add_argument("--until", type=arguments.time, help="to extend to: such as 2027-01-31T00:00:00Z")
    bulk.add_argument("--to-plan", choices=list(shipped_plans()), help="the plan to move to")
    which = bulk.add_mutually_exclusive_group()
    which.add_argument("--dry-run", action="store_true", help="change nothing, which is the default")
    which.add_argument("--yes", action="store_true", help="change the licenses")


class _Overrides(argparse.Action):
    """Reads name=value pairs as the values of a license, and `name=` as the plan's value."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        read: dict[str, object] = {}
        for pair in values:
            name, equals, text = pair.partition("=")
            if not equals or name not in Overrides.__struct_fields__:
                parser.error(
                    f"{pair!r} is not name=value with one of {', '.join(Overrides.__struct_fields__)}"
                )
            try:
                read[name] = _value(name, text)
            except msgspec.ValidationError:
                parser.error(f"{text!r} is no value of {name}")
        setattr(namespace, self.dest, read)


def _value(name: str, text: str) -> object:
    """The value of an override that `text` stands for; raises ValidationError."""
    if not text:
        return None
    is_list = name in ("symbols", "strategies")
    given: object = [part.strip() for part in text.split(",")] if is_list else text
    return getattr(msgspec.convert({name: given}, Overrides, strict=False), name)


def _until(text: str) -> Any:
    """A span or a time."""
    try:
        return arguments.span(text)
    except argparse.ArgumentTypeError as error:
        try:
            return arguments.time(text)
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(f"{error}, nor a time such as 2027-01-31T00:00:00Z") from None


def _number(low: int, high: int) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}")
        return int(text)

    return number


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
