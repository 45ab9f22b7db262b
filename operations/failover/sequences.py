"""Reads the state of a database replica, and raises the sequence counters after its promotion.

A replica lags behind. So after a forced promotion its counters may be lower than the sequences that bots have
seen, and a bot ignores a signal whose sequence it has seen. A gap is honest: bots ask for it, and learn that
it is empty.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from shared.adapters.postgres.database import Connection, translated
from shared.domain.market.instruments import INSTRUMENTS
from shared.sql import queries

# More signals of one symbol than are published while a replica lags: ten each second for almost three hours.
GAP = 100_000
_SQL = queries("failover")


class ReplicaState(msgspec.Struct, frozen=True):
    """`replayed_at` is None if the server was never a replica, or has replayed nothing since its start."""

    is_replica: bool
    replayed_at: datetime | None


async def replica_state(connection: Connection) -> ReplicaState:
    """The state of the server; raises Unavailable."""
    with translated():
        cursor = connection.cursor(row_factory=class_row(ReplicaState))
        (found,) = await (await cursor.execute(_SQL["replica_state"])).fetchall()
        return found


async def is_fenced(connection: Connection) -> bool:
    """Whether the server refuses writes by default, also after a promotion; raises Unavailable."""
    with translated():
        return await _is(connection, "is_fenced")


async def are_raised(connection: Connection) -> bool:
    """Whether `raise_counters` has run since this server's promotion; raises Unavailable on a replica."""
    with translated():
        return await _are_raised(connection, await _timeline(connection))


async def raise_counters(
    connection: Connection, symbols: Iterable[str] = INSTRUMENTS, gap: int = GAP
) -> dict[str, int]:
    """Raises every counter by `gap`, once after each promotion; returns the new ones, empty if it ran before.

    `symbols` get a counter even if this server knows no signal of them, because their first may be lost.
    Works while new transactions are read-only by default. `connection` is in autocommit. Raises Unavailable.
    """
    with translated():
        await connection.set_read_only(False)
        async with connection.transaction():
            timeline = await _timeline(connection)
            if await _are_raised(connection, timeline):
                return {}
            cursor = await connection.execute(_SQL["raise_counters"], {"gap": gap, "symbols": [*symbols]})
            raised: dict[str, int] = dict(await cursor.fetchall())
            await connection.execute(
                _SQL["record_raise"],
                {"timeline": timeline, "detail": Jsonb({"gap": gap, "last_sequences": raised})},
            )
            return raised


async def _timeline(connection: Connection) -> str:
    cursor = connection.cursor(row_factory=scalar_row)
    (found,) = await (await cursor.execute(_SQL["timeline"])).fetchall()
    return str(found)


async def _are_raised(connection: Connection, timeline: str) -> bool:
    return await _is(connection, "is_raised", timeline=timeline)


async def _is(connection: Connection, query: str, **parameters: str) -> bool:
    cursor = connection.cursor(row_factory=scalar_row)
    (found,) = await (await cursor.execute(_SQL[query], parameters)).fetchall()
    return bool(found)
