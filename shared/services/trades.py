"""Records the trades that bots report, and shows each account its own."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import msgspec

from shared.domain.access.licenses import Grant, check_symbol, refuse_misnamed
from shared.domain.access.plans import Plan
from shared.domain.access.quotas import Usage
from shared.domain.confidence.state_checks import check_trade_state
from shared.domain.confidence.strategy import StrategyCatalog
from shared.domain.cursors import bad_cursor, cursor_of, place_in
from shared.domain.durations import shown_time
from shared.domain.items import Items, RefusedItem, judge
from shared.domain.limits import ClockSkew, check_not_future
from shared.domain.problems import Problems
from shared.domain.trading.performance import Performance
from shared.domain.trading.trades import (
    MAX_TRADES_PER_REQUEST,
    WITHDRAWAL_PERIOD,
    RecordedTrade,
    StoredTrade,
    Trade,
    TradeCursor,
    Withdrawal,
    WithdrawnTrade,
    check_trade,
)
from shared.errors import (
    TooManyQueries,
    TradeNotFound,
    Unavailable,
    WithdrawalExpired,
)
from shared.metrics import Count, Counter

MAX_PAGE = 500


class TradeStore(Protocol):
    async def record(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade], plan: Plan | None
    ) -> list[RecordedTrade]: ...
    async def usage(self, account_id: str) -> Usage: ...
    async def withdraw(
        self, account_id: str, trade_id: str, received_from: datetime
    ) -> Withdrawal | None: ...
    async def page(
        self,
        account_id: str,
        *,
        symbol: str | None,
        since: datetime | None,
        until: datetime | None,
        before: tuple[datetime, str] | None,
        limit: int,
    ) -> list[StoredTrade]: ...


class PerformanceStore(Protocol):
    async def performance(
        self, account_id: str, *, symbol: str | None, since: datetime | None, until: datetime | None
    ) -> Performance: ...


class TradeResult(RecordedTrade, frozen=True, kw_only=True):
    """What became of one accepted trade; `index` is its place in the report, from 0."""

    index: int


class TradeReport(msgspec.Struct, frozen=True):
    """What became of one report: each trade is in `results` or in `refused`, in the order of the report."""

    accepted: int
    recorded: int
    duplicates: int
    conflicts: int
    results: list[TradeResult]
    refused: list[RefusedItem]


class TradePage(msgspec.Struct, frozen=True):
    """Own trades, latest exit first; `next_cursor` is null on the last page."""

    trades: list[StoredTrade]
    next_cursor: str | None


class TradeFilter(msgspec.Struct, frozen=True):
    """Selects own trades: exit_at in [since, until), of one symbol or all."""

    symbol: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class TradeService:
    def __init__(
        self,
        *,
        store: TradeStore,
        figures: PerformanceStore,
        strategies: StrategyCatalog,
        published: Callable[[Collection[str]], Awaitable[Collection[str]]],
        max_age: timedelta | None,
        now: Callable[[], datetime],
        count: Counter,
    ) -> None:
        """Refuses trades that are older than `max_age`; None is for replays of old bars.

        `published` returns those of some strategies, which the catalog lacks, that ever had a signal.
        """
        self._store = store
        self._figures = figures
        self._strategies = strategies
        self._published = published
        self._max_age = max_age
        self._now = now
        self._count = count

    async def report(self, grant: Grant, trades: Items[Trade], *, strict: bool = False) -> TradeReport:
        """Records the good trades, all or none; one that was reported before is a duplicate.

        A duplicate changes nothing. If `strict`, a bad trade refuses all. Raises BatchTooLarge,
        ValidationFailed, SymbolNotLicensed, DailyQuotaExceeded, StorageQuotaExceeded, TooManyQueries and
        Unavailable.
        """
        check = partial(self._check, grant, self._now(), await self._others_published(trades))
        judged = judge(trades, check, most=MAX_TRADES_PER_REQUEST, strict=strict)
        license_ = grant.license
        recorded = await self._store.record(
            license_.account_id, grant.key.public_id, [*judged.accepted.values()], grant.terms
        )
        counts = dict.fromkeys(("recorded", "duplicate", "conflict"), 0)
        for result in recorded:
            counts[result.status] += 1
        self._count(Count.TRADES_RECORDED, counts["recorded"])
        if judged.refused:
            self._count(Count.TRADES_REFUSED, len(judged.refused))
        return TradeReport(
            accepted=len(recorded),
            recorded=counts["recorded"],
            duplicates=counts["duplicate"],
            conflicts=counts["conflict"],
            results=[
                TradeResult(result.trade_id, result.status, result.withdrawn, index=index)
                for index, result in zip(judged.accepted, recorded, strict=True)
            ],
            refused=judged.refused,
        )

    async def withdraw(self, grant: Grant, trade_id: str) -> WithdrawnTrade:
        """Withdraws one of the account's trades; the same answer if it was withdrawn before.

        Raises TradeNotFound, WithdrawalExpired, TooManyQueries and Unavailable.
        """
        received_from = self._now() - WITHDRAWAL_PERIOD
        found = await self._store.withdraw(grant.license.account_id, trade_id, received_from)
        if found is None:
            raise TradeNotFound(f"Your account has reported no trade {trade_id}.")
        if found.withdrawn_at is None:
            ended_at = found.received_at + WITHDRAWAL_PERIOD
            hours = WITHDRAWAL_PERIOD // timedelta(hours=1)
            raise WithdrawalExpired(
                f"A trade can be withdrawn for {hours} hours after we received it. For this one they ended "
                f"at {shown_time(ended_at)}, so it stays as it is."
            )
        if found.is_new:
            self._count(Count.TRADES_WITHDRAWN)
        return WithdrawnTrade(trade_id, found.withdrawn_at)

    async def page(self, grant: Grant, chosen: TradeFilter, cursor: str | None, limit: int) -> TradePage:
        """One page of the account's own trades.

        Raises ValidationFailed for an invalid cursor or symbol, TooManyQueries and Unavailable.
        """
        self._check_filter(grant, chosen)
        before = _open_cursor(cursor) if cursor else None
        rows = await self._store.page(
            grant.license.account_id,
            symbol=chosen.symbol,
            since=chosen.since,
            until=chosen.until,
            before=(before.exit_at, before.trade_id) if before else None,
            limit=limit + 1,
        )
        page = rows[:limit]
        more = len(rows) > limit
        return TradePage(page, _make_cursor(page[-1]) if more else None)

    async def performance(self, grant: Grant, chosen: TradeFilter) -> Performance:
        """Figures of the account's own trades; raises ValidationFailed, TooManyQueries and Unavailable."""
        self._check_filter(grant, chosen)
        return await self._figures.performance(
            grant.license.account_id, symbol=chosen.symbol, since=chosen.since, until=chosen.until
        )

    def _check_filter(self, grant: Grant, chosen: TradeFilter) -> None:
        """Refuses a filter that can only find nothing: a contract instead of a root, a future `since`."""
        if chosen.symbol is not None:
            refuse_misnamed(grant, chosen.symbol, "symbol")
        if chosen.since is not None:
            problems = Problems()
            check_not_future(problems, "since", chosen.since, self._now(), skew=ClockSkew.TRADE)
            problems.refuse("The query has parameters that cannot be accepted.")

    async def usage(self, grant: Grant) -> Usage | None:
        """What the account has stored; None while Postgres is unavailable, or busy with the account."""
        try:
            return await self._store.usage(grant.license.account_id)
        except (TooManyQueries, Unavailable):
            return None

    async def _others_published(self, trades: Items[Trade]) -> Collection[str]:
        """The strategies of the trades that the catalog lacks, but that have published a signal."""
        named = {trade.strategy for trade in trades.decoded[:MAX_TRADES_PER_REQUEST] if trade is not None}
        others = named - self._strategies.keys()
        return await self._published(others) if others else ()

    def _check(
        self, grant: Grant, now: datetime, published: Collection[str], trade: Trade, problems: Problems
    ) -> None:
        """Adds every reason to refuse one trade."""
        check_trade(trade, now, problems, max_age=self._max_age)
        check_trade_state(trade.strategy, trade.features, self._strategies, published, problems)
        check_symbol(grant, trade.symbol, problems)


def _make_cursor(trade: StoredTrade) -> str:
    return cursor_of(TradeCursor(trade.exit_at, trade.trade_id))


def _open_cursor(cursor: str) -> TradeCursor:
    opened = place_in(cursor, TradeCursor)
    if opened.exit_at.tzinfo is None:
        raise bad_cursor()
    return opened
