"""Settling signals from their bars, on a real server."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from loadtests.bench.past_signals import PRICE, AlwaysOpen
from shared.adapters.postgres import BarStore, Database, TrainingStore
from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.outcomes import HORIZON
from shared.services.settlement import SettlementService
from tests.support.outcomes import made_outcomes
from tests.support.published import publish

FIRST = datetime(2025, 9, 2, 14, tzinfo=UTC)
NOW = datetime(2025, 10, 17, tzinfo=UTC)
STRATEGIES = ("vwap_bounce",)


@pytest.fixture
def store(database: Database) -> TrainingStore:
    return TrainingStore(database)


async def test_signals_are_settled_once_from_their_bars_and_keep_their_features(
    database: Database, store: TrainingStore
) -> None:
    made = made_outcomes(250, seed=1, signal=0, start=FIRST)
    await publish(database, made)
    service = SettlementService(store, STRATEGIES, AlwaysOpen())
    assert (await service.run(NOW), await service.run(NOW)) == (250, 0)
    outcomes = await store.outcomes("vwap_bounce", before=NOW, limit=1_000)
    assert [(one.symbol, one.side, one.entry_at, one.features, one.won) for one in outcomes] == [
        (one.symbol, one.side, one.entry_at, one.features, one.won) for one in made
    ]
    assert await store.outcomes("capitulation_reversal", before=NOW, limit=9) == []


async def test_a_signal_waits_for_the_last_bar_of_its_horizon(
    database: Database, store: TrainingStore
) -> None:
    """The feed is a minute late, and this last minute touches the stop."""
    outcome = msgspec.structs.replace(made_outcomes(1, seed=1, signal=0, start=FIRST)[0], entry_at=FIRST)
    (signal,) = await publish(database, [outcome], with_bars=False)
    away = Decimal(-4 if signal.side == "LONG" else 4)
    minutes = [
        Bar(open_time=FIRST + n * BAR_INTERVAL, open=PRICE, high=PRICE, low=PRICE, close=PRICE, volume=1)
        for n in range(29)
    ]
    last = Bar(
        open_time=FIRST + 29 * BAR_INTERVAL,
        open=PRICE,
        high=max(PRICE, PRICE + away),
        low=min(PRICE, PRICE + away),
        close=PRICE,
        volume=1,
    )
    bars, service = BarStore(database), SettlementService(store, STRATEGIES, AlwaysOpen())
    await bars.insert(signal.symbol, minutes, "live", FIRST + HORIZON)
    assert await service.run(FIRST + HORIZON) == 0
    await bars.insert(signal.symbol, [last], "live", FIRST + HORIZON)
    assert await service.run(FIRST + HORIZON) == 1
    (settled,) = await store.outcomes("vwap_bounce", before=NOW, limit=9)
    assert not settled.won


@pytest.mark.parametrize(
    ("volume", "quarantined", "won"), [(1, False, True), (0, False, False), (1, True, False)]
)
async def test_bars_without_volume_and_quarantined_bars_decide_nothing(
    database: Database, store: TrainingStore, volume: int, quarantined: bool, won: bool
) -> None:
    made = next(one for one in made_outcomes(9, seed=1, signal=0, start=FIRST) if one.side == "LONG")
    (signal,) = await publish(database, [made], with_bars=False)
    bars = [Bar(made.entry_at + n * BAR_INTERVAL, PRICE, PRICE, PRICE, PRICE, volume=1) for n in range(30)]
    bars[3] = msgspec.structs.replace(bars[3], high=PRICE + 100, volume=volume)
    await BarStore(database).insert(signal.symbol, bars, "live", NOW)
    async with BarStore(database).engine_turn(signal.symbol, "vwap_bounce") as turn:
        await turn.save(b"state", bars[-1].open_time, [], marks={bars[3].open_time: quarantined})
    await SettlementService(store, STRATEGIES, AlwaysOpen()).run(NOW)
    (settled,) = await store.outcomes("vwap_bounce", before=NOW, limit=9)
    assert settled.won is won
