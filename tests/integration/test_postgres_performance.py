"""Performance, computed from trades on a real server."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import accumulate
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.postgres import Database, PerformanceStore, TradeStore
from shared.domain.trading.performance import Performance
from shared.domain.trading.trades import Trade
from tests.support.samples import START, a_trade
from tests.support.trades import ALICE, BOB, statuses


@pytest.fixture
def store(database: Database) -> TradeStore:
    return TradeStore(database)


@pytest.fixture
def figures_of(database: Database) -> PerformanceStore:
    return PerformanceStore(database)


def drawdown_of(amounts: Sequence[Decimal]) -> Decimal:
    worst, peak = Decimal(0), Decimal(0)
    for total in accumulate(amounts):
        peak = max(peak, total)
        worst = max(worst, peak - total)
    return worst


def calibration_of(trades: Sequence[Trade]) -> tuple[int, float | None, float | None]:
    scored = [
        (trade.confidence, float(trade.pnl > trade.fees)) for trade in trades if trade.confidence is not None
    ]
    if not scored:
        return 0, None, None
    brier = sum((p - won) ** 2 for p, won in scored) / len(scored)
    bins: dict[int, list[tuple[float, float]]] = {}
    for p, won in scored:
        bins.setdefault(min(int(p * 10), 9), []).append((p, won))
    gaps = [abs(sum(p for p, _ in some) - sum(won for _, won in some)) for some in bins.values()]
    return len(scored), brier, sum(gaps) / len(scored)


def check_figures(figures: object, trades: Sequence[Trade]) -> None:
    """Compares with a recomputation trade by trade; `figures` is overall or one symbol's."""
    ordered = sorted(trades, key=lambda trade: (trade.exit_at, trade.trade_id))
    earned = [trade.pnl - trade.fees for trade in ordered]
    wins = [amount for amount in earned if amount > 0]
    losses = [amount for amount in earned if amount < 0]
    scored, brier, ece = calibration_of(trades)

    def mean(amounts: list[Decimal]) -> Decimal | None:
        return round(sum(amounts, Decimal(0)) / len(amounts), 8) if amounts else None

    expected = {
        "trades": len(trades),
        "wins": len(wins),
        "win_rate": len(wins) / len(trades) if trades else None,
        "pnl": sum((trade.pnl for trade in trades), Decimal(0)),
        "fees": sum((trade.fees for trade in trades), Decimal(0)),
        "net_pnl": sum(earned, Decimal(0)),
        "average_win": pytest.approx(mean(wins), abs=Decimal("1e-8")) if wins else None,
        "average_loss": pytest.approx(mean(losses), abs=Decimal("1e-8")) if losses else None,
        "max_drawdown": drawdown_of(earned),
        "scored": scored,
        "brier": pytest.approx(brier, abs=1e-12) if scored else None,
        "ece": pytest.approx(ece, abs=1e-12) if scored else None,
    }
    assert {name: getattr(figures, name) for name in expected} == expected


amounts = st.decimals(min_value=-1000, max_value=1000, places=2)
reported = st.builds(
    lambda minute, symbol, pnl, fees, confidence: (minute, symbol, pnl, fees, confidence),
    st.integers(0, 100_000),
    st.sampled_from(["ES", "NQ", "CL"]),
    amounts,
    st.decimals(min_value=0, max_value=10, places=2),
    st.none() | st.floats(0, 1) | st.integers(0, 10).map(lambda tenth: tenth / 10),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(reported, max_size=40), data=st.data())
async def test_performance_equals_a_recomputation(
    store: TradeStore,
    figures_of: PerformanceStore,
    rows: list[tuple[int, str, Decimal, Decimal, float | None]],
    data: st.DataObject,
) -> None:
    account = f"account-{uuid4()}"  # not drawn: an example that is run again needs another account
    trades = [
        a_trade(
            f"t{n}",
            exit_at=START + timedelta(minutes=minute),
            symbol=symbol,
            pnl=pnl,
            fees=fees,
            confidence=confidence,
            features=None,
        )
        for n, (minute, symbol, pnl, fees, confidence) in enumerate(rows)
    ]
    if trades:
        await statuses(store, trades, account)
    since = START + timedelta(minutes=data.draw(st.integers(0, 50_000)))
    for chosen_since in (None, since):
        figures = await figures_of.performance(account, symbol=None, since=chosen_since, until=None)
        chosen = [trade for trade in trades if chosen_since is None or trade.exit_at >= chosen_since]
        check_figures(figures, chosen)
        assert [one.symbol for one in figures.by_symbol] == sorted({trade.symbol for trade in chosen})
        for one in figures.by_symbol:
            check_figures(one, [trade for trade in chosen if trade.symbol == one.symbol])


async def test_forty_trades_whose_fees_exceed_their_pnl_are_forty_losses(
    store: TradeStore, figures_of: PerformanceStore
) -> None:
    trades = [
        a_trade(
            f"t{n:02}",
            quantity=Decimal(1),
            exit_price=Decimal("6487.29"),
            fees=Decimal("4.50"),
            confidence=0.6,
            exit_at=START + timedelta(minutes=10 * n),
        )
        for n in range(40)
    ]
    assert {trade.pnl for trade in trades} == {2}
    await statuses(store, trades)
    figures = await figures_of.performance(ALICE, symbol=None, since=None, until=None)
    assert (figures.trades, figures.wins, figures.win_rate) == (40, 0, 0.0)
    assert (figures.pnl, figures.fees, figures.net_pnl) == (Decimal(80), Decimal(180), Decimal(-100))
    assert (figures.average_win, figures.average_loss) == (None, Decimal("-2.5"))
    assert figures.max_drawdown == 100
    assert figures.brier == pytest.approx(0.36)
    assert figures.ece == pytest.approx(0.6)


async def test_a_trade_that_its_fees_eat_up_exactly_neither_wins_nor_loses(
    store: TradeStore, figures_of: PerformanceStore
) -> None:
    await statuses(store, [a_trade(fees=Decimal("275.00"))])
    figures = await figures_of.performance(ALICE, symbol=None, since=None, until=None)
    assert (figures.wins, figures.net_pnl) == (0, Decimal(0))
    assert (figures.average_win, figures.average_loss) == (None, None)


async def test_performance_of_one_symbol_until_a_time(
    store: TradeStore, figures_of: PerformanceStore
) -> None:
    trades = [
        a_trade(
            f"t{n}", exit_at=START + timedelta(days=n), symbol="ES" if n % 2 else "NQ", pnl=Decimal(n - 3)
        )
        for n in range(10)
    ]
    await statuses(store, trades)
    await statuses(store, [a_trade("other", symbol="ES", pnl=Decimal(-500))], BOB)
    figures = await figures_of.performance(ALICE, symbol="ES", since=None, until=START + timedelta(days=7))
    check_figures(figures, [trade for n, trade in enumerate(trades) if n % 2 and n < 7])


async def test_performance_without_trades_has_no_averages(figures_of: PerformanceStore) -> None:
    figures = await figures_of.performance(ALICE, symbol=None, since=None, until=None)
    assert figures == Performance(
        trades=0,
        wins=0,
        win_rate=None,
        pnl=Decimal(0),
        fees=Decimal(0),
        net_pnl=Decimal(0),
        average_win=None,
        average_loss=None,
        max_drawdown=Decimal(0),
        scored=0,
        brier=None,
        ece=None,
        by_symbol=(),
    )
