"""Generates shared/calendars/*.json from pandas_market_calendars: only days unlike the regular week.

The files are committed, so that no process that serves requests loads pandas. `python -m
operations.calendars` writes them again; a test fails if they differ from what the library says.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.domain.market.calendars import CLOSES, NEW_YORK, OPENS
from shared.domain.market.instruments import Market

FIRST = date(2020, 1, 1)
LAST = date(2030, 12, 31)
DIRECTORY = Path(__file__).resolve().parent.parent / "shared" / "calendars"

# "CME Globex Equity" and not "CME_Equity": the latter closes at 13:00 on days on which Globex closes at
# 13:15 (the days before Independence Day and Christmas, the day after Thanksgiving), and is closed on all of
# 2025-01-09. Both have the maintenance hour from 17:00 to 18:00 New York time.
SOURCES: dict[Market, str] = {"equity": "CME Globex Equity", "crude": "CMEGlobex_Crude"}


def calendar_document(market: Market, first: date = FIRST, last: date = LAST) -> dict[str, Any]:
    """The calendar of one market as it is stored; raises ValueError if the format cannot hold it.

    The format holds closed days and early closes, but no late open and no session on a weekend.
    """
    import pandas_market_calendars

    schedule = pandas_market_calendars.get_calendar(SOURCES[market]).schedule(first, last)
    sessions = {
        day.date(): (opens.astimezone(NEW_YORK), closes.astimezone(NEW_YORK))
        for day, opens, closes in zip(
            schedule.index, schedule["market_open"], schedule["market_close"], strict=True
        )
    }
    early_closes: dict[str, str] = {}
    for day, (opens, closes) in sessions.items():
        regular_open = datetime.combine(day - timedelta(days=1), OPENS, NEW_YORK)
        if opens != regular_open or closes.date() != day or closes.time() > CLOSES or day.weekday() > 4:
            raise ValueError(f"{SOURCES[market]}: {day} runs from {opens} to {closes}")
        if closes.time() != CLOSES:
            early_closes[day.isoformat()] = closes.strftime("%H:%M:%S")
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    closed = [day.isoformat() for day in days if day.weekday() <= 4 and day not in sessions]
    return {
        "source": f"pandas_market_calendars, {SOURCES[market]}",
        "first": first.isoformat(),
        "last": last.isoformat(),
        "closed": closed,
        "early_closes": early_closes,
    }


def calendar_text(market: Market) -> str:
    return json.dumps(calendar_document(market), indent=1) + "\n"


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
