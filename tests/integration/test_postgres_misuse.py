"""Counts of misuse add up over processes, and the list shows first what stands out."""

from datetime import UTC, date, datetime

import psycopg
import pytest

from shared.adapters.postgres import Database, MisuseStore, Upkeep
from shared.domain.access.misuse import THRESHOLDS, UseFigures, outstanding
from shared.services.misuse_counts import SeenAddress, UseCounts

DAY = date(2026, 3, 2)
SINCE = date(2026, 2, 24)
QUIET = UseFigures(
    addresses_per_key=0, session_fights=0, limited_hours=0, limited_percent=0, suspicious_trades=0
)


def seen(account: str, key: str, number: int, day: date = DAY) -> SeenAddress:
    return SeenAddress(account, day, key, number.to_bytes(8))


@pytest.fixture
def store(database: Database) -> MisuseStore:
    return MisuseStore(database)


async def listed(store: MisuseStore, limit: int = 10) -> dict[str, UseFigures]:
    return dict(await store.list(SINCE, THRESHOLDS, limit))


async def test_what_processes_add_becomes_the_sum_of_the_day(store: MisuseStore) -> None:
    await store.add(DAY, [("a", UseCounts(requests=70, limited=10, limited_hours=0b11))], [])
    await store.add(
        DAY,
        [("a", UseCounts(requests=10, limited=10, limited_hours=0b110, sessions_refused=2))],
        [seen("a", "k", 1)],
    )
    await store.add(date(2026, 3, 1), [("a", UseCounts(sessions_taken_over=1, sessions_replaced=2))], [])
    await store.add(date(2026, 2, 1), [("a", UseCounts(sessions_refused=99))], [])
    assert await listed(store) == {
        "a": UseFigures(
            addresses_per_key=1, session_fights=3, limited_hours=3, limited_percent=20, suspicious_trades=0
        )
    }


async def test_addresses_count_once_for_each_key_and_day(store: MisuseStore) -> None:
    await store.add(DAY, [], [seen("a", "k", number) for number in range(7)])
    await store.add(DAY, [], [seen("a", "k", number) for number in range(5)])
    await store.add(DAY, [], [seen("a", "other", 1), seen("a", "k", 9, date(2026, 3, 1))])
    found = await listed(store)
    assert found["a"].addresses_per_key == 7
    assert outstanding(found["a"]) == ["addresses_per_key"]


async def test_the_accounts_that_stand_out_most_come_first(store: MisuseStore, database_url: str) -> None:
    await store.add(
        DAY,
        [
            ("quiet", UseCounts(requests=100)),
            ("much", UseCounts(requests=100, sessions_refused=1_000)),
            ("twice", UseCounts(requests=1, limited=1, limited_hours=0xFFF)),
        ],
        [],
    )
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(
            "insert into suspicious_trades (account_id, trade_id, reason, symbol, signal_sequence, exit_at, "
            "trades, found_at) select 'only trades', 't' || n, 'price', 'ES', n, %(at)s, 5, %(at)s "
            "from generate_series(1, 5) as n",
            {"at": datetime(2026, 3, 2, tzinfo=UTC)},
        )
    found = await listed(store)
    assert list(found) == ["twice", "much", "only trades", "quiet"]
    assert found["only trades"].suspicious_trades == 5
    assert found["quiet"] == QUIET
    assert list(await listed(store, 1)) == ["twice"]


async def test_old_counts_are_deleted(store: MisuseStore, database: Database) -> None:
    for day in (DAY, date(2025, 11, 1)):
        await store.add(day, [("a", UseCounts(limited=1))], [seen("a", "k", 1, day)])
    upkeep = Upkeep(database)
    assert await upkeep.prune_misuse(datetime(2025, 12, 2, tzinfo=UTC)) == 2
    assert await upkeep.prune_misuse(datetime(2025, 12, 2, tzinfo=UTC)) == 0
    assert list(await listed(store)) == ["a"]
