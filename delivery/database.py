"""The database that a command is for: DATABASE_URL, where need be with a token of Entra ID for a password.

The account is the Azure CLI's, as in a workflow that signed in by OIDC; on a machine of Azure's with an
identity of its own (IDENTITY_ENDPOINT is set), it is the identity that AZURE_CLIENT_ID names.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from delivery.reporting import AskedWrongly
from shared.adapters.identity import POSTGRES_SCOPE, Tokens, credential
from shared.adapters.postgres.database import Connection, login_parameters, translated
from shared.errors import ConfigurationError

CONNECT_TIMEOUT_S = 10
# Hands its server connections to whoever has a transaction: locks of a session mean nothing there.
PGBOUNCER_PORT = "6432"


def is_entra(environment: Mapping[str, str], *, asked: bool) -> bool:
    """Whether a token is the password: asked for, or a deployment's identity is named."""
    return asked or bool(environment.get("AZURE_CLIENT_ID", "").strip())


def connection_parameters(environment: Mapping[str, str], *, entra: bool) -> dict[str, Any]:
    """What DATABASE_URL says; raises AskedWrongly naming every problem, never a value."""
    url = environment.get("DATABASE_URL", "").strip()
    if not url:
        raise AskedWrongly("DATABASE_URL is not set")
    try:
        parameters: dict[str, Any] = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise AskedWrongly("DATABASE_URL is not a PostgreSQL address") from error
    problems = [
        f"DATABASE_URL names no {name}" for name in ("host", "user", "dbname") if name not in parameters
    ]
    if str(parameters.get("port")) == PGBOUNCER_PORT:
        problems.append(
            f"DATABASE_URL leads to PgBouncer ({PGBOUNCER_PORT}): use the server's own port, 5432"
        )
    if entra and "password" in parameters:
        problems.append("DATABASE_URL has a password, where a token of Entra ID is to be one")
    if problems:
        raise AskedWrongly("; ".join(problems))
    return {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "signal-cloud-delivery"} | parameters


async def with_login(
    environment: Mapping[str, str], parameters: dict[str, Any], *, entra: bool
) -> dict[str, Any]:
    """`parameters` with what logs in now: under Entra ID a token, which holds for about an hour."""
    conninfo = make_conninfo(**parameters)
    if not entra:
        return await login_parameters(conninfo, None)
    client_id = environment.get("AZURE_CLIENT_ID", "").strip() or None
    managed = bool(environment.get("IDENTITY_ENDPOINT"))
    async with Tokens(credential(client_id if managed else None)) as tokens:
        try:
            return await login_parameters(conninfo, partial(tokens.password, POSTGRES_SCOPE))
        except psycopg.OperationalError as error:
            raise ConfigurationError(f"Entra ID gives no token for Postgres: {error}") from error


async def connect(parameters: dict[str, Any]) -> Connection:
    """A connection in autocommit; raises Unavailable."""
    with translated():
        return await AsyncConnection.connect(**parameters, autocommit=True)
