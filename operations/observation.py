"""Observes what a database held at a moment, so that a restored one can be compared with it, row by row."""

from datetime import datetime, timedelta

import msgspec
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import JOBS_ROLE, Connection
from shared.sql import queries

# Older rows may have been pruned in between, or are too many to read.
REACH = timedelta(days=30)
# A row's time is the start of its transaction or request, which ends within 30 s. So a row that is this much
# older than the moment was committed by then.
SETTLED = timedelta(seconds=60)
TABLES = ("trades", "signals", "bars", "audit")
SQL = queries("restore")


class Rows(msgspec.Struct, frozen=True):
    """How many rows a table had in the span; `digest` differs if any row does."""

    rows: int
    digest: str
    newest: datetime | None


class Observation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A database as it was at `at`."""

    at: datetime
    migrations: list[str]
    tables: dict[str, Rows]


async def observe(connection: Connection, at: datetime) -> Observation:
    """The database as it was at `at`, from its current rows, in one transaction that is rolled back."""
    await begin(connection)
    try:
        cursor = connection.cursor(row_factory=scalar_row)
        applied = await (await cursor.execute(SQL["applied_until"], {"until": at})).fetchall()
        return Observation(at, applied, {table: await _rows(connection, table, at) for table in TABLES})
    finally:
        await connection.execute("rollback")


async def begin(connection: Connection) -> None:
    await connection.execute(SQL["begin_observation"])


async def take_role(connection: Connection, role: str, account_id: str = "") -> None:
    await connection.execute(SQL["take_role"], {"role": role, "account_id": account_id})


async def return_role(connection: Connection) -> None:
    await connection.execute(SQL["give_role_back"])


async def _rows(connection: Connection, table: str, at: datetime) -> Rows:
    # Row-level security hides trades even from the table's owner; only the jobs' role may read all of them.
    await take_role(connection, JOBS_ROLE) if table == "trades" else await return_role(connection)
    cursor = connection.cursor(row_factory=class_row(Rows))
    await cursor.execute(SQL[f"recorded_{table}"], {"since": at - REACH, "until": at - SETTLED})
    (found,) = await cursor.fetchall()
    await return_role(connection)
    return found
