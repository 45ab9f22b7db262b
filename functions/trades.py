"""Trades that bots report, and what they amount to."""

import azure.functions as func
import msgspec

from functions.web import Answer, Call, endpoint
from shared.domain.trading.trades import Trade
from shared.services.trades import MAX_PAGE, TradeFilter

blueprint = func.Blueprint()


class TradesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """1 to 500 trades; a single trade may also be sent bare."""

    trades: list[Trade]


class _Shape(msgspec.Struct):
    trades: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


@blueprint.function_name("post_trades")
@blueprint.route("trades", methods=["POST"])
@endpoint
async def post_trades(call: Call) -> Answer:
    """Records 1 to 500 trades; the same trade sent again is a duplicate and changes nothing."""
    grant = await call.admit("bot")
    report = await call.services.trades.report(grant, _trades(call))
    call.services.counters.add("trades_recorded", report.recorded)
    return Answer(report)


@blueprint.function_name("get_trades")
@blueprint.route("trades", methods=["GET"])
@endpoint
async def get_trades(call: Call) -> Answer:
    """The account's own trades, latest exit first, in pages."""
    grant = await call.admit("bot")
    query = call.query("symbol", "since", "until", "cursor", "limit")
    chosen = TradeFilter(query.symbol() or None, query.time("since"), query.time("until"))
    cursor, limit = query.text("cursor"), query.integer("limit", 100, 1, MAX_PAGE)
    query.done()
    return Answer(await call.services.trades.page(grant, chosen, cursor, limit))


@blueprint.function_name("get_performance")
@blueprint.route("performance", methods=["GET"])
@endpoint
async def get_performance(call: Call) -> Answer:
    """The account's win rate, pnl, drawdown and calibration, overall and by symbol."""
    grant = await call.admit("bot")
    query = call.query("symbol", "since", "until")
    chosen = TradeFilter(query.symbol() or None, query.time("since"), query.time("until"))
    query.done()
    return Answer(await call.services.trades.performance(grant, chosen))


def _trades(call: Call) -> list[Trade]:
    try:
        bare = msgspec.json.decode(call.body(), type=_Shape).trades is msgspec.UNSET
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        bare = False  # refused below, with its reason
    return [call.decoded(Trade)] if bare else call.decoded(TradesRequest).trades
