"""Sends signals to bots whose license has a delay, once the delay has passed.

Their connections are in groups of their own (symbol.ES.delay900). A signal is published as always; the
relay's timer sends its message from the outbox again, to the groups of each delay that is in use. So a
delayed signal comes up to one interval of the timer later than its delay.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from shared.domain.market.messages import group_of, heartbeats_by_group
from shared.errors import Unavailable

# A batch notes what it has sent in one transaction, which the database ends after 30 s.
BATCH = 200
BATCH_S = 10.0
# A run ends after so many batches of a delay, and leaves the rest to the next run.
MAX_BATCHES = 10

log = logging.getLogger(__name__)


class Hub(Protocol):
    async def send_to_group(self, group: str, payload: bytes) -> None: ...


class DelayedEntry(Protocol):
    @property
    def symbol(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def payload(self) -> bytes: ...


class DelayedBatch(Protocol):
    @property
    def entries(self) -> Sequence[DelayedEntry]: ...
    async def sent(self, symbol: str, sequence: int) -> None: ...


class DelayedFeeds(Protocol):
    async def begin(self, delay_s: int) -> None: ...
    async def delays(self) -> list[int]: ...
    async def sent_sequences(self) -> dict[int, dict[str, int]]: ...
    def batch(self, delay_s: int, *, limit: int) -> AbstractAsyncContextManager[DelayedBatch]: ...


class DelayedSignals:
    """Delivers at least once and in order per symbol and delay. `relay` and `heartbeat` raise Unavailable."""

    def __init__(self, *, hub: Hub, feeds: DelayedFeeds, universe: Sequence[str]) -> None:
        """`universe` are the symbols that heartbeats name in any case."""
        self._hub = hub
        self._feeds = feeds
        self._universe = universe
        self._begun: set[int] = set()

    async def want(self, delay_s: int) -> None:
        """Makes sure that signals are sent under this delay; asks the database once a process.

        If it is unavailable, a later call does it. Without heartbeats, a bot negotiates again.
        """
        if delay_s not in self._begun:
            try:
                await self._feeds.begin(delay_s)
            except Unavailable as error:
                log.warning("a delay of %s s may not be sent yet: %s", delay_s, error.internal)
            else:
                self._begun.add(delay_s)

    async def relay(self) -> int:
        """Sends what is due under every delay; returns the number of messages."""
        return sum([await self._relay(delay_s) for delay_s in await self._feeds.delays()])

    async def _relay(self, delay_s: int) -> int:
        total = 0
        for _ in range(MAX_BATCHES):
            sent, is_more = await self._send_batch(delay_s)
            total += sent
            if not is_more:
                break
        return total

    async def _send_batch(self, delay_s: int) -> tuple[int, bool]:
        """Sends one batch; returns how many messages went out, and whether there may be more to send now."""
        clock = asyncio.get_running_loop().time
        ends_at, sent = clock() + BATCH_S, 0
        async with self._feeds.batch(delay_s, limit=BATCH) as batch:
            for entry in batch.entries:
                try:
                    await self._hub.send_to_group(group_of(entry.symbol, delay_s), entry.payload)
                except Unavailable as error:
                    log.warning("delayed signals wait for the realtime service: %s", error.internal)
                    return sent, False
                await batch.sent(entry.symbol, entry.sequence)
                sent += 1
                if clock() >= ends_at:
                    return sent, False
            return sent, len(batch.entries) == BATCH

    async def heartbeat(self, event_at: datetime) -> None:
        """Sends the connections of each delay the last sequence of each symbol that was sent to them.

        Not what they may fetch by now, because a bot would take a message that is on its way for lost.
        """
        delays = await self._feeds.delays()
        sent = await self._feeds.sent_sequences() if delays else {}
        for delay_s in delays:
            last = dict.fromkeys(self._universe, 0) | sent.get(delay_s, {})
            for group, message in heartbeats_by_group(last, event_at, delay_s):
                try:
                    await self._hub.send_to_group(group, message)
                except Unavailable as error:
                    log.warning("a delayed heartbeat is left out: %s", error.internal)
                    return
