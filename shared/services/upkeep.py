"""Keeps the system going: sends waiting messages and measures; makes partitions and deletes old rows."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.market.test_stream import RETENTION as TEST_RETENTION

# Sent messages stay for two days: longer than any delay after which they are sent again.
OUTBOX_RETENTION = timedelta(days=2)
# Bots that lost their connection replay signals up to this age.
SIGNAL_RETENTION = timedelta(days=90)
# Training and replays use bars up to this age.
BAR_RETENTION = timedelta(days=730)
# The uses of claim links stay longer than any link is good.
CLAIM_RETENTION = timedelta(days=30)
# Counts of misuse and hashed addresses; docs/security.md promises this.
MISUSE_RETENTION = timedelta(days=90)
# Sent notifications stay so long, so that receivers can have them again.
NOTIFICATION_RETENTION = timedelta(days=30)
MONTHS_AHEAD = 3


class UpkeepReport(msgspec.Struct, frozen=True):
    """Partitions created and rows deleted."""

    partitions: int
    outbox: int
    signals: int
    bars: int
    test_signals: int
    test_licenses: int
    claims: int
    notifications: int
    misuse: int


class UpkeepStore(Protocol):
    """Each method does a bounded amount of work, and raises Unavailable."""

    async def ensure_partitions(self, first: datetime, months_ahead: int = 0) -> int: ...
    async def prune_outbox(self, before: datetime) -> int: ...
    async def prune_signals(self, before: datetime) -> int: ...
    async def prune_test_signals(self, before: datetime) -> int: ...
    async def prune_bars(self, before: datetime) -> int: ...
    async def prune_claims(self, before: datetime) -> int: ...
    async def prune_notifications(self, before: datetime) -> int: ...
    async def prune_misuse(self, before: datetime) -> int: ...


class UpkeepService:
    """Trades are never deleted. Their future partitions are made here; recording a trade makes older ones."""

    def __init__(
        self,
        store: UpkeepStore,
        relay: Callable[[], Awaitable[object]],
        measure: Callable[[], Awaitable[None]],
        remove_test_licenses: Callable[[datetime], Awaitable[int]],
    ) -> None:
        """`relay` sends waiting messages, and `measure` then reads the status of the system.

        `remove_test_licenses` removes those that ended long ago, and returns their number.
        """
        self._store = store
        self._relay = relay
        self._measure = measure
        self._remove_test_licenses = remove_test_licenses

    async def relay_and_measure(self) -> None:
        """Sends the messages that could not be sent at once, then measures; raises Unavailable."""
        await self._relay()
        await self._measure()

    async def run(self, now: datetime) -> UpkeepReport:
        """Makes partitions and deletes old rows; repeating it changes nothing. Raises Unavailable."""
        return UpkeepReport(
            partitions=await self._store.ensure_partitions(now, MONTHS_AHEAD),
            outbox=await self._store.prune_outbox(now - OUTBOX_RETENTION),
            signals=await self._store.prune_signals(now - SIGNAL_RETENTION),
            bars=await self._store.prune_bars(now - BAR_RETENTION),
            test_signals=await self._store.prune_test_signals(now - TEST_RETENTION),
            test_licenses=await self._remove_test_licenses(now),
            claims=await self._store.prune_claims(now - CLAIM_RETENTION),
            notifications=await self._store.prune_notifications(now - NOTIFICATION_RETENTION),
            misuse=await self._store.prune_misuse(now - MISUSE_RETENTION),
        )
