"""Records the trades that bots report, and shows each account its own."""

from datetime import datetime
from typing import Annotated

import msgspec

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import ADMISSION, READ, WRITE, Body, Cost
from functions.web.parameters import SymbolParameter
from functions.web.preferences import applied
from functions.web.routes import Routes
from shared.domain.access.rate_limit import PERFORMANCE_UNITS, TRADES_PER_UNIT
from shared.domain.items import Items, counted, decode_item, decode_items
from shared.domain.trading.performance import Performance
from shared.domain.trading.trades import (
    MAX_TRADES_PER_REQUEST,
    TRADE_ID_PATTERN,
    Trade,
    WithdrawnTrade,
)
from shared.services.trades import MAX_PAGE, TradeFilter, TradePage, TradeReport

routes = Routes()


class TradesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """1 to 500 trades; the body may also be a single trade."""

    trades: Annotated[list[Trade], counted(MAX_TRADES_PER_REQUEST)]


_Since = Annotated[datetime, msgspec.Meta(description="Trades with exit_at from this time on.")]
_Until = Annotated[datetime, msgspec.Meta(description="Trades with exit_at before this time.")]


class TradeParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Selects own trades: exit_at in [since, until), of one symbol or all."""

    symbol: SymbolParameter | None = None
    since: _Since | None = None
    until: _Until | None = None

    @property
    def filter(self) -> TradeFilter:
        return TradeFilter(self.symbol, self.since, self.until)


class TradePageParameters(TradeParameters, frozen=True, kw_only=True):
    """Selects a page of own trades."""

    cursor: Annotated[str, msgspec.Meta(description="next_cursor of the previous page.")] | None = None
    limit: Annotated[int, msgspec.Meta(description="At most this many.", ge=1, le=MAX_PAGE)] = 100


class _Shape(msgspec.Struct):
    trades: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def read_trades(body: bytes) -> Items[Trade]:
    """The trades in a body, each decoded or refused; the body may also be a single trade.

    Raises InvalidInput if more than trades is bad, or the single trade.
    """
    if _is_single(body):
        return decode_item(body, "trades", Trade)
    return decode_items(body, TradesRequest, "trades", Trade, MAX_TRADES_PER_REQUEST)[1]


def _is_single(body: bytes) -> bool:
    try:
        return msgspec.json.decode(body, type=_Shape).trades is msgspec.UNSET
    except msgspec.ValidationError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Not JSON. The decoder says why, and names the fields of NaN and its like.
        return b'"trades"' not in body


@routes.post(
    "trades",
    scope="bot",
    summary="Report 1 to 500 trades, or a single one; idempotent by trade_id; bad ones refuse no other",
    body=Body(kinds=(TradesRequest, Trade), max_bytes=body_limits.TRADES, read=read_trades, in_part=True),
    cost=Cost(per_unit=TRADES_PER_UNIT, items="trades"),
    answer=TradeReport,
    problems=(
        *WRITE,
        "batch_too_large",
        "daily_quota_exceeded",
        "storage_quota_exceeded",
        "too_many_queries",
    ),
)
async def post_trades(call: Call, trades: Items[Trade]) -> Answer:
    """Records 1 to 500 trades; a trade that was reported before is a duplicate and changes nothing."""
    report = await call.services.trades.report(call.grant, trades, strict=call.handling == "strict")
    return Answer(report, headers=applied(call.handling))


@routes.get(
    "trades",
    scope="bot",
    summary="Own trades, latest exit first",
    parameters=TradePageParameters,
    answer=TradePage,
    problems=(*READ, "too_many_queries"),
)
async def get_trades(call: Call, chosen: TradePageParameters) -> TradePage:
    """Lists the account's own trades in pages, latest exit first."""
    return await call.services.trades.page(call.grant, chosen.filter, chosen.cursor, chosen.limit)


class WithdrawParameters(msgspec.Struct, frozen=True):
    """Names one of the account's trades."""

    trade_id: Annotated[
        str,
        msgspec.Meta(
            description="The trade_id under which the account has reported the trade.",
            pattern=TRADE_ID_PATTERN,
            examples=["my-1"],
            extra={"in": "path", "expected": "Expected 1 to 64 letters, digits and characters of ._:-"},
        ),
    ]


@routes.delete(
    "trades/{trade_id}",
    scope="bot",
    summary="Withdraw an own trade within 24 hours after it was received; idempotent",
    parameters=WithdrawParameters,
    answer=WithdrawnTrade,
    statuses=((200, "Withdrawn now or before: it counts no more, and stays in the list with withdrawn_at"),),
    problems=(
        *ADMISSION,
        "validation_failed",
        "trade_not_found",
        "withdrawal_expired",
        "too_many_queries",
        "database_unavailable",
    ),
)
async def delete_trade(call: Call, named: WithdrawParameters) -> WithdrawnTrade:
    """Withdraws a trade of the account; it stays stored, but counts in no figure and in no training."""
    return await call.services.trades.withdraw(call.grant, named.trade_id)


@routes.get(
    "performance",
    scope="bot",
    summary="Own win rate, pnl, drawdown and calibration, after fees and without withdrawn trades",
    parameters=TradeParameters,
    cost=Cost(PERFORMANCE_UNITS),
    answer=Performance,
    problems=(*READ, "too_many_queries"),
)
async def get_performance(call: Call, chosen: TradeParameters) -> Performance:
    """Shows the account's win rate, pnl, drawdown and calibration, overall and by symbol."""
    return await call.services.trades.performance(call.grant, chosen.filter)
