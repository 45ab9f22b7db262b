"""Copies of a real PostgreSQL, promoted after the loss of what they follow: no sequence is given twice."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from local.stack.embedded_postgres import EmbeddedPostgres
from operations.database import connect
from operations.failover.sequences import GAP, are_raised, copy_state, is_fenced, raise_counters
from shared.adapters.postgres import Database, SignalStore, TradeStore
from shared.adapters.postgres.migrations import migrate
from shared.domain.market.instruments import INSTRUMENTS
from shared.errors import DatabaseUnavailable
from tests.support.ports import free_port
from tests.support.samples import a_draft, a_trade

TIMEOUT_S = 30.0


@contextmanager
def running(server: EmbeddedPostgres) -> Iterator[str]:
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def directory(server_directory: Path) -> Path:
    """A directory of the test's own that the server's user can enter."""
    made = Path(tempfile.mkdtemp(prefix="copies-", dir=server_directory))
    made.chmod(0o711)
    return made


@pytest.fixture
def servers(directory: Path) -> Iterator[tuple[str, str]]:
    """The URLs of a migrated server and of its copy, which follows it."""
    with running(EmbeddedPostgres(directory / "active", free_port())) as active:
        asyncio.run(migrate(active))
        with running(EmbeddedPostgres(directory / "copy", free_port(), active)) as copy:
            yield active, copy


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


def test_the_sequences_of_a_lost_region_are_never_given_again(servers: tuple[str, str]) -> None:
    active, copy = servers
    assert asyncio.run(publish(active)) == 1
    settle(copy, "select max(last_sequence) from signal_counters", 1)
    change(copy, "alter system set primary_conninfo = ''", "select pg_reload_conf()")
    settle(copy, "select count(*)::int from pg_stat_wal_receiver", 0)
    lost = [asyncio.run(publish(active)) for _ in range(3)]

    async def state() -> bool:
        async with await connect({"conninfo": copy}) as connection:
            found = await copy_state(connection)
            assert found.replayed_at is not None
            return found.is_copy

    assert asyncio.run(state())
    change(copy, "alter system set default_transaction_read_only = on", "select pg_reload_conf()")
    change(copy, "select pg_promote()")
    settle(copy, "select max(sequence)::int from signals", 1)

    async def raised() -> list[dict[str, int]]:
        with pytest.raises(DatabaseUnavailable):  # the app is up, and must give no sequence yet
            await publish(copy)
        async with await connect({"conninfo": copy}) as connection:
            assert await is_fenced(connection)
            assert not await are_raised(connection)
            both = [await raise_counters(connection), await raise_counters(connection)]
            assert await are_raised(connection)
        with pytest.raises(DatabaseUnavailable):
            await publish(copy)
        return both

    first, second = asyncio.run(raised())
    assert first.keys() == INSTRUMENTS.keys(), "the first signal of a symbol may be lost, too"
    assert second == {}, "repeating the step leaves no second gap"
    change(copy, "alter system reset default_transaction_read_only", "select pg_reload_conf()")
    settle(copy, "show default_transaction_read_only", "off")
    new = asyncio.run(publish(copy))
    assert new == first["ES"] + 1
    assert new > GAP
    assert new not in lost


def test_each_promotion_leaves_a_gap_of_its_own(servers: tuple[str, str], directory: Path) -> None:
    _, copy = servers
    change(copy, "select pg_promote()")

    async def raise_once() -> dict[str, int]:
        async with await connect({"conninfo": copy}) as connection:
            return await raise_counters(connection, ["ES"], 10)

    assert asyncio.run(raise_once()) == {"ES": 10}
    assert asyncio.run(raise_once()) == {}
    with running(EmbeddedPostgres(directory / "next", free_port(), copy)) as following:
        change(following, "select pg_promote()")
        copy = following
        assert asyncio.run(raise_once()) == {"ES": 20}


def test_an_app_on_a_copy_reads_and_refuses_writes_for_a_while(servers: tuple[str, str]) -> None:
    active, copy = servers
    asyncio.run(publish(active))
    settle(copy, "select count(*)::int from signals", 1)

    async def use() -> None:
        database = Database(copy, role="signal_functions", pool_size=1)
        try:
            assert len(await SignalStore(database).list("ES", after=0, limit=10)) == 1
            with pytest.raises(DatabaseUnavailable) as refused:
                await TradeStore(database).record("a", "k", [a_trade("t1")])
            assert refused.value.retry_after_s
        finally:
            await database.close()

    asyncio.run(use())
