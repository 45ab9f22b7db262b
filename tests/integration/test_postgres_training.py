"""Outcomes of signals, votes of trades and suspicious trades, on a real server."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest

from loadtests.bench.past_signals import PRICE, AlwaysOpen
from shared.adapters.postgres import (
    BarStore,
    Database,
    SuspicionStore,
    TradeStore,
    TrainingStore,
    Upkeep,
)
from shared.adapters.postgres import suspicions as suspicions_module
from shared.adapters.postgres import training as training_module
from shared.domain.confidence.safeguards import MAX_ACCOUNT_TO_OTHERS
from shared.domain.market.outcomes import SettledSignal
from shared.domain.market.signals import Signal
from shared.domain.trading.trades import Trade
from shared.services.settlement import SettlementService
from shared.services.suspicions import KEPT, SuspicionService
from shared.training.dataset import make_dataset
from tests.support.outcomes import made_outcomes
from tests.support.published import publish, trade_of
from tests.support.strategies import REVERSAL
from tests.support.strategies import STRATEGIES as CATALOG

FIRST = datetime(2025, 9, 2, 14, tzinfo=UTC)
NOW = datetime(2025, 10, 17, tzinfo=UTC)
STRATEGIES = ("vwap_bounce",)


@pytest.fixture
def store(database: Database) -> TrainingStore:
    return TrainingStore(database)


async def record(database: Database, account: str, *trades: Trade) -> None:
    for start in range(0, len(trades), 500):
        await TradeStore(database).record(account, "abcdef", trades[start : start + 500])


async def test_outcomes_are_the_newest_that_were_known_by_a_time(
    database: Database, store: TrainingStore
) -> None:
    made = made_outcomes(40, seed=1, signal=0, start=FIRST)
    await publish(database, made)
    await SettlementService(store, STRATEGIES, AlwaysOpen()).run(NOW)
    before = made[20].entry_at + timedelta(minutes=30)
    outcomes = await store.outcomes("vwap_bounce", before=before, limit=3)
    assert [one.entry_at for one in outcomes] == [one.entry_at for one in made[18:21]]
    assert outcomes[-1].exit_at == before


async def test_signals_of_a_strategy_with_text_and_true_or_false_features_train(
    database: Database, store: TrainingStore
) -> None:
    strategy = CATALOG["capitulation_reversal"]
    given = {
        name: value for name, value in REVERSAL.items() if name in {one.name for one in strategy.features}
    }
    made = [
        msgspec.structs.replace(one, features=given)
        for one in made_outcomes(20, seed=1, signal=0, start=FIRST)
    ]
    await publish(database, made, strategy=strategy.name)
    await SettlementService(store, CATALOG, AlwaysOpen()).run(NOW)
    outcomes = await store.outcomes(strategy.name, before=NOW, limit=100)
    assert {one.features["flush_direction"] for one in outcomes} == {"DOWN"}
    assert make_dataset(strategy, outcomes).n == 20


async def test_outcomes_outlive_their_signals(
    database: Database, store: TrainingStore, database_url: str
) -> None:
    await publish(database, made_outcomes(5, seed=1, signal=0, start=FIRST))
    await SettlementService(store, STRATEGIES, AlwaysOpen()).run(NOW)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("delete from outbox")
    assert await Upkeep(database).prune_signals(NOW) == 5
    assert len(await store.outcomes("vwap_bounce", before=NOW, limit=9)) == 5


async def test_trades_change_no_outcome_and_add_none(database: Database, store: TrainingStore) -> None:
    made = made_outcomes(50, seed=1, signal=0, start=FIRST)
    signals = await publish(database, made)
    await record(database, "liar", *(trade_of(one, f"t-{n}", won=True) for n, one in enumerate(signals)))
    await SettlementService(store, STRATEGIES, AlwaysOpen()).run(NOW)
    outcomes = await store.outcomes("vwap_bounce", before=NOW, limit=100)
    assert [one.won for one in outcomes] == [one.won for one in made]
    assert (await store.reported("vwap_bounce", before=NOW)).signals == 0, "bars decide, nobody votes"


async def test_a_signal_without_a_feed_is_not_settled_and_one_that_nobody_knows_is_no_outcome(
    database: Database, store: TrainingStore
) -> None:
    signals = await publish(database, made_outcomes(3, seed=1, signal=0, start=FIRST), with_bars=False)
    service = SettlementService(store, STRATEGIES, AlwaysOpen())
    assert await service.run(NOW) == 0
    await store.settle([SettledSignal(one.symbol, one.sequence, None) for one in signals])
    for symbol in {one.symbol for one in signals}:
        await BarStore(database).insert(symbol, [], "live", NOW)
    assert await service.run(NOW) == 0
    assert await store.outcomes("vwap_bounce", before=NOW, limit=9) == []


async def silent(database: Database, n: int = 4) -> list[Signal]:
    """Signals of symbols that have no feed."""
    return await publish(database, made_outcomes(n, seed=1, signal=0, start=FIRST), with_bars=False)


async def test_each_account_has_one_vote_a_signal_the_earliest(
    database: Database, store: TrainingStore
) -> None:
    (signal,) = await silent(database, 1)
    for account in ("a", "b", "c"):
        await record(database, account, trade_of(signal, "first", won=True))
        await record(database, account, *(trade_of(signal, f"t-{n}", won=False) for n in range(500)))
    reported = await store.reported("vwap_bounce", before=NOW)
    assert (reported.signals, reported.accounts) == (1, 3)
    assert reported.wins == pytest.approx(reported.weight) == pytest.approx(1.0)


async def test_an_account_weighs_a_part_of_the_others_and_nothing_alone(
    database: Database, store: TrainingStore
) -> None:
    signals = await silent(database, 40)
    await record(
        database, "whale", *(trade_of(one, f"w-{one.symbol}-{one.sequence}", won=True) for one in signals)
    )
    assert (await store.reported("vwap_bounce", before=NOW)).weight == 0
    for account in ("a", "b"):
        await record(database, account, trade_of(signals[0], "t-1", won=False))
    reported = await store.reported("vwap_bounce", before=NOW)
    # 40 votes of the whale weigh a quarter of two: an eightieth each. Both others weigh 1, on one signal.
    assert reported.signals == 40
    assert reported.weight == pytest.approx(1 + 39 * MAX_ACCOUNT_TO_OTHERS * 2 / 40)


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "side": ({"side": "other"}, "other_signal"),
    "strategy": ({"strategy": "capitulation_reversal"}, "other_signal"),
    "too early": ({"entry_at": -timedelta(minutes=5, seconds=1)}, "entry_time"),
    "too late": ({"entry_at": timedelta(minutes=10, seconds=1)}, "entry_time"),
    "price": ({"entry_price": PRICE + Decimal("32.51")}, "entry_price"),
    "unknown": ({"signal_sequence": 10_000}, "unknown_signal"),
}
FITS: dict[str, dict[str, Any]] = {
    "early": {"entry_at": -timedelta(minutes=5)},
    "late": {"entry_at": timedelta(minutes=10), "exit_at": timedelta(minutes=20)},
    "price": {"entry_price": PRICE - Decimal("32.50"), "exit_price": PRICE - 33},
}


def changed(signal: Signal, changes: dict[str, Any]) -> dict[str, Any]:
    found = {
        name: signal.event_at + value if isinstance(value, timedelta) else value
        for name, value in changes.items()
    }
    if found.get("side") == "other":
        found["side"] = "SHORT" if signal.side == "LONG" else "LONG"
    if "entry_at" in found:
        found.setdefault("exit_at", found["entry_at"] + timedelta(minutes=1))
    return found


@pytest.mark.parametrize("case", FITS)
async def test_a_trade_that_follows_its_signal_counts_and_is_not_suspicious(
    database: Database, store: TrainingStore, case: str
) -> None:
    (signal,) = await silent(database, 1)
    for account in ("a", "b"):
        await record(database, account, trade_of(signal, "t", won=False, **changed(signal, FITS[case])))
    assert (await store.reported("vwap_bounce", before=NOW)).accounts == 2
    assert await found(database) == []


@pytest.mark.parametrize("case", MISFITS)
async def test_a_trade_that_does_not_follow_its_signal_counts_for_nothing_and_is_listed(
    database: Database, store: TrainingStore, case: str
) -> None:
    (signal,) = await silent(database, 1)
    changes, reason = MISFITS[case]
    for account in ("a", "b"):
        await record(database, account, trade_of(signal, "t", won=False, **changed(signal, changes)))
    assert (await store.reported("vwap_bounce", before=NOW)).accounts == 0
    assert await found(database) == [("a", "t", reason), ("b", "t", reason)]


async def found(database: Database) -> list[tuple[str, str, str]]:
    """The suspicious trades among those of all signals so far."""
    await SuspicionStore(database).find(since=FIRST, now=NOW)
    entries = await SuspicionStore(database).list(500)
    return [(one.account_id, one.trade_id, one.reason) for one in entries]


async def test_a_win_that_bars_contradict_is_listed(database: Database) -> None:
    (won,) = await publish(
        database, [one for one in made_outcomes(9, seed=1, signal=0, start=FIRST) if one.won][:1]
    )
    direction = 1 if won.side == "LONG" else -1
    far = PRICE + direction * Decimal(5)
    await record(
        database,
        "a",
        trade_of(won, "true", won=True),
        trade_of(won, "far", won=True, exit_price=far),
        trade_of(won, "gainless", won=True, exit_price=PRICE - direction, pnl=Decimal(100)),
        trade_of(won, "loser", won=False, exit_price=far, pnl=Decimal(-100)),
        # Fees make losers of these, so they claim nothing that bars could contradict.
        trade_of(won, "far-but-dear", won=True, exit_price=far, fees=Decimal(5_000)),
        trade_of(won, "gainless-and-dear", won=True, exit_price=PRICE, pnl=Decimal(2), fees=Decimal("4.50")),
    )
    assert await found(database) == [("a", "far", "exit_price"), ("a", "gainless", "win_without_gain")]


async def test_an_account_far_above_the_volume_of_others_is_listed_in_bounded_number(
    database: Database,
) -> None:
    signals = await publish(database, made_outcomes(10, seed=1, signal=0, start=FIRST))
    for account in ("a", "b", "c"):
        await record(
            database, account, *(trade_of(one, f"t-{n}", won=False) for n, one in enumerate(signals))
        )
    await record(database, "flood", *(trade_of(signals[n % 10], f"f-{n:03}", won=False) for n in range(150)))
    await SuspicionStore(database).find(since=FIRST, now=NOW)
    entries = await SuspicionStore(database).list(500)
    assert {(one.account_id, one.reason, one.trades) for one in entries} == {("flood", "volume", 150)}
    assert len(entries) == 20


async def test_no_account_hides_another_in_the_list(database: Database) -> None:
    """The list was the newest entries of all, so a few accounts with many of them filled it."""
    (signal,) = await silent(database, 1)
    await record(database, "early", trade_of(signal, "t", won=True, signal_sequence=99))
    await SuspicionStore(database).find(since=FIRST, now=NOW)
    for account in range(13):
        misfits = [trade_of(signal, f"f-{n}", won=True, signal_sequence=1_000 + n) for n in range(25)]
        await record(database, f"flood-{account}", *misfits)
    await SuspicionStore(database).find(since=FIRST, now=NOW + timedelta(hours=1))
    entries = await SuspicionStore(database).list(20)
    assert [one.account_id for one in entries[:14]] == [*sorted(f"flood-{n}" for n in range(13)), "early"]
    assert {one.account_id for one in entries[14:]} <= {f"flood-{n}" for n in range(13)}
    assert len(entries) == 20
    assert len(await SuspicionStore(database).list(500)) == 13 * 20 + 1


async def test_a_flood_on_one_signal_is_looked_at_in_bounded_number(
    database: Database, store: TrainingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = await silent(database, 2)
    for account in ("a", "b"):
        await record(
            database, account, *(trade_of(one, f"t-{one.sequence}-{one.symbol}", won=True) for one in signals)
        )
    other_side = changed(signals[0], {"side": "other"})
    flood = [trade_of(signals[0], f"f-{n}", won=False, **other_side) for n in range(200)]
    await record(database, "flood", *flood)
    await record(database, "late", trade_of(signals[0], "l", won=True))
    for module in (training_module, suspicions_module):
        monkeypatch.setattr(module, "MAX_FOLLOWERS", 50)
    reported = await store.reported("vwap_bounce", before=NOW)
    assert (reported.signals, reported.accounts) == (2, 2), "what was reported before the flood counts"
    await SuspicionStore(database).find(since=FIRST, now=NOW)
    entries = await SuspicionStore(database).list(500)
    assert {one.trades for one in entries} == {48}


async def test_reviews_add_nothing_twice_and_forget_after_a_month(database: Database) -> None:
    (signal,) = await silent(database, 1)
    await record(database, "a", trade_of(signal, "t", won=True, signal_sequence=99))
    now = NOW
    service = SuspicionService(SuspicionStore(database), lambda: now)
    assert (await service.review(), await service.review()) == (1, 0)
    (entry,) = (await service.newest(10)).trades
    assert (entry.account_id, entry.symbol, entry.signal_sequence, entry.found_at) == (
        "a",
        signal.symbol,
        99,
        NOW,
    )
    await SuspicionStore(database).forget(NOW + timedelta(seconds=1))
    assert (await service.newest(10)).trades == []
    now = NOW + KEPT
    assert await service.review() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "select * from signal_outcomes",
        "insert into signal_outcomes (symbol) values ('ES')",
        "update signals set settled = true",
        "update signals set features = '{}'",
        "delete from signals",
        "update bars set received_at = now()",
        "delete from bars",
        "update trades set pnl = 0",
        "delete from suspicious_trades",
    ],
)
async def test_functions_cannot_decide_an_outcome_or_hide_a_suspicion(
    database: Database, statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction() as connection:
            await connection.execute(statement.encode())
