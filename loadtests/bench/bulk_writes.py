"""Measures what writing trades costs, and what deep pages of them cost, on a PostgreSQL of its own.

    python -m loadtests.bench.bulk_writes --help

Prints rows a second for single inserts through the pool, for TradeStore.record with batches, and for a bare
COPY into the table, interleaved and repeated; then the time of a page at several depths of one account's
trades. Ends with status 1 if a target is missed.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import asyncio
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from loadtests.bench.processes import temporary_directory
from local.stack.embedded_postgres import EmbeddedPostgres
from local.stack.ports import free_ports
from shared.adapters.postgres import Database, TradeStore, Upkeep
from shared.adapters.postgres.migrations import migrate
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.trading.pnl import pnl_of
from shared.domain.trading.trades import Trade

START = datetime(2025, 9, 1, tzinfo=UTC)
# The shares of all trades after which a page is read.
DEPTHS = (0.0, 0.01, 0.1, 0.5, 0.9, 0.999)
ACCOUNT, KEY = "load-account", "load00"
SYMBOLS = ("ES", "NQ", "CL")
ENTRY_PRICE, EXIT_PRICE = Decimal("6500.25"), Decimal("6501.50")
SINGLE_MIN, COPY_MIN, DEPTH_MAX = 8.0, 0.5, 1.5

COLUMNS = (
    "trade_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at, exit_at, pnl, fees, "
    "signal_sequence, confidence, model_version, features"
)
INSERT = (
    f"insert into trades (account_id, key_public_id, {COLUMNS}) "  # noqa: S608 - our own constant
    f"values ({', '.join(['%s'] * 17)}) on conflict do nothing"
)
COPY = f"copy trades (account_id, key_public_id, {COLUMNS}) from stdin"
FILL = f"""
    insert into trades (account_id, key_public_id, {COLUMNS})
    select
        %s, %s, 'deep-' || n, (array['ES', 'NQ', 'CL', 'YM', 'RTY'])[n %% 5 + 1], 'LONG', 'vwap_bounce', 1,
        6500.25, 6501.50, at - interval '5 minutes', at, 62.50, 4.04, n + 1, 0.61, 'vwap_bounce-1', null
    from generate_series(%s::bigint, %s::bigint) as n,
        lateral (select %s::timestamptz + n * %s::interval as at)
"""  # noqa: S608 - our own constant

# A report counts its trades by day, and pages read these counts.
COUNT = """
    insert into trade_days (account_id, day, symbol, trades)
    select account_id, (exit_at at time zone 'UTC')::date, symbol, count(*)
    from trades
    where account_id = %s
    group by 1, 2, 3
"""

Write = Callable[[Sequence[Trade]], Awaitable[object]]


@dataclass(frozen=True)
class WriteRates:
    """Medians of rows a second: committed one by one, in batches by TradeStore.record, by a bare COPY."""

    single: float
    batched: float
    bare_copy: float

    @property
    def times_single(self) -> float:
        return self.batched / self.single

    @property
    def of_copy(self) -> float:
        return self.batched / self.bare_copy


def made(first: int, count: int) -> list[Trade]:
    """Returns `count` trades as bots report them, with new ids, a second apart."""
    pnl = {
        symbol: pnl_of(INSTRUMENTS[symbol], "LONG", Decimal(1), ENTRY_PRICE, EXIT_PRICE) for symbol in SYMBOLS
    }
    return [
        Trade(
            trade_id=f"bot-7:{n:010d}",
            symbol=SYMBOLS[n % 3],
            side="LONG",
            entry_price=ENTRY_PRICE,
            exit_price=EXIT_PRICE,
            entry_at=START + timedelta(seconds=n),
            exit_at=START + timedelta(seconds=n + 300),
            pnl=pnl[SYMBOLS[n % 3]],
            fees=Decimal("4.04"),
            signal_sequence=n + 1,
            confidence=0.61,
            model_version="vwap_bounce-1",
            features={"vwap_distance": 2.1, "rsi": 35.0},
        )
        for n in range(first, first + count)
    ]


def values_of(trade: Trade) -> list[object]:
    row: dict[str, object] = msgspec.structs.asdict(trade)
    return [ACCOUNT, KEY, *(row | {"features": Jsonb(row["features"])}).values()]


async def rate(write: Write, batches: Sequence[Sequence[Trade]], clients: int) -> float:
    """Returns rows a second over all batches, written by `clients` tasks at once."""
    waiting = iter(batches)

    async def client() -> None:
        for batch in waiting:
            await write(batch)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return sum(map(len, batches)) / (time.perf_counter() - began)


async def measure_writes(url: str, options: argparse.Namespace) -> WriteRates:
    """Prints the three rates and their ratios, and returns the rates."""
    database = Database(url, role="signal_functions", pool_size=options.clients)
    store = TradeStore(database)

    async def single(batch: Sequence[Trade]) -> None:
        async with database.transaction(account_id=ACCOUNT) as connection:
            await connection.execute(INSERT, values_of(batch[0]))

    async def ours(batch: Sequence[Trade]) -> None:
        await store.record(ACCOUNT, KEY, batch)

    async with AsyncConnectionPool(
        url, min_size=options.clients, max_size=options.clients, open=False
    ) as pool:

        async def bare_copy(batch: Sequence[Trade]) -> None:
            async with pool.connection() as connection, connection.cursor().copy(COPY) as copy:
                for trade in batch:
                    await copy.write_row(values_of(trade))

        await Upkeep(database).ensure_partitions(START)
        sides: dict[str, tuple[Write, int, int]] = {
            "single insert": (single, options.single_rows, 1),
            f"record, {options.batch} a batch": (ours, options.rows, options.batch),
            f"bare COPY, {options.batch} a commit": (bare_copy, options.rows, options.batch),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        first = 0
        for repeat in range(options.repeats + 1):  # the first one warms up and does not count
            for name, (write, rows, size) in sides.items():
                trades = made(first, rows)
                first += rows
                batches = [trades[at : at + size] for at in range(0, rows, size)]
                measured = await rate(write, batches, options.clients)
                if repeat:
                    rates[name].append(measured)
    await database.close()

    print(f"\nWrites, {options.clients} clients, fsync on, median of {options.repeats} (each run):")
    for name, measured_rates in rates.items():
        runs = ", ".join(f"{one:,.0f}" for one in measured_rates)
        print(f"  {name:<26}{statistics.median(measured_rates):>10,.0f} rows/s   ({runs})")
    found = WriteRates(*(statistics.median(measured_rates) for measured_rates in rates.values()))
    print(f"  record / single insert {found.times_single:6.1f}   (wanted: at least {SINGLE_MIN:.0f})")
    print(f"  record / bare COPY     {found.of_copy:6.2f}   (wanted: at least {COPY_MIN})")
    return found


async def measure_pages(url: str, options: argparse.Namespace) -> float:
    """Prints the time of a page at several depths; returns the slowest, in times of the first."""
    rows, account, months = options.keyset_rows, "deep-account", 12
    step = timedelta(days=30.4 * months) / rows
    database = Database(url, role="signal_functions", pool_size=1)
    await Upkeep(database).ensure_partitions(START, months)
    began = time.perf_counter()
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        for first in range(0, rows, 500_000):
            last = min(first + 500_000, rows) - 1
            await connection.execute(FILL, [account, KEY, first, last, START, step])
        await connection.execute(COUNT, [account])
        await connection.execute("vacuum analyze trades, trade_days")
    took_s = time.perf_counter() - began
    print(f"\nPages of {options.page} of {rows:,} trades in {months} months (loaded in {took_s:.0f} s):")

    store = TradeStore(database)
    costs: dict[float, list[float]] = {depth: [] for depth in DEPTHS}
    for _ in range(options.page_calls):
        for depth in DEPTHS:
            at = round(rows * (1 - depth))
            before = (START + at * step, f"deep-{at}") if depth else None
            began = time.perf_counter()
            page = await store.page(
                account, symbol=None, since=None, until=None, before=before, limit=options.page
            )
            costs[depth].append((time.perf_counter() - began) * 1000)
            if len(page) != options.page or page[0].trade_id != f"deep-{at - 1}":
                raise AssertionError(f"wrong page at depth {depth}")
    await database.close()
    medians = {depth: statistics.median(cost) for depth, cost in costs.items()}
    for depth, cost in medians.items():
        print(f"  after {depth:6.1%} of them {cost:8.2f} ms   {cost / medians[0.0]:5.2f} times the first")
    worst = max(medians.values()) / medians[0.0]
    print(f"  slowest / first        {worst:6.2f}   (wanted: at most {DEPTH_MAX})")
    return worst


@contextmanager
def running_postgres() -> Iterator[str]:
    """Starts a migrated server in a temporary directory; yields its URL and removes both afterwards."""
    with temporary_directory() as directory:
        server = EmbeddedPostgres(directory / "postgres", free_ports(1)[0])
        try:
            url = server.start()
            asyncio.run(migrate(url))
            yield url
        finally:
            server.stop()


def run(options: argparse.Namespace) -> tuple[WriteRates, float]:
    """Returns the rates, and the slowest page in times of the first (1 if no pages were asked for)."""
    print(f"{platform.machine()}, Python {platform.python_version()}; PostgreSQL of its own, over TCP")
    slowest = 1.0
    with running_postgres() as url:
        rates = asyncio.run(measure_writes(url, options))
    if options.keyset_rows:
        with running_postgres() as url:
            slowest = asyncio.run(measure_pages(url, options))
    return rates, slowest


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.bulk_writes", description="What writing and paging trades costs."
    )
    parser.add_argument(
        "--rows", type=int, default=40_000, help="rows of a run in batches (default %(default)s)"
    )
    parser.add_argument(
        "--single-rows", type=int, default=4_000, help="rows of a run one by one (%(default)s)"
    )
    parser.add_argument("--batch", type=int, default=500, help="rows a batch and commit (%(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="writers at once, and pool size (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side that count (%(default)s)")
    parser.add_argument(
        "--keyset-rows",
        type=int,
        default=5_000_000,
        help="trades to page through; 0 skips this part (%(default)s)",
    )
    parser.add_argument("--page", type=int, default=100, help="trades a page (%(default)s)")
    parser.add_argument("--page-calls", type=int, default=60, help="pages read at each depth (%(default)s)")
    return parser


def main() -> None:
    command = parser()
    options = command.parse_args()
    if options.keyset_rows and options.keyset_rows < (least := round(options.page / (1 - DEPTHS[-1]))):
        command.error(f"--keyset-rows must be 0 or at least {least}, so that the deepest page is full")
    rates, slowest = run(options)
    holds = rates.times_single >= SINGLE_MIN and rates.of_copy >= COPY_MIN and slowest <= DEPTH_MAX
    raise SystemExit(0 if holds else 1)


if __name__ == "__main__":
    main()
