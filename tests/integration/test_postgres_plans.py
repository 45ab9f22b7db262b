"""Every query in the .sql files finds its rows by an index, shown by EXPLAIN on tables of size."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import AsyncClientCursor

from shared.adapters.postgres import Database, TradeStore
from shared.sql import areas, queries
from tests.support.asked_queries import (
    ACCOUNT,
    ASKED,
    BASE,
    DEEP,
    FILL,
    PAGE,
    SMALL_TABLES,
)
from tests.support.plans import nodes
from tests.support.samples import a_trade
from tests.support.unasked_queries import JOBS, NOT_EXPLAINED, RUN_BY_HAND


@pytest.fixture(scope="module")
def filled_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    name = "filled"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {migrated_template}")
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("vacuum analyze")
    yield url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
async def filled(filled_url: str) -> AsyncIterator[Database]:
    database = Database(filled_url, role="signal_functions", pool_size=1)
    yield database
    await database.close()


async def explain(database: Database, name: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    area, query = name.split(".")
    jobs = area == "upkeep" or name in JOBS
    async with database.transaction(account_id=None if jobs else "account-7", jobs=jobs) as connection:
        cursor = AsyncClientCursor(connection)
        await cursor.execute(b"explain (format json) " + queries(area)[query], asked)
        row = await cursor.fetchone()
    assert row is not None
    return list(nodes(row[0][0]["Plan"]))


@pytest.mark.parametrize("name", ASKED)
async def test_a_query_reads_no_large_table_as_a_whole(filled: Database, name: str) -> None:
    read_whole = {
        node["Relation Name"]
        for node in await explain(filled, name, ASKED[name])
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] not in SMALL_TABLES
    }
    assert not read_whole


async def test_known_trades_are_looked_up_one_by_one_before_there_are_statistics(database: Database) -> None:
    """Trades that were sent again were compared with all of their account's, until a request timed out."""
    trades = [a_trade(f"trade-{n}") for n in range(1_000)]
    await TradeStore(database).record("account-7", "key", trades)
    asked = {
        **ACCOUNT,
        "trades": msgspec.json.encode(trades[5:7]).decode(),
        "from_month": trades[5].exit_at,
        "to_month": trades[5].exit_at + timedelta(days=1),
    }
    async with database.transaction(account_id="account-7") as connection:
        cursor = AsyncClientCursor(connection)
        await cursor.execute(b"explain (analyze, format json) " + queries("trades")["same_trades"], asked)
        row = await cursor.fetchone()
    assert row is not None
    read = [node for node in nodes(row[0][0]["Plan"]) if "Relation Name" in node]
    assert {node["Relation Name"].rstrip("0123456789_") for node in read} == {"trades", "trade_ids"}
    assert all(node["Actual Rows"] <= 1 for node in read)


def test_every_query_is_explained_or_says_why_not() -> None:
    written = {f"{area}.{name}" for area in areas() if area not in RUN_BY_HAND for name in queries(area)}
    assert written == ASKED.keys() | NOT_EXPLAINED.keys()
    assert not ASKED.keys() & NOT_EXPLAINED.keys()


@pytest.mark.parametrize(
    ("without", "name"),
    [
        ("alter table trades drop constraint trades_pkey; drop index trades_symbol", "performance.roll_up"),
        ("drop index signal_outcomes_training", "training.outcomes"),
        ("drop index trades_signal", "suspicions.find"),
        ("alter table trade_ids drop constraint trade_ids_pkey", "trades.same_trades"),
        ("drop index signals_idempotency_key, signals_key", "signals.signal_of_key"),
        ("drop index outbox_unsent", "outbox.depth"),
    ],
)
async def test_a_missing_index_would_be_noticed(filled_url: str, without: str, name: str) -> None:
    area, query = name.split(".")
    async with await psycopg.AsyncConnection.connect(filled_url) as connection:
        await connection.execute(without.encode())
        cursor = AsyncClientCursor(connection)
        await cursor.execute(b"explain (format json) " + queries(area)[query], ASKED[name])
        row = await cursor.fetchone()
        assert row is not None
        assert "Seq Scan" in {node["Node Type"] for node in nodes(row[0][0]["Plan"])}
        await connection.rollback()


@pytest.mark.parametrize("symbol", [None, "ES"])
async def test_a_page_with_bounds_reads_only_the_months_within_them(
    filled: Database, symbol: str | None
) -> None:
    october = datetime(2025, 10, 15, tzinfo=UTC)
    asked = PAGE | {"symbol": symbol, "since": october - timedelta(days=5), "before_exit_at": october}
    name = "trades.page_of_symbol" if symbol else "trades.page_of_trades"
    read = {node.get("Relation Name") for node in await explain(filled, name, asked)}
    assert read - {None} == {"trades_2025_10"}


async def test_stale_days_are_found_among_many_by_an_index_of_their_own(filled: Database) -> None:
    plan = await explain(filled, "performance.stale_days", ASKED["performance.stale_days"])
    assert "trade_days_uncounted" in {node.get("Index Name") for node in plan}


@pytest.mark.parametrize("name", ["trades.withdraw_trade", "trades.receipt_of_trade"])
async def test_a_withdrawal_reads_only_the_month_of_its_trade(filled: Database, name: str) -> None:
    read = {str(node.get("Relation Name")) for node in await explain(filled, name, ASKED[name])}
    assert {relation for relation in read if relation.startswith("trades_")} == {"trades_2025_09"}


async def test_a_deep_page_touches_no_more_than_the_first(filled: Database) -> None:
    """In blocks, which unlike times do not depend on what else the machine does."""
    touched = []
    for after in (None, 0.1, 0.5, 0.75, 0.99):
        at = round(DEEP * (1 - after)) if after else None
        asked = PAGE | {
            "account_id": "deep",
            "since": None,
            "before_exit_at": BASE + timedelta(minutes=at) if at else None,
            "before_trade_id": f"deep-{at}" if at else "",
        }
        rows, blocks = await touched_by(filled, "page_of_trades", asked)
        assert rows == 100
        touched.append(blocks)
    assert max(touched) <= 1.5 * touched[0]


async def touched_by(filled: Database, name: str, asked: dict[str, Any]) -> tuple[int, int]:
    """The rows that a query of the deep account returns, and the blocks that it touches."""
    async with filled.transaction(account_id="deep") as connection:
        cursor = AsyncClientCursor(connection)
        query = b"explain (analyze, buffers, format json) " + queries("trades")[name]
        await cursor.execute(query, {"account_id": "deep"} | asked)
        row = await cursor.fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return plan["Actual Rows"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


async def test_a_page_of_a_rare_symbol_does_not_read_the_trades_between(filled: Database) -> None:
    """It read all 80,000 trades of the account between the first and the last one of the symbol."""
    asked = {
        "symbol": "RARE",
        "since": BASE,
        "before_exit_at": None,
        "before_trade_id": "",
        "limit": 101,
        "before_day": (BASE + timedelta(days=90)).date(),
    }
    rows, blocks = await touched_by(filled, "page_of_symbol", asked)
    assert rows == 3
    assert blocks <= 30
    rows, blocks = await touched_by(filled, "days_of_page", asked)
    assert rows == 1
    assert blocks <= 30
    page = await TradeStore(filled).page(
        "deep", symbol="RARE", since=None, until=None, before=None, limit=101
    )
    assert [trade.trade_id for trade in page] == [f"deep-{n}" for n in (DEEP, DEEP // 2, 1)]
