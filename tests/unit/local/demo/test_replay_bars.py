"""Which bars of a file `make run` replays, and what it says before anything starts."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from local.demo.bar_files.tables import BarFileError
from local.demo.options import BUNDLED_BARS, ReplayOptions
from local.demo.replay_bars import replay_bars
from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import BAR_INTERVAL
from tests.support import vendor_files as vendors
from tests.support.market import bar, simulated_es, utc
from tests.support.vendor_samples import written

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
    assert replay_bars(options(BUNDLED_BARS, start, end), calendars).bars == bars[10:20]
    assert replay_bars(options(BUNDLED_BARS, start), calendars).bars == bars[10:]
    assert replay_bars(options(BUNDLED_BARS, end=end), calendars).bars == bars[:20]
    assert replay_bars(options(BUNDLED_BARS, start, end), calendars).told[-1] == "FROM and TO leave 10 bars"


def test_an_empty_range_is_told_with_what_the_file_holds(tmp_path: Path) -> None:
    path = written(tmp_path, vendors.own([bar(at, 6543) for at in minutes(OPENS, 3)]).content())
    with pytest.raises(BarFileError) as raised:
        replay_bars(options(path, utc("2025-10-15T00:00"), utc("2025-10-17T00:00")), market_calendars())
    held = "it holds 2025-10-14 to 2025-10-14, in UTC"
    assert str(raised.value) == f"{path}: has no bars from 2025-10-15 00:00 to 2025-10-17 00:00; {held}"
    with pytest.raises(BarFileError, match="has no bars from its beginning to 2025-10-14 00:00; it holds"):
        replay_bars(options(path, end=utc("2025-10-14T00:00")), market_calendars())


@pytest.mark.parametrize(
    "first",
    ["2025-10-18T15:00", "2025-10-14T21:00", "2025-12-25T15:00", "2025-01-09T14:30", "2019-10-15T15:00"],
)
def test_a_file_without_one_bar_in_session_is_refused(tmp_path: Path, first: str) -> None:
    path = written(tmp_path, vendors.own([bar(at, 6543) for at in minutes(utc(first), 30)]).content())
    with pytest.raises(BarFileError, match="not one of 30 bars is in a session of ES; the first opens at 20"):
        replay_bars(options(path), market_calendars())


def test_bars_out_of_session_are_told_and_kept(tmp_path: Path) -> None:
    bars = [bar(at, 6543) for at in minutes(OPENS - timedelta(minutes=2), 400)]
    file = replay_bars(options(written(tmp_path, vendors.own(bars).content())), market_calendars())
    assert list(file.bars) == bars
    assert file.told[-1] == (
        "2 bars out of session, when the market is closed and makes no signals: "
        "the first opens at 2025-10-14 21:58 UTC"
    )


def test_a_zone_that_puts_bars_into_closed_hours_is_doubted(tmp_path: Path) -> None:
    day = [bar(at, 6543) for at in minutes(OPENS, 23 * 60)]
    path = written(tmp_path, vendors.ninjatrader(day, "America/New_York").content(";"))
    doubted = replay_bars(options(path), market_calendars())
    assert doubted.told[-1] == (
        "that many mean that the zone is wrong: with ZONE=America/New_York, 0 bars would be out"
    )
    right = replay_bars(options(path, zone="America/New_York"), market_calendars())
    assert list(right.bars) == day
    assert "out of session" not in " ".join(right.told)


def test_a_file_that_stamps_the_end_fills_its_session_exactly(tmp_path: Path) -> None:
    """A stamp that is taken for the start would leave the first minute out and put one after the close."""
    day = [bar(at, 6543) for at in minutes(OPENS, 23 * 60)]
    stamped = [bar(one.close_time, one.close) for one in day]
    path = written(tmp_path, vendors.own(stamped).content())
    assert "1 bar out of session" in replay_bars(options(path), market_calendars()).told[-1]
    file = replay_bars(options(path, stamp="end"), market_calendars())
    assert list(file.bars) == day
    assert "out of session" not in " ".join(file.told)
