"""Which bars of a file `make run` replays, and what it says before anything starts."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from local.demo.bar_files.tables import BarFileError
from local.demo.options import BUNDLED_BARS, ReplayOptions
from local.demo.replay_bars import SYMBOL, replay_bars
from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import BAR_INTERVAL, check_bar
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.problems import Problems
from tests.support import vendor_files as vendors
from tests.support.market import bar, simulated_es, utc
from tests.support.vendor_samples import BARS, SAMPLES, written

NOW = utc("2026-01-05T12:00")
OPENS = utc("2025-10-14T22:00")  # the session of the 15th, 18:00 in New York


def options(
    path: Path, start: datetime | None = None, end: datetime | None = None, **more: str
) -> ReplayOptions:
    return ReplayOptions(
        bars=path,
        source="replay",
        speed=600,
        start=start,
        end=end,
        exits=True,
        zone=more.get("zone"),
        stamp="end" if more.get("stamp") == "end" else None,
    )


def minutes(first: datetime, count: int) -> list[datetime]:
    return [first + n * BAR_INTERVAL for n in range(count)]


def test_the_range_holds_its_start_and_not_its_end() -> None:
    bars = simulated_es()
    start, end = bars[10].open_time, bars[20].open_time
    calendars = market_calendars()
    assert replay_bars(options(BUNDLED_BARS, start, end), calendars, NOW).bars == bars[10:20]
    assert replay_bars(options(BUNDLED_BARS, start), calendars, NOW).bars == bars[10:]
    assert replay_bars(options(BUNDLED_BARS, end=end), calendars, NOW).bars == bars[:20]
    assert (
        replay_bars(options(BUNDLED_BARS, start, end), calendars, NOW).told[-1] == "FROM and TO leave 10 bars"
    )


def test_an_empty_range_is_told_with_what_the_file_holds(tmp_path: Path) -> None:
    path = written(tmp_path, vendors.own([bar(at, 6543) for at in minutes(OPENS, 3)]).content())
    with pytest.raises(BarFileError) as raised:
        replay_bars(options(path, utc("2025-10-15T00:00"), utc("2025-10-17T00:00")), market_calendars(), NOW)
    held = "it holds 2025-10-14 to 2025-10-14, in UTC"
    assert str(raised.value) == f"{path}: has no bars from 2025-10-15 00:00 to 2025-10-17 00:00; {held}"
    with pytest.raises(BarFileError, match="has no bars from its beginning to 2025-10-14 00:00; it holds"):
        replay_bars(options(path, end=utc("2025-10-14T00:00")), market_calendars(), NOW)


@pytest.mark.parametrize(
    "first",
    ["2025-10-18T15:00", "2025-10-14T21:00", "2025-12-25T15:00", "2025-01-09T14:30", "2019-10-15T15:00"],
)
def test_a_file_without_one_bar_in_session_is_refused(tmp_path: Path, first: str) -> None:
    path = written(tmp_path, vendors.own([bar(at, 6543) for at in minutes(utc(first), 30)]).content())
    with pytest.raises(BarFileError, match="not one of 30 bars is in a session of ES; the first opens at 20"):
        replay_bars(options(path), market_calendars(), NOW)


def test_bars_out_of_session_are_told_and_kept(tmp_path: Path) -> None:
    bars = [bar(at, 6543) for at in minutes(OPENS - timedelta(minutes=2), 400)]
    file = replay_bars(options(written(tmp_path, vendors.own(bars).content())), market_calendars(), NOW)
    assert list(file.bars) == bars
    assert file.told[-1] == (
        "2 bars out of session, when the market is closed and makes no signals: "
        "the first opens at 2025-10-14 21:58 UTC"
    )


def test_a_zone_that_puts_bars_into_closed_hours_is_doubted(tmp_path: Path) -> None:
    day = [bar(at, 6543) for at in minutes(OPENS, 23 * 60)]
    path = written(tmp_path, vendors.ninjatrader(day, "America/New_York").content(";"))
    doubted = replay_bars(options(path), market_calendars(), NOW)
    assert doubted.told[-1] == (
        "that many mean that the zone is wrong: with ZONE=America/New_York, 0 bars would be out"
    )
    right = replay_bars(options(path, zone="America/New_York"), market_calendars(), NOW)
    assert list(right.bars) == day
    assert "out of session" not in " ".join(right.told)


def test_a_zone_that_puts_bars_into_the_future_is_not_proposed(tmp_path: Path) -> None:
    """West of UTC the same clock time is later, and none of these minutes would be over."""
    bars = [bar(at, 6543) for at in minutes(OPENS - timedelta(minutes=2), 100)]
    path = written(tmp_path, vendors.ninjatrader(bars).content(";"))
    file = replay_bars(options(path), market_calendars(), bars[-1].close_time)
    assert list(file.bars) == bars
    assert file.told[-1] == "that many may mean that the zone is wrong: say with ZONE= which it is"


def test_a_file_that_stamps_the_end_fills_its_session_exactly(tmp_path: Path) -> None:
    """A stamp that is taken for the start would leave the first minute out and put one after the close."""
    day = [bar(at, 6543) for at in minutes(OPENS, 23 * 60)]
    stamped = [bar(one.close_time, one.close) for one in day]
    path = written(tmp_path, vendors.own(stamped).content())
    assert "1 bar out of session" in replay_bars(options(path), market_calendars(), NOW).told[-1]
    file = replay_bars(options(path, stamp="end"), market_calendars(), NOW)
    assert list(file.bars) == day
    assert "out of session" not in " ".join(file.told)


# Bars that are not those of ES


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("NQ", "holds bars of NQ; this command replays ES"),
        ("NQZ5", "holds bars of NQZ5, which is NQ; this command replays ES"),
        ("cl.c.0", "holds bars of cl.c.0, which is CL; this command replays ES"),
        ("RTYZ5", "holds bars of RTYZ5, which is RTY; this command replays ES"),
        ("MES", "holds bars of MES; this command replays ES, and the volume is another"),
        ("MESZ5", "holds bars of MESZ5, which is MES; this command replays ES, and the volume is another"),
    ],
)
def test_bars_of_another_symbol_are_refused(tmp_path: Path, symbol: str, expected: str) -> None:
    """Even if none of its rows could be a bar of ES, the symbol is the reason that helps."""
    for price in ("6543.25", "2400.1", "-37.63"):
        one = bar(OPENS, Decimal(price))
        path = written(tmp_path, vendors.databento([one], symbol).content())
        with pytest.raises(BarFileError) as raised:
            replay_bars(options(path), market_calendars(), NOW)
        assert str(raised.value) == f"{path}: {expected}"


def test_a_ticker_of_another_symbol_above_the_header_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, vendors.yahoo_stacked(BARS, "NQ=F").content())
    with pytest.raises(BarFileError, match="holds bars of NQ=F, which is NQ; this command replays ES"):
        replay_bars(options(path), market_calendars(), NOW)


@pytest.mark.parametrize("symbol", ["ES", "ESZ5", "ES.c.0", "es", ""])
def test_bars_of_es_are_replayed_without_a_word_on_the_symbol(tmp_path: Path, symbol: str) -> None:
    path = written(tmp_path, vendors.databento(BARS, symbol).content())
    file = replay_bars(options(path), market_calendars(), NOW)
    assert list(file.bars) == BARS
    assert "replayed as" not in " ".join(file.told)


@pytest.mark.parametrize("symbol", ["UNKNOWN", "US500.cash", "294973"])
def test_a_symbol_of_no_known_root_is_told(tmp_path: Path, symbol: str) -> None:
    path = written(tmp_path, vendors.databento(BARS, symbol).content())
    file = replay_bars(options(path), market_calendars(), NOW)
    assert list(file.bars) == BARS
    assert f"the symbol {symbol} is of no known root: the bars are replayed as ES" in file.told


# Rows that the API would refuse


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ("6543.1", "1 whose open is refused: Must be a multiple of 0.25, the tick of ES ('6543.1', line 2)"),
        ("0", "1 whose open is refused: Must be above 0: ES has no other prices ('0', line 2)"),
        ("-37.5", "1 whose open is refused: Must be above 0: ES has no other prices ('-37.5', line 2)"),
        (
            "100000.25",
            "1 whose open is refused: Must be at most 100000 from 0: ES was never that far "
            "('100000.25', line 2)",
        ),
    ],
)
def test_a_price_that_es_cannot_have_is_skipped_and_told(tmp_path: Path, price: str, reason: str) -> None:
    header, *rows = SAMPLES["Signal Cloud"].splitlines()
    bad = f"2025-10-14T13:59:00Z,{price},{price},{price},{price},5"
    path = written(tmp_path, "\n".join([header, bad, *rows]))
    file = replay_bars(options(path), market_calendars(), NOW)
    assert list(file.bars) == BARS
    assert file.told[-1] == f"skipped 1 row: {reason}"


def test_a_file_of_prices_that_es_cannot_have_says_why(tmp_path: Path) -> None:
    path = written(tmp_path, vendors.own([bar(at, 2400.1) for at in minutes(OPENS, 5)]).content())
    with pytest.raises(
        BarFileError, match=r"not one of 5 rows is a bar: 5 whose open is refused: Must be a multiple of 0.25"
    ):
        replay_bars(options(path), market_calendars(), NOW)


def test_a_minute_that_is_not_over_is_skipped_with_one_reason_for_all(tmp_path: Path) -> None:
    bars = [bar(at, 6543) for at in minutes(OPENS, 6)]
    path = written(tmp_path, vendors.own(bars).content())
    file = replay_bars(options(path), market_calendars(), bars[2].close_time)
    assert list(file.bars) == bars[:3]
    assert file.told[-1].startswith("skipped 3 rows: 3 whose minute is not over yet ('2025-10-14T22:03")
    assert file.told[-1].endswith("lines 5, 6, 7)")


@pytest.mark.parametrize(
    "open_time", ["1985-10-14T14:00:00Z", "2026-01-05T12:00:00Z", "2026-01-05T11:59:00Z"]
)
@pytest.mark.parametrize("price", ["6543", "6543.01", "-1", "99999.75", "100001"])
def test_what_is_replayed_is_what_the_api_takes(tmp_path: Path, open_time: str, price: str) -> None:
    text = SAMPLES["Signal Cloud"] + f"{open_time},{price},{price},{price},{price},5\n"
    for one in replay_bars(options(written(tmp_path, text)), market_calendars(), NOW).bars:
        problems = Problems()
        check_bar(one, problems, INSTRUMENTS[SYMBOL], NOW)
        assert not list(problems)
