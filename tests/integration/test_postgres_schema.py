"""Migrations: equal to schema.sql, once only, by one at a time, by an owner who is no superuser."""

import asyncio
import os
import re
import secrets
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.stack.embedded_postgres import EmbeddedPostgres, postgres_binary
from shared import sql
from shared.adapters.postgres import Database, TradeStore, TrainingStore
from shared.adapters.postgres.migrations import migrate, pending_migrations
from shared.errors import ConfigurationError, Unavailable
from tests.support.ports import free_port
from tests.support.samples import a_trade


def schema_of(conninfo: str) -> list[str]:
    """What pg_dump says of the schema, without the lines that name a dump or a session."""
    given = conninfo_to_dict(conninfo)
    dumped = subprocess.run(
        [postgres_binary("pg_dump"), "--schema-only", "--no-owner", conninfo],
        env={"PATH": os.defpath, "PGPASSWORD": str(given["password"])},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in dumped.stdout.splitlines() if line and not line.startswith(("--", "\\"))]


async def test_replayed_migrations_equal_schema_sql(database_url: str, empty_database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute(sql.schema())
    replayed, written = schema_of(database_url), schema_of(empty_database_url)
    assert replayed == written
    assert any("CREATE POLICY own_account ON public.trades" in line for line in replayed)


async def test_no_pattern_of_the_schema_lets_more_than_the_text_through(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where contype = 'c'"
        )
        patterns = [
            match[1] for (text,) in await found.fetchall() if (match := re.search(r"~\*? '([^']+)'", text))
        ]
        assert "^[A-Z][A-Z0-9]{0,11}$" in patterns
        for pattern in patterns:
            assert not re.search(r"\\[dws]|\(\?", pattern), "these take digits and letters of other scripts"
            for good in ("ES", "NQ1"):
                for more in ("\n", "\r", "\u2028", "\uff11", " "):
                    asked = await connection.execute(
                        "select %s ~ %s, %s ~ %s", (good, pattern, good + more, pattern)
                    )
                    assert await asked.fetchone() == (True, False)


async def test_migrators_at_the_same_time_apply_each_migration_once(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(3)))
    assert sorted(name for names in applied for name in names) == [name for name, _, _ in sql.migrations()]
    assert await pending_migrations(empty_database_url) == []


async def test_migrators_of_two_databases_make_the_roles_together(
    empty_database_url: str, postgres_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute("create database beside template template0")
    try:
        await asyncio.gather(
            migrate(empty_database_url), migrate(make_conninfo(postgres_url, dbname="beside"))
        )
    finally:
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
            await connection.execute("drop database beside with (force)")


async def test_an_empty_database_has_every_migration_pending(empty_database_url: str) -> None:
    assert await pending_migrations(empty_database_url) == [name for name, _, _ in sql.migrations()]


async def test_a_migration_changed_after_it_was_applied_is_refused(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "update schema_migrations set checksum = %s where name = '0001_trades'", ["0" * 64]
        )
    with pytest.raises(ConfigurationError, match="0001_trades"):
        await migrate(database_url)
    with pytest.raises(ConfigurationError, match="0001_trades"):
        await pending_migrations(database_url)


async def test_a_migration_that_slips_in_before_an_applied_one_is_refused(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("delete from schema_migrations where name = '0002_signals'")
    with pytest.raises(ConfigurationError, match="0002_signals"):
        await migrate(database_url)


async def test_a_migration_of_newer_code_is_left_alone(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("insert into schema_migrations values ('9999_newer', %s)", ["0" * 64])
    assert await migrate(database_url) == []


async def test_a_migration_that_fails_leaves_nothing_behind(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_bad.sql").write_text("create table half (a int); select 1 / 0;")
    monkeypatch.setattr(sql, "_HERE", tmp_path)
    with pytest.raises(Exception, match=r"division by zero|outside the range that can be stored"):
        await migrate(empty_database_url)
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        cursor = await connection.execute("select to_regclass('half')")
        assert await cursor.fetchone() == (None,)


async def test_an_owner_without_superuser_migrates_and_functions_work(server_directory: Path) -> None:
    """As in Azure, on a server without our roles: the administrator may create roles and databases only."""
    password = secrets.token_hex(8)
    server = EmbeddedPostgres(server_directory / "azure", free_port())
    try:
        superuser_url = server.start()
        async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as connection:
            await connection.execute(f"create role administrator login createrole password '{password}'")
            await connection.execute("create database owned owner administrator")
        url = make_conninfo(superuser_url, user="administrator", password=password, dbname="owned")
        database = Database(url, role="signal_functions", pool_size=2)
        assert await migrate(url) == [name for name, _, _ in sql.migrations()]
        store = TradeStore(database)
        assert [one.status for one in await store.record("a", "k", [a_trade(exit_at=datetime.now(UTC))])] == [
            "recorded"
        ]
        assert await TrainingStore(database).outcomes("vwap_bounce", before=datetime.now(UTC), limit=5) == []
        await database.close()
        async with await psycopg.AsyncConnection.connect(url) as connection:
            # The owner itself has no policy: forced row-level security shows it nothing.
            assert await (await connection.execute("select count(*) from trades")).fetchone() == (0,)
    finally:
        server.stop()


async def test_every_unique_index_says_which_mishap_it_prevents(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute("""
            select indexrelid::regclass::text
            from pg_index join pg_class on pg_class.oid = indexrelid
            where indisunique and relnamespace = 'public'::regnamespace
                and coalesce(obj_description(indexrelid), '') not like 'Prevents %'
        """)
        assert await cursor.fetchall() == []


async def test_only_what_is_needed_is_granted(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute("""
            select grantee, table_name, string_agg(privilege_type, ' ' order by privilege_type)
            from information_schema.table_privileges
            where table_schema = 'public' and grantee in ('signal_functions', 'signal_jobs', 'PUBLIC')
            group by grantee, table_name
        """)
        granted = {(who, table): rights for who, table, rights in await cursor.fetchall()}
    assert granted == {
        ("signal_functions", "schema_migrations"): "SELECT",
        ("signal_functions", "trade_ids"): "INSERT SELECT",
        ("signal_functions", "trades"): "INSERT SELECT",
        ("signal_functions", "signal_counters"): "INSERT SELECT UPDATE",
        ("signal_functions", "trade_days"): "INSERT SELECT UPDATE",
        ("signal_functions", "trade_day_figures"): "INSERT SELECT UPDATE",
        ("signal_functions", "account_usage"): "INSERT SELECT UPDATE",
        ("signal_functions", "signals"): "INSERT SELECT",
        ("signal_functions", "published_strategies"): "INSERT SELECT",
        ("signal_functions", "outbox"): "INSERT SELECT",  # and UPDATE of sent_at, a column's
        ("signal_functions", "bars"): "INSERT SELECT",  # and UPDATE of columns that a correction changes
        ("signal_functions", "bar_changes"): "INSERT SELECT",
        ("signal_functions", "feeds"): "INSERT SELECT UPDATE",
        ("signal_functions", "engine_state"): "INSERT SELECT UPDATE",
        ("signal_functions", "models"): "SELECT",
        ("signal_functions", "connections"): "DELETE INSERT SELECT",  # and UPDATE of checked_at, a column's
        ("signal_functions", "used_urls"): "INSERT SELECT",
        ("signal_functions", "suspicious_trades"): "SELECT",
        ("signal_functions", "misuse_days"): "INSERT SELECT UPDATE",
        ("signal_functions", "misuse_addresses"): "INSERT SELECT",
        ("signal_functions", "claims_used"): "INSERT SELECT",
        ("signal_functions", "hooks"): "INSERT SELECT",  # and UPDATE of the secret and the end
        ("signal_functions", "signal_delays"): "INSERT SELECT",
        ("signal_functions", "delayed_feeds"): "INSERT SELECT",  # and UPDATE of last_sequence
        ("signal_functions", "notification_events"): "INSERT SELECT",
        ("signal_functions", "notifications"): "INSERT SELECT",  # and UPDATE of what a retry changes
        ("signal_functions", "destinations"): "DELETE INSERT SELECT",  # and UPDATE of what is sealed
        ("signal_functions", "payment_events"): "INSERT SELECT",  # and UPDATE of what became of it
        ("signal_jobs", "payment_events"): "DELETE SELECT",  # and UPDATE of what became of it
        ("signal_jobs", "schema_migrations"): "SELECT",
        # Policies bound the deletion of an account's rows to test accounts and those that are being erased.
        ("signal_jobs", "trades"): "DELETE SELECT",
        ("signal_jobs", "trade_ids"): "DELETE SELECT",
        ("signal_jobs", "trade_days"): "DELETE SELECT",
        ("signal_jobs", "trade_day_figures"): "DELETE SELECT",
        ("signal_jobs", "account_usage"): "DELETE SELECT",
        ("signal_jobs", "signal_counters"): "SELECT",
        ("signal_jobs", "signals"): "DELETE SELECT",  # and UPDATE of settled, a column's
        ("signal_jobs", "signal_outcomes"): "INSERT SELECT",
        ("signal_jobs", "suspicious_trades"): "DELETE INSERT SELECT",
        ("signal_jobs", "misuse_days"): "DELETE SELECT",
        ("signal_jobs", "misuse_addresses"): "DELETE SELECT",
        ("signal_jobs", "claims_used"): "DELETE SELECT",
        ("signal_jobs", "outbox"): "DELETE SELECT",
        ("signal_jobs", "bars"): "DELETE SELECT",
        ("signal_jobs", "bar_changes"): "DELETE SELECT",
        ("signal_jobs", "feeds"): "SELECT",
        ("signal_jobs", "models"): "INSERT SELECT",  # and UPDATE of status, a column's
        ("signal_jobs", "connections"): "SELECT",
        ("signal_jobs", "used_urls"): "DELETE SELECT",
        ("signal_jobs", "notification_events"): "DELETE INSERT SELECT",  # and UPDATE of fanned_out_at
        ("signal_jobs", "notifications"): "DELETE INSERT SELECT UPDATE",
        ("signal_jobs", "notification_lanes"): "DELETE INSERT SELECT UPDATE",
        ("signal_jobs", "destinations"): "DELETE SELECT",  # and UPDATE of what is sealed, and of its end
        ("signal_functions", "audit"): "SELECT",  # for operators, and for exports of accounts
        ("signal_functions", "license_list"): "INSERT SELECT UPDATE",
        ("signal_functions", "erasures"): "INSERT SELECT",
        ("signal_jobs", "erasures"): "SELECT UPDATE",
        # Of accounts that are being erased, see 0021.
        ("signal_jobs", "hooks"): "DELETE SELECT",
        ("signal_jobs", "license_list"): "DELETE SELECT",  # of test licenses, as a policy says
    }


async def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await migrate(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
