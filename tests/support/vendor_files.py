"""Writes bars as vendors do, after their public documentation, for tests of files that people bring."""

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from shared.domain.market.bars import Bar

type Cells = list[str]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sheet:
    """A file as rows of cells: `header` has one row, none, or several that stand above each other."""

    header: list[Cells]
    rows: list[Cells]
    stacked: bool = False

    def reordered(self, order: Sequence[int]) -> "Sheet":
        """The columns in another order; lines without a header have one order alone."""
        if not self.header:
            return self
        places = [index for index in order if index < len(self.header[0])]
        if self.stacked:  # the first column is the index
            places = [0, *(index for index in places if index)]

        def moved(cells: Cells) -> Cells:
            return [cells[index] for index in places]

        return Sheet(
            [moved(cells) for cells in self.header], [moved(cells) for cells in self.rows], self.stacked
        )

    def recased(self, change: Callable[[str], str]) -> "Sheet":
        return Sheet([[change(cell) for cell in cells] for cells in self.header], self.rows, self.stacked)

    def content(
        self,
        delimiter: str = ",",
        line_end: str = "\n",
        *,
        mark: bool = False,
        blank_every: int = 0,
        zipped: bool = False,
    ) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end)
        for number, cells in enumerate([*self.header, *self.rows], 1):
            writer.writerow(cells)
            if blank_every and number % blank_every == 0:
                text.write(line_end)
        content = text.getvalue().encode("utf-8-sig" if mark else "utf-8")
        return gzip.compress(content) if zipped else content


def prices(bar: Bar) -> Cells:
    return [f"{price:f}" for price in (bar.open, bar.high, bar.low, bar.close)]


def seconds(bar: Bar) -> int:
    return int((bar.open_time - EPOCH).total_seconds())


def own(bars: Sequence[Bar]) -> Sheet:
    header = [["open_time", "open", "high", "low", "close", "volume"]]
    return Sheet(
        header, [[f"{bar.open_time:%Y-%m-%dT%H:%M:%SZ}", *prices(bar), str(bar.volume)] for bar in bars]
    )


def ninjatrader(bars: Sequence[Bar], zone: str = "UTC") -> Sheet:
    """Lines of NinjaTrader's export: the stamp is the end of the bar."""
    return Sheet(
        [],
        [
            [
                f"{bar.close_time.astimezone(ZoneInfo(zone)):%Y%m%d %H%M%S}",
                *prices(bar),
                str(bar.volume),
            ]
            for bar in bars
        ],
    )


def tradingview(bars: Sequence[Bar], zone: str = "America/Chicago") -> Sheet:
    """Chart data with the times of a chart's zone, and the plots of two indicators."""
    header = [["time", "open", "high", "low", "close", "VWAP", "Upper Band #1", "Volume", "Volume MA"]]
    rows = [
        [
            bar.open_time.astimezone(ZoneInfo(zone)).isoformat(),
            *prices(bar),
            "6543.213",
            "NaN",
            str(bar.volume),
            "",
        ]
        for bar in bars
    ]
    return Sheet(header, rows)


def tradingview_unix(bars: Sequence[Bar]) -> Sheet:
    header = [["time", "open", "high", "low", "close", "Volume"]]
    return Sheet(header, [[str(seconds(bar)), *prices(bar), str(bar.volume)] for bar in bars])


def yahoo(bars: Sequence[Bar], zone: str = "America/New_York") -> Sheet:
    """What `Ticker.history(interval="1m").to_csv()` writes."""
    header = [["Datetime", "Open", "High", "Low", "Close", "Adj Close", "Volume"]]
    rows = [
        [str(bar.open_time.astimezone(ZoneInfo(zone))), *prices(bar), f"{bar.close:f}", f"{bar.volume}.0"]
        for bar in bars
    ]
    return Sheet(header, rows)


def yahoo_stacked(bars: Sequence[Bar], ticker: str = "ES=F") -> Sheet:
    """What `yfinance.download(ticker, interval="1m").to_csv()` writes: a line of prices, one of tickers."""
    header = [
        ["Price", "Close", "High", "Low", "Open", "Volume"],
        ["Ticker", *[ticker] * 5],
        ["Datetime", "", "", "", "", ""],
    ]
    rows = []
    for bar in bars:
        opened, high, low, close = prices(bar)
        rows.append([str(bar.open_time), close, high, low, opened, str(bar.volume)])
    return Sheet(header, rows, stacked=True)


def yahoo_by_ticker(bars: Sequence[Bar], ticker: str = "ES=F") -> Sheet:
    """The same with `group_by="ticker"`: the tickers stand above the prices."""
    sheet = yahoo_stacked(bars, ticker)
    prices_line, tickers, index = sheet.header
    return Sheet([tickers, prices_line, index], sheet.rows, stacked=True)


def databento(bars: Sequence[Bar], symbol: str = "ESZ5") -> Sheet:
    """`DBNStore.to_csv` with its defaults: times and prices for people, and the symbol last."""
    header = [_DATABENTO]
    rows = [
        [
            f"{bar.open_time:%Y-%m-%dT%H:%M:%S}.000000000Z",
            *("33", "1", "294973"),
            *(f"{price:.9f}" for price in (bar.open, bar.high, bar.low, bar.close)),
            str(bar.volume),
            symbol,
        ]
        for bar in bars
    ]
    return Sheet(header, rows)


def databento_raw(bars: Sequence[Bar], symbol: str = "ESZ5") -> Sheet:
    """The same with `pretty_ts` and `pretty_px` off: nanoseconds, and prices in units of 1e-9."""
    rows = [
        [
            f"{seconds(bar)}000000000",
            *("33", "1", "294973"),
            *(str(int(price / Decimal("1e-9"))) for price in (bar.open, bar.high, bar.low, bar.close)),
            str(bar.volume),
            symbol,
        ]
        for bar in bars
    ]
    return Sheet([_DATABENTO], rows)


_DATABENTO = [
    *("ts_event", "rtype", "publisher_id", "instrument_id"),
    *("open", "high", "low", "close", "volume", "symbol"),
]


def metatrader(bars: Sequence[Bar], zone: str = "Europe/Athens") -> Sheet:
    """MetaTrader 5's export of bars, usually with tabs, on the broker's clock."""
    header = [
        [f"<{name}>" for name in ("DATE", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "TICKVOL", "VOL", "SPREAD")]
    ]
    rows = []
    for bar in bars:
        local = bar.open_time.astimezone(ZoneInfo(zone))
        volumes = ["37", str(bar.volume), "25"]
        rows.append([f"{local:%Y.%m.%d}", f"{local:%H:%M:%S}", *prices(bar), *volumes])
    return Sheet(header, rows)


def metatrader_4(bars: Sequence[Bar], zone: str = "Europe/Athens") -> Sheet:
    """MetaTrader 4's export: no header."""
    local = [bar.open_time.astimezone(ZoneInfo(zone)) for bar in bars]
    return Sheet(
        [],
        [
            [f"{at:%Y.%m.%d}", f"{at:%H:%M}", *prices(bar), str(bar.volume)]
            for at, bar in zip(local, bars, strict=True)
        ],
    )
