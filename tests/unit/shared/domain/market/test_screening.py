"""Which bars are suspicious, by the average true range before them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.indicators import WilderAtr
from shared.domain.market.screening import Level, Suspect, confirms, is_suspicious

LAST = datetime(2025, 10, 14, 14, tzinfo=UTC)
TICK = Decimal("0.25")
ATR = 4.0


def level(close: float = 6500, atr: float | None = ATR, tick: Decimal = TICK) -> Level:
    ranges = WilderAtr(close, 14 if atr is not None else 13, atr or 0.0)
    return Level(close, LAST, ranges, tick)


def a_bar(
    opened: float, close: float | None = None, *, high: float = 0, low: float = 0, after: int = 1
) -> Bar:
    """A bar `after` minutes behind the last one; `high` and `low` are points beyond open and close."""
    close = opened if close is None else close
    opened_at, closed_at = Decimal(str(opened)), Decimal(str(close))
    return Bar(
        LAST + after * BAR_INTERVAL,
        opened_at,
        max(opened_at, closed_at) + Decimal(str(high)),
        min(opened_at, closed_at) - Decimal(str(low)),
        closed_at,
        10,
    )


@pytest.mark.parametrize(
    ("bar", "suspicious"),
    [
        (a_bar(6532), False),  # 8 ranges
        (a_bar(6532.25), True),
        (a_bar(6467.75), True),
        (a_bar(6500, high=48), False),  # 12 ranges
        (a_bar(6500, high=48.25), True),
        (a_bar(6500, low=48.25), True),
        (a_bar(6500, 6580), False),  # 20 ranges
        (a_bar(6500, 6580.25), True),
        (a_bar(6500, 6540, high=40, low=0.25), True),
    ],
)
def test_jumps_spikes_and_ranges_have_limits(bar: Bar, suspicious: bool) -> None:
    assert is_suspicious(bar, (), level()) is suspicious


@pytest.mark.parametrize(
    ("minutes", "jump", "suspicious"),
    [(4, 64, False), (4, 64.25, True), (61, 249, False), (2_940, 1_730, False), (2_940, 1_740, True)],
)
def test_after_a_pause_the_price_may_be_further_away(minutes: int, jump: float, suspicious: bool) -> None:
    assert is_suspicious(a_bar(6500 + jump, after=minutes), (), level()) is suspicious


def test_a_minute_ranges_no_further_after_a_weekend_than_after_an_hour() -> None:
    for minutes in (60, 2_940):
        assert not is_suspicious(a_bar(6500, high=371, after=minutes), (), level())
        assert is_suspicious(a_bar(6500, high=372, after=minutes), (), level())


def test_in_a_dead_calm_ticks_and_shares_of_the_price_count() -> None:
    calm = level(atr=0.0)
    assert not is_suspicious(a_bar(6506.5), (), calm)  # 0.1%
    assert is_suspicious(a_bar(6506.75), (), calm)
    cheap = level(close=20, atr=0.0, tick=Decimal("0.01"))
    assert not is_suspicious(a_bar(20.2), (), cheap)  # 20 ticks
    assert is_suspicious(a_bar(20.21), (), cheap)


def test_a_price_around_zero_is_judged_by_ticks_and_ranges() -> None:
    """Crude on 20 April 2020 moved by dollars a minute, through zero."""
    wild = level(close=-0.5, atr=1.2, tick=Decimal("0.01"))
    assert not is_suspicious(a_bar(-3.0, -5.5, high=2, low=2), (), wild)
    assert is_suspicious(a_bar(17.0), (), wild)


def test_before_the_average_is_known_a_share_of_the_price_is_the_limit() -> None:
    new = level(atr=None)
    assert not is_suspicious(a_bar(6630), (), new)
    assert is_suspicious(a_bar(6630.25), (), new)
    assert is_suspicious(a_bar(65), (), new)


def test_a_price_that_stays_away_does_not_become_usual() -> None:
    suspect = Suspect(a_bar(6533), "live")
    assert not is_suspicious(a_bar(6533, after=2), (), level())
    assert is_suspicious(a_bar(6533, after=2), (suspect,), level())
    assert not is_suspicious(a_bar(6501, after=2), (suspect,), level())


@pytest.mark.parametrize(
    ("bar", "confirming"),
    [
        (a_bar(6560, after=2), True),
        (a_bar(6592, after=2), True),
        (a_bar(6592.25, after=2), False),
        (a_bar(6620, after=5), True),  # three minutes later
        (a_bar(6560, low=48.25, after=2), False),
        (a_bar(6500, after=2), False),
    ],
)
def test_a_bar_confirms_a_level_at_which_it_trades(bar: Bar, confirming: bool) -> None:
    assert confirms(bar, (Suspect(a_bar(6560), "live"),), level()) is confirming


def test_the_time_of_a_bar_is_that_of_its_start() -> None:
    assert a_bar(6500).open_time - LAST == timedelta(minutes=1)
