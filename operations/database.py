"""Connects to the database of a command: DATABASE_URL, by password or by a token of Entra ID.

The token is the Azure CLI's, as in a workflow that signed in by OIDC. On a machine in Azure that has an
identity of its own (IDENTITY_ENDPOINT is set), it is that of the identity that AZURE_CLIENT_ID names.
"""

from functools import partial
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operations.command import UsageError
from shared.adapters.identity import POSTGRES_SCOPE, Tokens, credential
from shared.adapters.postgres.database import Connection, login_parameters, translated
from shared.errors import ConfigurationError
from shared.settings_reader import SettingsReader

CONNECT_TIMEOUT_S = 10
# PgBouncer gives a server connection to each transaction, so a lock of a session holds nothing there.
PGBOUNCER_PORT = "6432"


def uses_entra(reader: SettingsReader, *, asked: bool) -> bool:
    """Whether a token is the password: it was asked for, or a deployment's identity is named."""
    return asked or bool(reader.optional("AZURE_CLIENT_ID"))


def connection_parameters(reader: SettingsReader, *, entra: bool) -> dict[str, Any]:
    """The parts of DATABASE_URL; raises UsageError naming every problem, never a value."""
    parameters = _parts(reader.text("DATABASE_URL"), reader)
    if not reader.problems:
        missing = [name for name in ("host", "user", "dbname") if name not in parameters]
        reader.problems.extend(f"DATABASE_URL names no {name}" for name in missing)
    if str(parameters.get("port")) == PGBOUNCER_PORT:
        reader.report(f"DATABASE_URL leads to PgBouncer ({PGBOUNCER_PORT}): use the server's own port, 5432")
    if entra and "password" in parameters:
        reader.report("DATABASE_URL has a password, but a token of Entra ID is to be the password")
    reader.check(UsageError)
    return {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "signal-cloud-operations"} | parameters


def _parts(url: str, reader: SettingsReader) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        reader.report("DATABASE_URL is not a PostgreSQL address")
        return {}


async def with_login(reader: SettingsReader, parameters: dict[str, Any], *, entra: bool) -> dict[str, Any]:
    """`parameters` that can log in now: under Entra ID with a token, which is valid for about an hour."""
    conninfo = make_conninfo(**parameters)
    if not entra:
        return await login_parameters(conninfo, None)
    client_id = reader.optional("AZURE_CLIENT_ID") or None
    is_managed = bool(reader.optional("IDENTITY_ENDPOINT"))
    async with Tokens(credential(client_id if is_managed else None)) as tokens:
        try:
            return await login_parameters(conninfo, partial(tokens.password, POSTGRES_SCOPE))
        except psycopg.OperationalError as error:
            raise ConfigurationError(f"Entra ID gives no token for Postgres: {error}") from error


async def connect(parameters: dict[str, Any]) -> Connection:
    """A connection in autocommit; raises Unavailable."""
    with translated():
        return await AsyncConnection.connect(**parameters, autocommit=True)
