"""Counts in memory, and their sums over all processes."""

import pytest

from shared.errors import CacheUnavailable
from shared.services import counters as module
from shared.services.counters import Counters


class Store:
    def __init__(self) -> None:
        self.away = False
        self.sums: dict[str, int] = {"requests": 5}
        self.writes = 0

    async def add_counts(self, counts: dict[str, int]) -> None:
        self.writes += 1
        if self.away:
            raise CacheUnavailable("The cache cannot be reached.")
        for name, count in counts.items():
            self.sums[name] = self.sums.get(name, 0) + count

    async def counts(self) -> dict[str, int]:
        if self.away:
            raise CacheUnavailable("The cache cannot be reached.")
        return dict(self.sums)


async def flushed(counters: Counters) -> None:
    assert counters._flush is not None
    await counters._flush


async def test_totals_are_those_of_all_processes_and_what_is_not_flushed() -> None:
    counters = Counters(Store())
    counters.add("requests")
    counters.add("bars_received", 4)
    assert await counters.totals() == {"requests": 6, "bars_received": 4}
    assert counters.process_totals() == {"requests": 1, "bars_received": 4}


async def test_counts_are_flushed_together_and_again_only_when_something_was_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert module.FLUSH_AFTER_S == 1.0
    monkeypatch.setattr(module, "FLUSH_AFTER_S", 0.0)
    store = Store()
    counters = Counters(store)
    for _ in range(3):
        counters.add("requests")
    await flushed(counters)
    assert (store.sums, store.writes) == ({"requests": 8}, 1)
    assert await counters.totals() == {"requests": 8}
    assert counters.process_totals() == {"requests": 3}
    counters.add("requests")
    await flushed(counters)
    assert (store.sums, store.writes) == ({"requests": 9}, 2)


async def test_what_cannot_be_flushed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_AFTER_S", 0.0)
    store = Store()
    counters = Counters(store)
    store.away = True
    counters.add("requests", 2)
    await flushed(counters)
    assert counters.process_totals() == {"requests": 2}
    with pytest.raises(CacheUnavailable):
        await counters.totals()
    store.away = False
    assert await counters.totals() == {"requests": 7}
    counters.add("requests")
    await flushed(counters)
    assert store.sums == {"requests": 8}
    assert counters.process_totals() == {"requests": 3}
