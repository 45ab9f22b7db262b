"""Counts the open connections of each license, and remembers which client access URLs have connected."""

import asyncio
from collections.abc import Collection, Sequence

import msgspec
from psycopg.rows import scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.domain.access.connections import ConnectedSession, Opening, Verdict, judge_openings
from shared.domain.access.sessions import SessionRecord
from shared.sql import queries

# One connection is for `record`, of which a process makes one at a time, and one for all other methods.
CONNECTIONS_POOL_SIZE = 2
MAX_PRUNED = 5_000
MAX_EXCESS = 1_000
_SQL = queries("connections")


class ConnectionStore:
    """Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._beside = asyncio.Semaphore(CONNECTIONS_POOL_SIZE - 1)

    async def record(self, openings: Sequence[Opening], closed: Sequence[str]) -> list[Verdict]:
        """Removes the `closed` connections, then judges the openings and adds those that may open.

        A lock on each license makes the counts exact over all processes.
        """
        async with self._database.transaction() as connection:
            if closed:
                await connection.execute(_SQL["close"], {"connection_ids": list(closed)})
            return await self._open(connection, openings) if openings else []

    @staticmethod
    async def _open(connection: Connection, openings: Sequence[Opening]) -> list[Verdict]:
        asked = {
            "license_ids": sorted({opening.license_id for opening in openings}),
            "nonces": [opening.nonce for opening in openings],
        }
        await connection.execute(_SQL["lock_licenses"], asked)
        # A statement of its own, which sees all that was committed before the lock.
        present: dict[str, int] = dict(await (await connection.execute(_SQL["count"], asked)).fetchall())
        used: dict[str, str] = dict(await (await connection.execute(_SQL["used_urls"], asked)).fetchall())
        verdicts = judge_openings(openings, present, used)
        opened = [opening for opening, verdict in zip(openings, verdicts, strict=True) if verdict == "opened"]
        if opened:
            added = {
                "connection_ids": [opening.connection_id for opening in opened],
                "license_ids": [opening.license_id for opening in opened],
                "nonces": [opening.nonce for opening in opened],
                "session_ids": [opening.session_id for opening in opened],
                "sessions": [_text_of(opening.session) for opening in opened],
            }
            await connection.execute(_SQL["open"], added)
        return verdicts

    async def unchecked(self, older_than_s: float, limit: int) -> list[str]:
        """At most `limit` licenses whose connections were not compared for so long, the oldest first."""
        async with self._beside, self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["unchecked"], {"older_than_s": older_than_s, "limit": limit})
            return await cursor.fetchall()

    async def counted(self, license_id: str) -> list[str]:
        """The license's connections that are counted now."""
        async with self._beside, self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["counted"], {"license_id": license_id})
            return await cursor.fetchall()

    async def compare(
        self, license_id: str, listed: Collection[str], added: Collection[str], older_than_s: float
    ) -> int:
        """Forgets a license's connections that are not `listed`, and returns how many; counts those `added`.

        Connections younger than `older_than_s` stay, because the service may not list them yet.
        """
        given = {
            "license_id": license_id,
            "listed": list(listed),
            "added": list(added),
            "older_than_s": older_than_s,
        }
        async with self._beside, self._database.transaction() as connection:
            await connection.execute(_SQL["lock_licenses"], {"license_ids": [license_id]})
            forgotten = await connection.execute(_SQL["forget_missing"], given)
            await connection.execute(_SQL["add"], given)
            await connection.execute(_SQL["note_check"], given)
            return forgotten.rowcount

    async def excess(self, license_id: str, limit: int) -> list[str]:
        """A license's youngest connections above `limit`, at most MAX_EXCESS."""
        async with self._beside, self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            given = {"license_id": license_id, "allowed": limit, "limit": MAX_EXCESS}
            return await (await cursor.execute(_SQL["excess"], given)).fetchall()

    async def connected_sessions(self, after: str, limit: int) -> list[ConnectedSession]:
        """At most `limit` sessions with open connections, by id, from the one that follows `after`."""
        async with self._beside, self._database.transaction(jobs=True) as connection:
            cursor = await connection.execute(_SQL["connected_sessions"], {"after": after, "limit": limit})
            return [
                ConnectedSession(license_id, session_id, _record_of(session), connection_ids)
                for license_id, session_id, session, connection_ids in await cursor.fetchall()
            ]

    async def prune_used_urls(self, older_than_s: float) -> int:
        """Deletes at most MAX_PRUNED marks of client access URLs that were used so long ago."""
        async with self._beside, self._database.transaction(jobs=True) as connection:
            given = {"older_than_s": older_than_s, "limit": MAX_PRUNED}
            return (await connection.execute(_SQL["prune_used_urls"], given)).rowcount


def _text_of(session: SessionRecord | None) -> str | None:
    return None if session is None else msgspec.json.encode(session).decode()


def _record_of(text: str | None) -> SessionRecord | None:
    return None if text is None else msgspec.json.decode(text, type=SessionRecord)
