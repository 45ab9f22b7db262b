"""Records trades, one statement per batch, and reads one account's trades."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

import msgspec
import psycopg
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.adapters.postgres.turns import AccountTurns
from shared.domain.access.plans import Plan
from shared.domain.access.quotas import Usage, quota_refusal, require_room
from shared.domain.limits import RECENT_TIME
from shared.domain.trading.days import days_of, midnight, whole
from shared.domain.trading.trades import RecordedTrade, StoredTrade, Trade, Withdrawal, least_bytes
from shared.errors import FieldError, InvalidInput, ValidationFailed
from shared.sql import queries

_SQL = queries("trades")


# An account has a quarter of a process's connections at most, because its reports wait for each other, and
# for the figures of its days. More of its callers wait without a connection, as long as the pool lets wait.
SHARE_OF_ACCOUNT = 4
WAITING_PER_TURN = 64
TURN_WAIT_S = 3.0


class TradeStore:
    """Every method of an account raises TooManyQueries if too many of its callers wait, or wait too long."""

    def __init__(self, database: Database) -> None:
        self._database = database
        at_once = max(1, database.pool_size // SHARE_OF_ACCOUNT)
        self._turns = AccountTurns(
            at_once=at_once,
            waiting=at_once * WAITING_PER_TURN,
            wait_s=TURN_WAIT_S,
            refusal="Too many requests for the trades of your account are under way. Wait for their answers, "
            "then try again.",
        )

    async def record(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade], plan: Plan | None = None
    ) -> list[RecordedTrade]:
        """Stores the new trades, all or none, and returns the result of each trade, in order.

        If the account has used a trade_id before, or earlier in the batch, the trade is a duplicate if its
        content is the same, else a conflict; neither changes anything. Both say if that trade is withdrawn.
        `key_public_id` is the reporting key. The new trades must fit into the quotas of `plan`; those of an
        import, which has none, do not count for the day. Raises Unavailable, InvalidInput for values that the
        schema refuses, DailyQuotaExceeded and StorageQuotaExceeded.
        """
        async with self._turns.turn(account_id):
            return await self._record_with_partitions(account_id, key_public_id, trades, plan)

    async def _record_with_partitions(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade], plan: Plan | None
    ) -> list[RecordedTrade]:
        try:
            return await self._record(account_id, key_public_id, trades, plan)
        except InvalidInput as refused:
            if not _lacks_partition(refused):
                raise
        await self._ensure_partitions([trade.exit_at for trade in trades])
        try:
            return await self._record(account_id, key_public_id, trades, plan)
        except InvalidInput as refused:
            if not _lacks_partition(refused):
                raise
            raise _refused_time(
                "These trades are of too many months of which no trade is stored yet. Send those of each "
                "month in a report of its own."
            ) from refused

    async def _record(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade], plan: Plan | None
    ) -> list[RecordedTrade]:
        first_at: dict[str, int] = {}
        for place, trade in enumerate(trades):
            first_at.setdefault(trade.trade_id, place)
        parameters = {
            "account_id": account_id,
            "key_public_id": key_public_id,
            "trades": _rows([trades[place] for place in first_at.values()]),
        }
        async with self._database.transaction(account_id=account_id) as connection:
            if plan is not None:
                await self._require_room(connection, account_id, {t.trade_id: t for t in trades}, plan)
            cursor = await connection.execute(_SQL["record_trades"], parameters)
            sizes = {first_at[trade_id]: size for trade_id, size in await cursor.fetchall()}
            known = [trade for place, trade in enumerate(trades) if place not in sizes]
            known_as = iter(await self._known_as(connection, account_id, known) if known else ())
            if sizes:
                # Last, because reports of one account wait for each other from here to the commit.
                new = [trades[place] for place in sizes]
                await self._count(connection, account_id, new, sum(sizes.values()), plan)
        results = []
        for place, trade in enumerate(trades):
            if place in sizes:
                results.append(RecordedTrade(trade.trade_id, "recorded"))
            else:
                is_same, is_withdrawn = next(known_as)
                status: Literal["duplicate", "conflict"] = "duplicate" if is_same else "conflict"
                results.append(RecordedTrade(trade.trade_id, status, is_withdrawn))
        return results

    async def _require_room(
        self, connection: Connection, account_id: str, trades: Mapping[str, Trade], plan: Plan
    ) -> None:
        """Refuses a report without room before it costs a write, because the write would be rolled back.

        A report that was recorded needs no room when it is sent again. `count_trades` is exact; this is a
        lower bound.
        """
        usage, until_midnight_s = await self._usage(connection, account_id)
        sizes = {trade_id: least_bytes(trade) for trade_id, trade in trades.items()}
        if quota_refusal(usage.plus(len(sizes), sum(sizes.values())), plan, until_midnight_s) is None:
            return
        cursor = connection.cursor(row_factory=scalar_row)
        asked = {"account_id": account_id, "trade_ids": list(sizes)}
        unused = await (await cursor.execute(_SQL["unused_trade_ids"], asked)).fetchall()
        if unused:
            more = usage.plus(len(unused), sum(sizes[trade_id] for trade_id in unused))
            require_room(more, plan, until_midnight_s)

    @staticmethod
    async def _count(
        connection: Connection, account_id: str, new: Collection[Trade], size: int, plan: Plan | None
    ) -> None:
        """Counts the new trades; raises if they do not fit into the plan's quotas."""
        days = Counter((trade.exit_at.astimezone(UTC).date(), trade.symbol) for trade in new)
        parameters = {
            "account_id": account_id,
            "days": [day for day, _ in days],
            "symbols": [symbol for _, symbol in days],
            "counts": [*days.values()],
            "trades": len(new),
            "bytes": size,
            "counts_today": plan is not None,
        }
        cursor = await connection.execute(_SQL["count_trades"], parameters)
        ((*usage, until_midnight_s),) = await cursor.fetchall()
        if plan is not None:
            require_room(Usage(*usage), plan, until_midnight_s)

    async def usage(self, account_id: str) -> Usage:
        """What the account has stored; raises Unavailable."""
        async with self._account(account_id) as connection:
            usage, _ = await self._usage(connection, account_id)
            return usage

    @asynccontextmanager
    async def _account(self, account_id: str) -> AsyncIterator[Connection]:
        """A transaction in a turn of the account."""
        async with (
            self._turns.turn(account_id),
            self._database.transaction(account_id=account_id) as connection,
        ):
            yield connection

    @staticmethod
    async def _usage(connection: Connection, account_id: str) -> tuple[Usage, float]:
        """The account's usage, and the seconds to the next UTC day (0 if the account never reported)."""
        cursor = await connection.execute(_SQL["usage"], {"account_id": account_id})
        row = await cursor.fetchone()
        if row is None:
            return Usage(), 0.0
        *usage, until_midnight_s = row
        return Usage(*usage), until_midnight_s

    async def _known_as(
        self, connection: Connection, account_id: str, trades: list[Trade]
    ) -> list[tuple[bool, bool]]:
        """For each trade: whether the stored one has the same content, and whether that is withdrawn."""
        # A separate statement, because only a later one sees trades that another report stored in between.
        from_month, to_month = _months([trade.exit_at for trade in trades])
        parameters = {
            "account_id": account_id,
            "trades": _rows(trades),
            "from_month": from_month,
            "to_month": to_month,
        }
        cursor = await connection.execute(_SQL["same_trades"], parameters)
        return await cursor.fetchall()

    async def withdraw(self, account_id: str, trade_id: str, received_from: datetime) -> Withdrawal | None:
        """Withdraws a trade that was received at `received_from` or later; None if there is no such trade.

        It stays stored, and keeps its place in the account's quotas. If it is withdrawn already, nothing
        changes. Raises Unavailable.
        """
        named = {"account_id": account_id, "trade_id": trade_id}
        async with self._account(account_id) as connection:
            found = await (await connection.execute(_SQL["exit_of_trade"], named)).fetchone()
            if found is None:
                return None
            # The exit time is a value, so that each statement plans and locks one month only.
            asked = {**named, "exit_at": found[0], "received_from": received_from}
            cursor = await connection.execute(_SQL["withdraw_trade"], asked)
            row = await cursor.fetchone()
            if row is None:
                row = await (await connection.execute(_SQL["receipt_of_trade"], asked)).fetchone()
        return None if row is None else Withdrawal(*row)

    async def _ensure_partitions(self, times: list[datetime]) -> None:
        try:
            async with self._database.transaction() as connection:
                await connection.execute(_SQL["ensure_partitions"], {"times": times})
        except InvalidInput as refused:
            if not isinstance(refused.__cause__, psycopg.errors.DatetimeFieldOverflow):
                raise
            raise _refused_time(RECENT_TIME) from refused

    async def page(
        self,
        account_id: str,
        *,
        symbol: str | None,
        since: datetime | None,
        until: datetime | None,
        before: tuple[datetime, str] | None,
        limit: int,
    ) -> list[StoredTrade]:
        """At most `limit` of the account's trades with exit_at in [since, until), newest exit first.

        `before` is (exit_at, trade_id) of the last trade of the previous page. Only the months are read that
        the page can reach, because each partition costs the plan time and locks. Raises Unavailable.
        """
        # No trade_id is empty: all trades at `until` come after (until, ""), all earlier ones before it.
        ends = [end for end in (before, (until, "") if until else None) if end]
        async with self._account(account_id) as connection:
            end_day = days_of(None, min(ends)[0] if ends else None).last
            asked = {"account_id": account_id, "symbol": symbol, "before_day": end_day, "limit": limit}
            ((first, last),) = await (await connection.execute(_SQL["days_of_page"], asked)).fetchall()
            if first is None and not ends:
                return []
            if not ends:
                ends.append((whole(last).ends_at, ""))
            # Without earlier days, the page has only trades of the day of its end.
            reach = midnight(first or end_day)
            before_exit_at, before_trade_id = min(ends)
            parameters = {
                "account_id": account_id,
                "symbol": symbol,
                "since": reach if since is None else max(reach, since),
                "before_exit_at": before_exit_at,
                "before_trade_id": before_trade_id,
                "limit": limit,
            }
            cursor = connection.cursor(row_factory=class_row(StoredTrade))
            query = "page_of_trades" if symbol is None else "page_of_symbol"
            await cursor.execute(_SQL[query], parameters)
            return await cursor.fetchall()


def _months(times: list[datetime]) -> tuple[datetime, datetime]:
    """The beginning of the month of the earliest time, and the end of that of the latest, in UTC."""
    first, last = min(times).astimezone(UTC), max(times).astimezone(UTC)
    end = datetime(last.year + last.month // 12, last.month % 12 + 1, 1, tzinfo=UTC)
    return datetime(first.year, first.month, 1, tzinfo=UTC), end


def _rows(trades: list[Trade]) -> str:
    # One JSON text costs the event loop 2 us per trade; arrays of parameters cost 17 us.
    return msgspec.json.encode(trades).decode()


def _lacks_partition(refused: InvalidInput) -> bool:
    cause = refused.__cause__
    return isinstance(cause, psycopg.errors.CheckViolation) and cause.diag.constraint_name is None


def _refused_time(message: str) -> ValidationFailed:
    return ValidationFailed((FieldError("exit_at", "out_of_range", message),))
