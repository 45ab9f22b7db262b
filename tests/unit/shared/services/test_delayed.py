"""Delayed signals over stand-ins: when a delay begins, and what happens while something is unavailable."""

import json
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.domain.market.signals import SignalDraft
from shared.services import delayed as delayed_module
from shared.services.delayed import DelayedSignals
from tests.support.memory_stores import MemoryStores
from tests.support.realtime import FakeHub

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)


class World:
    def __init__(self) -> None:
        self.stores, self.hub = MemoryStores(NOW), FakeHub()
        self.delayed = DelayedSignals(hub=self.hub, feeds=self.stores.delayed, universe=("ES", "NQ"))

    async def publish(self, count: int, symbol: str = "ES") -> None:
        for _ in range(count):
            at = NOW + timedelta(minutes=len(self.stores.signals.drafts))
            draft = SignalDraft(
                symbol=symbol,
                strategy="manual",
                strategy_version=1,
                side="LONG",
                price=Decimal(6500),
                event_at=at,
                expires_at=at + timedelta(minutes=5),
            )
            await self.stores.signals.publish(draft)

    def sent(self) -> list[tuple[str, int]]:
        return [(group, json.loads(payload)["sequence"]) for group, payload in self.hub.sent]


@pytest.fixture
def world() -> World:
    return World()


async def test_each_delay_has_its_own_place_in_the_sequence(world: World) -> None:
    for delay_s in (60, 900):
        await world.delayed.want(delay_s)
    await world.publish(3)
    world.stores.delayed.young[60]["ES"] = 1
    world.stores.delayed.young[900]["ES"] = 3
    assert await world.delayed.relay() == 2
    assert world.sent() == [("symbol.ES.delay60", 1), ("symbol.ES.delay60", 2)]
    world.stores.delayed.young.clear()
    await world.delayed.relay()
    assert [sequence for group, sequence in world.sent() if group == "symbol.ES.delay900"] == [1, 2, 3]
    assert [sequence for group, sequence in world.sent() if group == "symbol.ES.delay60"] == [1, 2, 3]


async def test_a_delay_that_cannot_begin_begins_with_the_next_bot(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    world.stores.server.away = True
    await world.delayed.want(900)
    assert "a delay of 900 s" in caplog.text
    world.stores.server.away = False
    await world.delayed.want(900)
    assert await world.stores.delayed.delays() == [900]
    world.stores.server.away = True
    await world.delayed.want(900)  # asks nobody any more


async def test_a_run_is_bounded_and_the_next_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delayed_module, "BATCH", 2)
    monkeypatch.setattr(delayed_module, "MAX_BATCHES", 2)
    await world.delayed.want(900)
    await world.publish(5)
    assert [await world.delayed.relay() for _ in range(3)] == [4, 1, 0]
    assert [sequence for _, sequence in world.sent()] == [1, 2, 3, 4, 5]


async def test_a_hub_that_is_away_gets_it_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.delayed.want(900)
    await world.publish(3)
    world.hub.fails_after = 1
    assert await world.delayed.relay() == 1
    await world.delayed.heartbeat(NOW)
    assert "delayed signals wait" in caplog.text
    assert "a delayed heartbeat is left out" in caplog.text
    world.hub.fails_after = None
    assert await world.delayed.relay() == 2


async def test_the_test_stream_has_heartbeats_of_its_own(world: World) -> None:
    await world.delayed.want(900)
    await world.publish(1, "TEST")
    await world.delayed.relay()
    await world.delayed.heartbeat(NOW)
    told = {group: json.loads(payload)["sequences"] for group, payload in world.hub.sent[1:]}
    assert told == {"heartbeats.delay900": {"ES": 0, "NQ": 0}, "heartbeats.test.delay900": {"TEST": 1}}
