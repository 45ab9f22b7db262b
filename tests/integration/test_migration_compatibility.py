"""Migrations run before the new version is live: the live one must not notice, nor wait for them."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from shared import sql
from shared.adapters.postgres import migrations
from shared.adapters.postgres.migrations import migrate
from shared.errors import ConfigurationError, Unavailable
from shared.version import VERSION
from tests.support.places import ROOT
from tests.support.schema_catalog import broken_promises, read_catalog

ROLES = ("signal_functions", "signal_jobs")
# Of the connection, the migrations, the restore drill and the failover: not the app's own, or without a plan.
NOT_PLANNED = {"session", "migrations", "logins", "restore", "failover"}
_PARAMETER = re.compile(rb"%\((\w+)\)s")


def released_versions() -> set[str]:
    """The versions that CHANGELOG.md tells as released."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\d+\.\d+\.\d+)(.*)$", text, re.MULTILINE)
    return {version for version, rest in headings if "unreleased" not in rest}


async def test_every_migration_only_widens(empty_database_url: str) -> None:
    """Each is held against the schema before it, as the catalog shows both."""
    async with await AsyncConnection.connect(empty_database_url, autocommit=True) as connection:
        await connection.execute(sql.queries("migrations")["ensure_roles"])
        before = await read_catalog(connection)
        for name, script, _ in sql.migrations():
            await connection.execute(script)
            after = await read_catalog(connection)
            broken = broken_promises(before, after, script.decode(), released_versions())
            assert not broken, f"{name} would break the version that is live: {broken}"
            before = after


@pytest.mark.parametrize(
    ("script", "broken"),
    [
        ("drop table audit", "column audit.action was text, is gone"),
        ("alter table models drop column document", "column models.document was jsonb, is gone"),
        ("alter table models rename document to contents", "column models.document was jsonb, is gone"),
        ("alter table bars rename to minutes", "column bars.close was price, is gone"),
        ("alter table feeds alter last_open_time type date", "column feeds.last_open_time was timestamp"),
        ("alter table signals alter id drop default", "default signals.id was exists, is gone"),
        ("alter table bars add note text not null", "not null bars.note is demanded anew: without a default"),
        ("alter table bars alter volume drop not null", "column bars.volume was bigint, is another"),
        ("alter table engine_state alter state set not null", "not null engine_state.state is demanded anew"),
        ("alter table bars add check (volume > 0)", "constraint bars.bars_volume_check1 is demanded anew"),
        ("alter table bars add note text check (note is not null)", "constraint bars.bars_note_check"),
        ("alter table bars add note text default 'a' check (note = 'b')", "constraint bars.bars_note_check"),
        ("alter table bars add note text check (note = source)", "constraint bars.bars_check"),
        ("alter domain price add check (value < 9)", "constraint price.price_check1 is demanded anew"),
        ("create unique index one on audit (subject)", "unique audit.one is demanded anew"),
        ("drop index signals_idempotency_key", "unique signals_idempotency_key was"),
        ("drop function ensure_trade_partitions(timestamptz[])", "function ensure_trade_partitions"),
        ("revoke insert on bars from signal_functions", "grant signal_functions bars was INSERT, is another"),
        ("-- withdraws: grant signal_jobs bars, because it names another\n"
         "revoke insert on bars from signal_functions", "grant signal_functions bars was INSERT, is another"),
        ("revoke update (sent_at) on outbox from signal_functions", "grant signal_functions outbox.sent_at"),
        ("alter table models enable row level security", "row-level security models is demanded anew"),
        ("drop policy all_accounts on trades; create policy all_accounts on trades for select to signal_jobs"
         " using (fees = 0)", "policy trades.all_accounts is demanded anew"),
        ("create function f() returns trigger language plpgsql as 'begin return null; end';"
         " create trigger t before insert on bars for each row execute function f()",
         "trigger bars.t is demanded anew"),
    ],
)  # fmt: skip
async def test_what_would_break_the_live_version_is_found(
    database_url: str, script: str, broken: str
) -> None:
    async with await AsyncConnection.connect(database_url) as connection:
        before = await read_catalog(connection)
        await connection.execute(script.encode())
        found = broken_promises(before, await read_catalog(connection), script, set())
    assert any(problem.startswith(broken) for problem in found), found


@pytest.mark.parametrize(
    "script",
    [
        "alter table bars add note text",
        "alter table bars add note text not null default ''",
        "alter table trades add note text check (length(note) <= 200)",
        "create table notes (id bigint primary key, text text not null check (text <> ''))",
        "create index later on audit (at)",
        "grant select on audit to signal_jobs",
        "create function f() returns integer language sql as 'select 1'",
        "-- withdraws: grant signal_functions bars, because it is a weakness\n"
        "revoke insert on bars from signal_functions",
        "-- contract: column models.document, unused since 0.0.9\n"
        "alter table models drop column document",
    ],
)  # fmt: skip
async def test_what_widens_or_was_announced_passes(database_url: str, script: str) -> None:
    async with await AsyncConnection.connect(database_url) as connection:
        before = await read_catalog(connection)
        await connection.execute(script.encode())
        found = broken_promises(before, await read_catalog(connection), script, {"0.0.9"})
    assert found == []


async def test_a_contract_names_a_version_that_is_out(database_url: str) -> None:
    script = (
        f"-- contract: default signals.id, unused since {VERSION}\nalter table signals alter id drop default"
    )
    async with await AsyncConnection.connect(database_url) as connection:
        before = await read_catalog(connection)
        await connection.execute(script.encode())
        after = await read_catalog(connection)
    assert f"contract: default signals.id names {VERSION}, which is not released" in broken_promises(
        before, after, script, {"0.0.9"}
    )


# The live version's statements on the new schema


def _git(*arguments: str) -> str | None:
    """What git says; None where there is no repository, or no such thing in it."""
    try:
        run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return run.stdout if run.returncode == 0 else None


def live_queries() -> dict[str, str]:
    """Text of each file of queries as the live version has it: of the latest release, or the last commit.

    Those of the working tree stand in where there is no repository.
    """
    ref = (_git("describe", "--tags", "--abbrev=0", "--match", "v*") or "HEAD").strip()
    names = (_git("ls-tree", "--name-only", ref, "shared/sql/queries/") or "").split()
    found = {Path(name).stem: _git("show", f"{ref}:{name}") or "" for name in names}
    return found or {
        area: (ROOT / f"shared/sql/queries/{area}.sql").read_text(encoding="utf-8") for area in sql.areas()
    }


async def plannable(connection: AsyncConnection[TupleRow], query: bytes) -> set[str]:
    """The roles that may run `query` on the schema as it is: planning it checks names, types and rights."""
    names: list[bytes] = []

    def numbered(match: re.Match[bytes]) -> bytes:
        if match[1] not in names:
            names.append(match[1])
        return b"$%d" % (names.index(match[1]) + 1)

    numbered_query = _PARAMETER.sub(numbered, query)
    roles = set()
    for role in ROLES:
        try:
            async with connection.transaction(force_rollback=True):
                await connection.execute(f"set local role {role}".encode())
                await connection.execute(b"explain (generic_plan) " + numbered_query)
        except psycopg.errors.InsufficientPrivilege:
            continue
        roles.add(role)
    return roles


async def test_the_live_versions_queries_run_on_the_new_schema(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queries").mkdir()
    for area, text in live_queries().items():
        (tmp_path / "queries" / f"{area}.sql").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sql, "_HERE", tmp_path)
    planned = 0
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        for area in sorted({*sql.areas()} - NOT_PLANNED):
            for name, query in sql.queries(area).items():
                assert await plannable(connection, query), f"{area}.{name}: no role may run it"
                planned += 1
    assert planned > 30


async def test_a_query_on_what_is_gone_is_noticed(database_url: str) -> None:
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        query = sql.queries("models")["champion"]
        assert await plannable(connection, query) == {*ROLES}
        await connection.execute("revoke select on models from signal_functions")
        assert await plannable(connection, query) == {"signal_jobs"}
        await connection.execute("alter table models rename document to contents")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await plannable(connection, query)


# Nobody waits long


@pytest.fixture
def add_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Adds 9000_later, which may hold anything, to the migrations."""
    (tmp_path / "migrations").mkdir()
    for name, script, _ in sql.migrations():
        (tmp_path / "migrations" / f"{name}.sql").write_bytes(script)
    monkeypatch.setattr(sql, "_HERE", tmp_path)
    return (tmp_path / "migrations" / "9000_later.sql").write_text


@asynccontextmanager
async def reading(conninfo: str, table: str) -> AsyncIterator[AsyncConnection[TupleRow]]:
    """A transaction that has read a table and goes on: an ALTER TABLE has to wait for its end."""
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute(f"select count(*) from {table}".encode())
        yield connection


async def waits_for_lock(conninfo: str) -> None:
    """Returns once some session of the database waits for a lock."""
    async with asyncio.timeout(10), await AsyncConnection.connect(conninfo, autocommit=True) as connection:
        while True:
            cursor = await connection.execute(
                "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            )
            if await cursor.fetchone() is not None:
                return
            await asyncio.sleep(0.01)


async def test_live_requests_pass_while_a_migration_waits_for_its_lock(
    database_url: str, add_migration: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_migration("alter table audit add note text;")
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 200)
    monkeypatch.setattr(migrations, "LOCK_PAUSE_S", 0.3)
    async with reading(database_url, "audit") as long_reader:
        migrating = asyncio.create_task(migrate(database_url))
        await waits_for_lock(database_url)
        # Queued behind the migration, and through as soon as that gives way: far within a request's 5 s.
        async with await AsyncConnection.connect(database_url, autocommit=True) as request:
            await request.execute("set statement_timeout = '2s'")
            await request.execute(
                "insert into audit (actor, action, subject, detail) values ('a', 'b', 'c', '{}')"
            )
        assert not migrating.done()
        await long_reader.commit()
        assert await migrating == ["9000_later"]


async def test_a_migration_that_never_gets_its_lock_gives_up_and_changes_nothing(
    database_url: str, add_migration: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_migration("create table half (a int); alter table audit add note text;")
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 20)
    monkeypatch.setattr(migrations, "LOCK_PAUSE_S", 0.01)
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", 3)
    async with reading(database_url, "audit") as long_reader:
        with pytest.raises(Unavailable, match="9000_later did not get its locks in 3 attempts"):
            await migrate(database_url)
        cursor = await long_reader.execute("select to_regclass('half')")
        assert await cursor.fetchone() == (None,)


async def test_a_migration_that_takes_long_is_undone(
    database_url: str, add_migration: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_migration("create table half (a int); select pg_sleep(30);")
    monkeypatch.setattr(migrations, "STATEMENT_TIMEOUT_MS", 100)
    with pytest.raises(ConfigurationError, match="9000_later took longer than 100 ms"):
        await migrate(database_url)
    async with await AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute("select to_regclass('half')")
        assert await cursor.fetchone() == (None,)


def test_a_migration_waits_shorter_than_a_request_does() -> None:
    """A request's statement, waiting for a lock included, has 5 s."""
    from inspect import signature

    from shared.adapters.postgres import Database

    request_ms = signature(Database).parameters["statement_timeout_ms"].default
    assert request_ms >= migrations.LOCK_TIMEOUT_MS + migrations.STATEMENT_TIMEOUT_MS
