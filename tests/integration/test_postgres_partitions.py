"""Pages and performance among hundreds of monthly partitions read those of their own trades alone."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncClientCursor

from shared.adapters.postgres import Database, PerformanceStore, TradeStore
from tests.support.plans import nodes
from tests.support.samples import a_trade


@pytest.fixture(scope="module")
def many_months_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """320 partitions, as one report could once make them."""
    name = "many_months"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {migrated_template}")
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "select make_trade_partitions(array_agg(month)) "
            "from generate_series('2000-01-15'::timestamptz, '2026-08-15', '1 month') as month"
        )
    yield url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


class _Plans:
    """Remembers the plan of each statement that reads trades."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.pool_size = database.pool_size
        self.read: list[set[str]] = []
        self.planning_ms: list[float] = []

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Any]:
        async with self._database.transaction(**options) as connection:
            plans = self

            class Cursor(AsyncClientCursor[Any]):
                async def execute(self, query: Any, *arguments: Any, **more: Any) -> Any:
                    if b"from trades" in query and b"explain" not in query:
                        explaining = AsyncClientCursor(connection)
                        await explaining.execute(b"explain (summary, format json) " + query, *arguments)
                        ((rows,),) = await explaining.fetchall()
                        found = {node.get("Relation Name") for node in nodes(rows[0]["Plan"])}
                        plans.read.append({name for name in found if name and name[-1].isdigit()})
                        plans.planning_ms.append(rows[0]["Planning Time"])
                    return await super().execute(query, *arguments, **more)

            connection.cursor_factory = Cursor
            yield connection


async def test_a_page_reads_the_months_of_its_trades_alone_among_hundreds(many_months_url: str) -> None:
    """Without a bound, the plan of a page took 99 ms, because it had to know all months."""
    database = Database(many_months_url, role="signal_functions", pool_size=1)
    may = datetime(2026, 5, 20, tzinfo=UTC)
    trades = [a_trade(f"t{n:03}", exit_at=may + timedelta(hours=n)) for n in range(200)]
    old = [a_trade(f"old{n}", exit_at=datetime(2003, 4, 1, tzinfo=UTC), symbol="NQ") for n in range(3)]
    await TradeStore(database).record("account-7", "key", [*trades, *old])
    plans = _Plans(database)
    store = TradeStore(plans)  # type: ignore[arg-type] # has what stores use of a Database
    chosen: dict[str, Any] = {"symbol": None, "since": None, "until": None, "before": None, "limit": 100}
    first = await store.page("account-7", **chosen)
    assert [trade.trade_id for trade in first] == [f"t{n:03}" for n in range(199, 99, -1)]
    assert plans.read == [{"trades_2026_05"}]
    last = await store.page("account-7", **chosen | {"before": (trades[50].exit_at, "t050")})
    assert [trade.trade_id for trade in last] == [
        *(f"t{n:03}" for n in range(49, -1, -1)),
        "old2",
        "old1",
        "old0",
    ]
    nasdaq = await store.page("account-7", **chosen | {"symbol": "NQ", "limit": 3})
    assert [trade.trade_id for trade in nasdaq] == ["old2", "old1", "old0"]
    assert await store.page("account-8", **chosen) == []
    assert plans.read[3:] == [], "an account without trades plans no page at all"
    # A report that is sent again looks into its own months.
    plans.read.clear()
    assert [one.status for one in await store.record("account-7", "key", trades[:5])] == ["duplicate"] * 5
    assert plans.read == [{"trades_2026_05"}]
    await database.close()


async def test_performance_reads_no_month_once_its_days_are_rolled_up(many_months_url: str) -> None:
    database = Database(many_months_url, role="signal_functions", pool_size=1)
    trades = [a_trade(f"p{n}", exit_at=datetime(2026, 5, 1 + n, 9, tzinfo=UTC)) for n in range(20)]
    await TradeStore(database).record("account-9", "key", trades)
    plans = _Plans(database)
    store = PerformanceStore(plans)  # type: ignore[arg-type]
    chosen: dict[str, Any] = {"symbol": None, "since": None, "until": None}
    assert (await store.performance("account-9", **chosen)).trades == 20
    assert plans.read == [{"trades_2026_05"}]
    plans.read.clear()
    assert (await store.performance("account-9", **chosen)).trades == 20
    assert plans.read == []
    cut = await store.performance("account-9", **chosen | {"since": datetime(2026, 5, 9, 12, tzinfo=UTC)})
    assert cut.trades == 11
    assert plans.read == [{"trades_2026_05"}]
    await database.close()
