"""Reads and writes files of one-minute bars: CSV, plain or gzipped, with the columns below.

`open_time` is ISO 8601 with its offset, prices are in points, volume in contracts. Minutes without a trade
may be absent.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from shared.domain.market.bars import Bar, check_bar
from shared.domain.problems import Problems

BUNDLED_BARS = Path(__file__).resolve().parent / "bars" / "es_simulated.csv.gz"
COLUMNS = ["open_time", "open", "high", "low", "close", "volume"]
_PRICES = ("open", "high", "low", "close")
_GZIP_MAGIC = b"\x1f\x8b"


class BarFileError(Exception):
    """A bar file cannot be used; the text names file, line and field."""


def read_bars(path: Path, start: datetime | None = None, end: datetime | None = None) -> Iterator[Bar]:
    """The bars with start <= open_time < end (both aware), oldest first, one at a time.

    Raises BarFileError at the first line that is not a bar, or is not later than the line before it. Lines
    before the range are checked too; reading stops at the first line after it.
    """
    last: datetime | None = None
    for line, row in _rows(path):
        bar = _bar(path, line, row)
        if last is not None and bar.open_time <= last:
            raise _error(path, line, "open_time", f"{row[0]} does not come after the line before it")
        last = bar.open_time
        if end is not None and bar.open_time >= end:
            return
        if start is None or bar.open_time >= start:
            yield bar


def missing_range(path: Path, start: datetime | None, end: datetime | None) -> str:
    """A text that says which bars a file holds instead of `start` to `end`; raises BarFileError."""
    days = [f"{bar.open_time:%Y-%m-%d}" for bar in read_bars(path)]
    if not days:
        return f"{path} holds no bars"
    wanted = f"from {start:%Y-%m-%d}" if start is not None else "from its beginning"
    wanted += f" to {end:%Y-%m-%d}" if end is not None else " to its end"
    return f"{path} has no bars {wanted}; it holds {days[0]} to {days[-1]}, in UTC"


def write_bars(path: Path, bars: Iterable[Bar]) -> int:
    """Writes `bars`, gzipped if the name ends in .gz; returns how many. Same bars, same bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for bar in bars:
        opened = bar.open_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        writer.writerow([opened, bar.open, bar.high, bar.low, bar.close, bar.volume])
        count += 1
    content = text.getvalue().encode("ascii")
    # gzip would put the time of writing into the header and so make every file different.
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return count


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of every line below the header."""
    line = 0
    try:
        with path.open("rb") as file:
            zipped = file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
            content = gzip.GzipFile(fileobj=file) if zipped else file
            # A byte that is not ASCII then shows in the error of its field.
            text = io.TextIOWrapper(content, encoding="ascii", errors="backslashreplace", newline="")
            rows = csv.reader(text, strict=True)
            if next(rows, []) != COLUMNS:
                raise BarFileError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}, in this order")
            for row in rows:
                line = rows.line_num
                yield line, row
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        raise BarFileError(f"{path}, after line {line}: cannot be read: {error}") from error


def _bar(path: Path, line: int, row: list[str]) -> Bar:
    if len(row) != len(COLUMNS):
        raise BarFileError(f"{path}, line {line}: has {len(row)} fields, expected {len(COLUMNS)}")
    values = dict(zip(COLUMNS, row, strict=True))
    prices = {name: _price(path, line, name, values[name]) for name in _PRICES}
    bar = Bar(
        open_time=_time(path, line, values["open_time"]),
        volume=_volume(path, line, values["volume"]),
        **prices,
    )
    problems = Problems()
    check_bar(bar, problems)
    for problem in problems:
        raise _error(path, line, problem.field, f"{values[problem.field]!r}: {problem.message}")
    return bar


def _time(path: Path, line: int, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _error(path, line, "open_time", f"{text!r} is not an ISO 8601 time") from None
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def _price(path: Path, line: int, name: str, text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _error(path, line, name, f"{text!r} is not a number") from None


def _volume(path: Path, line: int, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise _error(path, line, "volume", f"{text!r} is not a whole number of contracts")
    return int(text)


def _error(path: Path, line: int, field: str, message: str) -> BarFileError:
    return BarFileError(f"{path}, line {line}, {field}: {message}")
