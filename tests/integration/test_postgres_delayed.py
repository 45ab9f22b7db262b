"""Delayed signals on a real server: in order, never early, and nothing lost across a reconnection."""

import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from shared.adapters.calendars import market_calendars
from shared.adapters.postgres import Database, DelayedFeeds, SignalStore
from shared.domain.access.licenses import Grant
from shared.domain.access.plans import Overrides
from shared.services.delayed import DelayedSignals
from shared.services.market_clock import MarketClock
from shared.services.signals import SignalService
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.license_plans import PLANS
from tests.support.realtime import FakeHub
from tests.support.samples import START, a_draft

DELAY_S = 900
NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
GROUPS = {f"symbol.{symbol}.delay{DELAY_S}": symbol for symbol in ("ES", "NQ")}


def delayed_grant() -> Grant:
    grant = grant_of("acct-free", "ES", "NQ")
    overrides = Overrides(symbols=("ES", "NQ"), signal_delay_s=DELAY_S)
    return PLANS.grant(msgspec.structs.replace(grant.license, overrides=overrides), grant.key)


class World:
    """A hub, a relay, and bots that may see signals DELAY_S after their publication."""

    def __init__(self, database: Database, admin: psycopg.AsyncConnection) -> None:
        self.store, self.feeds, self.admin = SignalStore(database), DelayedFeeds(database), admin
        self.hub = FakeHub()
        self.delayed = DelayedSignals(hub=self.hub, feeds=self.feeds, universe=("ES", "NQ"))
        self.grant = delayed_grant()
        self.published = 0
        self.service = SignalService(
            store=self.store,
            visible=self.feeds,
            push=self._pushed,
            now=lambda: NOW,
            market_clock=MarketClock("wall", self.store, lambda: NOW),  # type: ignore[arg-type]  # reads none
            calendars=market_calendars(),
            count=Counted(),
        )

    async def _pushed(self, symbol: str) -> None: ...

    async def publish(self, symbol: str = "ES") -> int:
        self.published += 1
        signal, _ = await self.store.publish(
            a_draft(symbol, event_at=START + timedelta(minutes=self.published))
        )
        return signal.sequence

    async def age(self, seconds: float) -> None:
        """Lets time pass for what was published."""
        await self.admin.execute(
            "update outbox set created_at = created_at - make_interval(secs => %s)", (seconds,)
        )

    async def due(self, symbol: str) -> int:
        """The last sequence that was published at least DELAY_S ago, by the clock of the test."""
        cursor = await self.admin.execute(
            "select max(sequence) from outbox where symbol = %s and created_at <= now() - interval '900 s'",
            (symbol,),
        )
        row = await cursor.fetchone()
        return (row and row[0]) or 0

    async def page(self, symbol: str = "ES", after: int = 0) -> list[int]:
        page = await self.service.page(self.grant, symbol, after, 100)
        assert page.delay_s == DELAY_S
        listed = [message.sequence for message in page.signals]
        assert page.last_sequence == max([after if listed == [] else listed[-1], page.next_after])
        return listed

    def sent(self, symbol: str = "ES") -> list[int]:
        group = f"symbol.{symbol}.delay{DELAY_S}"
        return [json.loads(payload)["sequence"] for name, payload in self.hub.sent if name == group]


@pytest.fixture
async def world(database: Database, database_url: str) -> AsyncIterator[World]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        yield World(database, admin)


async def test_a_delayed_license_sees_a_signal_when_its_delay_has_passed(world: World) -> None:
    assert [await world.publish() for _ in range(3)] == [1, 2, 3]
    assert await world.page() == []
    await world.age(DELAY_S - 5)
    await world.publish()
    assert await world.page() == []
    await world.age(6)
    assert await world.page() == [1, 2, 3]
    assert await world.page(after=2) == [3]
    page = await world.service.page(grant_of("acct-paid", "ES"), "ES", 0, 100)
    assert (page.last_sequence, page.delay_s) == (4, 0)


async def test_a_symbol_whose_messages_are_deleted_is_all_visible(world: World) -> None:
    await world.publish()
    await world.admin.execute("delete from outbox")
    assert await world.page() == [1]
    assert await world.feeds.visible_sequences(DELAY_S, None) == {"ES": 1}


async def test_the_relay_sends_what_is_due_once_and_in_order(world: World) -> None:
    await world.publish()
    await world.age(DELAY_S)
    await world.delayed.want(DELAY_S)
    for _ in range(3):
        await world.publish()
    assert await world.delayed.relay() == 0
    await world.age(DELAY_S)
    await world.publish("NQ")
    assert await world.delayed.relay() == 3
    assert await world.delayed.relay() == 0
    assert world.sent() == [2, 3, 4], "what a bot could fetch when the delay began is not sent"
    await world.age(DELAY_S)
    await world.delayed.relay()
    assert world.sent("NQ") == [1], "a symbol that is new since then begins at its first signal"


async def test_without_a_delay_in_use_nothing_is_stored_and_nothing_sent(world: World) -> None:
    await world.publish()
    await world.age(DELAY_S)
    assert await world.delayed.relay() == 0
    await world.delayed.heartbeat(NOW)
    assert world.hub.sent == []
    rows = await (await world.admin.execute("select count(*) from delayed_feeds")).fetchone()
    assert rows == (0,)


async def test_a_message_that_the_hub_did_not_take_is_sent_by_the_next_run(world: World) -> None:
    await world.delayed.want(DELAY_S)
    for _ in range(4):
        await world.publish()
    await world.age(DELAY_S)
    world.hub.fails_after = 2
    assert await world.delayed.relay() == 2
    world.hub.fails_after = None
    assert await world.delayed.relay() == 2
    assert world.sent() == [1, 2, 3, 4]


async def test_two_relays_at_once_send_each_message_once(world: World, database: Database) -> None:
    await world.delayed.want(DELAY_S)
    for _ in range(5):
        await world.publish()
    await world.age(DELAY_S)
    async with DelayedFeeds(database).batch(DELAY_S, limit=10) as held:
        assert len(held.entries) == 5
        assert await world.delayed.relay() == 0, "the other sender has the lock"
    assert await world.delayed.relay() == 5


async def test_a_heartbeat_tells_what_was_sent_and_not_what_is_about_to_be(world: World) -> None:
    await world.delayed.want(DELAY_S)
    await world.publish()
    await world.age(DELAY_S)

    async def beat() -> dict[str, int]:
        await world.delayed.heartbeat(NOW)
        name, payload = world.hub.sent[-1]
        assert name == f"heartbeats.delay{DELAY_S}"
        sequences: dict[str, int] = json.loads(payload)["sequences"]
        return sequences

    assert await beat() == {"ES": 0, "NQ": 0}
    await world.delayed.relay()
    await world.publish()
    assert await beat() == {"ES": 1, "NQ": 0}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_no_bot_hears_early_and_none_misses_anything(world: World, seed: int) -> None:
    """Bots come and go, the hub fails, time passes; a bot fetches what it lacks whenever it connects."""
    draws = random.Random(seed)
    has: defaultdict[str, list[int]] = defaultdict(list)
    seen, is_connected = 0, False

    async def fetch() -> None:
        for symbol in ("ES", "NQ"):
            last = max(has[symbol], default=0)
            has[symbol] += await world.page(symbol, after=last)

    def hear() -> None:
        nonlocal seen
        for group, payload in world.hub.sent[seen:]:
            sequence, known = json.loads(payload)["sequence"], has[GROUPS[group]]
            if is_connected and sequence > max(known, default=0):
                known.append(sequence)
        seen = len(world.hub.sent)

    for _ in range(60):
        match draws.randrange(6):
            case 0 | 1:
                await world.publish(draws.choice(("ES", "NQ")))
            case 2:
                await world.age(draws.choice((60, 400, 900)))
            case 3:
                world.hub.fails_after = None if draws.random() < 0.6 else len(world.hub.sent) + 1
                await world.delayed.relay()
            case 4:
                hear()
                is_connected = not is_connected
                if is_connected:
                    await world.delayed.want(DELAY_S)
                    await fetch()
            case 5:
                hear()
        for symbol in ("ES", "NQ"):
            assert max(has[symbol], default=0) <= await world.due(symbol)
    hear()
    is_connected, world.hub.fails_after = True, None
    await world.delayed.want(DELAY_S)
    await fetch()
    await world.age(DELAY_S)
    await world.delayed.relay()
    hear()
    for symbol in ("ES", "NQ"):
        assert has[symbol] == list(range(1, await world.due(symbol) + 1))
