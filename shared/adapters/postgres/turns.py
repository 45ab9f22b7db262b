"""Shares a pool's connections among accounts: each has a few at a time, and waits for more without one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import TooManyQueries

RETRY_AFTER_S = 1.0


class _Queue:
    """The callers of one account: those that have a turn, and those that wait for one, in order."""

    def __init__(self, at_once: int) -> None:
        self.slots = asyncio.Semaphore(at_once)
        self.callers = 0


class AccountTurns:
    """Lets `at_once` callers of an account have a turn in this process, and `waiting` more wait for one.

    `refusal` is the text for all others, and for those that have waited `wait_s` seconds.
    """

    def __init__(self, *, at_once: int, waiting: int, wait_s: float, refusal: str) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._wait_s = wait_s
        self._refusal = refusal
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def turn(self, account_id: str) -> AsyncIterator[None]:
        """Runs the block in a turn of the account; raises TooManyQueries."""
        queue = self._queues.get(account_id)
        if queue is None:
            queue = self._queues[account_id] = _Queue(self._at_once)
        if queue.callers >= self._most:
            raise TooManyQueries(self._refusal, retry_after_s=RETRY_AFTER_S)
        queue.callers += 1
        try:
            try:
                async with asyncio.timeout(self._wait_s):
                    await queue.slots.acquire()
            except TimeoutError as error:
                raise TooManyQueries(self._refusal, retry_after_s=RETRY_AFTER_S) from error
            try:
                yield
            finally:
                queue.slots.release()
        finally:
            queue.callers -= 1
            if not queue.callers:
                del self._queues[account_id]
