"""Turns stored bars into signals: plays a symbol's bars in order, again from where one of them changed."""

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.limits import ClockSkew
from shared.domain.market.bars import BAR_INTERVAL, StoredBar
from shared.domain.market.calendars import MarketCalendars, TradingSession
from shared.domain.market.feeds import ClockSource
from shared.domain.market.hindsight import Hindsight, PublishedEntry, in_hindsight
from shared.domain.market.holes import Arrival, Habit, habit_of, is_settled
from shared.domain.market.instruments import INSTRUMENTS, Instrument
from shared.domain.market.signals import Signal, SignalDraft
from shared.errors import Unavailable
from shared.services.engine_memory import (
    BEGINNING,
    KEPT_SESSIONS,
    Checkpoint,
    decoded_checkpoints,
    decoded_state,
    encoded,
)
from shared.services.playback import DecidedEntry, Playback
from shared.strategies.vwap_bounce.engine_state import SIGNAL_MAX_AGE, EngineState, Player
from shared.strategies.vwap_bounce.entry_rules import EntryRules

# Bars that are played at once: about 10 ms of work, after which other requests get the event loop.
MAX_BATCH_BARS = 1_000

log = logging.getLogger(__name__)


class EngineTurn(Protocol):
    """One transaction that holds the symbol's engine state locked."""

    @property
    def state(self) -> bytes | None: ...
    @property
    def last_open_time(self) -> datetime | None: ...
    @property
    def changed_from(self) -> datetime | None: ...
    async def bars_after(self, after: datetime | None, limit: int) -> Sequence[StoredBar]: ...
    async def checkpoints(self) -> bytes | None: ...
    async def arrivals(self, first: datetime, until: datetime) -> Sequence[Arrival]: ...
    async def is_unchanged(self) -> bool: ...
    async def published(self, first: datetime, last: datetime) -> Sequence[PublishedEntry]: ...
    async def save(
        self,
        state: bytes,
        last_open_time: datetime | None,
        drafts: Sequence[SignalDraft],
        *,
        checkpoints: bytes | None = ...,
        marks: dict[datetime, bool] | None = ...,
    ) -> list[Signal]: ...


class EngineBars(Protocol):
    def engine_turn(self, symbol: str, strategy: str) -> AbstractAsyncContextManager[EngineTurn]: ...
    async def behind(self, strategy: str) -> list[str]: ...


class EngineReport(msgspec.Struct, frozen=True):
    """What a run did: its new signals in sequence order, and the bars that it put into quarantine.

    `hindsight` is None if no bar changed that had been played before.
    """

    signals: list[Signal] = []
    quarantined: frozenset[datetime] = frozenset()
    hindsight: Hindsight | None = None


class _Start(msgspec.Struct, frozen=True):
    """Where a turn begins to play: the state, and the start of the last bar in it.

    `redone_until` is the newest bar that was played before, if the turn goes back behind it. `kept` are the
    checkpoints that stay valid, None if the turn does not change them.
    """

    state: EngineState
    after: datetime | None
    redone_until: datetime | None = None
    kept: list[Checkpoint] | None = None


class SignalEngine:
    """Runs `vwap_bounce` over bars; its state depends on the stored bars alone, in whatever order they came.

    If a bar that it has played changes, or one comes late, it goes back to the state at the start of that
    session and plays on from there, in the same transaction.

    A signal is published once, and only while it is timely. By the clock `wall`, its bar closed at most
    SIGNAL_MAX_AGE before `now`. By the clock `bars`, for replays, it closed at most that long before the bar
    that was the newest when the turn began. While a bar before it may still arrive, an entry waits.
    """

    def __init__(
        self, bars: EngineBars, calendars: MarketCalendars, rules: EntryRules, clock_source: ClockSource
    ) -> None:
        self._bars = bars
        self._calendars = calendars
        self._rules = rules
        self._clock_source = clock_source

    async def run(self, symbol: str, now: datetime) -> EngineReport:
        """Plays what is new or changed of `symbol`.

        A symbol that the engine does not know gives nothing. Raises Unavailable if the store is unavailable;
        the next run then plays what was not saved.
        """
        report = EngineReport()
        instrument = INSTRUMENTS.get(symbol)
        if instrument is None:
            return report
        while True:
            async with self._bars.engine_turn(symbol, self._rules.name) as turn:
                taken, of_turn = await self._take(turn, instrument, now)
            report = EngineReport(
                report.signals + of_turn.signals,
                report.quarantined | of_turn.quarantined,
                report.hindsight or of_turn.hindsight,
            )
            if taken < MAX_BATCH_BARS:
                return report

    async def catch_up(self, now: datetime) -> list[EngineReport]:
        """Runs every symbol with bars that were not processed on arrival; raises Unavailable."""
        reports = []
        for symbol in await self._bars.behind(self._rules.name):
            try:
                reports.append(await self.run(symbol, now))
            except Unavailable:
                raise
            except Exception:
                # A defect with one symbol must not prevent the signals of the others.
                log.exception("the engine fails on %s", symbol)
        return reports

    async def _take(
        self, turn: EngineTurn, instrument: Instrument, now: datetime
    ) -> tuple[int, EngineReport]:
        """Plays and saves one turn; returns the number of bars in its last batch, and what it did."""
        start = await self._start(turn, instrument.symbol)
        playback = Playback(Player(self._rules, instrument, self._calendars), start.state)
        after = start.after
        while True:
            bars = await turn.bars_after(after, MAX_BATCH_BARS)
            playback.take(bars)
            after = bars[-1].bar.open_time if bars else after
            is_redone = start.redone_until is None or (after is not None and after >= start.redone_until)
            if is_redone or len(bars) < MAX_BATCH_BARS:
                break
        if playback.last is None and turn.changed_from is None:
            return 0, EngineReport()
        entries, hindsight = await self._chosen(turn, start, playback, instrument.symbol, now)
        signals = await turn.save(
            encoded(playback.state),
            after,
            entries,
            checkpoints=await self._checkpoints(turn, start, playback, instrument.symbol),
            marks=playback.marks,
        )
        return len(bars), EngineReport(signals, playback.quarantined, hindsight)

    async def _start(self, turn: EngineTurn, symbol: str) -> _Start:
        last = turn.last_open_time
        state = None if turn.state is None else decoded_state(turn.state, symbol)
        if last is None:
            return _Start(EngineState(), None, kept=[BEGINNING])
        if state is None:
            first = self._recent_opening(symbol, last)
            return _Start(EngineState(), first - BAR_INTERVAL, last, kept=[])
        if turn.changed_from is None or turn.changed_from > last:
            return _Start(state, last)
        known = decoded_checkpoints(await turn.checkpoints(), symbol)
        kept = [one for one in known if one.opens_at is None or one.opens_at <= turn.changed_from]
        if not kept:
            return _Start(state, last)
        opens_at = kept[-1].opens_at
        if opens_at is None:
            return _Start(kept[-1].state, None, last, kept=kept)
        # The turn enters the session of the last checkpoint again, and so adds that checkpoint again.
        return _Start(kept[-1].state, opens_at - BAR_INTERVAL, last, kept=kept[:-1])

    def _recent_opening(self, symbol: str, last_open_time: datetime) -> datetime:
        """The opening KEPT_SESSIONS sessions back, from which a lost state is computed again."""
        opens_at = last_open_time
        for _ in range(KEPT_SESSIONS + 1):
            session = self._calendars.session_before(symbol, opens_at)
            if session is None:
                break
            opens_at = session.opens_at
        return opens_at

    async def _chosen(
        self, turn: EngineTurn, start: _Start, playback: Playback, symbol: str, now: datetime
    ) -> tuple[list[SignalDraft], Hindsight | None]:
        """The entries to publish now, and what late and corrected bars would have changed."""
        newest = None if turn.last_open_time is None else turn.last_open_time + BAR_INTERVAL
        waiting = [] if start.redone_until is not None or playback.last is None else start.state.recent
        candidates = [
            msgspec.structs.replace(draft, received_at=now)
            for draft in waiting
            if self._is_timely(draft, newest, now)
        ] + [
            self._received(entry, newest, now)
            for entry in playback.decided
            if self._is_timely(entry.draft, newest, now)
        ]
        changed_from = None if start.redone_until is None else turn.changed_from
        if not candidates and changed_from is None:
            return [], None
        times = [draft.event_at for draft in candidates]
        if changed_from is not None and newest is not None:
            times += [changed_from + BAR_INTERVAL, newest]
        published = await turn.published(min(times), max(times))
        known = {entry.idempotency_key for entry in published}
        settled = _Settled(turn, self._calendars, symbol, now)
        chosen = [
            draft
            for draft in candidates
            if draft.idempotency_key not in known and await settled.includes(draft)
        ]
        if changed_from is None or newest is None:
            return chosen, None
        span = (changed_from, newest)
        return chosen, self._hindsight(span, published, playback, {one.idempotency_key for one in chosen})

    def _is_timely(self, draft: SignalDraft, newest: datetime | None, now: datetime) -> bool:
        """`newest` is the close of the newest bar that was played before this turn."""
        if self._clock_source == "bars":
            return newest is None or newest - draft.event_at <= SIGNAL_MAX_AGE
        return -ClockSkew.BAR <= now - draft.event_at <= SIGNAL_MAX_AGE

    def _received(self, entry: DecidedEntry, newest: datetime | None, now: datetime) -> SignalDraft:
        """The draft with the time of its cause: its own bar, or now the change of an earlier one."""
        is_in_order = newest is None or entry.draft.event_at > newest
        return msgspec.structs.replace(
            entry.draft, received_at=entry.stored.received_at if is_in_order else now
        )

    def _hindsight(
        self,
        span: tuple[datetime, datetime],
        published: Sequence[PublishedEntry],
        playback: Playback,
        chosen: set[str | None],
    ) -> Hindsight:
        after, until = span
        decided = [entry for entry in playback.decided if after < entry.draft.event_at <= until]
        known = {entry.idempotency_key for entry in published} | chosen
        missed = [
            draft
            for draft, stored in decided
            if draft.idempotency_key not in known
            # A bar that was old when it came first, such as one of an import, made no signal then either.
            and (
                self._clock_source == "bars"
                or stored.late
                or stored.received_at - draft.event_at <= SIGNAL_MAX_AGE
            )
        ]
        in_span = [entry for entry in published if after < entry.event_at <= until]
        return in_hindsight(in_span, [entry.draft for entry in decided], missed)

    async def _checkpoints(
        self, turn: EngineTurn, start: _Start, playback: Playback, symbol: str
    ) -> bytes | None:
        """The checkpoints after the turn; None if they are the same as before."""
        kept = start.kept
        if kept is None:
            if not playback.entered:
                return None
            kept = decoded_checkpoints(await turn.checkpoints(), symbol)
        return encoded([*kept, *playback.entered][-KEPT_SESSIONS - 1 :])


class _Settled:
    """Judges whether the bars before an entry are all there, reading the bars of each session once."""

    def __init__(self, turn: EngineTurn, calendars: MarketCalendars, symbol: str, now: datetime) -> None:
        self._turn = turn
        self._calendars = calendars
        self._symbol = symbol
        self._now = now
        self._read: dict[datetime, tuple[Sequence[Arrival], Habit]] = {}
        self._is_unchanged = True

    async def includes(self, draft: SignalDraft) -> bool:
        last_open_time = draft.event_at - BAR_INTERVAL
        session = self._calendars.session_at(self._symbol, last_open_time)
        assert session is not None  # entries are decided in sessions only
        if session.opens_at not in self._read:
            self._read[session.opens_at] = await self._arrivals(session)
            # Asked after the bars are read: a bar that came during this turn is among them, but not played.
            self._is_unchanged &= await self._turn.is_unchanged()
        arrivals, habit = self._read[session.opens_at]
        # Bars that follow later than the entry is timely must not matter, or batches would differ.
        until = draft.event_at + SIGNAL_MAX_AGE
        known = [one for one in arrivals if one.open_time < until]
        return self._is_unchanged and is_settled(known, session.opens_at, last_open_time, self._now, habit)

    async def _arrivals(self, session: TradingSession) -> tuple[Sequence[Arrival], Habit]:
        """The bars of the session, and the habit that the one before shows."""
        arrivals = await self._turn.arrivals(session.opens_at, session.closes_at)
        former = self._calendars.session_before(self._symbol, session.opens_at)
        if former is None:
            return arrivals, Habit(opening=None)
        earlier = await self._turn.arrivals(former.opens_at, former.closes_at)
        return arrivals, habit_of(earlier, former.opens_at, former.closes_at)
