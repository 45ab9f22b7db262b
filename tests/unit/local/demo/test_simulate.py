import gzip
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

from local.demo.bar_files.reading import read_bar_file
from local.demo.options import BUNDLED_BARS
from local.demo.simulate import (
    DEFAULT_FIRST,
    DEFAULT_SEED,
    DEFAULT_SESSIONS,
    SYMBOL,
    main,
    simulated_bars,
)
from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import BAR_INTERVAL, Bar, check_bar
from shared.domain.market.calendars import NEW_YORK
from shared.domain.problems import Problems
from tests.support.market import TICK, simulated_es

CALENDARS = market_calendars()


def by_minute(bars: tuple[Bar, ...], clock: str) -> list[Bar]:
    return [one for one in bars if one.open_time.astimezone(NEW_YORK).strftime("%H:%M") == clock]


def test_the_bundled_file_is_what_the_generator_makes() -> None:
    assert tuple(simulated_bars(DEFAULT_SEED, DEFAULT_SESSIONS, DEFAULT_FIRST)) == simulated_es()


def test_the_command_writes_the_bundled_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bars.csv.gz"
    assert main(["--out", str(out)]) == 0
    # The content, for the compressed bytes are the business of the zlib at hand.
    assert gzip.decompress(out.read_bytes()) == gzip.decompress(BUNDLED_BARS.read_bytes())
    assert "simulated" in capsys.readouterr().out


def test_the_bundled_file_is_small_named_for_what_it_is_and_has_no_time_of_writing() -> None:
    packed = BUNDLED_BARS.read_bytes()
    assert len(packed) < 200_000
    assert "simulated" in BUNDLED_BARS.name
    assert packed[4:8] == bytes(4)


def test_every_bar_is_possible_on_the_tick_and_in_session() -> None:
    for one in simulated_es():
        problems = Problems()
        check_bar(one, problems)
        assert len(problems) == 0
        assert CALENDARS.is_open(SYMBOL, one.open_time)
        assert all(price % TICK == 0 for price in (one.open, one.high, one.low, one.close))


def test_sessions_follow_the_calendar() -> None:
    days = [CALENDARS.session_at(SYMBOL, one.open_time) for one in simulated_es()]
    trading_days = sorted({session.trading_day for session in days if session})
    assert trading_days == [date(2025, 6, 30), *(date(2025, 7, day) for day in (1, 2, 3, 4, 7, 8))]
    last_of = {session.trading_day: one for one, session in zip(simulated_es(), days, strict=True) if session}
    assert last_of[date(2025, 7, 3)].close_time.astimezone(NEW_YORK).strftime("%H:%M") == "13:15"


def test_volume_opens_with_the_stock_market_and_nights_are_thin() -> None:
    bars = simulated_es()
    opening = mean(one.volume for one in by_minute(bars, "09:30"))
    assert opening > 5 * mean(one.volume for one in by_minute(bars, "09:20"))
    assert opening > 50 * mean(one.volume for one in by_minute(bars, "23:00"))
    silent = sum(
        1
        for earlier, later in pairwise(bars)
        if BAR_INTERVAL < later.open_time - earlier.open_time < timedelta(minutes=10)
    )
    assert silent > 100
    assert all(one.volume > 0 for one in bars)
    assert len(by_minute(bars, "10:00")) == DEFAULT_SESSIONS


def test_prices_jump_over_a_weekend() -> None:
    (friday, monday) = next(
        (earlier, later)
        for earlier, later in pairwise(simulated_es())
        if later.open_time - earlier.open_time > timedelta(days=2)
    )
    assert abs(monday.open - friday.close) >= 4 * TICK


def test_seeds_differ_and_a_shorter_run_is_the_start_of_a_longer_one() -> None:
    one, two = list(simulated_bars(1, 2)), list(simulated_bars(2, 2))
    assert one != two
    assert one[: len(list(simulated_bars(1, 1)))] == list(simulated_bars(1, 1))


def test_options_choose_seed_sessions_and_first_day(tmp_path: Path) -> None:
    out = tmp_path / "bars.csv"
    main(["--seed", "3", "--sessions", "1", "--first", "2025-12-25", "--out", str(out)])
    bars = list(read_bar_file(out).bars)
    assert bars == list(simulated_bars(3, 1, date(2025, 12, 26)))  # the 25th has no session


@pytest.mark.parametrize(
    "argv",
    [
        ["--sessions", "0"],
        ["--sessions", "501"],
        ["--first", "soon"],
        ["--first", "2030-12-30", "--sessions", "9"],
        ["--sessions", "1", "--out", "/dev/null/bars.csv"],
    ],
)
def test_bad_options_end_with_usage(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path / "bars.csv"), *argv])
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err
