"""Requests that the app accepts, one for each route."""

from typing import Any

STATE = {"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}
BAR = {"open_time": "2026-03-02T14:29:00Z", "open": 1, "high": 2, "low": 1, "close": 2, "volume": 3}
BARS = {"symbol": "ES", "bars": [BAR]}
SIGNAL = {"symbol": "ES", "side": "LONG", "price": "6543.25"}
TRADE = {
    "trade_id": "t-1",
    "symbol": "ES",
    "side": "LONG",
    "entry_price": "6543.25",
    "exit_price": 6545.5,
    "entry_at": "2026-03-02T13:30:00Z",
    "exit_at": "2026-03-02T13:45:00Z",
    "pnl": "112.50",
}

# What the parameters in the paths of routes stand for. The fixture `reported` stores the trade, and gives
# each license a key with this public id, which is revoked.
PATH_VALUES = {
    "trade_id": "t-reported",
    "public_id": "Sp4re0",
    "token": "0" * 61,
    "payment_event_id": "1",
}

# For each route that asks for a key: its scope, and a request that it accepts.
ADMITTING: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {
    ("POST", "ml/get_confidence"): ("bot", {"body": STATE}),
    ("POST", "ml/get_confidence/batch"): ("bot", {"body": {"states": [STATE]}}),
    ("POST", "trades"): ("bot", {"body": {"trades": [TRADE]}}),
    ("GET", "trades"): ("bot", {}),
    ("DELETE", "trades/{trade_id}"): ("bot", {}),
    ("GET", "performance"): ("bot", {}),
    ("GET", "signals"): ("bot", {"symbol": "ES"}),
    ("POST", "signals"): ("publisher", {"body": SIGNAL}),
    ("POST", "bars"): ("feeder", {"body": BARS}),
    ("POST", "ws/negotiate"): ("bot", {}),
    ("GET", "license"): ("bot", {}),
    ("GET", "license/keys"): ("bot", {}),
    ("POST", "license/rotate"): ("bot", {}),
    ("DELETE", "license/keys/{public_id}"): ("bot", {}),
    ("GET", "status"): ("ops", {}),
    ("GET", "ops/trades/suspicious"): ("ops", {}),
    ("GET", "ops/payment-events"): ("ops", {}),
    ("POST", "ops/payment-events/{payment_event_id}/run"): ("admin", {}),
}
PUBLIC = {
    ("GET", "claim/{token}"),
    ("POST", "claim/{token}"),
    ("POST", "claims"),
    ("POST", "test-keys"),
    ("GET", "static/claim.js"),
    ("GET", "static/claim.css"),
    ("GET", "health"),
    ("GET", "health/ready"),
    ("GET", "health/active"),
    ("GET", "openapi.json"),
    ("POST", "ws/events"),
    ("POST", "webhooks/stripe"),
    ("POST", "webhooks/whop"),
    ("OPTIONS", "ws/events"),
}
