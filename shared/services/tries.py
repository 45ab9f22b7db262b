"""Bounds how often public routes are tried, over all processes."""

import logging
from collections.abc import Sequence
from typing import Protocol

from shared.domain.access.try_limits import TryLimit
from shared.errors import CacheUnavailable, TriesExceeded

log = logging.getLogger(__name__)


class TryCounts(Protocol):
    async def count_try(self, what: str, window_s: int) -> tuple[int, float]: ...


class Tries:
    def __init__(self, counts: TryCounts) -> None:
        self._counts = counts

    async def take(self, limits: Sequence[TryLimit]) -> None:
        """Counts one try under each limit; raises TriesExceeded, and CacheUnavailable if nothing counts.

        A refused try counts as well, so a caller that keeps trying waits until its window ends.
        """
        for each in limits:
            count, left_s = await self._counts.count_try(each.what, each.window_s)
            if count > each.limit:
                raise TriesExceeded(
                    f"This was tried more than {each.limit} times in {each.window_s // 3600 or 1} h. "
                    "Try again later.",
                    retry_after_s=left_s,
                )

    async def take_if_counted(self, limits: Sequence[TryLimit]) -> None:
        """As `take`, but passes while nothing counts, for what a limit does not protect."""
        try:
            await self.take(limits)
        except CacheUnavailable as error:
            log.warning("tries are not counted: %s", error.internal)
