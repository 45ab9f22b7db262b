"""Brings a database to the schema that this code expects."""

import asyncio

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from shared.adapters.postgres.database import Password, login_parameters, translated
from shared.errors import ConfigurationError, DatabaseUnavailable
from shared.sql import migrations, queries

CONNECT_TIMEOUT_S = 5
# The live version serves requests while a migration runs, and each of its statements may take 5 s. While a
# migration waits for a lock, all later statements wait behind it. So it gives up earlier, and tries again.
LOCK_TIMEOUT_MS = 1_000
STATEMENT_TIMEOUT_MS = 4_000
LOCK_ATTEMPTS = 20
LOCK_PAUSE_S = 1.5
_ROLE_ATTEMPTS = 5
_SQL = queries("migrations")


async def migrate(conninfo: str, password: Password | None = None) -> list[str]:
    """Applies the missing migrations, each in a transaction of its own; returns their names.

    Safe to run from several processes at once, and beside live traffic. Only the owner of the database may
    run it; if the roles are missing, the owner must also be allowed to create them. Raises Unavailable, and
    ConfigurationError for a migration that was changed after it was applied, that comes before an applied
    one, or that takes too long. Migrations of newer code stay untouched, so that the former version still
    runs while a new one is rolled out.
    """
    with translated():
        async with await _connect(conninfo, password) as connection:
            await connection.execute(_SQL["lock_migrations"])
            await _ensure_roles(connection)
            applied = []
            for name, script, checksum in await _missing(connection):
                await _apply(connection, name, script, checksum)
                applied.append(name)
            return applied


async def _apply(connection: AsyncConnection[TupleRow], name: str, script: bytes, checksum: str) -> None:
    """Applies one migration in one transaction; tries again while other transactions hold its locks."""
    limits = {"lock_timeout": str(LOCK_TIMEOUT_MS), "statement_timeout": str(STATEMENT_TIMEOUT_MS)}
    for attempt in range(LOCK_ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(_SQL["limit_migration"], limits)
                await connection.execute(script)
                await connection.execute(_SQL["record_migration"], {"name": name, "checksum": checksum})
        except psycopg.errors.LockNotAvailable as error:
            if attempt == LOCK_ATTEMPTS - 1:
                raise DatabaseUnavailable(
                    f"Migration {name} did not get its locks in {LOCK_ATTEMPTS} attempts and changed "
                    "nothing. Find the session that holds them in pg_stat_activity, then run it again.",
                    internal=str(error),
                ) from error
            await asyncio.sleep(LOCK_PAUSE_S)
        except psycopg.errors.QueryCanceled as error:
            raise ConfigurationError(
                f"A statement of migration {name} took longer than {STATEMENT_TIMEOUT_MS} ms and was rolled "
                "back, because live requests would wait for it. Split it, or move the work out of the "
                "migration."
            ) from error
        else:
            return


async def pending_migrations(conninfo: str, password: Password | None = None) -> list[str]:
    """The names of the missing migrations; raises as `migrate` does, and changes nothing."""
    with translated():
        async with await _connect(conninfo, password) as connection:
            return await missing_migrations(connection)


async def missing_migrations(connection: AsyncConnection[TupleRow]) -> list[str]:
    """`pending_migrations` on a connection that may read which ones were applied."""
    return [name for name, _, _ in await _missing(connection)]


async def _connect(conninfo: str, password: Password | None) -> AsyncConnection[TupleRow]:
    parameters = {"connect_timeout": CONNECT_TIMEOUT_S} | await login_parameters(conninfo, password)
    return await AsyncConnection.connect(**parameters, autocommit=True)


async def _ensure_roles(connection: AsyncConnection[TupleRow]) -> None:
    # Roles belong to the server, but the lock to one database: a migration of another database may create
    # the same role at the same moment. The statement that loses this race finds the role when it runs again.
    for attempt in range(_ROLE_ATTEMPTS):
        try:
            await connection.execute(_SQL["ensure_roles"])
        except (
            psycopg.errors.DuplicateObject,
            psycopg.errors.UniqueViolation,
            psycopg.errors.InternalError_,  # "tuple concurrently updated", of a grant
        ):
            if attempt == _ROLE_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.05 * (attempt + 1))
        else:
            return


async def _missing(connection: AsyncConnection[TupleRow]) -> list[tuple[str, bytes, str]]:
    known = migrations()
    cursor = await connection.execute(_SQL["is_migrated"])
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return known
    cursor = await connection.execute(_SQL["applied_migrations"])
    applied: dict[str, str] = dict(await cursor.fetchall())
    changed = [name for name, _, checksum in known if applied.get(name, checksum) != checksum]
    if changed:
        raise ConfigurationError(
            f"Migrations were changed after they were applied: {', '.join(changed)}. "
            "Restore them and put the change into a new migration."
        )
    missing = [migration for migration in known if migration[0] not in applied]
    if missing and applied and missing[0][0] < max(applied):
        raise ConfigurationError(f"Migration {missing[0][0]} comes before one that is already applied.")
    return missing
