"""Publishing and replaying: what is refused, and where a page of signals says that it ends."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.adapters.calendars import market_calendars
from shared.domain.market.feeds import Span
from shared.domain.market.signal_checks import LastPrice
from shared.domain.market.signals import Signal, SignalDraft, SignalRequest
from shared.errors import ValidationFailed
from shared.services.market_clock import MarketClock
from shared.services.signals import SignalService
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.market import bar
from tests.support.memory_stores import MemoryStores
from tests.support.samples import a_signal

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
GRANT = grant_of("acct-1", "ES", "NQ", scopes=("bot", "publisher", "feeder"))
MINUTE = timedelta(minutes=1)
REQUEST = SignalRequest(symbol="ES", side="LONG", price=Decimal("6543.25"))


@dataclass
class FakeStore:
    """Signals `oldest` to `last`; what came before is past retention. One more comes after each answer."""

    oldest: int
    last: int
    grows: bool = False
    drafts: list[SignalDraft] = field(default_factory=list)

    async def publish(self, draft: SignalDraft) -> tuple[Signal, bool]:
        self.drafts.append(draft)
        return msgspec.structs.replace(a_signal(self.last + 1, NOW), price=draft.price), True

    async def repeated(self, draft: SignalDraft) -> Signal | None:
        return None

    async def last_price(self, spans: Sequence[Span]) -> LastPrice | None:
        return None

    async def list(self, symbol: str, *, after: int, limit: int) -> list[Signal]:
        found = [a_signal(n, NOW) for n in range(max(after + 1, self.oldest), self.last + 1)][:limit]
        self.last += self.grows
        return found

    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]:
        last = self.last
        self.last += self.grows
        return {"ES": last}


def service(store: FakeStore) -> SignalService:
    unused: Any = None

    async def pushed(symbol: str) -> None: ...

    return SignalService(
        store=store,
        visible=unused,
        push=pushed,
        now=lambda: NOW,
        market_clock=MarketClock("wall", unused, lambda: NOW),
        calendars=market_calendars(),
        count=Counted(),
    )


@pytest.mark.parametrize(
    ("after", "limit", "sequences", "next_after"),
    [
        (0, 2, [4, 5], 5),  # from where retention begins
        (4, 100, [5, 6, 7], 7),
        (7, 100, [], 7),
        (999, 100, [], 7),  # of another database, perhaps: not confirmed as the last
    ],
)
async def test_a_page_tells_where_it_ends(
    after: int, limit: int, sequences: list[int], next_after: int
) -> None:
    page = await service(FakeStore(oldest=4, last=7)).page(GRANT, "ES", after, limit)
    assert [message.sequence for message in page.signals] == sequences
    assert (page.next_after, page.last_sequence) == (next_after, 7)


async def test_paging_ends_where_all_signals_are_past_retention() -> None:
    page = await service(FakeStore(oldest=8, last=7)).page(GRANT, "ES", 0, 100)
    assert page.next_after == page.last_sequence == 7


async def test_what_is_published_while_a_page_is_made_is_never_skipped() -> None:
    signals = service(FakeStore(oldest=1, last=0, grows=True))
    seen: list[int] = []
    after = 0
    for _ in range(5):
        page = await signals.page(GRANT, "ES", after, 100)
        seen += [message.sequence for message in page.signals]
        after = page.next_after
    assert seen == list(range(1, len(seen) + 1))
    assert seen


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"price": Decimal("1e1000000")}, {"price"}),
        ({"stop_price": Decimal("NaN")}, {"stop_price"}),
        (
            {
                "event_at": datetime(9999, 12, 31, tzinfo=UTC),
                "expires_at": datetime(9999, 12, 31, 23, tzinfo=UTC),
            },
            {"event_at"},
        ),
        ({"event_at": NOW, "expires_at": NOW}, {"expires_at"}),
        ({"event_at": NOW, "expires_at": NOW + timedelta(days=1, seconds=1)}, {"expires_at"}),
        ({"expires_at": (NOW + timedelta(minutes=1)).replace(tzinfo=None)}, {"expires_at"}),
        ({"kind": "exit", "expires_at": NOW + timedelta(minutes=1)}, {"expires_at"}),
    ],
)
async def test_what_cannot_be_published_is_named(changes: dict[str, Any], fields: set[str]) -> None:
    store = FakeStore(oldest=1, last=0)
    with pytest.raises(ValidationFailed) as refused:
        await service(store).publish(GRANT, msgspec.structs.replace(REQUEST, **changes), None)
    assert {error.field for error in refused.value.errors} == fields
    assert store.drafts == []


async def test_an_entry_expires_and_an_exit_never_does() -> None:
    store = FakeStore(oldest=1, last=0)
    await service(store).publish(GRANT, REQUEST, None)
    await service(store).publish(GRANT, msgspec.structs.replace(REQUEST, kind="exit"), None)
    assert [draft.expires_at for draft in store.drafts] == [NOW + timedelta(minutes=5), None]


def over(stores: MemoryStores, market_clock: MarketClock) -> SignalService:
    """The service over stores in memory."""

    async def pushed(symbol: str) -> None: ...

    return SignalService(
        store=stores.signals,
        visible=stores.delayed,
        push=pushed,
        now=lambda: NOW,
        market_clock=market_clock,
        calendars=market_calendars(),
        count=Counted(),
    )


async def test_a_signal_without_a_time_happens_by_the_market_clock() -> None:
    stores = MemoryStores(NOW)
    replay = over(stores, MarketClock("bars", stores.bars, lambda: NOW))
    message, _ = await replay.publish(GRANT, REQUEST, None)
    assert message.event_at == NOW, "no bar has come in yet"
    await stores.bars.insert("ES", [bar(NOW - 9 * MINUTE, 6500)], "replay", NOW)
    message, _ = await replay.publish(GRANT, msgspec.structs.replace(REQUEST, side="SHORT"), None)
    assert message.event_at == NOW - 8 * MINUTE
    (_, draft) = stores.signals.drafts
    assert (draft.received_at, draft.expires_at) == (NOW, NOW - 3 * MINUTE)


async def test_a_draft_carries_all_that_was_sent() -> None:
    stores = MemoryStores(NOW)
    signals = over(stores, MarketClock("wall", stores.bars, lambda: NOW))
    await signals.publish(
        GRANT,
        SignalRequest(
            symbol="NQ",
            side="SHORT",
            price=Decimal(2),
            kind="entry",
            strategy="mine",
            strategy_version=7,
            stop_price=Decimal(3),
            target_price=Decimal(1),
            event_at=NOW - MINUTE,
            expires_at=NOW + MINUTE,
            features={"rsi": 1.0},
        ),
        "k",
    )
    assert stores.signals.drafts == [
        SignalDraft(
            symbol="NQ",
            strategy="mine",
            strategy_version=7,
            kind="entry",
            side="SHORT",
            price=Decimal(2),
            stop_price=Decimal(3),
            target_price=Decimal(1),
            event_at=NOW - MINUTE,
            expires_at=NOW + MINUTE,
            received_at=NOW,
            features={"rsi": 1.0},
            source="live",
            idempotency_key="acct-1:k",
            publisher="acct-1",
        )
    ]
    await signals.publish(GRANT, REQUEST, None)
    left_out = stores.signals.drafts[-1]
    assert (left_out.idempotency_key, left_out.publisher) == (None, "acct-1")
    assert left_out.default_times == ("event_at", "expires_at")


async def test_in_a_replay_the_market_is_judged_by_the_time_of_the_bars() -> None:
    """By the wall clock it is Monday; the bars are of a Friday evening, and the last one ends the week."""
    stores = MemoryStores(NOW)
    replay = over(stores, MarketClock("bars", stores.bars, lambda: NOW))
    friday = datetime(2025, 10, 10, 20, 57, tzinfo=UTC)
    await stores.bars.insert("ES", [bar(friday, 6500)], "replay", NOW)
    message, _ = await replay.publish(GRANT, REQUEST, None)
    assert message.event_at == friday + MINUTE
    with pytest.raises(ValidationFailed) as refused:
        await replay.publish(GRANT, msgspec.structs.replace(REQUEST, event_at=NOW), "k")
    assert [error.field for error in refused.value.errors] == ["event_at"]
    with pytest.raises(ValidationFailed) as refused:
        await replay.publish(GRANT, msgspec.structs.replace(REQUEST, event_at=friday - 5 * MINUTE), "k")
    assert "expired 1 min ago" in refused.value.errors[0].message
    await stores.bars.insert("ES", [bar(friday + 2 * MINUTE, 6500)], "replay", NOW)
    with pytest.raises(ValidationFailed) as refused:
        await replay.publish(GRANT, REQUEST, "k")
    assert [error.code for error in refused.value.errors] == ["market_closed"]
