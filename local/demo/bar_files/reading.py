"""Reads the bars of a file of any known format, and says what it took for what."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import gcd
from pathlib import Path

from local.demo.bar_files.formats import Layout, Stamp, mixed_symbols, recognise
from local.demo.bar_files.rows import RowReader
from local.demo.bar_files.skipped import SkippedRows, counted
from local.demo.bar_files.tables import BarFileError, read_table
from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.instruments import Instrument
from shared.domain.market.symbols import contract_of, root_of

# One gap says nothing, because a minute without a trade has no bar.
_ENOUGH_BARS = 3
_LONG_GAP = 5 * BAR_INTERVAL


@dataclass(frozen=True)
class BarFile:
    """A file's bars, oldest first, one for each minute, and lines that say what they were made of.

    `zone_is_assumed` if times have no offset and nobody said which zone they are of.
    """

    bars: tuple[Bar, ...]
    told: tuple[str, ...]
    zone_is_assumed: bool


def read_bar_file(
    path: Path,
    *,
    zone: str | None = None,
    stamp: Stamp | None = None,
    instrument: Instrument | None = None,
    now: datetime | None = None,
) -> BarFile:
    """Reads a file of one-minute bars of one symbol.

    `zone` (IANA) is the zone of times without an offset, `stamp` says whether a time is the start or the end
    of its minute; without them, the format's own rules hold. Rows that are no bars are skipped, and told;
    with `instrument` and `now`, so are those that the API would refuse as bars of this instrument.
    Raises BarFileError if the file is of no known format, mixes symbols, is of another instrument, is not of
    one-minute bars, or has no bar.
    """
    layout = recognise(path, read_table(path))
    symbol = _symbol(path, layout)
    doubt = _check_symbol(path, symbol, instrument) if symbol and instrument else ""
    _check_interval(path, layout)
    reader = RowReader(path, layout, zone, stamp, instrument=instrument, now=now)
    read = list(reader.bars())
    bars = _by_time(read, reader.skipped)
    if reader.seconds > len(read):
        raise BarFileError(
            path,
            f"{reader.seconds:,} of {len(layout.rows):,} times are not whole minutes; "
            "only bars of one minute can be replayed",
        )
    if not bars:
        raise BarFileError(path, f"not one of {counted(len(layout.rows), 'row')} is a bar: {reader.skipped}")
    _check_minutes(path, bars)
    first, last = bars[0].open_time, bars[-1].open_time
    told = [
        f"{layout.format.name}, {counted(len(layout.rows), 'row')}{f' of {symbol}' if symbol else ''}",
        reader.told(),
        f"{counted(len(bars), 'bar')} of {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC",
    ]
    if doubt:
        told.append(doubt)
    if reader.skipped.count:
        told.append(f"skipped {counted(reader.skipped.count, 'row')}: {reader.skipped}")
    return BarFile(tuple(bars), tuple(told), reader.zone_is_assumed)


def _symbol(path: Path, layout: Layout) -> str:
    """The symbol as the file writes it; empty if it has none."""
    found = layout.tickers
    index = layout.symbol_column
    if index is not None:
        cells = {row.cells[index] for row in layout.rows if len(row.cells) > index}
        found = frozenset(cells - {""})
    if len(found) > 1:
        raise mixed_symbols(path, found)
    return "".join(found)


def _check_symbol(path: Path, symbol: str, instrument: Instrument) -> str:
    """What to tell about a symbol that names no known root; raises BarFileError if it names another one."""
    name = contract_of(symbol)
    if name is None:
        return f"the symbol {symbol} is of no known root: the bars are replayed as {instrument.symbol}"
    if name == instrument.symbol:
        return ""
    of = "" if symbol == name else f", which is {name}"
    # Its prices are the same, so that only the volume would be wrong, and nobody would see it.
    because = ", and the volume is another" if root_of(symbol) == instrument.symbol else ""
    raise BarFileError(path, f"holds bars of {symbol}{of}; this command replays {instrument.symbol}{because}")


def _check_interval(path: Path, layout: Layout) -> None:
    if layout.format.interval is None:
        return
    name, wanted = layout.format.interval
    index = layout.columns.get(name)
    if index is None:
        return
    for row in layout.rows:
        if len(row.cells) > index and row.cells[index] != wanted:
            raise BarFileError(
                path,
                f"line {row.line}: {name} is {row.cells[index]!r}, and bars of one minute have {wanted}",
            )


def _by_time(read: Iterable[tuple[int, Bar]], skipped: SkippedRows) -> list[Bar]:
    """One bar for each minute, oldest first; of two rows of one minute, the later one is its correction."""
    lines: dict[object, tuple[int, Bar]] = {}
    for line, bar in read:
        earlier = lines.get(bar.open_time)
        if earlier is not None:
            same = earlier[1] == bar
            skipped.add(
                line if same else earlier[0],
                "that repeat an earlier row" if same else "that a later row of the same minute corrects",
            )
        lines[bar.open_time] = line, bar
    return sorted((bar for _, bar in lines.values()), key=lambda bar: bar.open_time)


def _check_minutes(path: Path, bars: Sequence[Bar]) -> None:
    """Raises BarFileError if the bars are plainly of a longer interval than a minute."""
    gaps = Counter(later.open_time - earlier.open_time for earlier, later in pairwise(bars))
    if len(bars) < _ENOUGH_BARS or BAR_INTERVAL in gaps:
        return
    common = gcd(*(int(gap / BAR_INTERVAL) for gap in gaps))
    usual = gaps.most_common(1)[0][0]
    if common > 1 or usual >= _LONG_GAP:
        minutes = int(usual / BAR_INTERVAL)
        raise BarFileError(
            path, f"the bars are {minutes:,} minutes apart; only bars of one minute can be replayed"
        )
