"""Keeps the requests and mails that the stand-ins took in, for people and tests to read."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

type Json = dict[str, Any]

MAX_KEPT = 10_000


class Received:
    """The last MAX_KEPT entries of all vendors, each with a number that only grows."""

    def __init__(self) -> None:
        self._entries: deque[Json] = deque(maxlen=MAX_KEPT)
        self._number = 0
        self._arrived = asyncio.Condition()

    async def add(self, vendor: str, **values: object) -> Json:
        """Keeps an entry, and wakes the callers of `wait`."""
        self._number += 1
        entry: Json = {"number": self._number, "vendor": vendor, "at": time.time(), **values}
        async with self._arrived:
            self._entries.append(entry)
            self._arrived.notify_all()
        return entry

    def find(self, vendor: str | None = None, after: int = 0) -> list[Json]:
        """Entries with a higher number than `after`, of one vendor or of all, in the order of arrival."""
        return [
            entry
            for entry in self._entries
            if entry["number"] > after and (vendor is None or entry["vendor"] == vendor)
        ]

    async def wait(self, vendor: str | None, after: int, wait_s: float) -> list[Json]:
        """As `find`, but waits up to `wait_s` seconds for a first entry."""
        found: list[Json] = []

        def arrived() -> bool:
            found[:] = self.find(vendor, after)
            return bool(found)

        return await self._until(arrived, found, wait_s)

    async def _until(self, arrived: Callable[[], bool], found: list[Json], wait_s: float) -> list[Json]:
        try:
            async with asyncio.timeout(wait_s), self._arrived:
                await self._arrived.wait_for(arrived)
        except TimeoutError:
            arrived()
        return found
