"""Remembers which claim links were used, so that each gives one key, and finds the licenses of a holder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
from psycopg.rows import scalar_row

from shared.adapters.postgres.database import Database
from shared.domain.access.claims import Claim
from shared.domain.access.licenses import License
from shared.sql import queries

# Each use holds a connection while Table Storage stores the key, so few of them may run at once.
AT_ONCE = 2
_SQL = queries("claims")


class ClaimStore:
    """Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def use(self, claim: Claim) -> AsyncIterator[datetime | None]:
        """Runs the block while `claim` is locked, and marks it as used unless the block raises.

        Yields when it was used before, or None if this is the first use. Another use of the same claim, in
        any process, waits for the end of the block.
        """
        asked = {"license_id": claim.license_id, "purpose": claim.purpose, "issued_at": claim.issued_at}
        async with self._turns, self._database.transaction() as connection:
            is_first = await (await connection.execute(_SQL["use"], asked)).fetchone()
            if is_first is not None:
                yield None
                return
            # A statement of its own, which sees the row that made the first one wait.
            used = await (await connection.execute(_SQL["used_at"], asked)).fetchone()
            assert used is not None
            yield used[0]

    async def with_email(self, email: str, limit: int) -> list[License]:
        """At most `limit` licenses, of whatever status, of the holder of this mail address in lower case."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["licenses_of_mail"], {"email": email, "limit": limit})
            return msgspec.convert(await cursor.fetchall(), list[License])
