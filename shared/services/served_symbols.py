"""Knows which symbols are served: those that the app is built for, and those that have bars or signals."""

from collections.abc import Collection, Sequence
from typing import Protocol

from shared.domain.market.bars import FeedState
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.symbols import root_hint
from shared.domain.problems import Problems

MAX_LISTED = 50


class Feeds(Protocol):
    async def feeds(self) -> list[FeedState]: ...


class Sequences(Protocol):
    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]: ...


class ServedSymbols:
    """The symbols of instruments and of `strategies` are known without a look at Postgres."""

    def __init__(self, strategies: Collection[str], feeds: Feeds, sequences: Sequences) -> None:
        """`strategies` are the symbols of all strategies."""
        self._built_in = frozenset((*INSTRUMENTS, *strategies))
        self._feeds = feeds
        self._sequences = sequences

    async def check(self, symbols: Collection[str], problems: Problems) -> None:
        """Adds each of `symbols` that nothing serves: its license would hear silence. Raises Unavailable."""
        others = [symbol for symbol in symbols if symbol not in self._built_in]
        if not others:
            return
        served = self._built_in | await self._with_data()
        listed = ", ".join(sorted(served)[:MAX_LISTED])
        for symbol in others:
            if symbol not in served:
                hint = root_hint(symbol) or f"Nothing serves {symbol}: it has neither bars nor signals."
                problems.add("symbols", "unknown_value", f"{hint} Served are {listed}.")

    async def _with_data(self) -> frozenset[str]:
        feeds = await self._feeds.feeds()
        return frozenset(feed.symbol for feed in feeds) | frozenset(
            await self._sequences.last_sequences(None)
        )
