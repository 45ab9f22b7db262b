"""Settling signals: when, in what batches, and when nobody will ever know."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from shared.adapters.calendars import market_calendars
from shared.domain.market.outcomes import HORIZON, OutcomeBar, SettledSignal, SignalToSettle
from shared.errors import Unavailable
from shared.services.settlement import BATCH, MAX_BATCHES, PATIENCE, SettlementService
from tests.support.memory_signals import Server
from tests.support.memory_training import MemoryTraining

NOW = datetime(2026, 3, 3, 14, 30, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryTraining:
    return MemoryTraining(Server(NOW))


def signal(sequence: int, age: timedelta, *, known: bool = True) -> SignalToSettle:
    event_at = NOW - age
    return SignalToSettle(
        symbol="ES",
        sequence=sequence,
        side="LONG",
        price=Decimal(100),
        stop_price=None,
        target_price=Decimal(101),
        event_at=event_at,
        bars=[OutcomeBar(event_at, Decimal(101), Decimal(100), Decimal(101))] if known else [],
    )


async def test_a_signal_waits_for_its_horizon_even_if_it_has_won_already(store: MemoryTraining) -> None:
    store.undecided = [signal(1, HORIZON), signal(2, HORIZON - timedelta(seconds=1))]
    assert await SettlementService(store, ["vwap_bounce"], market_calendars()).run(NOW) == 1
    assert store.settled == [SettledSignal("ES", 1, won=True)]


async def test_bars_may_be_late_for_a_day_and_then_nobody_knows(store: MemoryTraining) -> None:
    store.undecided = [
        signal(1, HORIZON + PATIENCE + timedelta(seconds=1), known=False),
        signal(2, HORIZON + PATIENCE, known=False),
        signal(3, HORIZON),
    ]
    service = SettlementService(store, ["vwap_bounce"], market_calendars())
    assert await service.run(NOW) == 2
    assert store.settled == [SettledSignal("ES", 1, won=None), SettledSignal("ES", 3, won=True)]
    store.undecided[1] = signal(2, HORIZON + PATIENCE)
    assert await service.run(NOW) == 1
    assert store.settled[-1] == SettledSignal("ES", 2, won=True)


async def test_a_correction_makes_a_result_unknown_and_turns_none(store: MemoryTraining) -> None:
    def bars(price: int) -> list[OutcomeBar]:
        return [OutcomeBar(NOW - HORIZON - PATIENCE, Decimal(price), Decimal(100), Decimal(100))]

    old = signal(1, HORIZON + PATIENCE)
    store.undecided = [
        msgspec.structs.replace(old, sequence=n, bars=bars(now), first_bars=first and bars(first))
        for n, now, first in ((1, 101, None), (2, 101, 102), (3, 101, 100), (4, 100, 101), (5, 100, 100))
    ]
    service = SettlementService(store, ["vwap_bounce"], market_calendars())
    assert await service.run(NOW + timedelta(seconds=1)) == 5
    assert [one.won for one in store.settled] == [True, True, None, None, None]


@pytest.mark.parametrize(("symbol", "won"), [("ES", None), ("BTC", True)])
async def test_a_bar_out_of_session_decides_nothing(
    store: MemoryTraining, symbol: str, won: bool | None
) -> None:
    """The signal comes at the close; a stray bar of the maintenance reaches its target."""
    closes_at = datetime(2026, 2, 27, 22, tzinfo=UTC)
    quiet = OutcomeBar(closes_at - timedelta(minutes=1), Decimal(100), Decimal(100), Decimal(100))
    stray = OutcomeBar(closes_at, Decimal(101), Decimal(100), Decimal(101))
    late = msgspec.structs.replace(
        signal(1, NOW - quiet.open_time), symbol=symbol, bars=[quiet, stray], first_bars=[stray]
    )
    store.undecided = [late]
    await SettlementService(store, ["vwap_bounce"], market_calendars()).run(NOW)
    assert store.settled == [SettledSignal(symbol, 1, won=won)]


async def test_signals_that_wait_for_bars_do_not_hold_up_later_ones(store: MemoryTraining) -> None:
    waiting = [
        signal(n, timedelta(hours=3) - n * timedelta(seconds=1), known=False) for n in range(1, BATCH + 1)
    ]
    store.undecided = [*waiting, signal(BATCH + 1, HORIZON)]
    assert await SettlementService(store, ["vwap_bounce"], market_calendars()).run(NOW) == 1


async def test_a_run_is_bounded_and_the_next_goes_on(
    store: MemoryTraining, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.services.settlement.BATCH", 2)
    store.undecided = [
        signal(n, timedelta(hours=3) - n * timedelta(seconds=1)) for n in range(1, 2 * MAX_BATCHES + 2)
    ]
    service = SettlementService(store, ["vwap_bounce"], market_calendars())
    assert await service.run(NOW) == 2 * MAX_BATCHES
    assert "wait for the next run" in caplog.text
    assert await service.run(NOW) == 1


async def test_without_the_database_nothing_is_settled(store: MemoryTraining) -> None:
    store.undecided = [signal(1, HORIZON)]
    store._server.away = True
    with pytest.raises(Unavailable):
        await SettlementService(store, ["vwap_bounce"], market_calendars()).run(NOW)
