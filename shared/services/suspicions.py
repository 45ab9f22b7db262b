"""Finds trades that do not fit the signals that they claim, and lists them for operators."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.trading.signal_fit import SuspiciousTrade

# Trades of signals up to this age are looked at.
REVIEWED = timedelta(days=1)
KEPT = timedelta(days=30)
MAX_LISTED = 500


class SuspicionStore(Protocol):
    async def find(self, *, since: datetime, now: datetime) -> int: ...
    async def forget(self, before: datetime) -> int: ...
    async def list(self, limit: int) -> list[SuspiciousTrade]: ...


class SuspiciousTrades(msgspec.Struct, frozen=True):
    """Suspicious trades, the newest of each account first.

    They train nothing; docs/operations.md says what to do about them.
    """

    trades: list[SuspiciousTrade]


class SuspicionService:
    """The jobs find and store, because the functions may only read trades of the caller's own account."""

    def __init__(self, store: SuspicionStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def review(self) -> int:
        """Stores what is new, and forgets what is old; returns the number of new entries. Raises
        Unavailable.
        """
        now = self._now()
        await self._store.forget(now - KEPT)
        return await self._store.find(since=now - REVIEWED, now=now)

    async def newest(self, limit: int) -> SuspiciousTrades:
        """At most `limit` entries: the newest of each account, then the second newest of each, and so on.

        So no account hides another. Raises Unavailable.
        """
        return SuspiciousTrades(await self._store.list(limit))
