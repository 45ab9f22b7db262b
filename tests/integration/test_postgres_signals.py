"""Signals and their outbox on a real server: gapless, once per key, sent in order, nothing lost."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import psycopg
import pytest

import shared.adapters.postgres.outbox
from shared.adapters.postgres import Database, Outbox, SignalStore
from shared.domain.market.messages import SignalMessage, message_of
from shared.domain.market.signals import Latency
from shared.domain.numbers import plain
from shared.errors import InvalidInput
from tests.support.samples import START, a_draft


@pytest.fixture
def store(database: Database) -> SignalStore:
    return SignalStore(database)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


async def publish(store: SignalStore, count: int, symbol: str = "ES") -> None:
    for n in range(count):
        await store.publish(a_draft(symbol, event_at=START + timedelta(minutes=n)))


async def test_a_signal_reads_back_as_it_was_drafted(store: SignalStore) -> None:
    draft = a_draft(target_price=Decimal("6490.10"), source="replay")
    signal, new = await store.publish(draft)
    assert new
    assert (signal.sequence, signal.id.version) == (1, 7)
    for name in ("symbol", "strategy", "side", "price", "stop_price", "target_price", "event_at", "features"):
        assert getattr(signal, name) == getattr(draft, name)
    assert str(signal.target_price) == "6490.1"
    assert await store.list("ES", after=0, limit=10) == [signal]


@pytest.mark.parametrize("written", ["0E-8", "1E-8", "-37.6300", "1E+3", "6487.25"])
async def test_messages_have_plain_prices_however_they_were_written(
    store: SignalStore, outbox: Outbox, written: str
) -> None:
    value = Decimal(written)
    await store.publish(a_draft(price=value, stop_price=value, target_price=value))
    async with outbox.batch("ES") as batch:
        (entry,) = batch.entries
    signal = json.loads(entry.payload)["signal"]
    assert signal["price"] == signal["stop_price"] == signal["target_price"] == plain(value)


async def test_four_publishers_at_once_leave_no_gap(store: SignalStore, outbox: Outbox) -> None:
    await asyncio.gather(*(publish(store, 15, symbol) for symbol in ("ES", "ES", "ES", "ES", "NQ")))
    assert [signal.sequence for signal in await store.list("ES", after=0, limit=100)] == [*range(1, 61)]
    assert await store.last_sequences(None) == {"ES": 60, "NQ": 15}
    assert await store.last_sequences(["NQ", "CL"]) == {"NQ": 15}
    async with outbox.batch("ES") as batch:
        assert [entry.sequence for entry in batch.entries] == [*range(1, 61)]


async def test_a_publisher_that_fails_leaves_no_gap(store: SignalStore) -> None:
    await publish(store, 2)
    with pytest.raises(InvalidInput):
        await store.publish(a_draft(price=Decimal("NaN")))
    signal, _ = await store.publish(a_draft())
    assert signal.sequence == 3


async def test_a_repeated_key_gives_the_earlier_signal(store: SignalStore, outbox: Outbox) -> None:
    first, new = await store.publish(a_draft(idempotency_key="k"))
    again, new_again = await store.publish(a_draft(idempotency_key="k", price=Decimal(1)))
    assert (new, new_again) == (True, False)
    assert again == first
    other_symbol, new_elsewhere = await store.publish(a_draft("NQ", idempotency_key="k"))
    assert (other_symbol.sequence, new_elsewhere) == (1, True)
    assert (await store.publish(a_draft()))[0].sequence == 2
    assert (await outbox.depth())[0] == 3


async def test_the_same_key_from_many_at_once_signals_once(store: SignalStore) -> None:
    published = await asyncio.gather(*(store.publish(a_draft(idempotency_key="open")) for _ in range(8)))
    assert sum(new for _, new in published) == 1
    assert {signal.id for signal, _ in published} == {published[0][0].id}
    assert (await store.publish(a_draft()))[0].sequence == 2


async def test_a_list_goes_on_after_a_sequence(store: SignalStore) -> None:
    await publish(store, 5)
    assert [signal.sequence for signal in await store.list("ES", after=2, limit=2)] == [3, 4]
    assert await store.list("ES", after=5, limit=2) == []


async def test_the_queued_message_is_what_bots_receive(store: SignalStore, outbox: Outbox) -> None:
    signal, _ = await store.publish(a_draft())
    async with outbox.batch("ES") as batch:
        (entry,) = batch.entries
    assert msgspec.json.decode(entry.payload, type=SignalMessage) == message_of(signal)
    assert entry.payload.startswith(b'{"type":"signal"')


async def test_only_what_was_marked_is_sent(store: SignalStore, outbox: Outbox) -> None:
    await publish(store, 4)
    assert await outbox.pending() == ["ES"]
    async with outbox.batch("ES", limit=3) as batch:
        assert [entry.sequence for entry in batch.entries] == [1, 2, 3]
        await batch.sent(2)
    assert (await outbox.depth())[0] == 2
    async with outbox.batch("ES") as batch:
        assert [entry.sequence for entry in batch.entries] == [3, 4]
        await batch.sent(4)
    assert await outbox.pending() == []
    assert await outbox.depth() == (0, 0.0)


async def test_a_turn_that_raises_keeps_what_was_sent(store: SignalStore, outbox: Outbox) -> None:
    await publish(store, 3)
    with pytest.raises(ConnectionError, match="hub"):
        async with outbox.batch("ES") as batch:
            await batch.sent(1)
            raise ConnectionError("the hub is away")
    async with outbox.batch("ES") as batch:
        assert [entry.sequence for entry in batch.entries] == [2, 3]


async def test_senders_of_one_symbol_take_turns_and_never_interleave(
    store: SignalStore, outbox: Outbox
) -> None:
    await publish(store, 20)
    sent: list[int] = []

    async def send() -> None:
        while True:
            async with outbox.batch("ES", limit=4) as batch:
                for entry in batch.entries:
                    sent.append(entry.sequence)
                    await asyncio.sleep(0)
                    await batch.sent(entry.sequence)
            if not batch.entries:
                return

    await asyncio.gather(*(send() for _ in range(4)))
    assert sent == [*range(1, 21)]


async def test_symbols_do_not_wait_for_each_other(store: SignalStore, outbox: Outbox) -> None:
    for symbol in ("ES", "NQ"):
        await publish(store, 1, symbol)
    async with AsyncExitStack() as turns, asyncio.timeout(1):
        es = await turns.enter_async_context(outbox.batch("ES"))
        nq = await turns.enter_async_context(outbox.batch("NQ"))
        assert len(es.entries) == len(nq.entries) == 1


async def test_a_second_sender_waits_no_longer_than_its_bound(
    store: SignalStore, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.adapters.postgres.outbox, "BATCH_WAIT_MS", 200)
    await publish(store, 1)
    async with outbox.batch("ES"):
        began = time.monotonic()
        async with outbox.batch("ES") as second:
            assert second.entries == []
        assert 0.15 < time.monotonic() - began < 2


async def test_a_sender_that_dies_loses_nothing_and_frees_its_claim(
    store: SignalStore, outbox: Outbox, database_url: str
) -> None:
    await publish(store, 2)
    doomed = Database(database_url, role="signal_functions", pool_size=1)
    claimed = asyncio.Event()

    async def die_sending() -> None:
        async with Outbox(doomed).batch("ES") as batch:
            await batch.sent(1)
            claimed.set()
            await asyncio.Event().wait()

    sender = asyncio.create_task(die_sending())
    await claimed.wait()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as killer:
        # What the server sees of a killed process: its session ends in the middle of the transaction.
        await killer.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where state = 'idle in transaction' and datname = current_database()"
        )
    async with outbox.batch("ES") as batch:
        assert [entry.sequence for entry in batch.entries] == [1, 2]
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    await doomed.close()


async def test_latency_is_from_learning_to_sending(
    store: SignalStore, outbox: Outbox, database_url: str
) -> None:
    now = datetime.now(UTC)
    empty = await store.latency_ms(now - timedelta(hours=1))
    assert empty == Latency(0, None, None, None)
    for n in range(1, 101):
        await store.publish(a_draft(received_at=now - timedelta(milliseconds=n)))
    await store.publish(a_draft(received_at=now - timedelta(hours=2)))
    async with outbox.batch("ES", limit=200) as batch:
        await batch.sent(101)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("update outbox set sent_at = %s", [now])
    latency = await store.latency_ms(now - timedelta(hours=1))
    assert latency.count == 100
    assert latency.p50_ms == pytest.approx(50.5)
    assert latency.p95_ms == pytest.approx(95.05)
    assert latency.p99_ms == pytest.approx(99.01)
