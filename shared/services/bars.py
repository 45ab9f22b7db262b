"""Stores bars, runs the signal engine over them, and pushes its signals."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.access.licenses import Grant, require_symbols
from shared.domain.limits import ClockSkew, check_time
from shared.domain.market.bars import MAX_BARS_PER_REQUEST, Bar, Source, Symbol, check_bar
from shared.domain.market.messages import SignalMessage, message_of
from shared.domain.market.signals import Signal
from shared.domain.problems import Problems
from shared.errors import BatchTooLarge, FieldError, ValidationFailed
from shared.metrics import Count, Counter
from shared.services.realtime import Push


class BarWriter(Protocol):
    async def insert(
        self, symbol: str, bars: Sequence[Bar], source: Source, received_at: datetime
    ) -> int: ...


class Engine(Protocol):
    async def run(self, symbol: str, now: datetime) -> list[Signal]: ...
    async def catch_up(self, now: datetime) -> list[Signal]: ...


class BarsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bars of one symbol, oldest first; `source` says whether they are live, replayed or simulated."""

    symbol: Symbol
    bars: list[Bar]
    source: Source = "live"


class BarsReport(msgspec.Struct, frozen=True):
    """The numbers of received, new and duplicate bars, and the signals that resulted from them."""

    symbol: str
    received: int
    inserted: int
    duplicates: int
    signals: list[SignalMessage]


class BarService:
    """Stores bars and runs the engine over them; its signals are pushed."""

    def __init__(
        self, *, bars: BarWriter, engine: Engine, push: Push, now: Callable[[], datetime], count: Counter
    ) -> None:
        self._bars = bars
        self._engine = engine
        self._push = push
        self._now = now
        self._count = count

    async def take(self, grant: Grant, request: BarsRequest) -> BarsReport:
        """Stores the bars, then runs the engine for their symbol and sends its signals.

        A bar of a stored minute is a duplicate and changes nothing. Raises SymbolNotLicensed,
        BatchTooLarge, ValidationFailed and Unavailable.
        """
        require_symbols(grant, {request.symbol: "symbol"})
        now = self._now()
        _check_bars(request.bars, now)
        inserted = await self._bars.insert(request.symbol, request.bars, request.source, now)
        signals = await self._engine.run(request.symbol, now)
        if signals:
            await self._push(request.symbol)
        self._count(Count.BARS_RECEIVED, len(request.bars))
        self._count(Count.SIGNALS_PUBLISHED, len(signals))
        return BarsReport(
            request.symbol,
            len(request.bars),
            inserted,
            len(request.bars) - inserted,
            [message_of(signal) for signal in signals],
        )

    async def catch_up(self) -> int:
        """Runs the engine over bars that were not processed on arrival; returns the number of signals."""
        signals = await self._engine.catch_up(self._now())
        if signals:
            self._count(Count.SIGNALS_PUBLISHED, len(signals))
        for symbol in {signal.symbol for signal in signals}:
            await self._push(symbol)
        return len(signals)


def _check_bars(bars: Sequence[Bar], now: datetime) -> None:
    if len(bars) > MAX_BARS_PER_REQUEST:
        raise BatchTooLarge(
            f"A request may have at most {MAX_BARS_PER_REQUEST} bars; this one has {len(bars)}. "
            "Send it in parts."
        )
    if not bars:
        raise ValidationFailed((FieldError("bars", "out_of_range", "Expected at least one bar."),))
    problems = Problems()
    for index, bar in enumerate(bars):
        if problems.is_full:
            break
        of_bar = problems.within(f"bars[{index}].")
        before = len(problems)
        check_bar(bar, of_bar)
        if len(problems) == before:
            check_time(of_bar, "open_time", bar.open_time, now, skew=ClockSkew.MARKET_DATA)
    problems.refuse()
