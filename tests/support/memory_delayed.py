"""What bots with a delay may see, in memory: all signals but the youngest ones of a symbol."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shared.adapters.postgres.delayed import DelayedEntry
from shared.domain.market.messages import message_of
from shared.domain.plain_json import encode
from tests.support.memory_signals import MemorySignals, Server


class MemoryDelayedBatch:
    def __init__(self, feeds: "MemoryDelayed", delay_s: int, entries: list[DelayedEntry]) -> None:
        self._feeds, self._delay_s, self.entries = feeds, delay_s, entries

    async def sent(self, symbol: str, sequence: int) -> None:
        self._feeds.cursors[self._delay_s][symbol] = sequence


class MemoryDelayed:
    """`young` says how many signals of a symbol are younger than a delay; by delay and symbol."""

    def __init__(self, server: Server, signals: MemorySignals) -> None:
        self._server = server
        self._signals = signals
        self.young: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self.cursors: dict[int, dict[str, int]] = {}

    async def visible_sequences(self, delay_s: int, symbols: Sequence[str] | None) -> dict[str, int]:
        self._server.answer()
        return {
            symbol: len(published) - self.young[delay_s].get(symbol, 0)
            for symbol, published in self._signals.published.items()
            if published and (symbols is None or symbol in symbols)
        }

    async def begin(self, delay_s: int) -> None:
        visible = await self.visible_sequences(delay_s, None)
        self.cursors.setdefault(delay_s, visible)

    async def delays(self) -> list[int]:
        self._server.answer()
        return sorted(self.cursors)

    @asynccontextmanager
    async def batch(self, delay_s: int, *, limit: int) -> AsyncIterator[MemoryDelayedBatch]:
        entries = [
            DelayedEntry(symbol, signal.sequence, encode(message_of(signal)))
            for symbol, visible in sorted((await self.visible_sequences(delay_s, None)).items())
            for signal in self._signals.published[symbol]
            if self.cursors[delay_s].get(symbol, 0) < signal.sequence <= visible
        ]
        yield MemoryDelayedBatch(self, delay_s, entries[:limit])

    async def sent_sequences(self) -> dict[int, dict[str, int]]:
        self._server.answer()
        return {delay_s: dict(sent) for delay_s, sent in self.cursors.items()}
