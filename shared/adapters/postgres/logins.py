"""Creates the app's two logins on behalf of the server's administrator, and grants each its one role.

HTTP functions and timers have logins of their own. So no statement that runs under the login of the HTTP
functions can take the role of the timers, which reads across accounts.
"""

from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import Connection, translated
from shared.errors import ConfigurationError
from shared.sql import queries

MIN_SERVER_VERSION = 180_000  # uuidv7()
# The database in which Azure keeps the functions that create Entra ID logins.
MAINTENANCE_DATABASE = "postgres"
_SQL = queries("logins")


class LoginState(msgspec.Struct, frozen=True):
    """The rights of a login; `is_above_security` if row-level security does not apply to it."""

    can_login: bool
    is_above_security: bool
    roles: list[str]

    def is_fit_for(self, role: str) -> bool:
        """Whether the login can take `role`, and nothing more."""
        return self.can_login and not self.is_above_security and self.roles == [role]


class _Fitness(msgspec.Struct, frozen=True):
    server_version: int
    login: str
    database: str
    may_create: bool
    has_roles: bool


async def unfitness(connection: Connection) -> list[str]:
    """The reasons why this login cannot migrate this database; empty if it can. Raises Unavailable."""
    with translated():
        async with connection.cursor(row_factory=class_row(_Fitness)) as cursor:
            await cursor.execute(_SQL["fitness"])
            (found,) = await cursor.fetchall()
    problems = []
    if found.server_version < MIN_SERVER_VERSION:
        problems.append(f"the server is PostgreSQL {found.server_version // 10_000}, and 18 is required")
    if not found.may_create:
        problems.append(f"{found.login} may not create objects in the schema public of {found.database}")
    if not found.has_roles:
        problems.append(f"{found.login} may not create the roles signal_functions and signal_jobs")
    return problems


async def login_state(connection: Connection, login: str) -> LoginState | None:
    """The rights of `login`; None if there is no such login. Raises Unavailable."""
    with translated():
        async with connection.cursor(row_factory=class_row(LoginState)) as cursor:
            await cursor.execute(_SQL["login_state"], {"login": login})
            return await cursor.fetchone()


async def create_entra_login(parameters: dict[str, Any], login: str, object_id: str) -> None:
    """Creates the login of an Entra identity, through the maintenance database of the same server.

    Raises ConfigurationError if the server does not support Entra ID, and Unavailable.
    """
    with translated():
        async with await AsyncConnection.connect(
            **parameters | {"dbname": MAINTENANCE_DATABASE}, autocommit=True
        ) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["entra_function"])
            if not await cursor.fetchone():
                raise ConfigurationError(
                    f"There is no login {login}, and this server cannot create it from Entra ID: create it "
                    "first."
                )
            await connection.execute(_SQL["create_entra_login"], {"login": login, "object_id": object_id})


async def grant_role(connection: Connection, login: str, role: str) -> None:
    """Grants `login` this role alone; both roles must exist. Raises Unavailable."""
    with translated():
        await connection.execute(_SQL["name_login"], {"login": login, "role": role, "password": ""})
        await connection.execute(_SQL["grant_role"])


async def make_login(connection: Connection, login: str, role: str, password: str) -> None:
    """Makes a login with a password that can take this role alone. Raises Unavailable."""
    with translated():
        await connection.execute(_SQL["name_login"], {"login": login, "role": role, "password": password})
        await connection.execute(_SQL["make_login"])
        await connection.execute(_SQL["forget_password"])
    await grant_role(connection, login, role)
