"""Quotas on a real server: exact over processes, all or none, and new each day."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.postgres import Database, TradeStore, Upkeep
from shared.domain.access.plans import Plan
from shared.domain.access.quotas import Usage
from shared.domain.trading.trades import least_bytes
from shared.errors import DailyQuotaExceeded, StorageQuotaExceeded
from tests.support.license_plans import PLANS, a_plan
from tests.support.samples import START, a_trade
from tests.support.trades import ALICE, BOB

ROOM = {"connections": 1, "trades_per_day": 10**6, "stored_trades": 10**6, "stored_bytes": 10**9}


def plan(**limits: int) -> Plan:
    return a_plan(**(ROOM | limits))


@pytest.fixture
def store(database: Database) -> TradeStore:
    return TradeStore(database)


async def report(store: TradeStore, within: Plan | None, *names: str, account: str = ALICE) -> list[str]:
    results = await store.record(account, "abc123", [a_trade(name) for name in names], within)
    return [result.status for result in results]


async def test_a_report_above_the_day_records_nothing_and_says_when_to_send_it_again(
    store: TradeStore,
) -> None:
    within = plan(trades_per_day=3)
    assert await report(store, within, "a", "b") == ["recorded"] * 2
    with pytest.raises(DailyQuotaExceeded) as refused:
        await report(store, within, "c", "d")
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert refused.value.retry_after_s == pytest.approx((midnight - now).total_seconds(), abs=30)
    assert "3 new trades a day" in refused.value.detail
    assert (await store.usage(ALICE)).trades_today == 2
    # Known trades count once: the same report again, with one new trade, just fits.
    assert await report(store, within, "a", "b", "c") == ["duplicate", "duplicate", "recorded"]
    with pytest.raises(DailyQuotaExceeded):
        await report(store, within, "d")
    assert await report(store, within, "a", account=BOB) == ["recorded"]


@pytest.mark.parametrize(
    ("limits", "what"), [({"stored_trades": 3}, "trades"), ({"stored_bytes": 600}, "bytes")]
)
async def test_storage_is_bounded_by_rows_and_by_bytes(
    store: TradeStore, limits: dict[str, int], what: str
) -> None:
    within = plan(**limits)
    assert await report(store, within, "a") == ["recorded"]
    with pytest.raises(StorageQuotaExceeded, match=f"{what}.*would exceed") as refused:
        await report(store, within, "b", "c", "d")
    assert refused.value.retry_after_s is None
    assert (await store.usage(ALICE)).stored_trades == 1


async def written(database_url: str) -> int:
    """The rows of trades that were ever written, also those that were rolled back.

    Waits until every other session has ended, because a session reports at its end what it has written.
    """
    others = (
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and backend_type = 'client backend' and pid <> pg_backend_pid()"
    )
    rows = "select sum(n_tup_ins)::bigint from pg_stat_user_tables where relname like 'trade%'"
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        async with asyncio.timeout(10):
            while await (await connection.execute(others)).fetchone() != (0,):  # noqa: ASYNC110 - a server
                await asyncio.sleep(0.01)
        (found,) = await (await connection.execute(rows)).fetchone() or (0,)
        return int(found)


@pytest.mark.parametrize("full", ["trades_per_day", "stored_trades", "stored_bytes"])
async def test_a_report_without_room_writes_nothing_that_is_rolled_back(database_url: str, full: str) -> None:
    """A full account made the server write and roll back 500 trades with each request."""
    pool = Database(database_url, role="signal_functions", pool_size=1)
    await Upkeep(pool).ensure_partitions(START, 5)
    store = TradeStore(pool)
    known = [f"t{n}" for n in range(100)]
    assert set(await report(store, plan(), *known)) == {"recorded"}
    used = await store.usage(ALICE)
    # Room for one trade, or for a part of one.
    within = plan(**{full: used.stored_bytes + 100 if full == "stored_bytes" else 101})
    await pool.close()
    before = await written(database_url)
    for names in ([f"u{n}" for n in range(500)], [*known, "new", "newer"]):
        for _ in range(3):
            with pytest.raises((DailyQuotaExceeded, StorageQuotaExceeded)):
                await report(store, within, *names)
    await pool.close()
    assert await written(database_url) == before
    assert before > 0


@pytest.mark.parametrize("limits", [{"trades_per_day": 10}, {"stored_trades": 10}, {"stored_bytes": 4_000}])
async def test_a_report_that_filled_the_quota_is_answered_again_as_what_it_was(
    store: TradeStore, limits: dict[str, int]
) -> None:
    names = [f"t{n}" for n in range(10)]
    within = plan(**limits)
    assert await report(store, within, *names) == ["recorded"] * 10
    size = (await store.usage(ALICE)).stored_bytes
    full = msgspec.structs.replace(within, stored_bytes=min(within.stored_bytes, size))
    assert await report(store, full, *names) == ["duplicate"] * 10
    assert await report(store, full, *names[:3], names[0]) == ["duplicate"] * 4
    changed = await store.record(ALICE, "abc123", [a_trade("t1", pnl=Decimal(7)), a_trade("t2")], full)
    assert [result.status for result in changed] == ["conflict", "duplicate"]
    # Also after a change to a smaller plan, or an import, which no quota stops.
    assert (
        await report(store, plan(trades_per_day=1, stored_trades=1, stored_bytes=1), *names)
        == ["duplicate"] * 10
    )
    with pytest.raises((DailyQuotaExceeded, StorageQuotaExceeded)):
        await report(store, msgspec.structs.replace(full, stored_bytes=size), *names, "one more")


texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    features=st.none()
    | st.dictionaries(
        texts, st.floats(-1e9, 1e9) | st.booleans() | texts | st.just("x" * 2_000), max_size=32
    ),
    model=st.none() | texts,
    amount=st.decimals(min_value=-1000, max_value=1000, places=2) | st.just(Decimal(0)),
    scored=st.booleans(),
)
async def test_the_lower_bound_of_a_row_is_below_its_bytes_and_near_them(
    store: TradeStore,
    features: dict[str, Any] | None,
    model: str | None,
    amount: Decimal,
    scored: bool,
) -> None:
    trade = a_trade(
        features=features,
        model_version=model,
        pnl=amount,
        fees=amount,
        entry_price=amount,
        exit_price=amount,
        confidence=0.5 if scored else None,
        signal_sequence=7 if scored else None,
    )
    account = f"account-{uuid4()}"  # not drawn: an example that is run again needs another account
    await store.record(account, "abc123", [trade], plan())
    stored = (await store.usage(account)).stored_bytes
    assert stored / 4 <= least_bytes(trade) <= stored


async def test_the_bytes_are_those_of_the_rows(store: TradeStore, database: Database) -> None:
    await report(store, plan(), *(f"t{n}" for n in range(50)))
    usage = await store.usage(ALICE)
    async with database.transaction(account_id=ALICE) as connection:
        cursor = await connection.execute("select sum(pg_column_size(trades.*)) from trades")
        (stored,) = await cursor.fetchone() or (0,)
    assert usage == Usage(50, 50, stored)
    assert 150 <= usage.stored_bytes / 50 <= 500


async def test_quotas_are_exact_over_processes(database_url: str, database: Database) -> None:
    """Each database here is a pool of its own, as each process has; 40 reports of 5 race for 100 places."""
    pools = [Database(database_url, role="signal_functions", pool_size=4) for _ in range(3)]
    within = plan(trades_per_day=100)

    async def one(number: int) -> int:
        names = [f"t{number}-{n}" for n in range(5)]
        try:
            return len(await report(TradeStore(pools[number % 3]), within, *names))
        except DailyQuotaExceeded:
            return 0

    recorded = await asyncio.gather(*(one(number) for number in range(40)))
    assert sum(recorded) == 100
    assert (await TradeStore(database).usage(ALICE)) == Usage(
        100, 100, (await TradeStore(database).usage(ALICE)).stored_bytes
    )
    async with database.transaction(account_id=ALICE) as connection:
        assert await (await connection.execute("select count(*) from trades")).fetchone() == (100,)
    for pool in pools:
        await pool.close()


async def test_a_new_day_begins_at_midnight_utc(store: TradeStore, database_url: str) -> None:
    within = plan(trades_per_day=2)
    await report(store, within, "a", "b")
    with pytest.raises(DailyQuotaExceeded):
        await report(store, within, "c")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("update account_usage set day = day - 1")
    usage = await store.usage(ALICE)
    assert (usage.trades_today, usage.stored_trades) == (0, 2)
    assert await report(store, within, "c", "d") == ["recorded"] * 2
    with pytest.raises(DailyQuotaExceeded):
        await report(store, within, "e")


async def test_an_import_counts_for_storage_but_not_for_the_day(store: TradeStore) -> None:
    assert await report(store, None, "a", "b", "c") == ["recorded"] * 3
    usage = await store.usage(ALICE)
    assert (usage.trades_today, usage.stored_trades) == (0, 3)
    assert await report(store, plan(trades_per_day=1), "d") == ["recorded"]


def test_no_plan_of_customers_lets_an_account_store_35_gb_a_day() -> None:
    """The largest trade is below 8 KiB: 32 features, each a name and a text of bounded length."""
    for name, limits in PLANS.items():
        if name != "load":
            assert limits.trades_per_day * 8_192 < 50 * 1024**2
            assert limits.stored_bytes <= 10 * 1024**3
            # A bot that trades each minute of a day is honest; test keys are strangers'.
            assert name == "test" or limits.trades_per_day >= 3 * 1_440
