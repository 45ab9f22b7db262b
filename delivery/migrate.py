"""`python -m delivery.migrate plan|apply`: the schema of a deployment, and the app's login to it.

The database is DATABASE_URL's, reached as its administrator. Beside live traffic: a migration waits a
second at most for a lock and runs four seconds at most for a statement, or changes nothing. One
migrator at a time; the others wait for it.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.conninfo import make_conninfo

from delivery.database import connect, connection_parameters, is_entra, with_login
from delivery.reporting import finish
from shared.adapters.postgres.logins import (
    LoginState,
    create_entra_login,
    grant_roles,
    login_state,
    unfitness,
)
from shared.adapters.postgres.migrations import migrate, pending_migrations
from shared.errors import ConfigurationError


def main(argv: Sequence[str] | None = None) -> int:
    """0 when it is done (or planned), 1 when it was refused, 2 when it was asked wrongly."""
    options = _parser().parse_args(argv)
    return finish(_run(options, os.environ))


async def _run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    entra = is_entra(environment, asked=options.entra)
    parameters = connection_parameters(environment, entra=entra)
    parameters = await with_login(environment, parameters, entra=entra)
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
        print(f"login {login}: {_told(state)}")


async def _apply(parameters: dict[str, Any], login: str | None, object_id: str | None) -> None:
    applied = await migrate(make_conninfo(**parameters))
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("no migration was missing")
    if login is not None:
        await _admit(parameters, login, object_id)


async def _admit(parameters: dict[str, Any], login: str, object_id: str | None) -> None:
    """The login made where it is missing, and given the roles; refused where no policy would bind it."""
    async with await connect(parameters) as connection:
        state = await login_state(connection, login)
        if state is None:
            if object_id is None:
                raise ConfigurationError(f"There is no login {login}; --login-object-id lets it be made.")
            await create_entra_login(parameters, login, object_id)
            print(f"made login {login}")
        elif state.is_above_security:
            raise ConfigurationError(f"{login} is above row-level security: the app must not run as it.")
        await grant_roles(connection, login)
        print(f"login {login}: {_told(await login_state(connection, login))}")


def _told(state: LoginState | None) -> str:
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
        prog="python -m delivery.migrate", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("command", choices=("plan", "apply"), help="say what is missing, or apply it")
    parser.add_argument(
        "--entra",
        action="store_true",
        help="log in with a token of Entra ID (always, where AZURE_CLIENT_ID is set)",
    )
    parser.add_argument("--login", metavar="NAME", help="the app's login, to be given the two roles")
    parser.add_argument(
        "--login-object-id",
        metavar="UUID",
        type=_object_id,
        help="object id of the identity behind the login: makes the login where it is missing",
    )
    return parser


def _object_id(text: str) -> str:
    """A UUID in the form that Entra ID writes it, and no other of those that Python reads."""
    try:
        object_id = str(UUID(text))
    except ValueError:
        object_id = None
    if object_id is None or object_id != text.lower():
        raise argparse.ArgumentTypeError(f"{text!r} is not an object id, which is a UUID")
    return object_id


if __name__ == "__main__":
    sys.exit(main())
