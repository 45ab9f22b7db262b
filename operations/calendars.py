"""Generates shared/calendars/*.json, the days unlike the regular week, from a library and our corrections.

The library is pandas_market_calendars. operations/calendar_corrections.toml says where CME's published hours
differ from it. The results are committed, so that no process that serves requests loads pandas. `python -m
operations.calendars` writes them again; a test fails if they differ from what the two sources say.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec

from shared.domain.market.calendars import CLOSES, NEW_YORK, OPENS
from shared.domain.market.instruments import Market

FIRST = date(2020, 1, 1)
LAST = date(2030, 12, 31)
DIRECTORY = Path(__file__).resolve().parent.parent / "shared" / "calendars"
CORRECTIONS = Path(__file__).resolve().parent / "calendar_corrections.toml"

# "CME Globex Equity" and not "CME_Equity": the latter closes at 13:00 on days on which Globex closes at
# 13:15 (the days before Independence Day and Christmas, the day after Thanksgiving), and is closed on all of
# 2025-01-09. Both have the maintenance hour from 17:00 to 18:00 New York time.
SOURCES: dict[Market, str] = {"equity": "CME Globex Equity", "crude": "CMEGlobex_Crude"}


class Correction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Trading days of one market that the library gets wrong.

    `close` is their close in New York time; None means that these days have no session. Each of `sources` is
    a date, a publisher, what it says, and where.
    """

    market: Market
    days: tuple[date, ...]
    why: str
    sources: tuple[str, ...]
    close: time | None = None


class _Corrections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    corrections: tuple[Correction, ...]


def read_corrections() -> tuple[Correction, ...]:
    return msgspec.toml.decode(CORRECTIONS.read_bytes(), type=_Corrections).corrections


def calendar_document(
    market: Market, corrections: Iterable[Correction], first: date = FIRST, last: date = LAST
) -> dict[str, Any]:
    """The calendar of one market as it is stored, from `first` to `last`.

    Raises ValueError if the format cannot hold what the library says, or if a correction is needless, comes
    twice or names a weekend. The format holds closed days and early closes, but no late open and no session
    on a weekend.
    """
    closes = _closes_of_library(market, first, last)
    corrected = set[date]()
    for correction in corrections:
        for day in correction.days if correction.market == market else ():
            if not first <= day <= last:
                continue
            if day not in closes or day in corrected:
                raise ValueError(f"the correction of {market} on {day} names a weekend, or comes twice")
            if closes[day] == correction.close:
                raise ValueError(f"the correction of {market} on {day} is needless: the library agrees")
            corrected.add(day)
            closes[day] = correction.close
    return {
        "source": f"pandas_market_calendars, {SOURCES[market]}, and operations/{CORRECTIONS.name}",
        "first": first.isoformat(),
        "last": last.isoformat(),
        "closed": [day.isoformat() for day, close in closes.items() if close is None],
        "early_closes": {
            day.isoformat(): close.isoformat()
            for day, close in closes.items()
            if close is not None and close != CLOSES
        },
    }


def _closes_of_library(market: Market, first: date, last: date) -> dict[date, time | None]:
    """The close of each day from Monday to Friday in New York time, None on a day without a session."""
    import pandas_market_calendars

    schedule = pandas_market_calendars.get_calendar(SOURCES[market]).schedule(first, last)
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    found: dict[date, time | None] = {day: None for day in days if day.weekday() <= 4}
    for index, opens_utc, closes_utc in zip(
        schedule.index, schedule["market_open"], schedule["market_close"], strict=True
    ):
        day, opens, closes = index.date(), opens_utc.astimezone(NEW_YORK), closes_utc.astimezone(NEW_YORK)
        regular_open = datetime.combine(day - timedelta(days=1), OPENS, NEW_YORK)
        if opens != regular_open or closes.date() != day or closes.time() > CLOSES or day not in found:
            raise ValueError(f"{SOURCES[market]}: {day} runs from {opens} to {closes}")
        found[day] = closes.time()
    return found


def calendar_text(market: Market) -> str:
    return json.dumps(calendar_document(market, read_corrections()), indent=1) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m operations.calendars", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, default=DIRECTORY, help="directory to write to")
    out: Path = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    for market in SOURCES:
        path = out / f"{market}.json"
        path.write_text(calendar_text(market), encoding="utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
