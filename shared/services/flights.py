"""Shares one evaluation among all requests that ask for the same state at the same time."""

import asyncio

import msgspec

from shared.domain.confidence.answers import EncodedAnswer, ModelOutput


class Computed(msgspec.Struct, gc=False):
    """`answer` is for requests that were waiting for the value; the first of them encodes it."""

    output: ModelOutput
    computed_at: float  # on the service's clock
    answer: EncodedAnswer | None = None


class Flight:
    """One state's evaluation, here or in another process, and the requests of this process that wait for it.

    Each request has a future of its own, so that cancelling one does not cancel the others.
    """

    __slots__ = ("_waiting", "found", "has_failed")

    def __init__(self) -> None:
        self.found: Computed | None = None
        self.has_failed = False
        self._waiting: list[asyncio.Future[Computed]] = []

    @property
    def is_under_way(self) -> bool:
        return self.found is None and not self.has_failed

    def join(self) -> asyncio.Future[Computed]:
        future: asyncio.Future[Computed] = asyncio.get_running_loop().create_future()
        if self.found is None:
            self._waiting.append(future)
        else:
            future.set_result(self.found)
        return future

    def land(self, found: Computed) -> None:
        """Gives `found` to every waiting request, and to those that join later."""
        self.found = found
        for future in self._waiting:
            if not future.done():
                future.set_result(found)
        self._waiting.clear()

    def fail(self, error: Exception) -> None:
        self.has_failed = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
