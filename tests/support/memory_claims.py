"""The table of used claim links in memory, with the same rules as its SQL."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from shared.domain.access.claims import Claim
from shared.domain.access.licenses import License
from shared.errors import DatabaseUnavailable


class MemoryClaims:
    """`is_away` makes it fail, and `dies` lets each commit fail; `listed` are the licenses."""

    def __init__(self, now: Callable[[], datetime], is_away: Callable[[], bool] = lambda: False) -> None:
        self.now = now
        self.is_away = is_away
        self.dies = False
        self.listed: list[License] = []
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

    async def with_email(self, email: str, limit: int) -> list[License]:
        self._answer()
        return [each for each in self.listed if (each.email or "").lower() == email][:limit]

    def _answer(self) -> None:
        if self.is_away():
            raise DatabaseUnavailable("away")


class MemoryTestAccounts:
    """Remembers the accounts whose rows were removed."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    async def remove(self, account_id: str, license_id: str) -> None:
        self.removed.append(account_id)
