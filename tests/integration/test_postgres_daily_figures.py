"""Daily figures on a real server: they equal a plain query over all trades, in any order of arrival."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from shared import sql
from shared.adapters.postgres import Database, PerformanceStore, TradeStore
from shared.adapters.postgres import performance as performance_module
from shared.domain.trading.performance import Performance
from tests.support.samples import START, a_trade
from tests.support.trades import ALICE, BOB, statuses

EVERYTHING: dict[str, Any] = {"symbol": None, "since": None, "until": None}
MIDNIGHT = START.replace(hour=0, minute=0)

# Computes each figure from the trades themselves, in another way than the app.
PLAIN = b"""
with chosen as (
    select
        symbol, exit_at, trade_id, pnl, fees, pnl - fees as net, pnl - fees > 0 as won,
        -- The square of a smaller value would be an error (underflow); 0 changes no figure.
        case when confidence < 1e-100 then 0 else confidence end as confidence
    from trades
    where account_id = %(account_id)s and withdrawn_at is null
        and exit_at >= coalesce(%(since)s::timestamptz, '-infinity')
        and exit_at < coalesce(%(until)s::timestamptz, 'infinity')
        and (%(symbol)s::text is null or symbol = %(symbol)s::text)
), summed as (
    select
        *,
        sum(net) over everything as total,
        sum(net) over its_symbol as symbol_total
    from chosen
    window
        everything as (order by exit_at, trade_id rows unbounded preceding),
        its_symbol as (partition by symbol order by exit_at, trade_id rows unbounded preceding)
), fallen as (
    select
        *,
        greatest(max(total) over everything, 0) - total as below,
        greatest(max(symbol_total) over its_symbol, 0) - symbol_total as symbol_below
    from summed
    window
        everything as (order by exit_at, trade_id rows unbounded preceding),
        its_symbol as (partition by symbol order by exit_at, trade_id rows unbounded preceding)
), figures as (
    select
        symbol,
        count(*) as trades,
        count(*) filter (where won) as wins,
        sum(pnl) as pnl,
        sum(fees) as fees,
        sum(net) as net_pnl,
        round(avg(net) filter (where won), 8) as average_win,
        round(avg(net) filter (where net < 0), 8) as average_loss,
        case when grouping(symbol) = 1 then max(below) else max(symbol_below) end as max_drawdown,
        count(confidence) as scored,
        avg((confidence - won::integer) ^ 2) as brier
    from fallen
    group by grouping sets ((), (symbol))
), bins as (
    select
        symbol,
        abs(sum(confidence) - count(*) filter (where won)) as gap
    from chosen
    where confidence is not null
    group by grouping sets (
        (least(floor(confidence * 10), 9)),
        (symbol, least(floor(confidence * 10), 9))
    )
), calibration as (
    select symbol, sum(gap) as gaps from bins group by symbol
)
select
    figures.symbol, trades, wins, coalesce(pnl, 0) as pnl, coalesce(fees, 0) as fees,
    coalesce(net_pnl, 0) as net_pnl, average_win,
    average_loss, coalesce(max_drawdown, 0) as max_drawdown, scored, brier, gaps / nullif(scored, 0) as ece
from figures
left join calibration on calibration.symbol is not distinct from figures.symbol
order by figures.symbol nulls first;
"""


@pytest.fixture
def store(database: Database) -> TradeStore:
    return TradeStore(database)


@pytest.fixture
def figures_of(database: Database) -> PerformanceStore:
    return PerformanceStore(database)


async def plain(database: Database, account: str, **chosen: Any) -> list[dict[str, Any]]:
    async with database.transaction(account_id=account) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(PLAIN, {"account_id": account} | chosen)
        return await cursor.fetchall()


def check_equal(found: Performance, expected: Sequence[dict[str, Any]]) -> None:
    """Everything is equal, but two averages of floats, whose last digits depend on the order of addition."""
    assert [one.symbol for one in found.by_symbol] == [row["symbol"] for row in expected[1:]]
    for figures, row in zip((found, *found.by_symbol), expected, strict=True):
        wanted = {name: value for name, value in row.items() if name not in ("symbol", "brier", "ece")}
        assert {name: getattr(figures, name) for name in wanted} == wanted
        for name in ("brier", "ece"):
            assert getattr(figures, name) == (
                None if row[name] is None else pytest.approx(row[name], abs=1e-13, rel=1e-12)
            )


# Minutes within nine days, so that days have several trades and some times are equal.
minutes = st.integers(0, 9 * 1440) | st.sampled_from([0, 1440, 2880])
amounts = st.decimals(min_value=-1000, max_value=1000, places=2) | st.decimals(
    min_value=-1, max_value=1, places=8
)
rows = st.tuples(
    minutes,
    st.sampled_from(["ES", "NQ"]),
    amounts,
    st.decimals(min_value=0, max_value=10, places=2),
    st.none() | st.floats(0, 1) | st.integers(0, 10).map(lambda tenth: tenth / 10),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=st.lists(st.lists(rows, min_size=1, max_size=12), max_size=6), data=st.data())
async def test_daily_figures_equal_the_plain_query_in_any_order_of_arrival(
    database: Database,
    store: TradeStore,
    figures_of: PerformanceStore,
    reports: list[list[tuple[int, str, Decimal, Decimal, float | None]]],
    data: st.DataObject,
) -> None:
    account = f"account-{uuid4()}"  # not drawn: an example that is run again needs another account
    for number, report in enumerate(reports):
        trades = [
            a_trade(
                f"t{number}-{n}",
                exit_at=MIDNIGHT + timedelta(minutes=minute),
                symbol=symbol,
                pnl=pnl,
                fees=fees,
                confidence=confidence,
                features=None,
            )
            for n, (minute, symbol, pnl, fees, confidence) in enumerate(report)
        ]
        await statuses(store, trades, account)
        for trade in trades:
            if data.draw(st.integers(0, 3)) == 0:
                assert await store.withdraw(account, trade.trade_id, START) is not None
        if data.draw(st.booleans()):
            check_equal(
                await figures_of.performance(account, **EVERYTHING),
                await plain(database, account, **EVERYTHING),
            )
    for _ in range(3):
        ends = [
            None if minute is None else MIDNIGHT + timedelta(minutes=minute)
            for minute in (data.draw(st.none() | minutes), data.draw(st.none() | minutes))
        ]
        chosen: dict[str, Any] = {
            "symbol": data.draw(st.sampled_from([None, "ES"])),
            "since": ends[0],
            "until": ends[1],
        }
        check_equal(await figures_of.performance(account, **chosen), await plain(database, account, **chosen))


async def stale(database: Database, account: str = ALICE) -> list[tuple[str, bool]]:
    async with database.transaction(account_id=account) as connection:
        cursor = await connection.execute(
            "select day::text, counted <> trades from trade_days order by day, symbol"
        )
        return await cursor.fetchall()


async def total(figures_of: PerformanceStore, account: str = ALICE, **chosen: Any) -> Decimal:
    return (await figures_of.performance(account, **(EVERYTHING | chosen))).pnl


async def test_a_report_makes_its_days_stale_and_the_next_question_computes_only_these(
    database: Database, store: TradeStore, figures_of: PerformanceStore
) -> None:
    days = [MIDNIGHT + timedelta(days=n, hours=12) for n in range(3)]
    await statuses(store, [a_trade(f"t{n}", exit_at=day, pnl=Decimal(1)) for n, day in enumerate(days)])
    assert [is_stale for _, is_stale in await stale(database)] == [True] * 3
    assert await total(figures_of) == 3
    assert [is_stale for _, is_stale in await stale(database)] == [False] * 3
    await statuses(store, [a_trade("late", exit_at=days[1], pnl=Decimal(10))])
    assert [is_stale for _, is_stale in await stale(database)] == [False, True, False]
    # A duplicate changes nothing.
    await statuses(store, [a_trade("t2", exit_at=days[2], pnl=Decimal(1))])
    assert [is_stale for _, is_stale in await stale(database)] == [False, True, False]
    # Days outside of the question wait for one that needs them.
    assert await total(figures_of, until=MIDNIGHT + timedelta(days=1)) == 1
    assert [is_stale for _, is_stale in await stale(database)] == [False, True, False]
    assert await total(figures_of) == 13


async def test_more_trades_than_one_step_takes_are_rolled_up_in_several(
    database: Database, store: TradeStore, figures_of: PerformanceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance_module, "TRADES_PER_STEP", 5)
    trades = [a_trade(f"t{n}", exit_at=MIDNIGHT + timedelta(hours=6 * n), pnl=Decimal(n)) for n in range(60)]
    await statuses(store, trades)
    assert await total(figures_of) == sum(range(60))
    assert not any(is_stale for _, is_stale in await stale(database))


async def test_reports_and_questions_at_once_lose_no_trade(
    database: Database, store: TradeStore, figures_of: PerformanceStore
) -> None:
    """A trade that is committed while its day is computed must not be taken for counted."""

    async def report(worker: int) -> None:
        for n in range(25):
            exit_at = MIDNIGHT + timedelta(days=n % 3, minutes=n)
            symbol = ("ES", "NQ", "CL")[(n + worker) % 3]
            trade = a_trade(f"t{worker}-{n}", exit_at=exit_at, pnl=Decimal(1), symbol=symbol)
            assert await statuses(store, [trade]) == ["recorded"]
            # A report that was answered is in the next answer.
            own = await store.page(ALICE, symbol=symbol, since=exit_at, until=None, before=None, limit=500)
            assert f"t{worker}-{n}" in [trade.trade_id for trade in own]

    async def ask() -> None:
        last = Decimal(0)
        while last < 100:
            now = await total(figures_of)
            assert now >= last
            last = now
            await asyncio.sleep(0.01)

    async with asyncio.timeout(60):
        await asyncio.gather(ask(), *(report(worker) for worker in range(4)))
    check_equal(
        await figures_of.performance(ALICE, symbol=None, since=None, until=None),
        await plain(database, ALICE, symbol=None, since=None, until=None),
    )


async def test_daily_figures_are_isolated_by_account(
    database: Database, store: TradeStore, figures_of: PerformanceStore
) -> None:
    for account in (ALICE, BOB):
        await statuses(store, [a_trade(pnl=Decimal(1))], account)
        assert await total(figures_of, account) == 1
    for table in ("trade_days", "trade_day_figures", "account_usage"):
        async with database.transaction(account_id=BOB) as connection:
            cursor = await connection.execute(f"select distinct account_id from {table}".encode())
            assert await cursor.fetchall() == [(BOB,)]
        async with database.transaction() as connection:
            cursor = await connection.execute(f"select count(*) from {table}".encode())
            assert await cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (
            datetime.fromisoformat("0001-01-01T00:00:00+14:00"),
            datetime.fromisoformat("9999-12-31T23:59:59-14:00"),
        ),
        (START, START),
        (START + timedelta(days=1), START),
        (datetime.fromisoformat("9999-12-31T00:00:00+00:00"), None),
        (None, datetime.fromisoformat("0001-01-01T00:00:00+00:00")),
    ],
)
async def test_strange_ranges_answer_as_the_plain_query(
    database: Database,
    store: TradeStore,
    figures_of: PerformanceStore,
    since: datetime | None,
    until: datetime | None,
) -> None:
    await statuses(store, [a_trade()])
    chosen: dict[str, Any] = {"symbol": None, "since": since, "until": until}
    check_equal(await figures_of.performance(ALICE, **chosen), await plain(database, ALICE, **chosen))


async def test_the_migration_counts_the_trades_that_are_there_also_for_an_owner_without_superuser(
    empty_database_url: str,
) -> None:
    """Forced row-level security hides the trades from their owner."""
    async with await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as connection:
        await connection.execute(sql.queries("migrations")["ensure_roles"])
        await connection.execute("create role plain_owner")
        try:
            await connection.execute("alter schema public owner to plain_owner; set role plain_owner")
            for name, script, _ in sql.migrations():
                if name == "0005_shares":
                    await connection.execute("reset role")
                    await connection.execute(
                        "select ensure_trade_partitions(array['2025-09-02'::timestamptz])"
                    )
                    await connection.execute(OLD_TRADES)
                    await connection.execute("set role plain_owner")
                await connection.execute(script)
            await connection.execute("reset role")
            cursor = await connection.execute("select day::text, symbol, trades, stale from trade_days")
            assert await cursor.fetchall() == [("2025-09-02", "ES", 4, True)]
            cursor = await connection.execute("select stored_trades, stored_bytes > 200 from account_usage")
            assert await cursor.fetchall() == [(4, True)]
            cursor = await connection.execute(
                "select relforcerowsecurity from pg_class where relname = 'trades'"
            )
            assert await cursor.fetchall() == [(True,)]
        finally:
            await connection.execute("reset role; drop owned by plain_owner cascade; drop role plain_owner")


OLD_TRADES = """
select ensure_trade_partitions(array['2025-09-02'::timestamptz]);
insert into trades (
    account_id, trade_id, key_public_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at,
    exit_at, pnl, fees
)
select 'a', 't' || n, 'k', 'ES', 'LONG', 's', 1, 1, 1, '2025-09-02', '2025-09-02', 1, 0
from generate_series(1, 4) as n
"""
