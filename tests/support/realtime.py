"""Stands in for the outbox, the sequences and the hub of RealtimeService."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared.errors import RealtimeUnavailable
from shared.services.realtime import RealtimeService
from tests.support.counting import Counted

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)


@dataclass
class Entry:
    sequence: int
    payload: bytes
    age_s: float = 0.0


@dataclass
class FakeTurn:
    outbox: "FakeOutbox"
    symbol: str
    entries: list[Entry]

    async def sent(self, sequence: int) -> None:
        rows = self.outbox.rows[self.symbol]
        self.outbox.rows[self.symbol] = [row for row in rows if row.sequence > sequence]


@dataclass
class FakeOutbox:
    rows: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def add(self, symbol: str, count: int) -> None:
        self.rows[symbol] += [Entry(n, f"{symbol}{n}".encode()) for n in range(1, count + 1)]

    @asynccontextmanager
    async def batch(self, symbol: str, *, limit: int = 100) -> AsyncIterator[FakeTurn]:
        yield FakeTurn(self, symbol, self.rows[symbol][:limit])

    async def pending(self) -> list[str]:
        return [symbol for symbol, rows in self.rows.items() if rows]


@dataclass
class CountingOutbox(FakeOutbox):
    """Counts the turns that were held, and how many were at most held at once."""

    turns: int = 0
    held: int = 0
    most_held: int = 0

    @asynccontextmanager
    async def batch(self, symbol: str, *, limit: int = 100) -> AsyncIterator[FakeTurn]:
        self.turns, self.held = self.turns + 1, self.held + 1
        self.most_held = max(self.most_held, self.held)
        try:
            async with super().batch(symbol, limit=limit) as batch:
                yield batch
        finally:
            self.held -= 1


@dataclass
class FakeHub:
    hub: str = "signals"
    fails_after: int | None = None
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    memberships: list[tuple[str, ...]] = field(default_factory=list)

    async def send_to_group(self, group: str, payload: bytes) -> None:
        if self.fails_after is not None and len(self.sent) >= self.fails_after:
            raise RealtimeUnavailable("away", internal="refused")
        self.sent.append((group, payload))

    async def close_group(self, group: str, reason: str) -> None:
        self.sent.append((group, b"closed: " + reason.encode()))

    async def client_access_url(
        self, user_id: str, groups: Sequence[str], memberships: Sequence[str], lifetime: timedelta
    ) -> str:
        self.memberships.append(tuple(memberships))
        return f"wss://hub/{user_id}/{','.join(groups)}/{lifetime.total_seconds():.0f}"


class HangingHub(FakeHub):
    """Answers a send only when told to fail, or to work from now on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.gives_up, self.works = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send_to_group(self, group: str, payload: bytes) -> None:
        self.asked.set()
        told = [asyncio.create_task(event.wait()) for event in (self.gives_up, self.works)]
        await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        for task in told:
            task.cancel()
        if self.gives_up.is_set():
            raise RealtimeUnavailable("away", internal="no answer")
        await super().send_to_group(group, payload)


class FakeDelayed:
    """Takes note of the delays that were wanted, and of the heartbeats."""

    def __init__(self) -> None:
        self.wanted: list[int] = []
        self.beats: list[datetime] = []

    async def want(self, delay_s: int) -> None:
        self.wanted.append(delay_s)

    async def relay(self) -> int:
        return 0

    async def heartbeat(self, event_at: datetime) -> None:
        self.beats.append(event_at)


class FakeSequences:
    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]:
        return {"ES": 7}


def service(
    hub: FakeHub,
    outbox: FakeOutbox,
    counted: Counted | None = None,
    sequences: FakeSequences | None = None,
    delayed: FakeDelayed | None = None,
) -> RealtimeService:
    return RealtimeService(
        hub=hub,
        outbox=outbox,
        sequences=sequences or FakeSequences(),
        delayed=delayed or FakeDelayed(),
        now=lambda: NOW,
        universe=("ES", "NQ"),
        count=Counted() if counted is None else counted,
    )
