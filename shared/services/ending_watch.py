"""Learns within seconds which licenses and keys have ended, from the source of truth and not from Redis.

Redis may hang while a license ends, and come back with the record from before. So each process reads the
list of recent endings itself: in the background while it serves requests, and before a request if it was
idle. Until ENFORCED_FOR after an ending, it trusts its own reads of that license or key alone, not Redis.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.access.endings import ENFORCED_FOR, Ending
from shared.domain.limits import ClockSkew
from shared.errors import Unavailable

# A busy process reads the list this often. A request waits for a read only if the last one is too old.
READ_EVERY = timedelta(seconds=2)
TRUSTED_FOR = timedelta(seconds=3)
# Far more than end in ENFORCED_FOR.
MAX_ENDINGS = 10_000

log = logging.getLogger(__name__)


class EndingReader(Protocol):
    async def endings(self, since: datetime, until: datetime, limit: int) -> list[Ending]: ...


class EndingWatch:
    """The recent endings that one event loop knows.

    From `due_at` on, a request must call `catch_up`. `noticed` is called with the licenses (ids) and keys
    (public ids) that have ended since the last read.
    """

    def __init__(
        self,
        reader: EndingReader,
        *,
        now: Callable[[], datetime],
        noticed: Callable[[Collection[str]], None],
        start: datetime,
    ) -> None:
        """`start` is earlier than any read."""
        self.due_at = start
        self._reader = reader
        self._now = now
        self._noticed = noticed
        self._read_at = start
        self._reading: asyncio.Task[None] | None = None
        self._failing = False
        self._ended: dict[str, datetime] = {}
        self._known: frozenset[Ending] = frozenset()

    def has_ended(self, subject: str, now: datetime) -> bool:
        """Whether a license or key has an ending so recent that records in Redis may be out of date."""
        at = self._ended.get(subject)
        return at is not None and now - at < ENFORCED_FOR

    async def catch_up(self, now: datetime) -> None:
        """Starts a read of the list; waits for it if the last one is too old.

        If the list cannot be read, requests go on: the records in Redis decide, as far as there are any.
        """
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read(now))
            self._reading.add_done_callback(self._end_read)
        if now - self._read_at > TRUSTED_FOR and not self._failing:
            # Shielded, because other requests wait for the read even if the first one is cancelled.
            await asyncio.shield(self._reading)

    async def _read(self, now: datetime) -> None:
        try:
            found = await self._reader.endings(now - ENFORCED_FOR, now + ClockSkew.OPERATOR, MAX_ENDINGS)
        except Unavailable as error:
            if not self._failing:
                log.warning("recent endings cannot be read, Redis alone tells them: %s", error.internal)
            self._failing = True
        except Exception:
            # A defect in the reading must not refuse every request of every bot.
            if not self._failing:
                log.exception("recent endings cannot be read, Redis alone tells them")
            self._failing = True
        else:
            self._failing = False
            self._read_at = now
            # With its time, because a license that was suspended and resumed can end a second time.
            new = {ending.subject for ending in found if ending not in self._known}
            self._known = frozenset(found)
            self._ended = {ending.subject: ending.at for ending in found}
            if new:
                self._noticed(new)
        self.due_at = self._now() + READ_EVERY

    def _end_read(self, done: asyncio.Task[None]) -> None:
        self._reading = None
        if not done.cancelled():
            # Retrieved, so that asyncio does not report an error that no request waits for any more.
            done.exception()
