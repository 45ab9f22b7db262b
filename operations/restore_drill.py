"""Compares what was restored with what is live: `python -m operations.restore_drill observe|check|licenses`.

`observe --at TIME` prints what the live database (DATABASE_URL) held at a moment of the last days. Then you
restore another server to that moment, and `check FILE` compares it (DATABASE_URL) with what was printed.
`licenses` restores the newest export of licenses to scratch tables, and compares them with the live ones.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from psycopg.rows import scalar_row, tuple_row

from operations.arguments import time
from operations.command import FAILED, UsageError, run_command
from operations.database import connect, connection_parameters, uses_entra, with_login
from operations.exports import add_export_arguments
from operations.license_drill import Finding, drill_licenses
from operations.observation import (
    REACH,
    SQL,
    TABLES,
    Observation,
    begin,
    observe,
    return_role,
    take_role,
)
from shared.adapters.postgres.database import FUNCTIONS_ROLE, JOBS_ROLE, Connection, translated
from shared.adapters.postgres.logins import login_state
from shared.settings_reader import SettingsReader
from shared.sql import migrations

ACCOUNTS = 20


async def findings(
    connection: Connection, expected: Observation, login: str | None, jobs_login: str | None = None
) -> list[Finding]:
    """One finding for each part that is compared with `expected`; raises Unavailable."""
    with translated():
        found = await observe(connection, expected.at)
        await begin(connection)
        try:
            return [
                _schema(found.migrations, expected.migrations),
                *(_same_rows(table, found, expected) for table in TABLES),
                _newest(found),
                *await _sequences(connection, expected.at),
                *await _security(connection, expected.at),
                *([await _login(connection, login, FUNCTIONS_ROLE)] if login is not None else []),
                *([await _login(connection, jobs_login, JOBS_ROLE)] if jobs_login is not None else []),
            ]
        finally:
            await connection.execute("rollback")


def _schema(found: list[str], expected: list[str]) -> Finding:
    known = {name for name, _, _ in migrations()}
    strange = sorted(set(found) - known)
    if not found or found != expected:
        return Finding("schema", False, f"expected {_last(expected)}, found {_last(found)}")
    if strange:
        return Finding("schema", False, f"this code does not know {', '.join(strange)}")
    return Finding("schema", True, f"{len(found)} migrations, up to {_last(found)}")


def _last(names: list[str]) -> str:
    return names[-1] if names else "no migration"


def _same_rows(table: str, found: Observation, expected: Observation) -> Finding:
    mine, theirs = found.tables[table], expected.tables[table]
    if mine.rows != theirs.rows:
        return Finding(
            table, False, f"expected {theirs.rows} rows of the last {REACH.days} days, found {mine.rows}"
        )
    if mine.digest != theirs.digest:
        return Finding(table, False, f"{mine.rows} rows, but not the same ones")
    return Finding(table, True, f"{mine.rows} rows of the last {REACH.days} days, the same ones")


def _newest(found: Observation) -> Finding:
    newest = found.tables["trades"].newest
    if newest is None:
        return Finding("newest trade", True, f"none in the last {REACH.days} days")
    return Finding("newest trade", True, f"{(found.at - newest).total_seconds():.0f} s before the moment")


async def _sequences(connection: Connection, at: datetime) -> list[Finding]:
    cursor = connection.cursor(row_factory=scalar_row)
    faults = await (await cursor.execute(SQL["sequence_faults"], {"since": at - REACH})).fetchall()
    lost = await (await cursor.execute(SQL["lost_signals"])).fetchone()
    return [
        Finding("sequences", not faults, f"not gapless: {', '.join(faults)}" if faults else "gapless"),
        Finding("outbox", lost == 0, f"{lost} signals or messages stand alone" if lost else "whole"),
    ]


async def _security(connection: Connection, at: datetime) -> list[Finding]:
    """Checks the roles, and row-level security: in the catalog, and as accounts see it."""
    scalars = connection.cursor(row_factory=scalar_row)
    roles = await (await scalars.execute(SQL["unfit_roles"])).fetchall()
    if roles:
        return [Finding("roles", False, f"missing, or with too many rights: {', '.join(roles)}")]
    bare = await (await scalars.execute(SQL["unprotected_tables"])).fetchall()
    await take_role(connection, JOBS_ROLE)
    recent = {"since": at - REACH, "limit": ACCOUNTS}
    accounts = await (await scalars.execute(SQL["some_accounts"], recent)).fetchall()
    problems = []
    for account in ["", *accounts]:
        own, others, unkept = await _view(connection, account)
        if others or (account and not own) or unkept:
            problems.append(
                f"{account or 'nobody'} sees {own} own, {others} others', {unkept} without trade_id"
            )
    await return_role(connection)
    return [
        Finding("roles", True, "signal_functions and signal_jobs, neither with a login"),
        Finding("row-level security", not bare, f"off for {', '.join(bare)}" if bare else "on and forced"),
        Finding(
            "accounts", not problems, "; ".join(problems) or f"{len(accounts)} see their own trades alone"
        ),
    ]


async def _view(connection: Connection, account: str) -> tuple[int, int, int]:
    await return_role(connection)
    await take_role(connection, FUNCTIONS_ROLE, account)
    cursor = connection.cursor(row_factory=tuple_row)
    await cursor.execute(SQL["account_view"])
    ((own, others, unkept),) = await cursor.fetchall()
    return own, others, unkept


async def _login(connection: Connection, login: str, role: str) -> Finding:
    state = await login_state(connection, login)
    is_good = state is not None and state.is_fit_for(role)
    return Finding(
        "login", is_good, f"{login} {f'takes on {role} alone' if is_good else 'is not as it should be'}"
    )


async def _run(options: argparse.Namespace) -> int:
    if options.command == "licenses":
        return _told(await drill_licenses(options.export, options.key_file, datetime.now(UTC)))
    return await _drill_database(options)


def _told(found: Sequence[Finding]) -> int:
    for name, is_good, text in found:
        print(f"{'ok' if is_good else 'FAILED':<6}  {name:<18}  {text}")
    return 0 if all(finding.is_good for finding in found) else FAILED


async def _drill_database(options: argparse.Namespace) -> int:
    reader = SettingsReader(os.environ)
    entra = uses_entra(reader, asked=options.entra)
    parameters: dict[str, Any] = connection_parameters(reader, entra=entra)
    expected = _read(options.file) if options.command == "check" else None
    parameters = await with_login(reader, parameters, entra=entra)
    async with await connect(parameters) as connection:
        if expected is None:
            with translated():
                seen = await observe(connection, options.at)
            print(msgspec.json.format(msgspec.json.encode(seen)).decode())
            return 0
        found = await findings(connection, expected, options.login, options.jobs_login)
    return _told(found)


def _read(path: Path) -> Observation:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Observation)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path} is not what `observe` prints: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """0 if everything is as expected, 1 if not, 2 if an argument or a setting cannot be used."""
    return run_command(_run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m operations.restore_drill", description=summary)
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    observing = commands.add_parser("observe", help="print what the live database held at a moment, as JSON")
    observing.add_argument(
        "--at", type=_moment, required=True, help="the moment, such as 2026-11-25T14:30:00Z"
    )
    checking = commands.add_parser("check", help="compare a restored database with it")
    checking.add_argument("file", type=Path, help="what `observe` printed")
    checking.add_argument("--login", metavar="NAME", help="login of the HTTP functions, which must exist too")
    checking.add_argument("--jobs-login", metavar="NAME", help="login of the timers, which must exist too")
    licenses = commands.add_parser(
        "licenses", help="restore an export of licenses to scratch tables, and compare"
    )
    add_export_arguments(licenses)
    for each in (observing, checking):
        each.add_argument(
            "--entra",
            action="store_true",
            help="log in with a token of Entra ID (the default if AZURE_CLIENT_ID is set)",
        )
    return parser


def _moment(text: str) -> datetime:
    value = time(text)
    if not timedelta() <= datetime.now(UTC) - value <= REACH:
        raise argparse.ArgumentTypeError(f"{text} does not lie in the last {REACH.days} days")
    return value


if __name__ == "__main__":
    sys.exit(main())
