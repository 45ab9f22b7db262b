"""What a database held at a moment, told so that a restored one can be held against it, row for row."""

from datetime import datetime, timedelta

import msgspec
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import JOBS_ROLE, Connection
from shared.sql import queries

# Rows older than this may be pruned meanwhile, or are too many to read.
REACH = timedelta(days=30)
# A row's time is that of the start of its transaction or request, which ends within 30 s: what was learnt
# of this long before the moment was committed by then.
SETTLED = timedelta(seconds=60)
TABLES = ("trades", "signals", "bars", "audit")
SQL = queries("restore")


class Rows(msgspec.Struct, frozen=True):
    """How many rows a table had in the span; `digest` differs where any of them does."""

    rows: int
    digest: str
    newest: datetime | None


class Observation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A database as it was at `at`."""

    at: datetime
    migrations: list[str]
    tables: dict[str, Rows]


async def observe(connection: Connection, at: datetime) -> Observation:
    """The database as it was at `at`, from what it holds now, in one consistent view that is ended again."""
    await begin(connection)
    try:
        cursor = connection.cursor(row_factory=scalar_row)
        applied = await (await cursor.execute(SQL["applied_until"], {"until": at})).fetchall()
        return Observation(at, applied, {table: await _rows(connection, table, at) for table in TABLES})
    finally:
        await connection.execute("rollback")


async def begin(connection: Connection) -> None:
    await connection.execute(SQL["begin_observation"])


async def become(connection: Connection, role: str, account_id: str = "") -> None:
    await connection.execute(SQL["take_role"], {"role": role, "account_id": account_id})


async def become_oneself(connection: Connection) -> None:
    await connection.execute(SQL["give_role_back"])


async def _rows(connection: Connection, table: str, at: datetime) -> Rows:
    # Row-level security hides trades even from their owner; it lets the jobs' role read them all.
    await become(connection, JOBS_ROLE) if table == "trades" else await become_oneself(connection)
    cursor = connection.cursor(row_factory=class_row(Rows))
    await cursor.execute(SQL[f"recorded_{table}"], {"since": at - REACH, "until": at - SETTLED})
    (found,) = await cursor.fetchall()
    await become_oneself(connection)
    return found
