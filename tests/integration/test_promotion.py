"""Replicas of a real PostgreSQL, promoted after the loss of what they follow: no sequence is given twice."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.stack.embedded_postgres import EmbeddedPostgres
from operations.database import connect
from operations.failover.sequences import GAP, are_raised, is_fenced, raise_counters, replica_state
from shared.adapters.postgres import Database, SignalStore
from shared.adapters.postgres.migrations import migrate
from shared.domain.market.instruments import INSTRUMENTS
from shared.errors import DatabaseUnavailable
from tests.support.ports import free_port
from tests.support.recovery import await_replay, promote, replicated
from tests.support.samples import a_draft

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def active(server_directory: Path) -> Iterator[str]:
    """The URL of a migrated server, of which each test has a replica."""
    server = EmbeddedPostgres(server_directory / "active", free_port())
    try:
        url = server.start()
        asyncio.run(migrate(url))
        yield url
    finally:
        server.stop()


@pytest.fixture
def replica(active: str, server_directory: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a replica of the test's own, because it is promoted."""
    with replicated(active, server_directory / request.node.name) as server:
        yield server.url


def settle(url: str, query: str, wanted: object) -> None:
    """Waits until `query` answers `wanted`."""
    deadline = time.monotonic() + TIMEOUT_S
    with psycopg.connect(url, autocommit=True) as connection:
        while (row := connection.execute(query.encode()).fetchone()) != (wanted,):
            assert time.monotonic() < deadline, f"{query} answers {row}"
            time.sleep(0.02)


def change(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def publish(url: str) -> int:
    database = Database(url, role="signal_functions", pool_size=1)
    try:
        signal, _ = await SignalStore(database).publish(a_draft("ES"))
        return signal.sequence
    finally:
        await database.close()


def test_the_sequences_of_a_lost_region_are_never_given_again(active: str, replica: str) -> None:
    last = asyncio.run(publish(active))
    await_replay(active, replica)
    change(replica, "alter system set primary_conninfo = ''", "select pg_reload_conf()")
    settle(replica, "select count(*)::int from pg_stat_wal_receiver", 0)
    lost = [asyncio.run(publish(active)) for _ in range(3)]

    async def state() -> bool:
        async with await connect({"conninfo": replica}) as connection:
            found = await replica_state(connection)
            assert found.replayed_at is not None
            return found.is_replica

    assert asyncio.run(state())
    change(replica, "alter system set default_transaction_read_only = on", "select pg_reload_conf()")
    change(replica, "select pg_promote()")
    settle(replica, "select max(sequence)::int from signals", last)

    async def raised() -> list[dict[str, int]]:
        with pytest.raises(DatabaseUnavailable):  # the app is up, and must give no sequence yet
            await publish(replica)
        async with await connect({"conninfo": replica}) as connection:
            assert await is_fenced(connection)
            assert not await are_raised(connection)
            both = [await raise_counters(connection), await raise_counters(connection)]
            assert await are_raised(connection)
        with pytest.raises(DatabaseUnavailable):
            await publish(replica)
        return both

    first, second = asyncio.run(raised())
    assert first.keys() == INSTRUMENTS.keys(), "the first signal of a symbol may be lost, too"
    assert second == {}, "repeating the step leaves no second gap"
    change(replica, "alter system reset default_transaction_read_only", "select pg_reload_conf()")
    settle(replica, "show default_transaction_read_only", "off")
    new = asyncio.run(publish(replica))
    assert new == first["ES"] + 1
    assert new > last + GAP
    assert new not in lost


def test_each_promotion_leaves_a_gap_of_its_own(
    replica: str, server_directory: Path, request: pytest.FixtureRequest
) -> None:
    promote(replica)

    async def raise_once(url: str) -> dict[str, int]:
        async with await connect({"conninfo": url}) as connection:
            return await raise_counters(connection, ["ES"], 10)

    first = asyncio.run(raise_once(replica))
    assert first["ES"] >= 10
    assert asyncio.run(raise_once(replica)) == {}
    with replicated(replica, server_directory / f"{request.node.name}-next") as following:
        promote(following.url)
        assert asyncio.run(raise_once(following.url)) == {"ES": first["ES"] + 10}
