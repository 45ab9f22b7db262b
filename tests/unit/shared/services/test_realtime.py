"""Messages leave the outbox in order, exactly what was not sent stays, and heartbeats reach every symbol."""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.access.client_access import token_in
from shared.errors import DatabaseUnavailable, RealtimeUnavailable, SymbolNotLicensed, ValidationFailed
from shared.services import realtime as realtime_module
from shared.services.realtime import BATCH, RealtimeService
from tests.support.counting import Counted
from tests.support.grants import grant_of

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


class FakeSequences:
    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]:
        return {"ES": 7}


def service(hub: FakeHub, outbox: FakeOutbox, counted: Counted | None = None) -> RealtimeService:
    return RealtimeService(
        hub=hub,
        outbox=outbox,
        sequences=FakeSequences(),
        now=lambda: NOW,
        universe=("ES", "NQ"),
        count=Counted() if counted is None else counted,
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
        now=lambda: NOW,
        universe=("ES",),
        count=Counted(),
        published=told.append,
    )
    assert await realtime.drain("ES") == 2
    assert [round(latency_s) for latency_s in told] == [7, 6]


async def test_a_heartbeat_reaches_symbols_that_never_signalled() -> None:
    hub = FakeHub()
    await service(hub, FakeOutbox()).heartbeat(NOW)
    beats = {group: json.loads(payload) for group, payload in hub.sent}
    assert beats["symbol.ES"]["sequence"] == 7
    assert beats["symbol.NQ"]["sequence"] == 0
    assert beats["symbol.NQ"]["type"] == "heartbeat"
    assert beats["symbol.NQ"]["event_at"] == "2025-10-13T14:00:00Z"


async def test_client_access_covers_exactly_the_groups_asked_for() -> None:
    counted = Counted()
    grant = grant_of("k1", "NQ", "ES", "CL")
    hub = FakeHub()
    access = await service(hub, FakeOutbox(), counted).negotiate(grant, ["ES", "CL", "ES"])
    assert access.groups == ["symbol.ES", "symbol.CL"]
    assert access.url == "wss://hub/k1/symbol.ES,symbol.CL/300"
    assert access.expires_at == NOW + timedelta(minutes=5)
    assert (access.hub, access.protocol) == ("signals", "json.reliable.webpubsub.azure.v1")
    assert counted == {"negotiated": 1}


async def test_client_access_covers_the_whole_license_unless_symbols_are_named() -> None:
    realtime = service(FakeHub(), FakeOutbox())
    grant = grant_of("k1", "NQ", "ES")
    assert (await realtime.negotiate(grant, None)).groups == ["symbol.NQ", "symbol.ES"]


async def test_a_connection_that_would_hear_nothing_is_refused() -> None:
    counted = Counted()
    with pytest.raises(ValidationFailed) as refused:
        await service(FakeHub(), FakeOutbox(), counted).negotiate(grant_of("k1", "NQ", "ES"), [])
    assert [(error.field, error.code) for error in refused.value.errors] == [("symbols", "out_of_range")]
    assert counted == {}


async def test_no_client_access_for_a_symbol_outside_of_the_license() -> None:
    counted = Counted()
    realtime = service(FakeHub(), FakeOutbox(), counted)
    with pytest.raises(SymbolNotLicensed) as refused:
        await realtime.negotiate(grant_of("k1", "ES"), ["ES", "NQ", "CL"])
    assert [error.field for error in refused.value.errors] == ["symbols[1]", "symbols[2]"]
    assert counted == {}


async def test_a_heartbeat_stops_at_the_first_group_that_cannot_be_reached() -> None:
    hub = FakeHub(fails_after=1)
    await service(hub, FakeOutbox()).heartbeat(NOW)
    assert [group for group, _ in hub.sent] == ["symbol.ES"]


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


async def test_each_url_puts_its_connection_into_the_groups_of_its_license_its_key_and_itself() -> None:
    hub = FakeHub()
    realtime, grant = service(hub, FakeOutbox()), grant_of("k1", "ES")
    for _ in range(2):
        await realtime.negotiate(grant, None)
    first, second = (token_in(groups) for groups in hub.memberships)
    assert first is not None
    assert second is not None
    named = (grant.license.license_id, grant.key.public_id)
    assert (first.license_id, first.public_id) == named == (second.license_id, second.public_id)
    assert first.nonce != second.nonce
    assert len(first.nonce) >= 32


async def test_a_closed_group_is_told_why_first() -> None:
    hub = FakeHub()
    await service(hub, FakeOutbox()).close_group("license.a", "license revoked")
    (group, told), closed = hub.sent
    assert (group, json.loads(told)["type"], json.loads(told)["reason"]) == (
        "license.a",
        "revoked",
        "license revoked",
    )
    assert closed == ("license.a", b"closed: license revoked")


async def test_a_group_that_cannot_be_told_is_closed_all_the_same() -> None:
    hub = FakeHub(fails_after=0)
    await service(hub, FakeOutbox()).close_group("key.a", "key revoked")
    assert hub.sent == [("key.a", b"closed: key revoked")]
