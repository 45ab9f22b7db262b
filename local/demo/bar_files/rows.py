"""Makes bars of the rows of a file whose layout is known."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from local.demo.bar_files.cells import BadCell, DateOnly, in_utc, moment, number, plain, whole_number
from local.demo.bar_files.formats import PRICES, Layout, Stamp
from local.demo.bar_files.skipped import SkippedRows
from local.demo.bar_files.tables import BarFileError, Row
from shared.domain.market.bars import BAR_INTERVAL, MAX_PRICE, Bar, check_form
from shared.domain.problems import Problems

_NANO = Decimal("1e-9")
# The largest whole number of nanos: Databento's mark of a bar without a price.
_NO_PRICE = "9223372036854775807"


class RowReader:
    """Reads the rows of one file; afterwards it says what the times turned out to be."""

    def __init__(self, path: Path, layout: Layout, zone: str | None, stamp: Stamp | None) -> None:
        self.skipped = SkippedRows()
        self.seconds = 0
        self._path = path
        self._layout = layout
        self._zone_given = zone is not None
        name = zone or layout.format.zone
        self._zone = ZoneInfo(name) if name else None
        self._has_naive = False
        self._stamp_given = stamp is not None
        self._stamp: Stamp = stamp or layout.format.stamp
        columns = layout.columns
        self._time = [columns[name] for name in layout.format.time if name in columns]
        self._prices = [(name, columns[name]) for name in PRICES]
        self._volume = _volume_column(layout)
        self._nanos = _has_nanos(layout)
        self._least = 1 + max(*self._time, *(index for _, index in self._prices), self._volume)

    @property
    def zone_is_assumed(self) -> bool:
        """Whether the zone of times without an offset is the format's default."""
        return self._has_naive and not self._zone_given

    def told(self) -> str:
        """Of which zone the times are, which end of the minute they stamp, and how that is known."""
        vendor = self._layout.format
        zone = "each has its offset from UTC"
        if self._has_naive:
            assert self._zone is not None
            because = f"because {vendor.zone_because}; ZONE= says otherwise"
            zone = f"{self._zone.key} ({'as ZONE says' if self._zone_given else because})"
        elif self._zone_given:
            zone += ", so that ZONE is not needed"
        because = f"as {vendor.name} writes them; STAMP= says otherwise"
        stamp = f"{self._stamp} of the minute ({'as STAMP says' if self._stamp_given else because})"
        return f"times: {zone}; {stamp}"

    def bars(self) -> Iterator[tuple[int, Bar]]:
        """Each bar with its line; rows that are none are in `skipped`, `seconds` counts odd seconds."""
        for row in self._layout.rows:
            if len(row.cells) < self._least or any(row.cells[self._layout.width :]):
                self.skipped.add(
                    row.line, f"without the {self._layout.width} fields of the others", f"{len(row.cells)}"
                )
                continue
            bar = self._bar(row)
            if bar is not None:
                yield row.line, bar

    def _bar(self, row: Row) -> Bar | None:
        texts = {"open_time": " ".join(row.cells[index] for index in self._time)}
        texts |= {name: row.cells[index] for name, index in self._prices}
        texts["volume"] = row.cells[self._volume]
        field = "open_time"
        try:
            open_time = self._open_time(row, texts[field])
            prices = {}
            for field in PRICES:
                prices[field] = self._price(texts[field])
            field = "volume"
            bar = Bar(open_time=open_time, volume=whole_number(texts[field]), **prices)
        except BadCell as bad:
            self.skipped.add(row.line, f"whose {field} {bad}", texts[field])
            return None
        problems = Problems()
        check_form(bar, problems)
        for problem in problems:
            reason = f"whose {problem.field} is refused: {problem.message.rstrip('.')}"
            self.skipped.add(row.line, reason, texts[problem.field])
            return None
        return bar

    def _open_time(self, row: Row, text: str) -> datetime:
        try:
            found = moment(text)
        except DateOnly:
            raise BarFileError(
                self._path,
                f"line {row.line}: {text!r} has no time of day; only bars of one minute can be replayed",
            ) from None
        if found.tzinfo is None:
            if self._zone is None:
                because = self._layout.format.zone_because or "its zone is not known"
                raise BarFileError(
                    self._path,
                    f"line {row.line}: {text!r} has no offset from UTC, and {because}; "
                    "say which, for example ZONE=America/New_York",
                )
            self._has_naive = True
            found = in_utc(found, self._zone)
        if found.second or found.microsecond:
            self.seconds += 1
            raise BadCell("is not a whole minute")
        return found - BAR_INTERVAL if self._stamp == "end" else found

    def _price(self, text: str) -> Decimal:
        if text == _NO_PRICE:
            raise BadCell("is Databento's mark of no price")
        return plain(number(text) * _NANO) if self._nanos else number(text)


def _volume_column(layout: Layout) -> int:
    """The first volume column with any volume; brokers without one write zeros and count ticks instead."""
    there = [layout.columns[name] for name in layout.format.volume if name in layout.columns]
    for index in there:
        if any(row.cells[index].strip("0.") for row in layout.rows if len(row.cells) > index):
            return index
    return there[0]


def _has_nanos(layout: Layout) -> bool:
    """Whether prices are in billionths: all are whole numbers, and one is larger than a price can be."""
    if not layout.format.whole_prices_are_nanos:
        return False
    largest = 0
    for row in layout.rows:
        for name in PRICES:
            index = layout.columns[name]
            text = row.cells[index] if index < len(row.cells) else ""
            if "." in text:
                return False
            digits = text.removeprefix("-")
            if digits.isascii() and digits.isdigit() and text != _NO_PRICE:
                largest = max(largest, int(digits))
    return largest > MAX_PRICE
