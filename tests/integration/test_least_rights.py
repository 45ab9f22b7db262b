"""The login of HTTP functions can do what HTTP functions do, and nothing that only timers may do."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from local.stack.logins import FUNCTIONS_LOGIN, JOBS_LOGIN, separate_logins
from local.stack.state import StateDirectory
from shared.adapters.postgres import Audit, Database, ModelStore, Pools, Stores, Upkeep
from shared.adapters.postgres.database import JOBS_ROLE
from shared.adapters.postgres.logins import login_state
from tests.support.evaluator import stored_model


@pytest.fixture
async def urls(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """The addresses of functions and timers, as the local stack makes them, also at a second start."""
    state = StateDirectory(tmp_path, "up")
    made = await separate_logins(database_url, state)
    assert await separate_logins(database_url, state) == made
    yield made
    async with await AsyncConnection.connect(database_url, autocommit=True) as admin:
        for login in (FUNCTIONS_LOGIN, JOBS_LOGIN):
            await admin.execute(f"drop role {login}".encode())


async def refused(url: str, statement: str, role: str | None = None) -> None:
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        if role is not None:
            await connection.execute(f"set role {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement.encode())


async def test_the_login_of_functions_cannot_take_the_role_of_the_timers(urls: tuple[str, str]) -> None:
    functions_url, jobs_url = urls
    for other in (JOBS_ROLE, JOBS_LOGIN, "signal_cloud"):
        await refused(functions_url, f"set role {other}")
        await refused(functions_url, f"set role {other}", role="signal_functions")
        await refused(functions_url, f"select set_config('role', '{other}', false)", role="signal_functions")
    await refused(functions_url, "set session authorization signal_cloud")
    for other in ("signal_functions", FUNCTIONS_LOGIN, "signal_cloud"):
        await refused(jobs_url, f"set role {other}")


async def test_neither_login_is_above_row_level_security_or_has_rights_of_its_own(
    urls: tuple[str, str], database_url: str
) -> None:
    async with await AsyncConnection.connect(database_url, autocommit=True) as admin:
        for login, role in ((FUNCTIONS_LOGIN, "signal_functions"), (JOBS_LOGIN, JOBS_ROLE)):
            state = await login_state(admin, login)
            assert state is not None
            assert state.is_fit_for(role)
    for url in urls:
        assert conninfo_to_dict(url)["password"]
        await refused(url, "select count(*) from trades")
        await refused(url, "create table mine (a int)")
        await refused(url, "create role another")


async def test_functions_and_timers_work_under_their_logins(urls: tuple[str, str]) -> None:
    functions_url, jobs_url = urls
    jobs = Database(jobs_url, role=JOBS_ROLE, pool_size=1)
    database = Database(functions_url, role="signal_functions", pool_size=2, jobs=jobs)
    who = "select session_user::text, current_user::text"
    async with database.transaction(account_id="acct-1") as connection:
        found = await (await connection.execute(who)).fetchone()
    assert found == (FUNCTIONS_LOGIN, "signal_functions")
    assert jobs._pool is None, "a process that serves HTTP only never opens it"
    async with database.transaction(jobs=True) as connection:
        found = await (await connection.execute(who)).fetchone()
    assert found == (JOBS_LOGIN, JOBS_ROLE)
    model = msgspec.structs.replace(stored_model(), status="candidate")
    models = ModelStore(database)
    await models.add(model)
    await models.promote(model.version)
    champion = await models.champion(model.strategy)
    assert champion is not None
    assert await Upkeep(database).prune_outbox(model.created_at) == 0
    assert await database.pending_migrations() == []
    await database.close()
    assert jobs._pool is None


async def test_without_the_login_of_the_timers_a_process_cannot_do_their_work(urls: tuple[str, str]) -> None:
    database = Database(urls[0], role="signal_functions", pool_size=1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(jobs=True):
            pass
    await database.close()


async def test_an_audit_entry_has_the_login_that_wrote_it_whatever_it_says(
    urls: tuple[str, str], database_url: str
) -> None:
    database = Database(urls[0], role="signal_functions", pool_size=1)
    await Audit(database).write("signal_timers: timer", "license revoked", "lic_1", {"n": 1})
    await Audit(database).write("", "license revoked", "lic_2", {})
    await Audit(database).write("x" * 500, "license revoked", "lic_3", {})
    await database.close()
    pools = Pools(
        urls[0], role="signal_functions", main_size=1, password=None, jobs_url=urls[1], jobs_password=None
    )
    await Stores(pools).jobs_audit.write("timer", "license expired", "lic_4", {})
    await pools.close()
    async with await AsyncConnection.connect(database_url) as admin:
        cursor = await admin.execute("select actor, detail from audit order by id")
        first, second, third, fourth = await cursor.fetchall()
    assert first == (f"{FUNCTIONS_LOGIN}: signal_timers: timer", {"n": 1})
    assert second == (FUNCTIONS_LOGIN, {})
    assert third[0].startswith(f"{FUNCTIONS_LOGIN}: xxx")
    assert fourth == (f"{JOBS_LOGIN}: timer", {})
    insert = "insert into audit (actor, action, subject, detail) values ('signal_timers', 'a', 'b', '{}')"
    for role in (None, "signal_functions"):
        await refused(urls[0], insert, role)
    for role in (None, JOBS_ROLE):
        await refused(urls[1], insert, role)


async def test_the_definer_function_cannot_be_led_to_another_table(urls: tuple[str, str]) -> None:
    async with await AsyncConnection.connect(urls[0], autocommit=True) as connection:
        await connection.execute("set role signal_functions")
        await connection.execute("create temporary table audit (actor text)")
        await connection.execute("set search_path = pg_temp, public")
        await connection.execute("select public.write_audit('', 'a', 'b', '{}')")
        assert await (await connection.execute("select count(*) from pg_temp.audit")).fetchone() == (0,)


def test_the_passwords_are_kept_in_a_private_file(urls: tuple[str, str], tmp_path: Path) -> None:
    kept = json.loads((tmp_path / "secrets.json").read_text())
    assert {conninfo_to_dict(url)["password"] for url in urls} == set(kept.values())
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
