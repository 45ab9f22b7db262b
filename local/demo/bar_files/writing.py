"""Writes bars in our own format: CSV, plain or gzipped, with the columns below.

`open_time` is ISO 8601 with its offset, prices are in points, volume in contracts.
"""

import csv
import gzip
import io
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path

from shared.domain.market.bars import Bar

COLUMNS = ["open_time", "open", "high", "low", "close", "volume"]


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
