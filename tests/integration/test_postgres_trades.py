"""Trades on a real server: idempotent, isolated by account, exact and paged."""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest

from shared.adapters.postgres import Database, TradeStore
from shared.domain.numbers import plain
from shared.domain.plain_json import encode
from shared.domain.trading.trades import StoredTrade, Trade
from shared.errors import InvalidInput, ValidationFailed
from tests.support.samples import START, a_trade
from tests.support.trades import ALICE, BOB, statuses


@pytest.fixture
def store(database: Database) -> TradeStore:
    return TradeStore(database)


async def everything(store: TradeStore, account: str = ALICE, **chosen: object) -> list[StoredTrade]:
    filters = {"symbol": None, "since": None, "until": None, "before": None, "limit": 10_000} | chosen
    return await store.page(account, **filters)  # type: ignore[arg-type] # a test's shorthand


def as_reported(stored: StoredTrade) -> Trade:
    fields = {name: getattr(stored, name) for name in Trade.__struct_fields__}
    return Trade(**fields)


async def test_every_field_of_a_trade_comes_back(store: TradeStore) -> None:
    trade = a_trade(strategy="capitulation_reversal")
    # A value that equals its default would also come back if no query had the column.
    defaults = [
        field.name for field in msgspec.structs.fields(Trade) if getattr(trade, field.name) == field.default
    ]
    assert not defaults, "give them other values in tests/support/samples.py"
    await statuses(store, [trade])
    (stored,) = await everything(store)
    assert as_reported(stored) == trade


async def test_a_trade_reads_back_exactly_as_it_was_reported(store: TradeStore) -> None:
    trade = a_trade(
        entry_price=Decimal("-37.63"),
        exit_price=Decimal("999999999.00000001"),
        pnl=Decimal("-0.00000001"),
        quantity=Decimal("0.10"),
        confidence=0.1 + 0.2,
        exit_at=datetime(2025, 9, 3, 4, 5, 6, 789123, tzinfo=UTC),
        signal_sequence=7,
    )
    assert await statuses(store, [trade]) == ["recorded"]
    (stored,) = await everything(store)
    assert as_reported(stored) == trade
    # An answer has the value, and not the digits of the report.
    sent = json.loads(encode(stored))
    assert (sent["quantity"], sent["exit_price"], sent["pnl"], sent["fees"]) == (
        "0.1",
        "999999999.00000001",
        "-0.00000001",
        "4.04",
    )


@pytest.mark.parametrize("written", ["0E-8", "0.00", "-0", "1E-8", "100", "1E+3", "12.500", "-37.630000"])
async def test_amounts_come_back_plain_however_they_were_written(store: TradeStore, written: str) -> None:
    value = Decimal(written)
    await statuses(store, [a_trade(pnl=value, fees=value)])
    (stored,) = await everything(store)
    sent = json.loads(encode(stored))
    assert sent["pnl"] == sent["fees"] == plain(value)


async def test_what_a_trade_leaves_out_stays_out(store: TradeStore) -> None:
    trade = a_trade(confidence=None, model_version=None, features=None, signal_sequence=None)
    await statuses(store, [trade])
    (stored,) = await everything(store)
    assert (stored.features, stored.confidence, stored.model_version) == (None, None, None)
    assert await statuses(store, [trade]) == ["duplicate"]


async def test_the_same_trade_again_is_a_duplicate_also_written_differently(store: TradeStore) -> None:
    trade = a_trade(pnl=Decimal("12.50"))
    offset = START.astimezone() + timedelta(minutes=10)
    same = a_trade(pnl=Decimal("12.5000"), exit_at=offset, entry_at=trade.entry_at)
    assert await statuses(store, [trade]) == ["recorded"]
    assert await statuses(store, [same]) == ["duplicate"]
    assert len(await everything(store)) == 1


OTHER_CONTENT: tuple[dict[str, Any], ...] = (
    {"pnl": Decimal("275.01")},
    {"entry_at": START - timedelta(minutes=1)},
    {"exit_at": START + timedelta(minutes=11), "entry_at": START},
    {"exit_at": START + timedelta(days=70), "entry_at": START},
    {"entry_price": Decimal("6487.50")},
    {"exit_price": Decimal("6490.25")},
    {"quantity": Decimal(3)},
    {"strategy": "capitulation_reversal"},
    {"signal_sequence": 4},
    {"confidence": None},
    {"model_version": None},
    {"features": {"rsi": 35.0}},
    {"side": "SHORT"},
    {"fees": Decimal(0)},
    {"symbol": "NQ"},
)


def test_every_field_is_among_the_other_content() -> None:
    assert {next(iter(changed)) for changed in OTHER_CONTENT} == set(Trade.__struct_fields__) - {"trade_id"}


@pytest.mark.parametrize("changed", OTHER_CONTENT, ids=lambda changed: next(iter(changed)))
async def test_the_same_trade_id_with_other_content_is_a_conflict(
    store: TradeStore, changed: dict[str, Any]
) -> None:
    first = a_trade()
    await statuses(store, [first])
    # Its pnl too stays as it was, so that only one field differs.
    assert await statuses(store, [a_trade(**({"pnl": first.pnl} | changed))]) == ["conflict"]
    assert [as_reported(stored) for stored in await everything(store)] == [first]


async def test_repeats_within_a_batch_are_told_apart_row_by_row(store: TradeStore) -> None:
    await statuses(store, [a_trade("old", pnl=Decimal(1))])
    new, other = a_trade("new"), a_trade("new", pnl=Decimal(2))
    old, old_changed = a_trade("old", pnl=Decimal(1)), a_trade("old", pnl=Decimal(3))
    batch = [new, old_changed, new, other, a_trade("more"), old, other]
    assert await statuses(store, batch) == [
        "recorded",
        "conflict",
        "duplicate",
        "conflict",
        "recorded",
        "duplicate",
        "conflict",
    ]
    assert {as_reported(stored).trade_id for stored in await everything(store)} == {"new", "old", "more"}


async def test_a_batch_with_an_impossible_trade_records_none_of_it(store: TradeStore) -> None:
    with pytest.raises(InvalidInput) as refused:
        await store.record(ALICE, "abc123", [a_trade("good"), a_trade("bad", quantity=Decimal(0))])
    assert "quantity" in refused.value.internal
    assert await everything(store) == []


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1000000001", "0.000000001"])
async def test_amounts_that_cannot_be_kept_exactly_are_refused(store: TradeStore, amount: str) -> None:
    with pytest.raises(InvalidInput):
        await store.record(ALICE, "abc123", [a_trade(pnl=Decimal(amount))])


async def months_made(database_url: str) -> list[str]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'trades'::regclass order by 1"
        )
        return [name for (name,) in await cursor.fetchall()]


async def test_a_recent_month_gets_its_partition_on_demand_also_from_many_at_once(database_url: str) -> None:
    database = Database(database_url, role="signal_functions", pool_size=8)
    now = datetime.now(UTC)
    trades = [a_trade(f"t{n}", exit_at=now - timedelta(days=n)) for n in range(0, 90, 3)]
    results = await asyncio.gather(*(statuses(TradeStore(database), [trade]) for trade in trades))
    assert results == [["recorded"]] * len(trades)
    assert await months_made(database_url) == sorted({t.exit_at.strftime("trades_%Y_%m") for t in trades})
    await database.close()


async def test_old_dates_make_no_partition_and_a_report_makes_at_most_two(database_url: str) -> None:
    """One request of 322 trades over 27 years made 320 partitions for good."""
    database = Database(database_url, role="signal_functions", pool_size=2)
    store, now = TradeStore(database), datetime.now(UTC)
    old = [a_trade(f"t{n}", exit_at=datetime(2000 + n // 12, n % 12 + 1, 2, tzinfo=UTC)) for n in range(300)]
    with pytest.raises(ValidationFailed) as refused:
        await store.record(ALICE, "abc123", old)
    assert [error.field for error in refused.value.errors] == ["exit_at"]
    assert "operations.import_trades" in refused.value.errors[0].message
    assert await months_made(database_url) == []
    async with database.transaction() as connection:
        ages = [now - timedelta(days=days) for days in (0, 31, 62, 88)]
        cursor = await connection.execute("select ensure_trade_partitions(%s)", [ages])
        assert await cursor.fetchone() == (2,)
    async with database.transaction(jobs=True) as connection:
        await connection.execute("select make_trade_partitions(%s)", [[now - timedelta(days=4000)]])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction() as connection:
            await connection.execute("select make_trade_partitions(%s)", [[now - timedelta(days=4000)]])
    await database.close()


async def test_a_report_over_more_than_two_new_months_says_what_to_do(database_url: str) -> None:
    database = Database(database_url, role="signal_functions", pool_size=1)
    store, now = TradeStore(database), datetime.now(UTC)
    trades = [a_trade(f"t{n}", exit_at=now - timedelta(days=days)) for n, days in enumerate((0, 31, 62, 88))]
    with pytest.raises(ValidationFailed) as refused:
        await store.record(ALICE, "abc123", trades)
    assert "a report of its own" in refused.value.errors[0].message
    assert len(await months_made(database_url)) == 2
    for trade in trades:
        assert await statuses(store, [trade]) == ["recorded"]
    await database.close()


@pytest.mark.parametrize("year", [1999, 2999])
async def test_a_month_out_of_reason_gets_no_partition(store: TradeStore, year: int) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await store.record(ALICE, "abc123", [a_trade(exit_at=datetime(year, 1, 1, tzinfo=UTC))])
    assert [error.field for error in refused.value.errors] == ["exit_at"]


async def test_a_month_ends_in_utc_whatever_the_bots_offset(store: TradeStore) -> None:
    new_york_evening = datetime.fromisoformat("2025-09-30T20:30:00-04:00")
    await statuses(store, [a_trade(exit_at=new_york_evening)])
    october = datetime(2025, 10, 1, tzinfo=UTC)
    assert [stored.exit_at for stored in await everything(store, since=october)] == [new_york_evening]


async def test_reports_of_the_same_trades_at_once_record_each_once(store: TradeStore) -> None:
    trades = [a_trade(f"t{n:03}", exit_at=START + timedelta(minutes=n)) for n in range(60)]
    orders = [random.Random(seed).sample(trades, len(trades)) for seed in range(6)]
    results = await asyncio.gather(*(statuses(store, order) for order in orders))
    flat = [status for result in results for status in result]
    assert flat.count("recorded") == 60
    assert flat.count("duplicate") == 300
    assert len(await everything(store)) == 60


async def test_a_trade_id_with_two_exit_times_at_once_is_recorded_once(store: TradeStore) -> None:
    variants = [a_trade("same", exit_at=START + timedelta(days=20 * n)) for n in range(6)]
    results = await asyncio.gather(*(statuses(store, [variant]) for variant in variants))
    assert sorted(status for result in results for status in result) == ["conflict"] * 5 + ["recorded"]
    assert len(await everything(store)) == 1


async def test_accounts_do_not_share_trade_ids_or_see_each_other(store: TradeStore) -> None:
    assert await statuses(store, [a_trade("t", pnl=Decimal(1))], ALICE) == ["recorded"]
    assert await statuses(store, [a_trade("t", pnl=Decimal(2))], BOB) == ["recorded"]
    assert [stored.pnl for stored in await everything(store, ALICE)] == [Decimal(1)]
    assert [stored.pnl for stored in await everything(store, BOB)] == [Decimal(2)]


async def test_a_query_that_forgets_its_where_sees_one_account_alone(
    store: TradeStore, database: Database
) -> None:
    for account in (ALICE, BOB):
        await statuses(store, [a_trade(f"t{n}") for n in range(3)], account)
    for table in ("trades", "trade_ids"):
        async with database.transaction(account_id=BOB) as connection:
            cursor = await connection.execute(f"select distinct account_id from {table}")
            assert await cursor.fetchall() == [(BOB,)]
        async with database.transaction() as connection:
            cursor = await connection.execute(f"select count(*) from {table}")
            assert await cursor.fetchone() == (0,), "no account set, nothing seen"


async def test_one_account_can_neither_write_for_another_nor_change_anything(
    store: TradeStore, database: Database
) -> None:
    await statuses(store, [a_trade()], ALICE)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        async with database.transaction(account_id=BOB) as connection:
            await connection.execute("insert into trade_ids values (%s, 'x', now())", [ALICE])
    for statement in ("update trades set pnl = 0", "delete from trades", "truncate trades"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.transaction(account_id=ALICE) as connection:
                await connection.execute(statement)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(account_id=BOB) as connection:
            await connection.execute("select * from trades_2025_09")  # a partition has no policy, so no grant


async def test_the_account_of_one_transaction_is_forgotten_by_the_next(
    store: TradeStore, database_url: str
) -> None:
    database = Database(database_url, role="signal_functions", pool_size=1)
    await statuses(TradeStore(database), [a_trade()], ALICE)
    async with database.transaction() as connection:
        cursor = await connection.execute("select current_setting('app.account_id', true), current_user")
        assert await cursor.fetchone() == ("", "signal_functions")
        assert await (await connection.execute("select count(*) from trades")).fetchone() == (0,)
    await database.close()


async def test_pages_follow_each_other_without_gap_or_repeat(store: TradeStore) -> None:
    rng = random.Random(7)
    # Few distinct times, so that many trades close in the same moment, over three months.
    trades = [
        a_trade(
            f"t{n:03}",
            exit_at=START + timedelta(days=rng.randrange(0, 80, 8)),
            symbol=rng.choice(["ES", "NQ"]),
        )
        for n in range(120)
    ]
    await statuses(store, trades)
    expected = sorted(((t.exit_at, t.trade_id) for t in trades), reverse=True)
    for symbol in (None, "ES"):
        seen: list[tuple[datetime, str]] = []
        before = None
        while page := await everything(store, symbol=symbol, before=before, limit=7):
            seen.extend((stored.exit_at, stored.trade_id) for stored in page)
            before = seen[-1]
        wanted = {(t.exit_at, t.trade_id) for t in trades if symbol in (None, t.symbol)}
        assert seen == [key for key in expected if key in wanted]


async def test_bounds_take_in_since_and_leave_out_until(store: TradeStore) -> None:
    await statuses(store, [a_trade(f"t{n}", exit_at=START + timedelta(days=n)) for n in range(5)])
    page = await everything(store, since=START + timedelta(days=1), until=START + timedelta(days=3))
    assert [stored.trade_id for stored in page] == ["t2", "t1"]


async def test_a_page_ends_at_whichever_of_cursor_and_until_comes_first(store: TradeStore) -> None:
    await statuses(store, [a_trade(f"t{n}", exit_at=START + timedelta(days=n)) for n in range(5)])
    for before_day, until_day, first in ((4, 2, "t1"), (2, 4, "t1"), (2, 2, "t1"), (9, 9, "t4")):
        page = await everything(
            store,
            before=(START + timedelta(days=before_day), "t2"),
            until=START + timedelta(days=until_day),
        )
        assert page[0].trade_id == first
