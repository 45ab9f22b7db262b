"""The demo's bars, signals and paper trades give training honest outcomes, and no bot is suspicious."""

import importlib.util
import sys
from datetime import timedelta
from types import ModuleType
from typing import Any

import msgspec
from psycopg import AsyncConnection

from local.demo.options import BUNDLED_BARS
from shared.adapters.calendars import market_calendars
from shared.adapters.postgres import (
    BarStore,
    Database,
    ModelStore,
    SignalStore,
    SuspicionStore,
    TradeStore,
    TrainingStore,
    Upkeep,
)
from shared.adapters.training_process import TrainingProcess
from shared.domain.market.messages import message_of
from shared.domain.market.signals import Signal
from shared.domain.trading.trades import Trade
from shared.services.settlement import SettlementService
from shared.services.signal_engine import SignalEngine
from shared.services.training import TrainingService
from shared.strategies.vwap_bounce.entry_rules import entry_rules
from tests.support.market import simulated_es
from tests.support.places import ROOT
from tests.support.published import batches
from tests.support.strategies import DEFAULT, STRATEGIES


def paper_broker() -> ModuleType:
    """The broker of examples/bot.py; the examples are no package of ours."""
    spec = importlib.util.spec_from_file_location("paper_broker", ROOT / "examples" / "paper_broker.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["paper_broker"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def paper_trades(name: str, signals: list[Signal]) -> list[Trade]:
    """What a demo bot reports that trades every signal."""
    broker, reported = paper_broker(), list[dict[str, Any]]()
    market = broker.Market("ES", broker.read_bars(BUNDLED_BARS, None, None), 600.0)
    desk = broker.Broker(name, market, reported.append)
    for signal in signals:
        desk.enter(msgspec.to_builtins(message_of(signal))["signal"], {}, 0.0)
    market.set_clock(market.bars[-1].open_time + timedelta(minutes=1), exact=True)
    desk.tick()
    return msgspec.json.decode(msgspec.json.encode(reported), type=list[Trade])


async def test_the_demo_trains_on_its_signals(database: Database, database_url: str) -> None:
    bars = BarStore(database)
    replayed = simulated_es()
    await Upkeep(database).ensure_partitions(replayed[0].open_time, 2)
    for start in range(0, len(replayed), 1_000):
        batch = replayed[start : start + 1_000]
        await bars.insert("ES", batch, "simulated", batch[-1].close_time)
        engine = SignalEngine(bars, market_calendars(), entry_rules(DEFAULT), "bars")
        await engine.run("ES", batch[-1].close_time)
    signals = await SignalStore(database).list("ES", after=0, limit=1_000)
    assert len(signals) > 50
    for bot in ("bot-1", "bot-2", "bot-3"):
        for reported in batches(paper_trades(bot, signals)):
            await TradeStore(database).record(bot, "abcdef", reported)

    now = replayed[-1].close_time + timedelta(hours=1)
    store = TrainingStore(database)
    settled = await SettlementService(store, STRATEGIES, market_calendars()).run(now)
    outcomes = await store.outcomes(DEFAULT.name, before=now, limit=1_000)
    assert len(outcomes) == settled >= 0.9 * len(signals), "few signals are near the end of a session"
    report = await TrainingService(
        strategies=STRATEGIES,
        outcomes=store,
        models=ModelStore(database),
        trainer=TrainingProcess(),
        count=lambda name, count=1: None,
    ).run(DEFAULT, now)
    assert report.outcome == "base_rate"
    champion = await ModelStore(database).champion(DEFAULT.name)
    assert champion is not None
    wins = sum(outcome.won for outcome in outcomes)
    assert champion.document["rows"].get("unfitting", 0) == 0
    assert champion.document["base_rate"] == DEFAULT.prior.base_rate(wins, len(outcomes))

    async with await AsyncConnection.connect(database_url) as connection:
        row = await (
            await connection.execute("select count(*), count(distinct account_id) from trades")
        ).fetchone()
    assert row == (3 * len(signals), 3)
    await SuspicionStore(database).find(since=replayed[0].open_time, now=now)
    assert await SuspicionStore(database).list(500) == []
