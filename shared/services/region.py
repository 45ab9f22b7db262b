"""Says whether this region is the active one: whether its database accepts writes, or is a read replica."""

import asyncio
import time
from contextlib import suppress
from typing import Protocol

from shared.errors import SignalCloudError

# Front Door asks from each of its places; the database gets at most one query in this time from a process.
HOLD_S = 5.0
ASK_TIMEOUT_S = 2.0


class Database(Protocol):
    async def is_replica(self) -> bool: ...


class RegionService:
    """Asks the database itself, so that no setting and no person has to be right during a failover.

    Azure lets one of the two databases accept writes. A region whose database is a read replica, because it
    waits or because it was demoted, says so, and Front Door sends requests to the other region.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._active = True
        self._asked: tuple[float, asyncio.Task[None]] | None = None

    async def is_active(self) -> bool:
        """Whether the database accepts writes, at most 5 seconds old; never raises.

        While the database does not answer, the last answer holds, and True before the first: an outage of the
        database moves no request to a region that may be just as unable to serve it.
        """
        now = time.monotonic()
        if self._asked is None or now - self._asked[0] > HOLD_S:
            self._asked = (now, asyncio.get_running_loop().create_task(self._ask()))
        await asyncio.shield(self._asked[1])
        return self._active

    async def _ask(self) -> None:
        with suppress(TimeoutError, SignalCloudError):
            async with asyncio.timeout(ASK_TIMEOUT_S):
                self._active = not await self._database.is_replica()
