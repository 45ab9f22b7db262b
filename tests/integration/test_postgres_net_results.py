"""A win is a trade whose pnl exceeds its fees, on a real server: votes for training, and stored figures."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from shared import sql
from shared.adapters.postgres import Database, PerformanceStore, TradeStore, TrainingStore
from shared.domain.confidence.safeguards import Reported
from tests.support.outcomes import made_outcomes
from tests.support.published import publish, trade_of
from tests.support.samples import START, a_trade
from tests.support.trades import ALICE, BOB, statuses

FIRST = datetime(2025, 9, 2, 14, tzinfo=UTC)
NOW = datetime(2025, 10, 17, tzinfo=UTC)


async def votes(database: Database, pnl: str, fees: str) -> Reported:
    """What training is told if two accounts report such a trade of a signal that no bars decide."""
    (signal,) = await publish(database, made_outcomes(1, seed=1, signal=0, start=FIRST), with_bars=False)
    for account in (ALICE, BOB):
        trade = trade_of(signal, "t", won=True, pnl=Decimal(pnl), fees=Decimal(fees))
        await statuses(TradeStore(database), [trade], account)
    return await TrainingStore(database).reported("vwap_bounce", before=NOW)


@pytest.mark.parametrize(
    ("pnl", "fees", "has_won"),
    [("2", "4.50", False), ("4.50", "4.50", False), ("4.51", "4.50", True), ("-2", "0", False)],
)
async def test_a_trade_votes_for_a_win_only_after_fees(
    database: Database, pnl: str, fees: str, has_won: bool
) -> None:
    told = await votes(database, pnl, fees)
    assert told.weight > 0
    assert told.wins == pytest.approx(told.weight if has_won else 0)


# What version 0.1.0 wrote, before it knew of fees: 40 trades of 2.00 with fees of 4.50 are 40 wins.
FORMER = """
select ensure_trade_partitions(array[now()]);
insert into trades (
    account_id, trade_id, key_public_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at,
    exit_at, pnl, fees
)
select
    'account-alice', 't' || n, 'k', 'ES', 'LONG', 's', 1, 6500, 6500.04, at, at, 2.00, 4.50
from generate_series(1, 40) as n, lateral (select date_trunc('day', now(), 'UTC') + n * interval '1 s' as at);
insert into trade_days (account_id, day, symbol, trades, stale)
select account_id, (exit_at at time zone 'UTC')::date, symbol, count(*), false from trades group by 1, 2, 3;
"""
# Its figures, which it also writes while the new schema is there and the new version is not.
FORMER_FIGURES = """
insert into trade_day_figures
select
    account_id, day, part, trades, trades, 0, 2 * trades, 4.5 * trades, 2 * trades, 0, 2 * trades, 2, 0, 0, 0,
    array_fill(0::numeric, array[10])
from trade_days, unnest(array[symbol::text, '']) as part
on conflict (account_id, day, symbol) do update
set wins = excluded.wins, won = excluded.won, peak = excluded.peak, low = excluded.low, drawdown = 0;
update trade_days set stale = false
"""


async def migrated_with_former_trades(connection: AsyncConnection[TupleRow]) -> None:
    await connection.execute(sql.queries("migrations")["ensure_roles"])
    for name, script, _ in sql.migrations():
        if name == "0011_net_results":
            await connection.execute(FORMER)
            await connection.execute(FORMER_FIGURES)
        await connection.execute(script)


async def test_figures_from_before_the_migration_are_computed_again(empty_database_url: str) -> None:
    database = Database(empty_database_url, role="signal_functions", pool_size=2)
    figures_of = PerformanceStore(database)

    async def net() -> tuple[int, Decimal, Decimal]:
        told = await figures_of.performance(ALICE, symbol=None, since=None, until=None)
        return told.wins, told.net_pnl, told.max_drawdown

    async with await AsyncConnection.connect(empty_database_url, autocommit=True) as connection:
        await migrated_with_former_trades(connection)
        # The version that is live goes on, and marks what it computes as fresh.
        await connection.execute(FORMER_FIGURES)
        assert await net() == (0, Decimal(-100), Decimal(100))
        cursor = await connection.execute("select count(*) from trade_days where counted <> trades")
        assert await cursor.fetchone() == (0,), "and only once"
        # A deployment swaps back: the former version stores a trade, computes, and leaves again.
        now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(hours=1)
        await statuses(
            TradeStore(database), [a_trade("new", exit_at=now, fees=Decimal(0), quantity=Decimal(1))]
        )
        await connection.execute(FORMER_FIGURES)
        assert await net() == (1, Decimal("37.50"), Decimal(100))
    await database.close()


async def test_a_version_that_swaps_back_counts_the_trades_and_withdrawals_of_this_one(
    database: Database, database_url: str
) -> None:
    """It asks `stale`, which every change of a day therefore sets too."""
    store = TradeStore(database)

    async def stale() -> list[bool]:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            cursor = await connection.execute("select stale from trade_days")
            return [is_stale for (is_stale,) in await cursor.fetchall()]

    for change in (statuses(store, [a_trade("a")]), store.withdraw(ALICE, "a", START)):
        await change
        assert await stale() == [True]
        await PerformanceStore(database).performance(ALICE, symbol=None, since=None, until=None)
        assert await stale() == [False]
