"""Messages leave the outbox in order, exactly what was not sent stays, and heartbeats carry every symbol."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.domain.market.messages import HEARTBEATS
from shared.errors import DatabaseUnavailable
from shared.services import realtime as realtime_module
from shared.services.realtime import BATCH, RealtimeService
from tests.support.counting import Counted
from tests.support.realtime import (
    NOW,
    CountingOutbox,
    Entry,
    FakeDelayed,
    FakeHub,
    FakeOutbox,
    FakeSequences,
    FakeTurn,
    HangingHub,
    service,
)


async def test_a_backlog_longer_than_a_batch_goes_out_whole_and_in_order() -> None:
    hub, outbox = FakeHub(), FakeOutbox()
    outbox.add("ES", BATCH * 2 + 5)
    realtime = service(hub, outbox)
    assert await realtime.drain("ES") == BATCH  # a request works off no more than this
    assert await realtime.relay() == BATCH + 5
    assert [payload for _, payload in hub.sent] == [f"ES{n}".encode() for n in range(1, BATCH * 2 + 6)]
    assert await outbox.pending() == []


async def test_what_fails_stays_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    hub, outbox = FakeHub(fails_after=2), FakeOutbox()
    outbox.add("ES", 5)
    realtime = service(hub, outbox)
    assert await realtime.drain("ES") == 2
    assert await realtime.drain("ES") == 0
    assert [entry.sequence for entry in outbox.rows["ES"]] == [3, 4, 5]
    assert len(caplog.records) == 1
    hub.fails_after = None
    assert await realtime.relay() == 3
    assert [payload for _, payload in hub.sent] == [b"ES1", b"ES2", b"ES3", b"ES4", b"ES5"]


async def test_many_who_publish_while_the_hub_hangs_hold_one_turn_and_wait_for_one_try() -> None:
    hub, outbox = HangingHub(), CountingOutbox()
    outbox.add("ES", 3)
    realtime = service(hub, outbox)
    asking = [asyncio.create_task(realtime.drain("ES")) for _ in range(20)]
    await hub.asked.wait()
    asking += [asyncio.create_task(realtime.drain("ES")) for _ in range(20)]
    await asyncio.sleep(0)
    hub.gives_up.set()
    assert await asyncio.gather(*asking) == [0] * 40
    assert (outbox.turns, outbox.most_held) == (1, 1)


async def test_what_was_stored_while_a_drain_ran_goes_out_with_the_next() -> None:
    hub, outbox = HangingHub(), FakeOutbox()
    outbox.add("ES", 1)
    realtime = service(hub, outbox)
    first = asyncio.create_task(realtime.drain("ES"))
    await hub.asked.wait()
    outbox.rows["ES"].append(Entry(2, b"ES2"))
    second = asyncio.create_task(realtime.drain("ES"))
    await asyncio.sleep(0)
    hub.works.set()
    assert (await first, await second) == (1, 1)
    assert [payload for _, payload in hub.sent] == [b"ES1", b"ES2"]


async def test_a_slow_hub_gets_a_backlog_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_module, "BATCH_S", 0.0)
    hub, outbox = FakeHub(), CountingOutbox()
    outbox.add("ES", 3)
    assert await service(hub, outbox).relay() == 3
    assert outbox.turns >= 3
    assert [payload for _, payload in hub.sent] == [b"ES1", b"ES2", b"ES3"]


async def test_the_relay_serves_every_symbol() -> None:
    hub, outbox = FakeHub(), FakeOutbox()
    outbox.add("ES", 2)
    outbox.add("CL", 1)
    assert await service(hub, outbox).relay() == 3
    assert {group for group, _ in hub.sent} == {"symbol.ES", "symbol.CL"}


async def test_a_push_that_fails_is_left_to_the_relay(caplog: pytest.LogCaptureFixture) -> None:
    class UnreadableOutbox(FakeOutbox):
        @asynccontextmanager
        async def batch(self, symbol: str, *, limit: int = 100) -> AsyncIterator[FakeTurn]:
            raise DatabaseUnavailable("The outbox cannot be read.", internal="refused")
            yield

    await service(FakeHub(), UnreadableOutbox()).push("ES")
    assert caplog.messages == ["signals of ES wait for the relay: refused"]


async def test_each_message_sent_tells_how_long_it_waited_and_one_that_failed_tells_nothing() -> None:
    hub, outbox, told = FakeHub(fails_after=2), FakeOutbox(), list[float]()
    outbox.rows["ES"] = [Entry(n, b"{}", age_s=float(n)) for n in (7, 6, 5)]
    realtime = RealtimeService(
        hub=hub,
        outbox=outbox,
        sequences=FakeSequences(),
        delayed=FakeDelayed(),
        now=lambda: NOW,
        universe=("ES",),
        count=Counted(),
        published=told.append,
    )
    assert await realtime.drain("ES") == 2
    assert [round(latency_s) for latency_s in told] == [7, 6]


async def test_one_heartbeat_carries_all_symbols_also_those_that_never_signalled() -> None:
    hub = FakeHub()
    await service(hub, FakeOutbox()).heartbeat(NOW)
    ((group, payload),) = hub.sent
    assert (group, json.loads(payload)) == (
        HEARTBEATS,
        {
            "type": "heartbeat",
            "version": 2,
            "event_at": "2025-10-13T14:00:00Z",
            "sequences": {"ES": 7, "NQ": 0},
        },
    )


async def test_a_heartbeat_stops_at_the_first_part_that_cannot_be_sent() -> None:
    class ManySequences(FakeSequences):
        async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]:
            return {f"SYMBOL{n:06}": n for n in range(300)}

    hub = FakeHub(fails_after=1)
    realtime = service(hub, FakeOutbox(), sequences=ManySequences())
    await realtime.heartbeat(NOW)
    assert [group for group, _ in hub.sent] == [HEARTBEATS]
    hub.fails_after = None
    await realtime.heartbeat(NOW)
    assert len(hub.sent) > 3


async def test_after_a_failed_send_requests_do_not_try_for_a_while_and_the_relay_does() -> None:
    hub, outbox = FakeHub(fails_after=0), CountingOutbox()
    outbox.add("ES", 2)
    realtime = service(hub, outbox)
    assert await realtime.drain("ES") == 0
    hub.fails_after = None
    assert (await realtime.drain("ES"), outbox.turns) == (0, 1)
    assert await realtime.relay() == 2
    outbox.add("ES", 1)
    assert await realtime.drain("ES") == 1, "the hub is back, so nobody pauses"


async def test_the_pause_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_module, "PAUSE_S", 0.0)
    hub, outbox = FakeHub(fails_after=0), FakeOutbox()
    outbox.add("ES", 1)
    realtime = service(hub, outbox)
    assert await realtime.drain("ES") == 0
    hub.fails_after = None
    assert await realtime.drain("ES") == 1


async def test_an_outage_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    hub, outbox = FakeHub(fails_after=0), FakeOutbox()
    outbox.add("ES", 2)
    realtime = service(hub, outbox)
    with caplog.at_level(logging.INFO):
        for hub.fails_after in (0, 0, None, None, 0):
            await realtime.relay()
            await realtime.heartbeat(NOW)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
