"""Stores where customers want to be notified; what is secret of it is sealed."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from shared.adapters.postgres.database import Database
from shared.domain.notifications.destinations import Destination
from shared.sql import queries

RESEALED_AT_ONCE = 100
_SQL = queries("destinations")


class DestinationStore:
    """Every method raises Unavailable. Methods with an account run under row-level security."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, destination: Destination, most: int) -> bool:
        """Adds it; False if its account has `most` already."""
        values = msgspec.structs.asdict(destination) | {"most": most}
        async with self._database.transaction(account_id=destination.account_id) as connection:
            await connection.execute(_SQL["lock_account"], values)
            return bool((await connection.execute(_SQL["add"], values)).rowcount)

    async def get(self, account_id: str, destination_id: str) -> Destination | None:
        """The account's destination, None if it has none of this id."""
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = connection.cursor(row_factory=class_row(Destination))
            await cursor.execute(_SQL["get"], {"destination_id": destination_id})
            return await cursor.fetchone()

    async def delete(self, account_id: str, destination_id: str) -> bool:
        """Whether there was one to delete."""
        named = {"account_id": account_id, "destination_id": destination_id}
        async with self._database.transaction(account_id=account_id) as connection:
            return bool((await connection.execute(_SQL["delete"], named)).rowcount)

    async def reseal(self, destination: Destination, sealed: bytes, sealed_by: str) -> bool:
        """Stores what is sealed again; False if it has changed since `destination` was read."""
        async with self._database.transaction(account_id=destination.account_id) as connection:
            values = {
                "destination_id": destination.destination_id,
                "sealed": sealed,
                "sealed_by": sealed_by,
                "former": destination.sealed,
            }
            return bool((await connection.execute(_SQL["seal"], values)).rowcount)

    async def find(self, destination_id: str) -> Destination | None:
        """For timers: the destination, of any account."""
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=class_row(Destination))
            await cursor.execute(_SQL["get"], {"destination_id": destination_id})
            return await cursor.fetchone()

    async def sealed_by_others(self, sealed_by: str) -> list[Destination]:
        """For timers: at most RESEALED_AT_ONCE destinations that are sealed under another key."""
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=class_row(Destination))
            await cursor.execute(
                _SQL["sealed_by_others"], {"sealed_by": sealed_by, "limit": RESEALED_AT_ONCE}
            )
            return await cursor.fetchall()

    async def end(self, destination_id: str, because: str, now: datetime) -> None:
        """For timers: notifies it no more, and says why."""
        async with self._database.transaction(jobs=True) as connection:
            values = {"destination_id": destination_id, "because": because[:256], "now": now}
            await connection.execute(_SQL["end"], values)

    async def list(self, account_id: str) -> list[Destination]:
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = connection.cursor(row_factory=class_row(Destination))
            await cursor.execute(_SQL["list"], {"account_id": account_id})
            return await cursor.fetchall()
