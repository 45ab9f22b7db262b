"""Withdrawn trades on a real server: marked, kept, isolated, and left out of every figure and of training."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from shared.adapters.postgres import (
    Database,
    PerformanceStore,
    SuspicionStore,
    TradeStore,
    TrainingStore,
)
from shared.domain.trading.performance import Performance
from shared.domain.trading.trades import StoredTrade, Withdrawal
from shared.errors import DailyQuotaExceeded
from tests.support.license_plans import a_plan
from tests.support.outcomes import made_outcomes
from tests.support.published import publish, trade_of
from tests.support.samples import START, a_trade
from tests.support.trades import ALICE, BOB, statuses

FIRST = datetime(2025, 9, 2, 14, tzinfo=UTC)
NOW = datetime(2025, 10, 17, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> TradeStore:
    return TradeStore(database)


@pytest.fixture
def figures_of(database: Database) -> PerformanceStore:
    return PerformanceStore(database)


async def withdrawn(store: TradeStore, trade_id: str, account: str = ALICE) -> Withdrawal:
    found = await store.withdraw(account, trade_id, LONG_AGO)
    assert found is not None
    return found


async def listed(store: TradeStore, account: str = ALICE) -> dict[str, StoredTrade]:
    page = await store.page(account, symbol=None, since=None, until=None, before=None, limit=500)
    return {trade.trade_id: trade for trade in page}


async def told(figures_of: PerformanceStore, account: str = ALICE) -> Performance:
    return await figures_of.performance(account, symbol=None, since=None, until=None)


async def test_a_withdrawn_trade_stays_as_it_was_with_its_time(store: TradeStore) -> None:
    await statuses(store, [a_trade("a"), a_trade("b")])
    before = await listed(store)
    first = await withdrawn(store, "a")
    assert first.is_new
    assert first.withdrawn_at is not None
    assert first.received_at == before["a"].received_at
    after = await listed(store)
    assert after["b"] == before["b"]
    assert after["a"].withdrawn_at == first.withdrawn_at
    assert {
        name
        for name in StoredTrade.__struct_fields__
        if getattr(after["a"], name) != getattr(before["a"], name)
    } == {"withdrawn_at"}


async def test_a_second_withdrawal_changes_nothing(store: TradeStore) -> None:
    await statuses(store, [a_trade()])
    first = await withdrawn(store, "t-1")
    later = datetime.now(UTC) + timedelta(days=2)
    for received_from in (LONG_AGO, later):
        again = await store.withdraw(ALICE, "t-1", received_from)
        assert again == Withdrawal(first.received_at, first.withdrawn_at, False)


async def test_a_trade_that_was_received_too_long_ago_stays(store: TradeStore) -> None:
    await statuses(store, [a_trade("a"), a_trade("b")])
    received_at = (await listed(store))["a"].received_at
    late = await store.withdraw(ALICE, "a", received_at + timedelta(microseconds=1))
    assert late == Withdrawal(received_at, None, False)
    assert (await listed(store))["a"].withdrawn_at is None
    just = await store.withdraw(ALICE, "b", received_at)
    assert just is not None
    assert just.is_new


async def test_nobody_withdraws_an_unknown_trade_or_one_of_another_account(
    store: TradeStore, database: Database
) -> None:
    await statuses(store, [a_trade("alices")], ALICE)
    await statuses(store, [a_trade("both")], ALICE)
    await statuses(store, [a_trade("both")], BOB)
    assert await store.withdraw(BOB, "alices", LONG_AGO) is None
    assert await store.withdraw(BOB, "nobodys", LONG_AGO) is None
    await withdrawn(store, "both", BOB)
    assert {trade.withdrawn_at for trade in (await listed(store, ALICE)).values()} == {None}
    # The policy holds for a statement that forgets its WHERE, too.
    async with database.transaction(account_id=BOB) as connection:
        await connection.execute("update trades set withdrawn_at = null")
    async with database.transaction() as connection:
        cursor = await connection.execute("update trades set withdrawn_at = now()")
        assert cursor.rowcount == 0
    assert {trade.withdrawn_at for trade in (await listed(store, ALICE)).values()} == {None}


@pytest.mark.parametrize("column", ["pnl = 0", "received_at = now()", "account_id = 'account-bob'"])
async def test_no_other_column_of_a_trade_ever_changes(
    store: TradeStore, database: Database, column: str
) -> None:
    await statuses(store, [a_trade()])
    # Timers give an account that is being erased its pseudonym, and see no rows of other accounts to change.
    is_erasure = column.startswith("account_id")
    for jobs in (False,) if is_erasure else (False, True):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.transaction(account_id=ALICE, jobs=jobs) as connection:
                await connection.execute(f"update trades set {column}".encode())
    if is_erasure:
        async with database.transaction(account_id=ALICE, jobs=True) as connection:
            changed = await connection.execute(f"update trades set {column}".encode())
            assert changed.rowcount == 0


async def test_figures_count_a_withdrawn_trade_no_more_also_in_the_drawdown(
    store: TradeStore, figures_of: PerformanceStore
) -> None:
    trades = [
        a_trade(f"t{n}", exit_at=START + timedelta(hours=n), symbol=symbol, pnl=Decimal(pnl), fees=Decimal(5))
        for n, (symbol, pnl) in enumerate([("ES", 100), ("NQ", -500), ("ES", -50), ("CL", 200)])
    ]
    await statuses(store, trades)
    before = await told(figures_of)
    assert (before.trades, before.max_drawdown, before.net_pnl) == (4, Decimal(560), Decimal(-270))
    await withdrawn(store, "t1")
    after = await told(figures_of)
    assert (after.trades, after.wins, after.pnl, after.fees) == (3, 2, Decimal(250), Decimal(15))
    assert (after.max_drawdown, after.net_pnl, after.scored) == (Decimal(55), Decimal(235), 3)
    assert [one.symbol for one in after.by_symbol] == ["CL", "ES"], "of NQ nothing is left"


async def test_an_account_that_has_withdrawn_everything_looks_as_if_it_had_traded_nothing(
    store: TradeStore, figures_of: PerformanceStore
) -> None:
    empty = await told(figures_of)
    await statuses(store, [a_trade("a"), a_trade("b", symbol="NQ")])
    assert (await told(figures_of)).trades == 2
    for trade_id in ("a", "b"):
        await withdrawn(store, trade_id)
    assert await told(figures_of) == empty
    # A part of a day is computed from its trades, and not from stored figures.
    part = await figures_of.performance(ALICE, symbol=None, since=START, until=START + timedelta(hours=1))
    assert part == empty
    assert len(await listed(store)) == 2


async def test_withdrawals_reports_and_questions_at_once_agree_in_the_end(
    store: TradeStore, figures_of: PerformanceStore
) -> None:
    """A withdrawal that is committed while its day is computed must not be forgotten."""

    async def report_and_withdraw(worker: int) -> None:
        for n in range(20):
            trade = a_trade(f"t{worker}-{n}", exit_at=START + timedelta(days=n % 2, minutes=n))
            await statuses(store, [trade])
            if n % 2:
                assert (await withdrawn(store, trade.trade_id)).is_new

    async def ask() -> None:
        while True:
            await told(figures_of)
            await asyncio.sleep(0.01)

    asking = asyncio.create_task(ask())
    async with asyncio.timeout(60):
        await asyncio.gather(*(report_and_withdraw(worker) for worker in range(4)))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    figures = await told(figures_of)
    assert (figures.trades, figures.wins, figures.pnl) == (40, 40, 40 * Decimal(275))


async def test_of_many_withdrawals_at_once_one_is_new_and_all_tell_the_same(store: TradeStore) -> None:
    await statuses(store, [a_trade()])
    found = await asyncio.gather(*(withdrawn(store, "t-1") for _ in range(8)))
    assert [one.is_new for one in found].count(True) == 1
    assert len({one.withdrawn_at for one in found}) == 1


async def test_a_withdrawn_trade_is_reported_again_in_vain(store: TradeStore) -> None:
    await statuses(store, [a_trade("a"), a_trade("b")])
    first = await withdrawn(store, "a")
    other_exit = START + timedelta(minutes=20)
    results = await store.record(
        ALICE,
        "abc123",
        [a_trade("a"), a_trade("a", fees=Decimal(9)), a_trade("a", exit_at=other_exit), a_trade("b")],
    )
    assert [(one.status, one.withdrawn) for one in results] == [
        ("duplicate", True),
        ("conflict", True),
        ("conflict", True),
        ("duplicate", False),
    ]
    assert (await listed(store))["a"].withdrawn_at == first.withdrawn_at


@pytest.mark.parametrize("days", [-1, 0, 28])
async def test_a_corrected_exit_time_is_told_that_the_trade_id_is_withdrawn_within_its_month(
    store: TradeStore, days: int
) -> None:
    """Only the months of a report are read, so of a trade in another one nothing but the conflict is told."""
    await statuses(store, [a_trade()])
    await withdrawn(store, "t-1")
    (told,) = await store.record(ALICE, "abc123", [a_trade(exit_at=START + timedelta(days=days))])
    assert (told.status, told.withdrawn) == ("conflict", True)
    (told,) = await store.record(ALICE, "abc123", [a_trade(exit_at=START + timedelta(days=40))])
    assert (told.status, told.withdrawn) == ("conflict", False)


async def test_a_withdrawn_trade_keeps_its_place_in_the_quotas(store: TradeStore) -> None:
    plan = a_plan(trades_per_day=3, stored_trades=10, stored_bytes=10**6)
    await store.record(ALICE, "abc123", [a_trade(f"t{n}") for n in range(3)], plan)
    before = await store.usage(ALICE)
    for n in range(3):
        await withdrawn(store, f"t{n}")
    assert await store.usage(ALICE) == before
    with pytest.raises(DailyQuotaExceeded):
        await store.record(ALICE, "abc123", [a_trade("t4")], plan)


async def test_a_withdrawn_trade_votes_for_nothing_and_is_not_suspicious(
    store: TradeStore, database: Database
) -> None:
    (signal,) = await publish(database, made_outcomes(1, seed=1, signal=0, start=FIRST), with_bars=False)
    for account in (ALICE, BOB):
        await statuses(store, [trade_of(signal, "wrong", won=True)], account)
        await statuses(store, [trade_of(signal, "right", won=False)], account)
        await statuses(store, [trade_of(signal, "made-up", won=True, signal_sequence=99)], account)
        await statuses(store, [trade_of(signal, "other", won=True, strategy="another")], account)
    training = TrainingStore(database)
    reported = await training.reported("vwap_bounce", before=NOW)
    assert reported.wins == pytest.approx(reported.weight)
    assert reported.weight > 0
    for account in (ALICE, BOB):
        await withdrawn(store, "wrong", account)
        await withdrawn(store, "made-up", account)
        await withdrawn(store, "other", account)
    reported = await training.reported("vwap_bounce", before=NOW)
    assert (reported.accounts, reported.wins) == (2, 0), "the next earliest trade of the signal votes"
    assert await SuspicionStore(database).find(since=FIRST, now=NOW) == 0
    for account in (ALICE, BOB):
        await withdrawn(store, "right", account)
    assert (await training.reported("vwap_bounce", before=NOW)).accounts == 0
