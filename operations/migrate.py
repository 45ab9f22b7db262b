"""Migrates the schema of a deployment and admits the app's login: `python -m operations.migrate plan|apply`.

The database is DATABASE_URL's, and its user must be the administrator. A migration is safe beside live
traffic: it waits one second at most for a lock and four seconds at most for a statement, or it changes
nothing. One migrator runs at a time; the others wait for it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.conninfo import make_conninfo

from operations.command import UsageError, run_command
from operations.database import connect, connection_parameters, uses_entra, with_login
from shared.adapters.postgres.database import FUNCTIONS_ROLE, JOBS_ROLE
from shared.adapters.postgres.logins import (
    LoginState,
    create_entra_login,
    grant_role,
    login_state,
    unfitness,
)
from shared.adapters.postgres.migrations import migrate, pending_migrations
from shared.errors import ConfigurationError
from shared.settings_reader import SettingsReader


class _Login(NamedTuple):
    """A login of the app: its name, the object id of its identity, and its role."""

    name: str
    object_id: str | None
    role: str


def main(argv: Sequence[str] | None = None) -> int:
    """0 if it is done (or planned), 1 if it failed, 2 if an argument or a setting cannot be used."""
    options = _parser().parse_args(argv)
    return run_command(_run(options, SettingsReader(os.environ)))


async def _run(options: argparse.Namespace, reader: SettingsReader) -> int:
    entra = uses_entra(reader, asked=options.entra)
    parameters = connection_parameters(reader, entra=entra)
    parameters = await with_login(reader, parameters, entra=entra)
    async with await connect(parameters) as connection:
        problems = await unfitness(connection)
        if problems:
            raise ConfigurationError("; ".join(problems))
    logins = _logins(options)
    if options.command == "plan":
        await _plan(parameters, logins)
    else:
        await _apply(parameters, logins)
    return 0


def _logins(options: argparse.Namespace) -> list[_Login]:
    """The logins that the arguments name; raises UsageError if both roles would go to one."""
    if options.login and options.login == options.jobs_login:
        raise UsageError("--login and --jobs-login must differ: each login gets one role alone")
    given = (
        _Login(options.login, options.login_object_id, FUNCTIONS_ROLE),
        _Login(options.jobs_login, options.jobs_login_object_id, JOBS_ROLE),
    )
    return [each for each in given if each.name]


async def _plan(parameters: dict[str, Any], logins: Sequence[_Login]) -> None:
    missing = await pending_migrations(make_conninfo(**parameters))
    for name in missing:
        print(f"would apply {name}")
    if not missing:
        print("no migration is missing")
    for login in logins:
        async with await connect(parameters) as connection:
            state = await login_state(connection, login.name)
        print(f"login {login.name}: {_described(state)}")


async def _apply(parameters: dict[str, Any], logins: Sequence[_Login]) -> None:
    applied = await migrate(make_conninfo(**parameters))
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("no migration was missing")
    for login in logins:
        await _admit(parameters, login.name, login.object_id, login.role)


async def _admit(parameters: dict[str, Any], login: str, object_id: str | None, role: str) -> None:
    """Makes a missing login and grants it its role; refuses one that is above row-level security."""
    async with await connect(parameters) as connection:
        state = await login_state(connection, login)
        if state is None:
            if object_id is None:
                raise ConfigurationError(f"There is no login {login}; its object id makes it.")
            await create_entra_login(parameters, login, object_id)
            print(f"made login {login}")
        elif state.is_above_security:
            raise ConfigurationError(f"{login} is above row-level security: the app must not run as it.")
        await grant_role(connection, login, role)
        print(f"login {login}: {_described(await login_state(connection, login))}")


def _described(state: LoginState | None) -> str:
    if state is None:
        return "missing"
    parts = [
        "may log in" if state.can_login else "may not log in",
        f"takes on {' and '.join(state.roles)}" if state.roles else "can take on no role",
    ]
    if state.is_above_security:
        parts.append("is above row-level security")
    return ", ".join(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.migrate", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("command", choices=("plan", "apply"), help="show what is missing, or apply it")
    parser.add_argument(
        "--entra",
        action="store_true",
        help="log in with a token of Entra ID (the default if AZURE_CLIENT_ID is set)",
    )
    makes = "object id of the identity behind that login: makes the login if it is missing"
    gets = "which gets the role {} alone"
    parser.add_argument(
        "--login", metavar="NAME", help=f"login of the HTTP functions, {gets.format(FUNCTIONS_ROLE)}"
    )
    parser.add_argument("--login-object-id", metavar="UUID", type=_object_id, help=makes)
    parser.add_argument("--jobs-login", metavar="NAME", help=f"login of the timers, {gets.format(JOBS_ROLE)}")
    parser.add_argument("--jobs-login-object-id", metavar="UUID", type=_object_id, help=makes)
    return parser


def _object_id(text: str) -> str:
    """A UUID in the form that Entra ID writes; Python reads other forms too."""
    try:
        object_id = str(UUID(text))
    except ValueError:
        object_id = None
    if object_id is None or object_id != text.lower():
        raise argparse.ArgumentTypeError(f"{text!r} is not an object id, which is a UUID")
    return object_id


if __name__ == "__main__":
    sys.exit(main())
