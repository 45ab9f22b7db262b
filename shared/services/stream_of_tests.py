"""Publishes the test stream through the ordinary path of signals."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from shared.domain.access.licenses import Grant
from shared.domain.market.messages import SignalMessage
from shared.domain.market.signals import SignalRequest
from shared.domain.market.test_stream import made_up_signal, name_of

Publish = Callable[[Grant, SignalRequest, str | None], Awaitable[tuple[SignalMessage, bool]]]


class StreamOfTestSignals:
    """The signals that a test key sees, whatever the markets do."""

    def __init__(self, publish: Publish, publisher: Grant) -> None:
        self._publish = publish
        self._publisher = publisher

    async def run(self, now: datetime) -> SignalMessage:
        """Publishes the signal of the present minute, once however often this runs; raises Unavailable."""
        minute = now.replace(second=0, microsecond=0)
        message, _ = await self._publish(self._publisher, made_up_signal(minute), name_of(minute))
        return message
