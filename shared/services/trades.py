"""Recording what bots traded, and showing each account its own."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.access.licenses import Grant
from shared.domain.confidence.state_checks import check_features, check_strategy
from shared.domain.trading.performance import Performance
from shared.domain.trading.trades import (
    MAX_TRADE_ERRORS,
    MAX_TRADES_PER_REQUEST,
    RecordedTrade,
    StoredTrade,
    Trade,
    TradeCursor,
    check_trades,
)
from shared.errors import BatchTooLarge, FieldError, Forbidden, ValidationFailed

MAX_PAGE = 500


class TradeStore(Protocol):
    async def record(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade]
    ) -> list[RecordedTrade]: ...
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
    async def performance(
        self, account_id: str, *, symbol: str | None, since: datetime | None, until: datetime | None
    ) -> Performance: ...


class TradeReport(msgspec.Struct, frozen=True):
    """The counts of one report and what became of each trade, in the order sent."""

    recorded: int
    duplicates: int
    conflicts: int
    results: list[RecordedTrade]


class TradePage(msgspec.Struct, frozen=True):
    """Own trades, latest exit first; `next_cursor` is null on the last page."""

    trades: list[StoredTrade]
    next_cursor: str | None


class TradeFilter(msgspec.Struct, frozen=True):
    """Which of the own trades: exit_at in [since, until), of one symbol or all."""

    symbol: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class TradeService:
    def __init__(
        self,
        *,
        store: TradeStore,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._now = now

    async def report(self, grant: Grant, trades: Sequence[Trade]) -> TradeReport:
        """Records `trades`, all or none; the same trade again is a duplicate and changes nothing.

        Raises BatchTooLarge, ValidationFailed, Forbidden("symbol_not_licensed") and Unavailable.
        """
        self._check(grant, trades)
        results = await self._store.record(grant.license.account_id, grant.key.public_id, trades)
        counts = dict.fromkeys(("recorded", "duplicate", "conflict"), 0)
        for result in results:
            counts[result.status] += 1
        return TradeReport(counts["recorded"], counts["duplicate"], counts["conflict"], results)

    async def page(self, grant: Grant, chosen: TradeFilter, cursor: str | None, limit: int) -> TradePage:
        """One page of the account's own trades; raises ValidationFailed for a cursor we did not make."""
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
        return await self._store.performance(
            grant.license.account_id, symbol=chosen.symbol, since=chosen.since, until=chosen.until
        )

    def _check(self, grant: Grant, trades: Sequence[Trade]) -> None:
        if len(trades) > MAX_TRADES_PER_REQUEST:
            raise BatchTooLarge(
                f"A report holds at most {MAX_TRADES_PER_REQUEST} trades, this one {len(trades)}; "
                "send it in parts."
            )
        if not trades:
            raise ValidationFailed((FieldError("trades", "out_of_range", "Expected at least one trade."),))
        problems = list(check_trades(trades, self._now()))
        for index, trade in enumerate(trades):
            # Naming a strange field is slow, and a report may hold thousands of them.
            if len(problems) >= MAX_TRADE_ERRORS:
                break
            problems.extend(feature_problems(trade, f"trades[{index}]."))
        if problems:
            raise ValidationFailed(tuple(problems[:MAX_TRADE_ERRORS]))
        unlicensed = {
            trade.symbol: f"trades[{index}].symbol"
            for index, trade in enumerate(trades)
            if trade.symbol not in grant.license.symbols
        }
        if unlicensed:
            raise symbol_not_licensed(unlicensed, grant.license.symbols)


def feature_problems(trade: Trade, prefix: str) -> list[FieldError]:
    """What keeps `trade` from being learned from: an unknown strategy, or features that are not its own."""
    strategy, error = check_strategy(trade.strategy, f"{prefix}strategy")
    if strategy is None:
        return [error] if error is not None else []
    if trade.features is None:
        return []
    return check_features(strategy, trade.features, prefix=f"{prefix}features.")[1]


def symbol_not_licensed(fields: dict[str, str], licensed: Sequence[str]) -> Forbidden:
    """The refusal for symbols (with the field that named each) that the license does not cover."""
    return Forbidden(
        f"The license does not cover {', '.join(fields)}; it covers {', '.join(licensed)}.",
        code="symbol_not_licensed",
        errors=tuple(
            FieldError(field, "symbol_not_licensed", f"{symbol} is not in the license.")
            for symbol, field in fields.items()
        ),
    )


def _make_cursor(trade: StoredTrade) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(TradeCursor(trade.exit_at, trade.trade_id))).decode()


def _bad_cursor() -> ValidationFailed:
    message = "Expected the next_cursor of an earlier answer, unchanged."
    return ValidationFailed((FieldError("cursor", "invalid_format", message),))


def _open_cursor(cursor: str) -> TradeCursor:
    try:
        opened = msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()), type=TradeCursor)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if opened.exit_at.tzinfo is None:
        raise _bad_cursor()
    return opened
