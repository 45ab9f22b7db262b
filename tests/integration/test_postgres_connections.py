"""Connections are counted exactly by the real server, over processes and simultaneous clients."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from shared.adapters.postgres import ConnectionStore, Database, Pools, Stores
from shared.adapters.postgres.connections import CONNECTIONS_POOL_SIZE
from shared.domain.access.connections import ConnectedSession, Opening
from shared.domain.access.sessions import SessionRecord
from shared.services.presence import Presence
from tests.support.counting import Counted
from tests.support.license_plans import PLANS
from tests.support.presence import LICENSE, opening, outcome

OTHER = "lic_Zz0000000000"


class NoHub:
    async def connections_in(self, group: str) -> list[str]:
        return []

    async def close_connection(self, connection_id: str, reason: str) -> None:
        raise AssertionError("nothing here is above its limit")


class NoLicenses:
    async def get_license(self, license_id: str) -> None:
        return None


@pytest.fixture
async def databases(database_url: str) -> AsyncIterator[list[Database]]:
    """Pools as of four processes."""
    made = [Database(database_url, role="signal_functions", pool_size=2) for _ in range(4)]
    yield made
    for each in made:
        await each.close()


def processes(databases: list[Database]) -> list[Presence]:
    return [
        Presence(
            plans=PLANS,
            store=ConnectionStore(each),
            licenses=NoLicenses(),
            hub=NoHub(),
            clock=asyncio.get_running_loop().time,
            count=Counted(),
        )
        for each in databases
    ]


async def aged(database_url: str, seconds: float) -> None:
    """Makes every row so much older."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        age = {"age": seconds}
        await connection.execute(
            "update connections set opened_at = opened_at - make_interval(secs => %(age)s), "
            "checked_at = checked_at - make_interval(secs => %(age)s)",
            age,
        )
        await connection.execute(
            "update used_urls set used_at = used_at - make_interval(secs => %(age)s)", age
        )


async def test_simultaneous_clients_of_four_processes_get_exactly_the_limits(
    databases: list[Database],
) -> None:
    asked = [opening(f"c{n}", license_id=(LICENSE, OTHER)[n % 2], limit=(10, 7)[n % 2]) for n in range(400)]
    running = processes(databases)
    found = await asyncio.gather(*(outcome(running[n // 2 % 4], each) for n, each in enumerate(asked)))
    assert found[0::2].count("opened") == 10
    assert found[1::2].count("opened") == 7
    assert set(found) == {"opened", "connections_exceeded"}


async def test_one_url_opens_one_of_1500_sockets_over_four_processes(databases: list[Database]) -> None:
    running = processes(databases)
    asked = [opening(f"c{n}", nonce="one", limit=10_000) for n in range(1_500)]
    found = await asyncio.gather(*(outcome(running[n % 4], each) for n, each in enumerate(asked)))
    assert (found.count("opened"), found.count("access_url_used")) == (1, 1_499)


async def test_a_used_url_stays_used_after_its_connection_has_ended(databases: list[Database]) -> None:
    first, second, *_ = processes(databases)
    await first.open(opening("c", nonce="one"), "acct-1")
    await second.close("c", "acct-1")
    assert await outcome(second, opening("d", nonce="one")) == "access_url_used"
    assert await outcome(second, opening("d")) == "opened"


async def test_a_comparison_makes_the_rows_those_of_the_service(
    databases: list[Database], database_url: str
) -> None:
    store = ConnectionStore(databases[0])
    await store.record([opening("gone"), opening("here"), opening("x", license_id=OTHER)], [])
    assert await store.unchecked(20, 10) == []
    await aged(database_url, 60)
    await store.record([opening("young")], [])
    assert await store.unchecked(20, 10) == [LICENSE, OTHER]
    assert await store.unchecked(20, 1) == [LICENSE]
    assert await store.compare(LICENSE, ["here", "new"], ["new"], 10) == 1
    async with databases[1].transaction() as connection:
        cursor = await connection.execute("select connection_id from connections order by 1")
        assert [name for (name,) in await cursor.fetchall()] == ["here", "new", "x", "young"]
    assert await store.unchecked(20, 10) == [OTHER]


async def test_the_excess_of_a_license_is_its_youngest(databases: list[Database], database_url: str) -> None:
    store = ConnectionStore(databases[0])
    for name in ("b", "a", "c"):
        await store.record([opening(name)], [])
        await aged(database_url, 60)
    await store.record([opening("x", license_id=OTHER)], [])
    assert await store.excess(LICENSE, 1) == ["a", "c"]
    assert await store.excess(LICENSE, 3) == []
    assert await store.excess("lic_Ab9999999999", 0) == []


async def test_a_busy_main_pool_does_not_open_the_limit(database_url: str) -> None:
    """One pool served everything, so requests that held its connections let sockets in uncounted."""
    pools = Pools(
        database_url,
        role="signal_functions",
        main_size=1,
        password=None,
        jobs_url=None,
        jobs_password=None,
    )
    counted = Counted()
    process = Presence(
        plans=PLANS,
        store=Stores(pools).connections,
        licenses=NoLicenses(),
        hub=NoHub(),
        clock=asyncio.get_running_loop().time,
        count=counted,
    )
    async with pools.main.transaction():
        asked = [opening(f"c{n}", limit=5) for n in range(9)]
        async with asyncio.timeout(2):
            found = await asyncio.gather(*(outcome(process, each) for each in asked))
    assert sorted(set(found)) == ["connections_exceeded", "opened"]
    assert found.count("opened") == 5
    assert "connections_uncounted" not in counted
    await pools.close()


async def test_comparisons_leave_the_counts_their_connection(database_url: str) -> None:
    database = Database(database_url, role="signal_functions", pool_size=CONNECTIONS_POOL_SIZE)
    store = ConnectionStore(database)
    locked = "select pg_advisory_xact_lock(hashtextextended('connections.' || %s, 0))"
    async with await psycopg.AsyncConnection.connect(database_url) as another:
        await another.execute(locked, [OTHER])
        comparing = [asyncio.create_task(store.compare(OTHER, [], [], 60)) for _ in range(8)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(2):
            assert await store.record([opening("c")], []) == ["opened"]
        await another.rollback()
    assert await asyncio.gather(*comparing) == [0] * 8
    await database.close()


async def test_used_urls_are_forgotten_after_their_time(databases: list[Database], database_url: str) -> None:
    store = ConnectionStore(databases[0])
    await store.record([opening("a", nonce="old")], [])
    await aged(database_url, 601)
    await store.record([opening("b", nonce="new")], ["a"])
    assert await store.prune_used_urls(600) == 1
    asked = [opening("c", nonce="old"), opening("d", nonce="new")]
    assert await store.record(asked, []) == ["opened", "used"]


async def test_a_thousand_openings_take_little_time(databases: list[Database]) -> None:
    running = processes(databases)
    asked = [opening(f"c{n}", license_id=f"lic_Ab{n:010}") for n in range(1_000)]
    async with asyncio.timeout(5):
        await asyncio.gather(*(running[n % 4].open(each, "a") for n, each in enumerate(asked)))


async def test_a_connection_remembers_its_session(databases: list[Database]) -> None:
    store = ConnectionStore(databases[0])
    record = SessionRecord(
        session_id="ses_1", instance="bot-1", places=1, symbols=("ES",), since_ms=1, expires_ms=2
    )
    openings = [
        Opening("c1", LICENSE, "n1", 10, "ses_1", record),
        Opening("c2", LICENSE, "n2", 10, "ses_2", None),
        Opening("c3", LICENSE, "n3", 10),
    ]
    for opening_ in openings:
        await store.record([opening_], [])
    await store.record([Opening("c4", LICENSE, "n4", 10, "ses_1", record)], [])
    assert await store.connected_sessions("", 10) == [
        ConnectedSession(LICENSE, "ses_1", record, ["c4", "c1"]),
        ConnectedSession(LICENSE, "ses_2", None, ["c2"]),
    ]
    assert [each.session_id for each in await store.connected_sessions("ses_1", 10)] == ["ses_2"]
    await store.record([], ["c1", "c4", "c2"])
    assert await store.connected_sessions("", 10) == []
