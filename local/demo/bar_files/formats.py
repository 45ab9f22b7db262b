"""Knows how vendors write files of one-minute bars, and tells their files apart by header and form.

Each format is a row of FORMATS. What it states comes from the vendor's own documentation:
- NinjaTrader 8, importing: exports are in UTC, a stamp is the end of its bar, and there is no header.
  https://ninjatrader.com/support/helpGuides/nt8/en-us/importing.htm
- Databento, aggregate bars and DBNStore.to_csv: `ts_event` is the start of the bar in UTC, as nanoseconds or
  ISO 8601; prices are decimals or whole units of 1e-9; `rtype` 33 means one minute.
  https://databento.com/docs/schemas/ohlcv.md
- TradingView, export of chart data: `time` is the start of the bar, ISO 8601 with the chart's offset or unix
  seconds; the plots of indicators follow as further columns.
- Yahoo through yfinance: times have their offset, or none in files that went through other tools; above the
  times there may be a line of tickers and one of prices. https://github.com/ranaroussi/yfinance/issues/2269
- MetaTrader 5, export of bars: `<DATE>` and `<TIME>` are the start of the bar on the broker's clock.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from local.demo.bar_files.tables import BarFileError, Row

Stamp = Literal["start", "end"]
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Format:
    """How one vendor writes bars.

    A file is of this format if its header has all columns of `header`, and its first time, if there is one,
    is a `form`. Without `header` the file has none, and `columns` names its columns. `time` are the columns
    that together hold the time. `zone` is the zone of times without an offset, None if the vendor's files do
    not settle it; `zone_because` says why. `volume` are columns of which the first with any volume counts,
    `symbol` those of which the first that is there says what is traded. `interval` is a column that has the
    given value in every row, because another value means bars that are not of one minute.
    """

    name: str
    header: tuple[str, ...] = ()
    form: str = ""
    columns: tuple[str, ...] = ()
    time: tuple[str, ...] = ("time",)
    stamp: Stamp = "start"
    zone: str | None = None
    zone_because: str = ""
    volume: tuple[str, ...] = ("volume",)
    symbol: tuple[str, ...] = ("symbol", "ticker")
    interval: tuple[str, str] | None = None
    whole_prices_are_nanos: bool = False


_NINJATRADER = Format(
    "NinjaTrader",
    form=r"[0-9]{8}( [0-9]{6})?",
    columns=("time", *PRICES, "volume"),
    stamp="end",
    zone="UTC",
    zone_because="NinjaTrader 8 exports UTC",
)
_METATRADER = Format(
    "MetaTrader",
    form=r"[0-9]{4}\.[0-9]{2}\.[0-9]{2} .*",
    columns=("date", "time", *PRICES, "volume"),
    time=("date", "time"),
    zone_because="MetaTrader writes the broker's clock",
)
_YAHOO = Format("Yahoo", zone="America/New_York", zone_because="Yahoo's times of CME futures are New York's")
FORMATS = (
    Format("Signal Cloud", header=("open_time",), time=("open_time",)),
    Format(
        "Databento",
        header=("ts_event",),
        time=("ts_event",),
        zone="UTC",
        zone_because="Databento writes UTC",
        symbol=("symbol", "instrument_id"),
        interval=("rtype", "33"),
        whole_prices_are_nanos=True,
    ),
    replace(
        _METATRADER,
        header=("<date>",),
        form="",
        time=("<date>", "<time>"),
        volume=("<vol>", "<tickvol>"),
    ),
    _METATRADER,
    replace(_METATRADER, header=("date", "time")),
    _NINJATRADER,
    replace(_NINJATRADER, header=("date", "time"), time=("date", "time")),
    # Some people put a header above NinjaTrader's lines.
    *(replace(_NINJATRADER, header=(name,), time=(name,)) for name in ("time", "datetime", "date")),
    *(replace(_YAHOO, header=(name,), time=(name,)) for name in ("datetime", "date")),
    Format("TradingView", header=("time",), zone_because="TradingView writes the zone of the chart"),
)
_TICKS = re.compile(r"[0-9]{8} [0-9]{6} [0-9]{7}")
# The first cell of a header that stands on two or three lines, as yfinance writes it.
_STACKED = {"", "price", "ticker"}
_NO_ROWS = "has no rows after its header"
KNOWN = (
    "NinjaTrader (no header, yyyyMMdd HHmmss;open;high;low;close;volume), TradingView (time,open,...), "
    "Yahoo (Datetime,Open,...), Databento (ts_event,...), MetaTrader (<DATE>,<TIME>,...) "
    "and ours (open_time,open,high,low,close,volume)"
)


@dataclass(frozen=True)
class Layout:
    """Where a file has what: the index of each column that its format names, and its rows of bars."""

    format: Format
    columns: dict[str, int]
    width: int
    rows: Sequence[Row]
    tickers: frozenset[str]

    @property
    def symbol_column(self) -> int | None:
        return next((self.columns[name] for name in self.format.symbol if name in self.columns), None)


def recognise(path: Path, rows: Sequence[Row]) -> Layout:
    """The format and layout of a file; raises BarFileError if it is of no known format."""
    if not rows:
        raise BarFileError(path, "is empty")
    header, tickers, count = _header(rows)
    for each in FORMATS:
        names, bars = (header, rows[count:]) if each.header else (list(each.columns), rows)
        if set(each.header) <= set(names) and _has_form(each, names, bars):
            layout = _layout(path, each, names, bars, tickers if each.header else frozenset())
            if not bars:
                raise BarFileError(path, _NO_ROWS)
            return layout
    if len(rows) == count and set(PRICES) <= set(header):
        raise BarFileError(path, _NO_ROWS)
    if _TICKS.fullmatch(rows[0].cells[0]):
        raise BarFileError(path, "holds ticks of NinjaTrader; export one-minute bars")
    begin = ",".join(rows[0].cells)[:80]
    raise BarFileError(path, f"line {rows[0].line} ({begin}) is of no known format. Known are {KNOWN}")


def _has_form(each: Format, names: Sequence[str], bars: Sequence[Row]) -> bool:
    """Whether the first time is written as the format writes it."""
    if not each.form:
        # A date beside a time of day is none of Yahoo's, and a time of day alone none of TradingView's.
        return not {"date", "time"} <= set(names)
    cells = bars[0].cells if bars else []
    places = [names.index(name) for name in each.time]
    return max(places) < len(cells) and bool(
        re.fullmatch(each.form, " ".join(cells[place] for place in places))
    )


def _header(rows: Sequence[Row]) -> tuple[list[str], frozenset[str], int]:
    """The names of the columns in lower case, the tickers above them, and how many rows the header takes."""
    head = [[cell.lower() for cell in row.cells] for row in rows[:3]]
    if head[0][0] not in _STACKED:
        return head[0], frozenset(), 1
    names = next((line for line in head if "open" in line), head[0])
    above = next((line for line in head[:2] if line is not names and line[0] in _STACKED), [])
    tickers = frozenset(cell.upper() for cell in above[1:] if cell)
    # The last line of such a header names the index alone. Files that lost it have times below a blank.
    index = next((line[0] for line in head if line[0] in ("datetime", "date")), "datetime")
    count = next((n for n, line in enumerate(head) if line[0][:1].isdigit()), len(head))
    return [index, *names[1:]], tickers, count


def _layout(
    path: Path, found: Format, names: Sequence[str], rows: Sequence[Row], tickers: frozenset[str]
) -> Layout:
    if len(tickers) > 1:
        raise mixed_symbols(path, tickers)
    needed = [*PRICES, *(name for name in found.time if name != "<time>")]
    wanted = {*needed, *found.time, *found.volume, *found.symbol}
    columns: dict[str, int] = {}
    for index, name in enumerate(names):
        known = name if name in wanted else name.strip("<>")
        if known in wanted and known in columns:
            raise BarFileError(path, f"has the column {known} twice; leave one")
        columns[known] = index
    missing = [name for name in needed if name not in columns]
    if not any(name in columns for name in found.volume):
        missing.append(found.volume[0])
    if missing:
        has = ", ".join(names)
        raise BarFileError(
            path, f"looks like {found.name}, but has no column {', '.join(missing)}; has {has}"
        )
    return Layout(found, columns, len(names), rows, tickers)


def mixed_symbols(path: Path, symbols: frozenset[str]) -> BarFileError:
    some = ", ".join(sorted(symbols)[:5])
    return BarFileError(path, f"mixes the bars of {len(symbols)} symbols ({some}); leave one")
