"""Migrates the schema of a deployment and admits the app's login: `python -m operations.migrate plan|apply`.

The database is DATABASE_URL's, and its user must be the administrator. A migration is safe beside live
traffic: it waits one second at most for a lock and four seconds at most for a statement, or it changes
nothing. One migrator runs at a time; the others wait for it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.conninfo import make_conninfo

from operations.command import run_command
from operations.database import connect, connection_parameters, uses_entra, with_login
from shared.adapters.postgres.logins import (
    LoginState,
    create_entra_login,
    grant_roles,
    login_state,
    unfitness,
)
from shared.adapters.postgres.migrations import migrate, pending_migrations
from shared.errors import ConfigurationError
from shared.settings_reader import SettingsReader


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
    if options.command == "plan":
        await _plan(parameters, options.login)
    else:
        await _apply(parameters, options.login, options.login_object_id)
    return 0


async def _plan(parameters: dict[str, Any], login: str | None) -> None:
    missing = await pending_migrations(make_conninfo(**parameters))
    for name in missing:
        print(f"would apply {name}")
    if not missing:
        print("no migration is missing")
    if login is not None:
        async with await connect(parameters) as connection:
            state = await login_state(connection, login)
        print(f"login {login}: {_described(state)}")


async def _apply(parameters: dict[str, Any], login: str | None, object_id: str | None) -> None:
    applied = await migrate(make_conninfo(**parameters))
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("no migration was missing")
    if login is not None:
        await _admit(parameters, login, object_id)


async def _admit(parameters: dict[str, Any], login: str, object_id: str | None) -> None:
    """Makes a missing login and grants it the roles; refuses one that is above row-level security."""
    async with await connect(parameters) as connection:
        state = await login_state(connection, login)
        if state is None:
            if object_id is None:
                raise ConfigurationError(f"There is no login {login}; --login-object-id makes it.")
            await create_entra_login(parameters, login, object_id)
            print(f"made login {login}")
        elif state.is_above_security:
            raise ConfigurationError(f"{login} is above row-level security: the app must not run as it.")
        await grant_roles(connection, login)
        print(f"login {login}: {_described(await login_state(connection, login))}")


def _described(state: LoginState | None) -> str:
    if state is None:
        return "missing"
    parts = [
        "may log in" if state.can_login else "may not log in",
        "takes on both roles" if state.has_roles else "cannot take on the roles",
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
    parser.add_argument("--login", metavar="NAME", help="the app's login, which gets the two roles")
    parser.add_argument(
        "--login-object-id",
        metavar="UUID",
        type=_object_id,
        help="object id of the identity behind the login: makes the login if it is missing",
    )
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
