"""Trades of a strategy that only publishes, on real servers: kept, counted and judged, but not trained on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest

from loadtests.bench.past_signals import AlwaysOpen
from shared import sql
from shared.adapters.postgres import (
    Database,
    PerformanceStore,
    SignalStore,
    SuspicionStore,
    TradeStore,
    TrainingStore,
)
from shared.domain.items import Items
from shared.domain.market.signals import Signal
from shared.domain.trading.trades import Trade
from shared.errors import ValidationFailed
from shared.services.settlement import SettlementService
from shared.services.trades import TradeFilter, TradeService
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.outcomes import made_outcomes
from tests.support.published import publish, trade_of
from tests.support.strategies import STRATEGIES

FIRST = datetime(2025, 9, 2, 14, tzinfo=UTC)
NOW = datetime(2025, 10, 17, tzinfo=UTC)
GRANT = grant_of("acct-1", *STRATEGIES.symbols)
FEATURES: dict[str, Any] = {"news": "CPI", "score": 3.0, "late": True}


def service(database: Database) -> TradeService:
    return TradeService(
        store=TradeStore(database),
        figures=PerformanceStore(database),
        strategies=STRATEGIES,
        published=SignalStore(database).published_among,
        max_age=None,
        now=lambda: NOW,
        count=Counted(),
    )


async def manual_signals(database: Database, *, with_bars: bool) -> list[Signal]:
    outcomes = made_outcomes(40, seed=1, signal=0, start=FIRST)
    return await publish(
        database,
        # At these prices, crude oil cannot trade.
        [
            msgspec.structs.replace(one, symbol=one.symbol.replace("CL", "NQ"), features={})
            for one in outcomes
        ],
        with_bars=with_bars,
        strategy="manual",
    )


def trades_of(signals: list[Signal]) -> list[Trade]:
    return [
        trade_of(one, f"t-{n}", won=n % 4 > 0, features=FEATURES, fees=Decimal(2))
        for n, one in enumerate(signals)
    ]


async def test_they_are_kept_as_sent_and_counted(database: Database) -> None:
    trades = service(database)
    sent = trades_of(await manual_signals(database, with_bars=True))
    assert (await trades.report(GRANT, Items("trades", sent))).recorded == 40
    assert (await trades.report(GRANT, Items("trades", sent))).duplicates == 40
    stored = (await trades.page(GRANT, TradeFilter(), None, 100)).trades
    assert {one.strategy for one in stored} == {"manual"}
    assert all(one.features == FEATURES for one in stored)
    told = await trades.performance(GRANT, TradeFilter())
    assert (told.trades, told.wins, told.scored) == (40, 30, 0)


async def test_no_model_learns_from_them(database: Database) -> None:
    for with_bars in (True, False):
        signals = await manual_signals(database, with_bars=with_bars)
        await TradeStore(database).record("acct-1", "abcdef", trades_of(signals))
    training = TrainingStore(database)
    assert await SettlementService(training, STRATEGIES, AlwaysOpen()).run(NOW) == 0
    for strategy in (*STRATEGIES, "manual"):
        assert await training.outcomes(strategy, before=NOW, limit=100) == []
    for strategy in STRATEGIES:
        assert (await training.reported(strategy, before=NOW)).signals == 0


async def test_what_does_not_fit_their_signals_is_listed(database: Database) -> None:
    signals = await manual_signals(database, with_bars=True)
    fitting, late = trades_of(signals)[:2]
    later = timedelta(hours=2)
    late = msgspec.structs.replace(late, entry_at=late.entry_at + later, exit_at=late.exit_at + later)
    other = msgspec.structs.replace(fitting, trade_id="other", strategy="vwap_bounce")
    await TradeStore(database).record("acct-1", "abcdef", [fitting, late, other])
    suspicions = SuspicionStore(database)
    await suspicions.find(since=FIRST, now=NOW)
    found = {(one.trade_id, one.reason) for one in await suspicions.list(100)}
    assert found == {(late.trade_id, "entry_time"), ("other", "other_signal")}


async def test_a_strategy_that_never_published_is_refused(database: Database) -> None:
    signals = await manual_signals(database, with_bars=False)
    (trade, *_) = trades_of(signals)
    report = [trade, msgspec.structs.replace(trade, trade_id="x", strategy="momentum")]
    with pytest.raises(ValidationFailed) as refused:
        await service(database).report(GRANT, Items("trades", report), strict=True)
    assert [error.field for error in refused.value.errors] == ["trades[1].strategy"]
    assert (await service(database).page(GRANT, TradeFilter(), None, 100)).trades == []
    accepted = await service(database).report(GRANT, Items("trades", report))
    assert (accepted.recorded, [each.index for each in accepted.refused]) == (1, [1])


async def test_strategies_that_published_before_the_migration_are_known(empty_database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as connection:
        await connection.execute(sql.queries("migrations")["ensure_roles"])
        for name, script, _ in sql.migrations():
            if name == "0010_publishers":
                await connection.execute("""
                    insert into signals (
                        symbol, sequence, strategy, strategy_version, kind, side, price, event_at, features,
                        source
                    )
                    select 'ES', n, (array['manual', 'mine'])[n % 2 + 1], 1, 'exit', 'LONG', 1, now(), '{}',
                        'live'
                    from generate_series(1, 5) as n
                """)
            await connection.execute(script)
    database = Database(empty_database_url, role="signal_functions", pool_size=1)
    found = await SignalStore(database).published_among(["manual", "mine", "other"])
    await database.close()
    assert found == {"manual", "mine"}
