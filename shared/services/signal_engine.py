"""Turns stored bars into signals: takes a symbol's new bars, decides bar by bar, saves all at once."""

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.limits import ClockSkew
from shared.domain.market.bars import StoredBar
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.feeds import ClockSource
from shared.domain.market.instruments import INSTRUMENTS, Instrument
from shared.domain.market.signals import Signal, SignalDraft
from shared.errors import Unavailable
from shared.strategies.vwap_bounce.entry_rules import EntryRules, EntryState, advance

# By the wall clock a signal from an older bar would reach bots after the market has moved on.
SIGNAL_MAX_AGE = timedelta(minutes=3)
# Bars of one batch: about 10 ms of work, after which other requests get the event loop.
MAX_BATCH_BARS = 1_000
# Raised when EntryState changes shape or meaning; a state of another version is not read.
STATE_VERSION = 1

log = logging.getLogger(__name__)


class EngineBatch(Protocol):
    """One transaction that holds the symbol's engine state locked; `bars` are the next ones, oldest first."""

    @property
    def state(self) -> bytes | None: ...
    @property
    def bars(self) -> Sequence[StoredBar]: ...
    async def save(
        self, state: bytes, last_open_time: datetime, drafts: Sequence[SignalDraft]
    ) -> list[Signal]: ...


class EngineBars(Protocol):
    def engine_batch(
        self, symbol: str, strategy: str, *, limit: int = ...
    ) -> AbstractAsyncContextManager[EngineBatch]: ...
    async def behind(self, strategy: str) -> list[str]: ...


class _SavedState(msgspec.Struct, frozen=True, array_like=True):
    version: int
    entry: msgspec.Raw


class SignalEngine:
    """Runs `vwap_bounce` over bars as they arrive; the same bars give the same signals in any batches.

    By the clock `wall`, bars that closed more than SIGNAL_MAX_AGE before `now` move the indicators and the
    rules on but publish nothing: what a stale feed delivers late is no longer a signal. By the clock
    `bars`, for replays, every bar is judged by its own time. Bars that arrive after a later bar of their
    symbol was processed are never looked at.
    """

    def __init__(
        self, bars: EngineBars, calendars: MarketCalendars, rules: EntryRules, clock_source: ClockSource
    ) -> None:
        self._bars = bars
        self._calendars = calendars
        self._rules = rules
        self._clock_source = clock_source

    async def run(self, symbol: str, now: datetime) -> list[Signal]:
        """Processes every unprocessed bar of `symbol`; returns the new signals, in sequence order.

        A symbol that the engine does not know gives none. Raises Unavailable if the store is unavailable; the
        next run then processes what was not saved.
        """
        instrument = INSTRUMENTS.get(symbol)
        if instrument is None:
            return []
        published: list[Signal] = []
        while True:
            async with self._bars.engine_batch(symbol, self._rules.name, limit=MAX_BATCH_BARS) as batch:
                taken = len(batch.bars)
                if taken:
                    state, drafts = self._decide(_decoded(batch.state, symbol), batch.bars, instrument, now)
                    last_open_time = batch.bars[-1].bar.open_time
                    published += await batch.save(_encoded(state), last_open_time, drafts)
            if taken < MAX_BATCH_BARS:
                return published

    async def catch_up(self, now: datetime) -> list[Signal]:
        """Runs every symbol with bars that were not processed on arrival; raises Unavailable."""
        published: list[Signal] = []
        for symbol in await self._bars.behind(self._rules.name):
            try:
                published += await self.run(symbol, now)
            except Unavailable:
                raise
            except Exception:
                # A defect with one symbol must not prevent the signals of the others.
                log.exception("the engine fails on %s", symbol)
        return published

    def _decide(
        self, state: EntryState, bars: Sequence[StoredBar], instrument: Instrument, now: datetime
    ) -> tuple[EntryState, list[SignalDraft]]:
        drafts: list[SignalDraft] = []
        for stored in bars:
            session = self._calendars.session_at(instrument.symbol, stored.bar.open_time)
            state, draft = advance(state, stored.bar, session, self._rules, instrument, source=stored.source)
            if draft is not None and self._is_timely(draft.event_at, now):
                drafts.append(msgspec.structs.replace(draft, received_at=stored.received_at))
        return state, drafts

    def _is_timely(self, event_at: datetime, now: datetime) -> bool:
        return self._clock_source == "bars" or -ClockSkew.ENGINE <= now - event_at <= SIGNAL_MAX_AGE


def _encoded(state: EntryState) -> bytes:
    # JSON and not msgpack: the exact VWAP sums may outgrow 64 bits.
    return msgspec.json.encode((STATE_VERSION, state))


def _decoded(saved: bytes | None, symbol: str) -> EntryState:
    """The saved state, or a new one: bands and averages then warm up again from the next bar."""
    if saved is None:
        return EntryState()
    try:
        document = msgspec.json.decode(saved, type=_SavedState)
        if document.version == STATE_VERSION:
            return msgspec.json.decode(document.entry, type=EntryState)
    except msgspec.DecodeError as error:
        log.warning("engine state of %s cannot be read, starting again: %s", symbol, error)
        return EntryState()
    log.warning("engine state of %s is of version %d, starting again", symbol, document.version)
    return EntryState()
