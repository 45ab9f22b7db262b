"""Market data for tests: builders of bars, and where the real files lie."""

import os
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from hypothesis import strategies as st

from local.demo.bar_files.reading import read_bar_file
from local.demo.options import BUNDLED_BARS
from shared.domain.market.bars import BAR_INTERVAL, Bar
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
