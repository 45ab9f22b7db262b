"""Hooks of schemathesis: makes cases that follow the API's document good ones of their time and license.

No schema can say that a symbol must be in the license, or that a time must be of today. Without that, most
cases would be refused for it, and would reach nothing behind the checks.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import schemathesis

from tests.support.requests import BAR, SIGNAL, TRADE

SYMBOL = "ES"
_numbers = count()


def _minutes_ago(minutes: int) -> str:
    return (datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=minutes)).isoformat()


def _trade(generated: dict[str, Any]) -> dict[str, Any]:
    times = {"entry_at": _minutes_ago(20), "exit_at": _minutes_ago(5)}
    own = {"trade_id": f"conformance-{next(_numbers)}", "features": None}
    # TRADE's pnl is that of one contract.
    return generated | TRADE | times | own | {"quantity": 1, "fees": "4.50"}


def _trades(generated: dict[str, Any]) -> dict[str, Any]:
    if "trades" not in generated:
        return _trade(generated)
    return generated | {"trades": [_trade(each) for each in generated["trades"]]}


def _bars(generated: dict[str, Any]) -> dict[str, Any]:
    bars = [BAR | {"open_time": _minutes_ago(place + 5)} for place in range(len(generated["bars"]))]
    return generated | {"symbol": SYMBOL, "bars": bars}


def _signal(generated: dict[str, Any]) -> dict[str, Any]:
    kept = {name: generated[name] for name in ("side",) if name in generated}
    # An exit, because it is accepted at every hour.
    return SIGNAL | kept | {"kind": "exit"}


def _negotiation(generated: dict[str, Any]) -> dict[str, Any]:
    return generated | ({"symbols": [SYMBOL]} if generated.get("symbols") else {})


def _rotation(generated: dict[str, Any]) -> dict[str, Any]:
    # The key of the run must outlive it.
    return generated | {"overlap_s": 20 * 24 * 3600}


GOOD_BODIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "/trades": _trades,
    "/bars": _bars,
    "/signals": _signal,
    "/ws/negotiate": _negotiation,
    "/license/rotate": _rotation,
}


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Makes a case that follows the document a good one; a case that does not must be refused whole."""
    assert case.meta is not None
    if case.meta.generation.mode.is_negative:
        # Otherwise the good items of its body are rightly accepted.
        case.headers["prefer"] = "handling=strict"
        return
    if case.query.get("symbol"):
        case.query["symbol"] = SYMBOL
    if "payment_event_id" in (case.path_parameters or {}):
        case.path_parameters["payment_event_id"] = 1
    fit = GOOD_BODIES.get(case.path)
    if fit is not None and isinstance(case.body, dict):
        case.body = fit(case.body)
