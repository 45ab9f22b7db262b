"""Collects the status of the system for operators: counts, outbox, delays, feeds and models."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.confidence.models import StoredModel
from shared.domain.market.bars import FeedState
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.feeds import (
    Coverage,
    FeedHealth,
    Span,
    covered,
    feed_states,
    spans_of_strays,
    spans_to_cover,
)
from shared.domain.market.signals import Latency
from shared.domain.market.test_stream import TEST_SYMBOL
from shared.domain.payments.inbox import Backlog
from shared.errors import Unavailable
from shared.services.market_clock import MarketClock
from shared.version import VERSION

LATENCY_WINDOW = timedelta(minutes=15)


class Outbox(Protocol):
    async def depth(self) -> tuple[int, float]: ...


class Payments(Protocol):
    async def backlog(self) -> Backlog: ...


class Signals(Protocol):
    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]: ...
    async def latency_ms(self, since: datetime) -> Latency: ...


class Bars(Protocol):
    async def feeds(self) -> list[FeedState]: ...
    async def newest_bars(self, spans: Sequence[Span]) -> list[FeedState]: ...
    async def coverage(self, spans: Sequence[Span]) -> list[Coverage]: ...


class Models(Protocol):
    async def champion(self, strategy: str) -> StoredModel | None: ...


class Counts(Protocol):
    async def totals(self) -> dict[str, int]: ...


class OutboxStatus(msgspec.Struct, frozen=True):
    """The number of unsent messages, and the age of the oldest in seconds."""

    depth: int
    oldest_s: float


class ModelInUse(msgspec.Struct, frozen=True):
    """The champion of one strategy; `version` is null if none was ever trained."""

    strategy: str
    version: str | None
    basis: str
    trained_at: datetime | None


class Status(msgspec.Struct, frozen=True):
    """The status of the whole system; `counts` is null while Redis is unavailable.

    `payments` are the events of payment vendors; the age is of the oldest whose subscription is known.
    `publish_latency` is the time from the receipt of a bar to the publication of its signal.
    """

    version: str
    now: datetime
    market_now: datetime
    counts: dict[str, int] | None
    outbox: OutboxStatus
    payments: Backlog
    publish_latency: Latency
    last_sequences: dict[str, int]
    feeds: list[FeedHealth]
    models: list[ModelInUse]


class StatusService:
    def __init__(
        self,
        *,
        outbox: Outbox,
        payments: Payments,
        signals: Signals,
        bars: Bars,
        models: Models,
        counters: Counts,
        strategies: Sequence[str],
        now: Callable[[], datetime],
        market_clock: MarketClock,
        calendars: MarketCalendars,
    ) -> None:
        self._outbox = outbox
        self._payments = payments
        self._signals = signals
        self._bars = bars
        self._models = models
        self._counters = counters
        self._strategies = strategies
        self._now = now
        self._market_clock = market_clock
        self._calendars = calendars

    async def status(self) -> Status:
        """Raises Unavailable if Postgres is unavailable."""
        now, market_now = self._now(), await self._market_clock.now()
        depth, oldest_s = await self._outbox.depth()
        return Status(
            version=VERSION,
            now=now,
            market_now=market_now,
            counts=await self._counts(),
            outbox=OutboxStatus(depth, round(oldest_s, 3)),
            payments=await self._payments.backlog(),
            publish_latency=await self._signals.latency_ms(now - LATENCY_WINDOW),
            last_sequences=await self._last_sequences(),
            feeds=await self._feeds(market_now),
            models=[await self._in_use(strategy) for strategy in self._strategies],
        )

    async def _feeds(self, market_now: datetime) -> list[FeedHealth]:
        feeds = await self._in_session(await self._bars.feeds())
        spans = spans_to_cover(feeds, self._calendars)
        found = {coverage.symbol: coverage for coverage in await self._bars.coverage(spans)}
        healths = feed_states(feeds, self._calendars, market_now)
        return [
            covered(health, span, found[span.symbol]) for health, span in zip(healths, spans, strict=True)
        ]

    async def _in_session(self, feeds: Sequence[FeedState]) -> list[FeedState]:
        """The feeds, judged by their newest bar in session: one outside of it would hide holes."""
        spans = spans_of_strays(feeds, self._calendars)
        found = {feed.symbol: feed for feed in await self._bars.newest_bars(spans)} if spans else {}
        return [found.get(feed.symbol, feed) for feed in feeds]

    async def _last_sequences(self) -> dict[str, int]:
        """Those of live symbols; the test stream says nothing of the system's work."""
        last = await self._signals.last_sequences(None)
        return {symbol: sequence for symbol, sequence in last.items() if symbol != TEST_SYMBOL}

    async def _counts(self) -> dict[str, int] | None:
        try:
            return await self._counters.totals()
        except Unavailable:
            return None

    async def _in_use(self, strategy: str) -> ModelInUse:
        model = await self._models.champion(strategy)
        if model is None:
            return ModelInUse(strategy, None, "base_rate", None)
        return ModelInUse(strategy, model.version, model.basis, model.created_at)
