"""Reports of trades of which some are bad, on a real server: exactly the good ones are recorded."""

import random
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from functions.trades import read_trades
from shared.adapters.postgres import Database, PerformanceStore, SignalStore, TradeStore
from shared.errors import InvalidInput
from shared.services.trades import TradeReport, TradeService
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.samples import START, a_trade
from tests.support.strategies import STRATEGIES

ACCOUNT = "acct-1"
GRANT = grant_of(ACCOUNT, "ES", "NQ")
BAD: list[dict[str, Any]] = [
    {"quantity": "0"},
    {"side": "UP"},
    {"colour": "red"},
    {"symbol": "CL"},
    {"exit_at": "2026-01-01T00:00:00Z"},
    {"strategy": "no_such"},
    {"pnl": None},
]


@pytest.fixture
def service(database: Database) -> TradeService:
    return TradeService(
        store=TradeStore(database),
        figures=PerformanceStore(database),
        strategies=STRATEGIES,
        published=SignalStore(database).published_among,
        max_age=timedelta(days=90),
        now=lambda: START + timedelta(hours=1),
        count=Counted(),
    )


def sent(trade_id: str, **changes: Any) -> dict[str, Any]:
    trade = msgspec.to_builtins(a_trade(trade_id, features={"vwap_distance": 2.1, "rsi": 35.0}))
    return {**trade, **changes}


async def report(service: TradeService, trades: list[dict[str, Any]], *, strict: bool = False) -> TradeReport:
    return await service.report(GRANT, read_trades(msgspec.json.encode({"trades": trades})), strict=strict)


async def recorded(database: Database) -> set[str]:
    page = await TradeStore(database).page(
        ACCOUNT, symbol=None, since=None, until=None, before=None, limit=500
    )
    return {trade.trade_id for trade in page}


@pytest.mark.parametrize("seed", range(5))
async def test_any_mix_records_exactly_the_good_trades(
    service: TradeService, database: Database, seed: int
) -> None:
    rng = random.Random(seed)
    known = [sent(f"known-{n}") for n in range(5)]
    await report(service, known)
    expected: list[str] = []
    trades: list[dict[str, Any]] = []
    for number in range(120):
        what = rng.choice(["new", "new", "bad", "duplicate", "conflict"])
        expected.append(what)
        match what:
            case "new":
                trades.append(sent(f"new-{number}"))
            case "bad":
                trades.append(sent(f"bad-{number}", **rng.choice(BAD)))
            case "duplicate":
                trades.append(rng.choice(known))
            case "conflict":
                trades.append(rng.choice(known) | {"confidence": 0.5})
    with pytest.raises(InvalidInput):
        await report(service, trades, strict=True)
    assert await recorded(database) == {trade["trade_id"] for trade in known}

    told = await report(service, trades)
    statuses = {"new": "recorded", "duplicate": "duplicate", "conflict": "conflict"}
    assert [(each.index, each.trade_id, each.status) for each in told.results] == [
        (place, trades[place]["trade_id"], statuses[what])
        for place, what in enumerate(expected)
        if what != "bad"
    ]
    assert [each.index for each in told.refused] == [n for n, what in enumerate(expected) if what == "bad"]
    counts = (told.accepted, told.recorded, told.duplicates, told.conflicts)
    assert counts == (len(told.results), *(expected.count(what) for what in statuses))
    new = {trades[place]["trade_id"] for place, what in enumerate(expected) if what == "new"}
    assert await recorded(database) == new | {trade["trade_id"] for trade in known}


async def test_a_report_without_a_good_trade_records_nothing(
    service: TradeService, database: Database
) -> None:
    with pytest.raises(InvalidInput):
        await report(service, [sent(f"bad-{n}", **bad) for n, bad in enumerate(BAD)])
    assert await recorded(database) == set()
