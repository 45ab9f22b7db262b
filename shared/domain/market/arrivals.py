"""Orders the bars of one request: the last version of each minute, those that it replaces, and late bars."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from shared.domain.market.bars import Bar


class ArrivedBar(msgspec.Struct, frozen=True):
    """The last version of one minute in a request.

    `late` says that a bar of a later minute stands before it in the request. `replaced` are the versions of
    the minute that stand before this one, oldest first, each with other content than the next one.
    """

    bar: Bar
    late: bool
    replaced: tuple[Bar, ...] = ()


def arranged(bars: Sequence[Bar]) -> list[ArrivedBar]:
    """One entry for each minute of `bars`, oldest first. Content is compared by value: 6500.0 is 6500.00."""
    versions: dict[datetime, list[Bar]] = {}
    late: set[datetime] = set()
    newest: datetime | None = None
    for bar in bars:
        known = versions.setdefault(bar.open_time, [])
        if not known and newest is not None and bar.open_time < newest:
            late.add(bar.open_time)
        if not known or known[-1] != bar:
            known.append(bar)
        newest = bar.open_time if newest is None else max(newest, bar.open_time)
    return [
        ArrivedBar(versions[minute][-1], minute in late, tuple(versions[minute][:-1]))
        for minute in sorted(versions)
    ]


class StoredCounts(msgspec.Struct, frozen=True):
    """What storing a request changed: minutes that are new, versions that were replaced, and late minutes.

    `late` are among `inserted`.
    """

    inserted: int
    corrected: int
    late: int
