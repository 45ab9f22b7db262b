"""The pool on a real server that comes, goes, hangs and is never there."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.stack.embedded_postgres import EmbeddedPostgres
from shared.adapters.postgres import Database
from shared.adapters.postgres import database as database_module
from shared.adapters.postgres.migrations import migrate
from shared.errors import DatabaseBusy, InvalidInput, Unavailable
from tests.support.ports import free_port


async def backend(database: Database) -> int:
    async with database.transaction() as connection:
        cursor = await connection.execute("select pg_backend_pid()")
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def own_server(server_directory: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own to stop and hang."""
    server = EmbeddedPostgres(server_directory / "comes-and-goes", free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def test_connections_that_died_are_replaced_unnoticed(database: Database, database_url: str) -> None:
    async def hold() -> int:
        async with database.transaction() as connection:
            await connection.execute("select pg_sleep(0.1)")
            return connection.info.backend_pid

    before = set(await asyncio.gather(*(hold() for _ in range(8))))
    assert len(before) > 1
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as killer:
        for pid in before:
            await killer.execute("select pg_terminate_backend(%s, 5000)", [pid])
    after = await asyncio.gather(*(backend(database) for _ in range(8)))
    assert not before & set(after)


async def test_a_server_that_was_never_there_is_unavailable_in_time() -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    database = Database(url, role="signal_functions", pool_size=2, connect_timeout_s=0.5)
    began = time.monotonic()
    await database.open()
    assert time.monotonic() - began < 0.2, "opening must not wait for the server"
    with pytest.raises(Unavailable) as refused:
        await database.ping()
    assert time.monotonic() - began < 1.5
    assert (refused.value.code, refused.value.retry_after_s) == ("database_unavailable", 1.0)
    assert "nobody" not in refused.value.detail
    await database.close()


async def test_a_restart_of_the_server_costs_time_but_no_error(
    own_server: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(own_server.url)
    database = Database(own_server.url, role="signal_functions", pool_size=4, connect_timeout_s=10)
    first = await backend(database)
    own_server.stop()
    waiting = asyncio.create_task(backend(database))
    for _ in range(500):
        if "error connecting" in caplog.text:
            break
        await asyncio.sleep(0.01)
    assert not waiting.done()
    own_server.start()
    assert await waiting != first
    await database.close()


async def test_a_server_that_went_away_is_unavailable_and_may_come_back(own_server: EmbeddedPostgres) -> None:
    await migrate(own_server.url)
    database = Database(own_server.url, role="signal_functions", pool_size=2, connect_timeout_s=0.5)
    await database.ping()
    own_server.stop()
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(Unavailable) as refused:
            await database.ping()
        assert time.monotonic() - began < 1.5
        assert not isinstance(refused.value, DatabaseBusy), "an outage"
    own_server.start()
    await database.ping()
    await database.close()


async def test_a_session_that_hangs_is_left_for_another(own_server: EmbeddedPostgres) -> None:
    await migrate(own_server.url)
    database = Database(own_server.url, role="signal_functions", pool_size=1, connect_timeout_s=0.5)
    hanging = await backend(database)
    os.kill(hanging, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await database.ping()
        assert time.monotonic() - began < 1
        assert await backend(database) != hanging
    finally:
        os.kill(hanging, signal.SIGCONT)
    await database.close()


async def test_a_server_that_hangs_is_unavailable_in_time(own_server: EmbeddedPostgres) -> None:
    await migrate(own_server.url)
    database = Database(own_server.url, role="signal_functions", pool_size=1, connect_timeout_s=0.5)
    hanging = [await backend(database), own_server.pid or 0]
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(Unavailable) as refused:
                await database.ping()
            assert time.monotonic() - began < 1
            assert not isinstance(refused.value, DatabaseBusy), "an outage"
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
    async with asyncio.timeout(10):
        while True:
            with suppress(Unavailable):
                await database.ping()
                break
    await database.close()


async def test_a_statement_that_takes_too_long_is_unavailable(database_url: str) -> None:
    database = Database(database_url, role="signal_functions", pool_size=1, statement_timeout_ms=100)
    with pytest.raises(Unavailable, match="too long"):
        async with database.transaction() as connection:
            await connection.execute("select pg_sleep(5)")
    await database.ping()
    await database.close()


async def test_a_pool_without_a_free_connection_is_busy_in_time(database_url: str) -> None:
    database = Database(database_url, role="signal_functions", pool_size=1, connect_timeout_s=0.3)
    async with database.transaction():
        began = time.monotonic()
        with pytest.raises(DatabaseBusy) as refused:
            await database.ping()
        assert time.monotonic() - began < 1
        assert (refused.value.code, refused.value.retry_after_s) == ("database_unavailable", 1.0)
    await database.ping()
    await database.close()


async def test_a_pool_that_serves_others_for_too_long_is_busy(database_url: str) -> None:
    database = Database(database_url, role="signal_functions", pool_size=1, connect_timeout_s=0.3)
    await database.ping()

    async def use() -> str:
        try:
            async with database.transaction() as connection:
                await connection.execute("select pg_sleep(0.05)")
        except DatabaseBusy:
            return "busy"
        return "served"

    # More than 64 callers for each connection may not even wait.
    found = await asyncio.gather(*(use() for _ in range(80)))
    assert set(found) == {"busy", "served"}
    await database.close()


async def test_every_transaction_has_its_role_and_its_limits(database: Database) -> None:
    shown = (
        "select current_user, current_setting('statement_timeout'), current_setting('transaction_timeout'), "
        "current_setting('timezone')"
    )
    async with database.transaction(account_id="a") as connection:
        assert await (await connection.execute(shown)).fetchone() == ("signal_functions", "5s", "30s", "UTC")
    async with database.transaction(jobs=True) as connection:
        assert await (await connection.execute(shown)).fetchone() == ("signal_jobs", "5s", "30s", "UTC")


async def test_an_account_id_is_data_and_never_sql(database: Database) -> None:
    nasty = "x'; select set_config('role', 'signal_jobs', true); -- \\ %s"
    async with database.transaction(account_id=nasty) as connection:
        cursor = await connection.execute("select current_setting('app.account_id'), current_user")
        assert await cursor.fetchone() == (nasty, "signal_functions")


async def test_what_a_block_did_is_gone_when_it_raises(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.transaction() as connection:
            await connection.execute("insert into signal_counters values ('ES', 1)")
            raise KeyError
    async with database.transaction() as connection:
        assert await (await connection.execute("select count(*) from signal_counters")).fetchone() == (0,)


async def test_a_task_cancelled_in_a_transaction_gives_its_connection_back_clean(database_url: str) -> None:
    database = Database(database_url, role="signal_functions", pool_size=1)
    started = asyncio.Event()

    async def sleep_in_transaction() -> None:
        async with database.transaction() as connection:
            await connection.execute("insert into signal_counters values ('ES', 1)")
            started.set()
            await connection.execute("select pg_sleep(4)")

    task = asyncio.create_task(sleep_in_transaction())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.transaction() as connection:
        assert await (await connection.execute("select count(*) from signal_counters")).fetchone() == (0,)
    await database.close()


async def test_data_that_the_schema_refuses_is_invalid_input(database: Database) -> None:
    with pytest.raises(InvalidInput) as refused:
        async with database.transaction() as connection:
            await connection.execute("insert into signal_counters values ('es', 1)")
    assert "symbol_check" in refused.value.internal


async def test_a_defect_is_not_taken_for_an_outage(database: Database) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with database.transaction() as connection:
            await connection.execute("select * from nowhere")


async def test_a_database_without_migrations_is_told_apart_from_one_that_is_away(
    empty_database_url: str,
) -> None:
    database = Database(make_conninfo(empty_database_url), role="signal_functions", pool_size=1)
    await database.ping()
    await database.close()


async def test_a_transaction_that_took_too_long_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "TRANSACTION_TIMEOUT_MS", 200)
    with pytest.raises(Unavailable):
        async with database.transaction() as connection:
            await asyncio.sleep(0.4)
            await connection.execute("select 1")
    await database.ping()


async def test_a_server_that_takes_no_writes_is_unavailable(database: Database) -> None:
    with pytest.raises(Unavailable):
        async with database.transaction() as connection:
            await connection.execute("set transaction read only")
            await connection.execute(
                "insert into engine_state (symbol, strategy) values ('ES', 'vwap_bounce')"
            )
