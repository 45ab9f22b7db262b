"""The table of used claim links in memory, with the same rules as its SQL."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from shared.domain.access.claims import Claim
from shared.errors import DatabaseUnavailable


class MemoryClaims:
    """`is_away` makes it fail, and `dies` lets each commit fail."""

    def __init__(self, now: Callable[[], datetime], is_away: Callable[[], bool] = lambda: False) -> None:
        self.now = now
        self.is_away = is_away
        self.dies = False
        self.used: dict[Claim, datetime] = {}
        self._locks: defaultdict[Claim, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def use(self, claim: Claim) -> AsyncIterator[datetime | None]:
        async with self._locks[claim]:
            self._answer()
            used_at = self.used.get(claim)
            yield used_at
            if self.dies:
                raise DatabaseUnavailable("died before the commit")
            self.used.setdefault(claim, self.now())

    def _answer(self) -> None:
        if self.is_away():
            raise DatabaseUnavailable("away")
