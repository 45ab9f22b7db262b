"""Stores bars, runs the signal engine over them, and pushes its signals."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Protocol

import msgspec

from shared.domain.access.licenses import Grant, require_symbols
from shared.domain.items import Items, RefusedItem, counted, judge
from shared.domain.limits import ClockSkew, check_time
from shared.domain.market.bars import MAX_BARS_PER_REQUEST, Bar, Source, Symbol, check_bar
from shared.domain.market.messages import SignalMessage, message_of
from shared.domain.market.signals import Signal
from shared.domain.problems import Problems
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
    bars: Annotated[list[Bar], counted(MAX_BARS_PER_REQUEST)]
    source: Source = "live"


class SentBars(msgspec.Struct, frozen=True):
    """A request whose bars are decoded one by one."""

    symbol: str
    source: Source
    bars: Items[Bar]


class BarsReport(msgspec.Struct, frozen=True):
    """What became of the received bars, and the signals that resulted from them.

    A received bar is accepted or in `refused`; an accepted one is inserted or a duplicate.
    """

    symbol: str
    received: int
    accepted: int
    inserted: int
    duplicates: int
    refused: list[RefusedItem]
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

    async def take(self, grant: Grant, sent: SentBars, *, strict: bool = False) -> BarsReport:
        """Stores the good bars, then runs the engine for their symbol and sends its signals.

        A bar of a stored minute is a duplicate and changes nothing. If `strict`, a bad bar refuses all.
        Raises SymbolNotLicensed, BatchTooLarge, ValidationFailed and Unavailable.
        """
        require_symbols(grant, {sent.symbol: "symbol"})
        now = self._now()
        judged = judge(sent.bars, partial(_check, now), most=MAX_BARS_PER_REQUEST, strict=strict)
        bars = [*judged.accepted.values()]
        inserted = await self._bars.insert(sent.symbol, bars, sent.source, now)
        signals = await self._engine.run(sent.symbol, now)
        if signals:
            await self._push(sent.symbol)
        self._count(Count.BARS_RECEIVED, len(bars))
        self._count(Count.SIGNALS_PUBLISHED, len(signals))
        if judged.refused:
            self._count(Count.BARS_REFUSED, len(judged.refused))
        return BarsReport(
            symbol=sent.symbol,
            received=len(sent.bars),
            accepted=len(bars),
            inserted=inserted,
            duplicates=len(bars) - inserted,
            refused=judged.refused,
            signals=[message_of(signal) for signal in signals],
        )

    async def catch_up(self) -> int:
        """Runs the engine over bars that were not processed on arrival; returns the number of signals."""
        signals = await self._engine.catch_up(self._now())
        if signals:
            self._count(Count.SIGNALS_PUBLISHED, len(signals))
        for symbol in {signal.symbol for signal in signals}:
            await self._push(symbol)
        return len(signals)


def _check(now: datetime, bar: Bar, problems: Problems) -> None:
    """Adds every reason to refuse one bar."""
    check_bar(bar, problems)
    if not problems:
        check_time(problems, "open_time", bar.open_time, now, skew=ClockSkew.MARKET_DATA)
