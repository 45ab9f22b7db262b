"""Counts what the service did, and sums it over all processes for the status page."""

import asyncio
import logging
import threading
from collections import Counter, defaultdict
from typing import Protocol

from shared.errors import Unavailable

FLUSH_AFTER_S = 1.0

log = logging.getLogger(__name__)


class CounterStore(Protocol):
    async def add_counts(self, counts: dict[str, int]) -> None: ...
    async def counts(self) -> dict[str, int]: ...


class Counters:
    """Counts in memory and adds them to the shared store about once a second while there is traffic.

    Counts are for monitoring and not for billing: if a process dies, its unflushed counts are lost.
    """

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._flush: asyncio.Task[None] | None = None
        self._flushed: Counter[str] = Counter()
        self._swapping = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        self._counts[name] += count
        if self._flush is None:
            self._flush = asyncio.get_running_loop().create_task(self._flush_later())

    async def totals(self) -> dict[str, int]:
        """The sums over all processes, and this one's unflushed counts; raises Unavailable."""
        return dict(Counter(await self._store.counts()) + Counter(self._counts))

    def process_totals(self) -> dict[str, int]:
        """The counts of this process since its start; any thread may call this."""
        with self._swapping:
            return dict(self._flushed + Counter(dict(self._counts)))

    async def _flush_later(self) -> None:
        try:
            await asyncio.sleep(FLUSH_AFTER_S)
            with self._swapping:
                counts, self._counts = self._counts, defaultdict(int)
                self._flushed.update(counts)
            try:
                await self._store.add_counts(counts)
            except Unavailable:
                with self._swapping:
                    self._counts = defaultdict(int, Counter(counts) + Counter(self._counts))
                    self._flushed.subtract(counts)
        finally:
            self._flush = None
