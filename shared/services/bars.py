"""Stores bars, runs the signal engine over them, and pushes its signals."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Protocol

import msgspec

from shared.domain.access.licenses import Grant, require_symbols
from shared.domain.items import Items, RefusedItem, counted, judge
from shared.domain.market.arrivals import StoredCounts
from shared.domain.market.bars import MAX_BARS_PER_REQUEST, Bar, Source, Symbol, check_bar
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.hindsight import Hindsight
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.messages import SignalMessage, message_of
from shared.domain.problems import Problems
from shared.metrics import Count, Counter
from shared.services.realtime import Push
from shared.services.signal_engine import EngineReport


class BarWriter(Protocol):
    async def insert(
        self, symbol: str, bars: Sequence[Bar], source: Source, received_at: datetime
    ) -> StoredCounts: ...
    async def count_quarantined(self, symbol: str, open_times: Sequence[datetime]) -> int: ...


class Engine(Protocol):
    async def run(self, symbol: str, now: datetime) -> EngineReport: ...
    async def catch_up(self, now: datetime) -> list[EngineReport]: ...


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


class BarsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the received bars, and the signals that resulted from them.

    A received bar is accepted or in `refused`. Of the accepted ones, `inserted` are minutes that are new,
    `duplicates` bars that say the same as the stored ones, and `corrected` bars that say something else: the
    new content counts, and the former is kept as its history.

    `late` are those of the new minutes that came after a bar of a later minute. Bars `out_of_session` lie
    outside trading hours; they are stored and never used. The prices of bars in `quarantined` are too far
    from those around them; the engine uses these bars once the next ones confirm them. A bar that was in
    quarantine already and stays there is counted again.

    `hindsight` says which published signals would be others, had the late and corrected bars come in time; it
    is null if no bar that the engine had played has changed.
    """

    symbol: str
    received: int
    accepted: int
    inserted: int
    duplicates: int
    corrected: int
    late: int
    out_of_session: int
    quarantined: int
    refused: list[RefusedItem]
    signals: list[SignalMessage]
    hindsight: Hindsight | None


class BarService:
    """Stores bars and runs the engine over them; its signals are pushed."""

    def __init__(
        self,
        *,
        bars: BarWriter,
        engine: Engine,
        calendars: MarketCalendars,
        push: Push,
        now: Callable[[], datetime],
        count: Counter,
    ) -> None:
        self._bars = bars
        self._engine = engine
        self._calendars = calendars
        self._push = push
        self._now = now
        self._count = count

    async def take(self, grant: Grant, sent: SentBars, *, strict: bool = False) -> BarsReport:
        """Stores the good bars, then runs the engine for their symbol and sends its signals.

        If `strict`, a bad bar refuses all. Raises SymbolNotLicensed, BatchTooLarge, ValidationFailed and
        Unavailable.
        """
        symbol = sent.symbol
        require_symbols(grant, {symbol: "symbol"})
        now, instrument = self._now(), INSTRUMENTS.get(symbol)

        def check(bar: Bar, problems: Problems) -> None:
            check_bar(bar, problems, instrument, now)

        judged = judge(sent.bars, check, most=MAX_BARS_PER_REQUEST, strict=strict)
        bars = [*judged.accepted.values()]
        stored = await self._bars.insert(symbol, bars, sent.source, now)
        engine = await self._engine.run(symbol, now)
        if engine.signals:
            await self._push(symbol)
        self._count(Count.BARS_RECEIVED, len(bars))
        if judged.refused:
            self._count(Count.BARS_REFUSED, len(judged.refused))
        self._count_results(engine)
        return BarsReport(
            symbol=symbol,
            received=len(sent.bars),
            accepted=len(bars),
            inserted=stored.inserted,
            duplicates=len(bars) - stored.inserted - stored.corrected,
            corrected=stored.corrected,
            late=stored.late,
            out_of_session=self._out_of_session(symbol, bars),
            quarantined=await self._quarantined(symbol, bars),
            refused=judged.refused,
            signals=[message_of(signal) for signal in engine.signals],
            hindsight=engine.hindsight,
        )

    async def _quarantined(self, symbol: str, bars: Sequence[Bar]) -> int:
        """How many minutes of `bars` are in quarantine now; only those that the engine plays can be."""
        if not bars or symbol not in INSTRUMENTS:
            return 0
        return await self._bars.count_quarantined(symbol, [bar.open_time for bar in bars])

    def _out_of_session(self, symbol: str, bars: Sequence[Bar]) -> int:
        """How many bars lie outside trading hours; those of a symbol without a calendar are not counted."""
        if symbol not in INSTRUMENTS:
            return 0
        return sum(not self._calendars.is_open(symbol, bar.open_time) for bar in bars)

    async def catch_up(self) -> int:
        """Runs the engine over bars that were not processed on arrival; returns the number of signals."""
        reports = await self._engine.catch_up(self._now())
        for report in reports:
            self._count_results(report)
        signals = [signal for report in reports for signal in report.signals]
        for symbol in {signal.symbol for signal in signals}:
            await self._push(symbol)
        return len(signals)

    def _count_results(self, report: EngineReport) -> None:
        if report.signals:
            self._count(Count.SIGNALS_PUBLISHED, len(report.signals))
        if report.quarantined:
            self._count(Count.BARS_QUARANTINED, len(report.quarantined))
