"""Publishing again on a real server: one signal for each key and each alert of a minute, in any order."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.calendars import market_calendars
from shared.adapters.postgres import BarStore, Database, SignalStore
from shared.domain.market.feeds import Span
from shared.domain.market.signal_checks import LastPrice, spans_of_last_price
from shared.domain.market.signals import SignalRequest
from shared.errors import Conflict
from shared.services.market_clock import MarketClock
from shared.services.signals import SignalService
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.market import bar, utc
from tests.support.samples import START, a_bar, a_draft

# A Monday, nine hours before the market closes.
NOON = datetime(2025, 10, 13, 12, tzinfo=UTC)
# None of these equals a time that we fill in.
EVENT_AT = NOON - timedelta(minutes=1, microseconds=7)
EXPIRES_AT = NOON + timedelta(hours=8, microseconds=7)

_accounts = itertools.count()


def a_publication(**changes: Any) -> Any:
    return a_draft(publisher="acct-1", received_at=START, **changes)


class World:
    """The service over a real store, and what must be true of it: a list of what was published."""

    def __init__(self, store: SignalStore) -> None:
        self.now = NOON
        self.published: list[tuple[str, str | None, SignalRequest, datetime, UUID]] = []
        self.account_of = {name: f"{name}-{next(_accounts)}" for name in ("one", "two")}

        async def pushed(symbol: str) -> None: ...

        self.service = SignalService(
            store=store,
            visible=None,  # type: ignore[arg-type]  # reads no page
            push=pushed,
            now=lambda: self.now,
            market_clock=MarketClock("wall", store, lambda: self.now),  # type: ignore[arg-type]  # reads none
            calendars=market_calendars(),
            count=Counted(),
        )

    def expected(self, account: str, key: str | None, request: SignalRequest) -> UUID | set[str] | None:
        """The earlier signal, the fields of a conflict, or None for a new signal."""
        for publisher, earlier_key, earlier, at, signal_id in self.published:
            if publisher != account:
                continue
            if key is not None and key == earlier_key:
                differing = {
                    name
                    for name in SignalRequest.__struct_fields__
                    if getattr(request, name) != getattr(earlier, name)
                }
                return differing or signal_id
            alert = ("symbol", "strategy", "side", "kind", "price")
            same = all(getattr(request, name) == getattr(earlier, name) for name in alert)
            if key is None and same and self.now - at < timedelta(minutes=1):
                return signal_id
        return None

    async def publish(self, account: str, key: str | None, request: SignalRequest) -> None:
        expected = self.expected(account, key, request)
        grant = grant_of(self.account_of[account], "ES", "NQ", scopes=("publisher",))
        try:
            message, new = await self.service.publish(grant, request, key)
        except Conflict as conflict:
            assert {error.field for error in conflict.errors} == expected
            return
        assert (message.signal.id if not new else None) == expected
        if new:
            self.published.append((account, key, request, self.now, message.signal.id))


requests = st.builds(
    SignalRequest,
    symbol=st.sampled_from(("ES", "NQ")),
    side=st.sampled_from(("LONG", "SHORT")),
    price=st.sampled_from((Decimal(6500), Decimal("6500.25"))),
    kind=st.just("entry"),
    strategy=st.sampled_from(("manual", "other")),
    event_at=st.sampled_from((None, EVENT_AT)),
    expires_at=st.just(EXPIRES_AT),
    features=st.sampled_from(({}, {"rsi": 28.5})),
) | st.builds(
    SignalRequest,
    symbol=st.just("ES"),
    side=st.just("LONG"),
    price=st.just(Decimal(6500)),
    kind=st.sampled_from(("entry", "exit")),
    stop_price=st.sampled_from((None, Decimal(6490))),
)
steps = st.lists(
    st.tuples(
        st.sampled_from(("one", "two")),
        st.sampled_from((None, "a", "b")),
        # A new request, or the one of some earlier step again.
        requests | st.integers(0, 20),
        st.sampled_from((0.0, 1.0, 59.9, 60.0, 400.0)),
    ),
    min_size=1,
    max_size=20,
)


@pytest.fixture
def run(database_url: str) -> Any:
    """Runs a coroutine function with a store on the database, in the one loop that its pool belongs to."""
    with asyncio.Runner() as runner:
        database = Database(database_url, role="signal_functions", pool_size=2)
        store = SignalStore(database)
        yield lambda work: runner.run(work(store))
        runner.run(database.close())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_any_order_of_publishing_keys_and_retries_makes_each_signal_once(
    run: Callable[[Callable[[SignalStore], Awaitable[None]]], None], steps: list[tuple[Any, ...]]
) -> None:
    async def publish_all(store: SignalStore) -> None:
        world = World(store)
        sent: list[SignalRequest] = []
        for account, key, chosen, wait_s in steps:
            request = (
                chosen if isinstance(chosen, SignalRequest) else sent[chosen % len(sent)] if sent else None
            )
            if request is None:
                continue
            sent.append(request)
            await world.publish(account, key, request)
            world.now += timedelta(seconds=wait_s)

    run(publish_all)


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[list[SignalStore]]:
    """The stores of four processes."""
    databases = [Database(database_url, role="signal_functions", pool_size=4) for _ in range(4)]
    yield [SignalStore(database) for database in databases]
    for database in databases:
        await database.close()


async def test_one_key_of_many_processes_at_once_is_one_signal(stores: list[SignalStore]) -> None:
    """Also under the former version's unique index, which is of one symbol."""
    draft = a_publication(idempotency_key="acct-1:k")
    published = await asyncio.gather(*(store.publish(draft) for store in stores * 4))
    assert sum(new for _, new in published) == 1
    assert len({signal.id for signal, _ in published}) == 1


async def test_one_key_for_two_symbols_at_once_is_one_signal_and_a_conflict(
    stores: list[SignalStore],
) -> None:
    for round_ in range(10):
        drafts = [
            a_publication(symbol=symbol, idempotency_key=f"acct-1:{round_}") for symbol in ("ES", "NQ") * 2
        ]
        results = await asyncio.gather(
            *(store.publish(draft) for store, draft in zip(stores, drafts, strict=True)),
            return_exceptions=True,
        )
        answered = [result for result in results if isinstance(result, tuple)]
        refused = [result for result in results if isinstance(result, Conflict)]
        assert (len(answered), len(refused)) == (2, 2)
        assert sum(new for _, new in answered) == 1
        assert all(error.field == "symbol" for each in refused for error in each.errors)


async def test_one_alert_of_many_processes_at_once_is_one_signal(stores: list[SignalStore]) -> None:
    """Some clocks are ahead of the others."""
    drafts = [
        msgspec.structs.replace(a_publication(), received_at=START + timedelta(seconds=n % 4 * 10))
        for n in range(16)
    ]
    published = await asyncio.gather(
        *(store.publish(draft) for store, draft in zip(stores * 4, drafts, strict=True))
    )
    assert sum(new for _, new in published) == 1
    assert {signal.sequence for signal, _ in published} == {1}
    signal, new = await stores[0].publish(a_publication(price=Decimal(1)))
    assert (signal.sequence, new) == (2, True)


async def test_the_engine_has_no_alerts_that_repeat(stores: list[SignalStore]) -> None:
    first, _ = await stores[0].publish(a_draft(received_at=START))
    second, new = await stores[0].publish(a_draft(received_at=START))
    assert (first.sequence, second.sequence, new) == (1, 2, True)


async def test_a_key_of_the_former_version_is_found_again(
    stores: list[SignalStore], database_url: str
) -> None:
    """The former version stored neither the publisher nor which times it had filled in."""
    draft = a_publication(idempotency_key="acct-1:k", default_times=("event_at", "expires_at"))
    first, _ = await stores[0].publish(draft)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("update signals set publisher = null, default_times = null")
    later = msgspec.structs.replace(draft, event_at=START + timedelta(minutes=3), expires_at=START)
    assert await stores[1].publish(later) == (first, False)
    with pytest.raises(Conflict):
        await stores[1].publish(msgspec.structs.replace(later, symbol="NQ"))


async def test_the_times_that_were_left_out_are_stored(stores: list[SignalStore]) -> None:
    draft = a_publication(idempotency_key="acct-1:k", default_times=("expires_at",))
    first, _ = await stores[0].publish(draft)
    later = msgspec.structs.replace(draft, expires_at=START + timedelta(minutes=9))
    assert await stores[1].publish(later) == (first, False)
    assert await stores[1].repeated(later) == first
    with pytest.raises(Conflict) as conflict:
        await stores[1].publish(msgspec.structs.replace(later, default_times=()))
    assert [error.field for error in conflict.value.errors] == ["expires_at"]


async def test_a_strategy_that_was_published_is_looked_up_once(
    stores: list[SignalStore], database_url: str
) -> None:
    store = stores[0]
    asked = ["manual", "other", "vwap_bounce", "Not a name", "a\0b"]
    assert await store.published_among(asked) == set()
    await store.publish(a_publication(strategy="manual"))
    assert await store.published_among(asked) == {"manual"}
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("delete from signals")
        assert await stores[1].published_among(asked) == {"manual"}, "its signals may be gone"
        await connection.execute("delete from published_strategies")
    assert await store.published_among(asked) == {"manual"}
    assert await stores[2].published_among(asked) == set()


async def test_the_last_price_is_that_of_the_newest_bar(
    stores: list[SignalStore], database: Database
) -> None:
    def spans(symbol: str) -> list[Span]:
        return [Span(symbol, START - timedelta(days=1), START + timedelta(days=1))]

    assert await stores[0].last_price(spans("ES")) is None
    bars = [a_bar(minute, close) for minute, close in ((2, "6510.25"), (1, "6500.00"))]
    await BarStore(database).insert("ES", bars, "live", START)
    assert await stores[0].last_price(spans("ES")) == LastPrice(
        Decimal("6510.25"), START + timedelta(minutes=3)
    )
    assert await stores[0].last_price(spans("NQ")) is None
    assert await stores[0].last_price([]) is None


async def test_a_bar_out_of_session_is_no_last_price(stores: list[SignalStore], database: Database) -> None:
    """The stray bar of a Saturday silenced the symbol."""
    now, saturday = utc("2025-10-12T22:00"), bar(utc("2025-10-11T12:00"), 100)
    await BarStore(database).insert("ES", [bar(utc("2025-10-10T20:59"), 6500), saturday], "live", now)
    await BarStore(database).insert("BTC", [bar(utc("2025-10-10T20:59"), 6500), saturday], "live", now)
    calendars = market_calendars()
    assert [
        await stores[0].last_price(spans_of_last_price(symbol, now, calendars)) for symbol in ("ES", "BTC")
    ] == [
        LastPrice(Decimal(6500), utc("2025-10-10T21:00")),
        LastPrice(Decimal(100), utc("2025-10-11T12:01")),
    ]
