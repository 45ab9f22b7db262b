"""Chooses the bars that `make run` replays from a file, before the stack starts."""

from dataclasses import replace
from datetime import datetime

from local.demo.bar_files.reading import BarFile, read_bar_file
from local.demo.bar_files.skipped import counted
from local.demo.bar_files.tables import BarFileError
from local.demo.options import ReplayOptions
from shared.domain.market.bars import is_over
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.instruments import INSTRUMENTS

SYMBOL = "ES"
# A few bars lie out of session in good files: tests of the exchange, hours that changed. More means that
# the zone is wrong: the market is closed for an hour each day.
_MANY = 0.01
# The exchange's own zones, and the one of most programs.
_ZONES = ("America/New_York", "America/Chicago", "UTC")


def replay_bars(options: ReplayOptions, calendars: MarketCalendars, now: datetime) -> BarFile:
    """The bars of the file from `options.start` to `options.end`, and what a person should know about them.

    Raises BarFileError if the file cannot be used, is of another symbol, or none of these bars is in a
    session. Rows that the API would refuse at `now` are skipped.
    """
    file = _read(options, options.zone, now)
    chosen = tuple(
        bar
        for bar in file.bars
        if (options.start is None or bar.open_time >= options.start)
        and (options.end is None or bar.open_time < options.end)
    )
    if not chosen:
        raise BarFileError(options.bars, _nothing_chosen(options, file))
    told = list(file.told)
    if len(chosen) < len(file.bars):
        told.append(f"FROM and TO leave {counted(len(chosen), 'bar')}")
    outside = [bar for bar in chosen if not calendars.is_open(SYMBOL, bar.open_time)]
    if len(outside) == len(chosen):
        raise BarFileError(
            options.bars,
            f"not one of {counted(len(chosen), 'bar')} is in a session of {SYMBOL}; the first opens at "
            f"{chosen[0].open_time:%Y-%m-%d %H:%M} UTC. Check ZONE. {'; '.join(told)}",
        )
    if outside:
        told.append(
            f"{counted(len(outside), 'bar')} out of session, when the market is closed and makes no signals: "
            f"the first opens at {outside[0].open_time:%Y-%m-%d %H:%M} UTC"
        )
    if file.zone_is_assumed and len(outside) > _MANY * len(chosen):
        told.append(_zone_doubted(options, calendars, now, len(outside)))
    return replace(file, bars=chosen, told=tuple(told))


def _read(options: ReplayOptions, zone: str | None, now: datetime | None) -> BarFile:
    return read_bar_file(
        options.bars, zone=zone, stamp=options.stamp, instrument=INSTRUMENTS[SYMBOL], now=now
    )


def _zone_doubted(options: ReplayOptions, calendars: MarketCalendars, now: datetime, outside: int) -> str:
    """A text that names the zone in which the fewest bars of the whole file would be out of session."""
    fewest, best = outside, ""
    for zone in _ZONES:
        # Without `now`, because a zone that puts bars into the future is wrong, and must not get rid of them.
        bars = _read(options, zone, None).bars
        if not is_over(bars[-1].open_time, now):
            continue
        count = sum(not calendars.is_open(SYMBOL, bar.open_time) for bar in bars)
        if count < fewest:
            fewest, best = count, zone
    if not best:
        return "that many may mean that the zone is wrong: say with ZONE= which it is"
    return f"that many mean that the zone is wrong: with ZONE={best}, {counted(fewest, 'bar')} would be out"


def _nothing_chosen(options: ReplayOptions, file: BarFile) -> str:
    wanted = f"from {options.start:%Y-%m-%d %H:%M}" if options.start else "from its beginning"
    wanted += f" to {options.end:%Y-%m-%d %H:%M}" if options.end else " to its end"
    held = f"{file.bars[0].open_time:%Y-%m-%d} to {file.bars[-1].open_time:%Y-%m-%d}"
    return f"has no bars {wanted}; it holds {held}, in UTC"
