"""Feeds the engine over a store in memory, with a session in which every minute trades."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import Bar
from shared.domain.market.feeds import ClockSource
from shared.domain.market.signals import Signal
from shared.services.engine_memory import Checkpoint, decoded_checkpoints, decoded_state
from shared.services.signal_engine import EngineReport, SignalEngine
from shared.strategies.vwap_bounce.entry_rules import EntryState
from tests.support.disorder import dense
from tests.support.market import simulated_es, utc
from tests.support.memory_bars import MemoryBarStore
from tests.support.strategies import VWAP_BOUNCE_RULES as RULES

NOW = utc("2025-11-21T12:00")
DAY = dense(simulated_es()[:1_320])


class Feed:
    """A store and its engine; every bar is received at NOW unless a test says otherwise."""

    def __init__(self, clock: ClockSource = "bars") -> None:
        self.store = MemoryBarStore()
        self.engine = SignalEngine(self.store, market_calendars(), RULES, clock)

    async def send(self, bars: Sequence[Bar], now: datetime = NOW) -> EngineReport:
        self.store.put("ES", bars, received_at=now)
        return await self.engine.run("ES", now)

    @property
    def state(self) -> bytes | None:
        return self.store.state("ES", RULES.name)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        return decoded_checkpoints(self.store._rows["ES", RULES.name].checkpoints, "ES")

    @property
    def played(self) -> EntryState:
        """What the rules remember."""
        assert self.state is not None
        state = decoded_state(self.state, "ES")
        assert state is not None
        return state.entry

    @property
    def quarantined(self) -> list[datetime]:
        return [at for at, stored in self.store.bars["ES"].items() if stored.quarantined]


async def ordered(bars: Sequence[Bar] = DAY) -> Feed:
    feed = Feed()
    await feed.send(bars)
    return feed


def said(signals: Sequence[Signal]) -> list[tuple[datetime, str, Decimal]]:
    return [(one.event_at, one.side, one.price) for one in signals]
