"""Market data for tests: builders of bars, where the real files lie, and a bar store in memory."""

import os
from asyncio import Lock
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import strategies as st

from local.demo.bar_files.reading import read_bar_file
from local.demo.options import BUNDLED_BARS
from shared.domain.market.bars import BAR_INTERVAL, Bar, Source, StoredBar
from shared.domain.market.signals import Signal, SignalDraft
from tests.support.places import ROOT

REAL_ES = "es_1min_2025-09_to_2025-10-17.csv.gz"
TICK = Decimal("0.25")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def real_es_file() -> Path:
    """The file of real ES bars, which is not part of the repository; skips the test where it is absent."""
    path = Path(os.environ.get("SIGNAL_DATA") or ROOT.parent / "shared" / "data") / REAL_ES
    if not path.is_file():
        pytest.skip(f"real bars {REAL_ES} are not here; SIGNAL_DATA names their directory")
    return path


@cache
def simulated_es() -> tuple[Bar, ...]:
    return read_bar_file(BUNDLED_BARS).bars


@cache
def real_es() -> tuple[Bar, ...]:
    return read_bar_file(real_es_file()).bars


def bar(
    open_time: datetime,
    close: float | Decimal,
    *,
    high: float | Decimal | None = None,
    low: float | Decimal | None = None,
    volume: int = 100,
) -> Bar:
    """A bar that opens at its close; high and low default to it."""
    price = Decimal(str(close))
    return Bar(
        open_time=open_time,
        open=price,
        high=max(price, Decimal(str(high if high is not None else close))),
        low=min(price, Decimal(str(low if low is not None else close))),
        close=price,
        volume=volume,
    )


@st.composite
def bar_runs(
    draw: st.DrawFn, *, start: datetime, min_size: int = 1, max_size: int = 200, max_gap: int = 3
) -> list[Bar]:
    """A random walk on the tick, oldest first; some minutes are missing, some have no volume."""
    steps = draw(
        st.lists(
            st.tuples(
                st.integers(-12, 12),
                st.integers(0, 6),
                st.integers(0, 6),
                st.integers(0, 5_000),
                st.integers(1, max_gap),
            ),
            min_size=min_size,
            max_size=max_size,
        )
    )
    bars, moment, close = [], start, Decimal(6000)
    for change, above, below, volume, minutes in steps:
        opened, close = close, close + change * TICK
        high, low = max(opened, close) + above * TICK, min(opened, close) - below * TICK
        bars.append(Bar(moment, opened, high, low, close, volume))
        moment += minutes * BAR_INTERVAL
    return bars


@dataclass
class _Row:
    state: bytes | None = None
    last_open_time: datetime | None = None
    lock: Lock = field(default_factory=Lock)


class MemoryTurn:
    def __init__(self, store: "MemoryBarStore", symbol: str, row: _Row, bars: list[StoredBar]) -> None:
        self.state = row.state
        self.bars = bars
        self._store = store
        self._symbol = symbol
        self.saved: tuple[bytes, datetime, list[Signal]] | None = None

    async def save(
        self, state: bytes, last_open_time: datetime, drafts: Sequence[SignalDraft]
    ) -> list[Signal]:
        if self._store.fail_next_save:
            self._store.fail_next_save = False
            raise ConnectionError("the store went away")
        first = len(self._store.signals.get(self._symbol, [])) + 1
        signals = [_signal(draft, first + index) for index, draft in enumerate(drafts)]
        self.saved = (state, last_open_time, signals)
        self._store.drafts.extend(drafts)
        return signals


class MemoryBarStore:
    """Bars, engine state and signals in memory, with the transaction and the lock of the real store."""

    def __init__(self) -> None:
        self.bars: dict[str, dict[datetime, StoredBar]] = {}
        self.signals: dict[str, list[Signal]] = {}
        self.drafts: list[SignalDraft] = []
        self.fail_next_save = False
        self.turns = 0
        self._rows: dict[tuple[str, str], _Row] = {}

    def insert(
        self, symbol: str, bars: Iterable[Bar], source: Source = "live", received_at: datetime | None = None
    ) -> None:
        of_symbol = self.bars.setdefault(symbol, {})
        for one in bars:
            stored = StoredBar(one, source, received_at or one.close_time + timedelta(milliseconds=200))
            of_symbol.setdefault(one.open_time, stored)

    def corrupt_state(self, symbol: str, strategy: str, state: bytes) -> None:
        self._rows[symbol, strategy].state = state

    def state(self, symbol: str, strategy: str) -> bytes | None:
        return self._rows[symbol, strategy].state

    @asynccontextmanager
    async def engine_batch(
        self, symbol: str, strategy: str, *, limit: int = 5_000
    ) -> AsyncIterator[MemoryTurn]:
        row = self._rows.setdefault((symbol, strategy), _Row())
        async with row.lock:
            self.turns += 1
            turn = MemoryTurn(self, symbol, row, self._unprocessed(symbol, row)[:limit])
            yield turn
            # Only reached when the block raised nothing: the commit.
            if turn.saved is not None:
                row.state, row.last_open_time, signals = turn.saved
                self.signals.setdefault(symbol, []).extend(signals)

    async def behind(self, strategy: str) -> list[str]:
        return sorted(
            symbol
            for symbol in self.bars
            if self._unprocessed(symbol, self._rows.setdefault((symbol, strategy), _Row()))
        )

    def _unprocessed(self, symbol: str, row: _Row) -> list[StoredBar]:
        of_symbol = self.bars.get(symbol, {})
        last = row.last_open_time
        return [of_symbol[moment] for moment in sorted(of_symbol) if last is None or moment > last]


def _signal(draft: SignalDraft, sequence: int) -> Signal:
    return Signal(
        id=UUID(int=sequence),
        symbol=draft.symbol,
        sequence=sequence,
        strategy=draft.strategy,
        strategy_version=draft.strategy_version,
        kind=draft.kind,
        side=draft.side,
        price=draft.price,
        stop_price=draft.stop_price,
        target_price=draft.target_price,
        event_at=draft.event_at,
        expires_at=draft.expires_at,
        features=draft.features,
        source=draft.source,
    )
