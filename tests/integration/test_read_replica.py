"""A passive region's app on a real read replica: reads work, writes are refused so that callers try again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.stack.embedded_postgres import EmbeddedPostgres
from shared.adapters.postgres import (
    BarStore,
    ConnectionStore,
    Database,
    Outbox,
    SignalStore,
    TradeStore,
    Upkeep,
)
from shared.adapters.postgres.migrations import migrate
from shared.domain.access.connections import Opening
from shared.errors import DatabaseUnavailable
from shared.services import region as region_module
from shared.services.region import RegionService
from tests.support.ports import free_port
from tests.support.recovery import await_replay, promote, replicated
from tests.support.samples import START, a_bar, a_draft, a_trade
from tests.support.trades import ALICE

NOW = datetime(2025, 9, 2, 20, 0, tzinfo=UTC)


async def prepared(url: str) -> None:
    """Writes a signal, a bar and a trade."""
    await migrate(url)
    primary = Database(url, role="signal_functions", pool_size=2)
    await Upkeep(primary).ensure_partitions(START, 5)
    await SignalStore(primary).publish(a_draft())
    await BarStore(primary).insert("ES", [a_bar(0)], "live", NOW)
    await TradeStore(primary).record(ALICE, "abc123", [a_trade()])
    await primary.close()


@pytest.fixture(scope="module")
def primary_url(server_directory: Path) -> Iterator[str]:
    server = EmbeddedPostgres(server_directory / "primary", free_port())
    try:
        asyncio.run(prepared(server.start()))
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def replica_url(primary_url: str, server_directory: Path) -> Iterator[str]:
    with replicated(primary_url, server_directory / "replica") as server:
        yield server.url


@pytest.fixture
async def replica(replica_url: str) -> AsyncIterator[Database]:
    """What the app of a passive region has as its database."""
    database = Database(replica_url, role="signal_functions", pool_size=4)
    yield database
    await database.close()


def an_opening() -> Opening:
    return Opening("connection-1", "lic_1", "nonce-1", 3)


WRITES: dict[str, Callable[[Database], Awaitable[object]]] = {
    "trades": lambda database: TradeStore(database).record(ALICE, "abc123", [a_trade("t-2")]),
    "withdrawal": lambda database: TradeStore(database).withdraw(ALICE, "t-1", START),
    "signal": lambda database: SignalStore(database).publish(a_draft(idempotency_key="k")),
    "bars": lambda database: BarStore(database).insert("ES", [a_bar(1)], "live", NOW),
    "connection": lambda database: ConnectionStore(database).record([an_opening()], []),
    "partitions": lambda database: Upkeep(database).ensure_partitions(NOW + timedelta(days=400), 1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_replica_refuses_writes_so_that_callers_try_again(
    replica: Database, write: Callable[[Database], Awaitable[object]]
) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        await write(replica)
    assert refused.value.code == "database_unavailable"
    assert refused.value.retry_after_s
    assert "ReadOnlySqlTransaction" in str(refused.value.internal)


async def test_a_replica_serves_what_bots_read(replica: Database) -> None:
    (signal,) = await SignalStore(replica).list("ES", after=0, limit=10)
    assert signal.sequence == 1
    assert await SignalStore(replica).last_sequences(["ES"]) == {"ES": 1}
    assert [feed.symbol for feed in await BarStore(replica).feeds()] == ["ES"]
    page = await TradeStore(replica).page(ALICE, symbol=None, since=None, until=None, before=None, limit=10)
    assert [stored.trade_id for stored in page] == ["t-1"]
    assert await Outbox(replica).depth()
    assert await replica.pending_migrations() == []


@pytest.fixture
def own_replica_url(primary_url: str, server_directory: Path) -> Iterator[str]:
    """A replica of the test's own, because it is promoted."""
    with replicated(primary_url, server_directory / "promoted") as server:
        yield server.url


async def test_promotion_makes_the_region_active_without_a_restart_of_the_app(
    primary_url: str, own_replica_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_module, "HOLD_S", 0.0)
    urls = (primary_url, own_replica_url)
    primary, replica = (Database(url, role="signal_functions", pool_size=2) for url in urls)
    active, passive = RegionService(primary), RegionService(replica)
    assert (await active.is_active(), await passive.is_active()) == (True, False)
    signal, _ = await SignalStore(primary).publish(a_draft("NQ", idempotency_key="before"))
    await_replay(primary_url, own_replica_url)
    promote(own_replica_url)
    assert await passive.is_active()
    following, new = await SignalStore(replica).publish(a_draft("NQ", idempotency_key="after"))
    assert (following.sequence, new) == (signal.sequence + 1, True), "sequences go on, without a gap"
    again, new = await SignalStore(replica).publish(a_draft("NQ", idempotency_key="before"))
    assert (again, new) == (signal, False), "a repeated publication is known in the other region too"
    await primary.close()
    await replica.close()
