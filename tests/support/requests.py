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

DESTINATION = {
    "kind": "webhook",
    "events": ["signal_published"],
    "url": "https://example.com/hook",
}
REPLAY = {"since": "2026-03-01T00:00:00Z"}

# What the parameters in the paths of routes stand for. The fixture `reported` stores them, `hooked` the hook;
# each license that a test makes has a revoked key with `own_public_id`.
PATH_VALUES = {
    "trade_id": "t-reported",
    "account_id": "acct-named",
    "license_id": "lic_Ab0000000001",
    "public_id": "Ab12Cd",
    "session_id": "ses_Re000000000000000000",
    "own_public_id": "Sp4re0",
    "token": "0" * 61,
    "payment_event_id": "1",
    "hook_id": "hook_Ab12Cd34Ef56",
    "secret": "sch_nobody",
    "destination_id": "webhook_0123456789abcdef",
    "notification_id": "01900000-0000-7000-8000-000000000000",
}
UNKNOWN_PATH_VALUES = {
    "trade_id": "never",
    "account_id": "acct-none",
    "license_id": "lic_Zz0000000000",
    "public_id": "Zz99Zz",
    "session_id": "ses_Zz000000000000000000",
    "own_public_id": "Zz99Zz",
    "payment_event_id": "99",
    "hook_id": "hook_000000000000",
    "destination_id": "webhook_aaaaaaaaaaaaaaaa",
    "notification_id": "01900000-0000-7000-8000-000000000007",
}
BAD_PATH_VALUES = {
    "trade_id": "a b",
    "account_id": "a b",
    "license_id": "lic_none",
    "public_id": "Ab",
    "session_id": "ses_short",
    "own_public_id": "a b",
    "payment_event_id": "first",
    "hook_id": "x",
    "destination_id": "a b",
    "notification_id": "1",
}
# Routes that answer what only Redis knows; the others do without it.
NEED_REDIS = {
    ("GET", "sessions"),
    ("DELETE", "sessions/{session_id}"),
    ("GET", "ops/licenses/{license_id}/sessions"),
    ("DELETE", "ops/licenses/{license_id}/sessions/{session_id}"),
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
    ("POST", "sessions"): ("bot", {"body": {"instance": "bot-1"}}),
    ("GET", "sessions"): ("bot", {}),
    ("DELETE", "sessions/{session_id}"): ("bot", {}),
    ("GET", "license"): ("bot", {}),
    ("POST", "destinations"): ("bot", {"body": DESTINATION}),
    ("GET", "destinations"): ("bot", {}),
    ("DELETE", "destinations/{destination_id}"): ("bot", {}),
    ("POST", "destinations/{destination_id}/test"): ("bot", {}),
    ("POST", "destinations/{destination_id}/secret"): ("bot", {}),
    ("POST", "destinations/{destination_id}/replay"): ("bot", {"body": REPLAY}),
    ("GET", "notifications"): ("bot", {}),
    ("GET", "ops/notifications"): ("ops", {}),
    ("POST", "ops/notifications/{notification_id}/retry"): ("admin", {}),
    ("GET", "license/keys"): ("bot", {}),
    ("POST", "license/rotate"): ("bot", {}),
    ("DELETE", "license/keys/{own_public_id}"): ("bot", {}),
    ("POST", "hooks"): ("publisher", {"body": {"name": "chart", "symbols": ["ES"]}}),
    ("GET", "hooks"): ("publisher", {}),
    ("POST", "hooks/{hook_id}/rotate"): ("publisher", {}),
    ("POST", "hooks/{hook_id}/end"): ("publisher", {}),
    ("GET", "status"): ("ops", {}),
    ("GET", "ops/trades/suspicious"): ("ops", {}),
    ("GET", "ops/licenses"): ("ops", {}),
    ("GET", "ops/licenses/{license_id}"): ("ops", {}),
    ("POST", "ops/licenses"): ("admin", {"body": {"account_id": "acct-9", "reference": "order 7"}}),
    ("PATCH", "ops/licenses/{license_id}"): ("admin", {"body": {"notes": "pays late"}}),
    ("POST", "ops/licenses/{license_id}/extend"): ("admin", {"body": {"until": "2027-03-02T00:00:00Z"}}),
    ("POST", "ops/licenses/{license_id}/suspend"): ("admin", {}),
    ("POST", "ops/licenses/{license_id}/resume"): ("admin", {}),
    ("POST", "ops/licenses/{license_id}/revoke"): ("admin", {}),
    ("POST", "ops/licenses/{license_id}/keys"): ("admin", {}),
    ("POST", "ops/keys/{public_id}/rotate"): ("admin", {}),
    ("POST", "ops/keys/{public_id}/revoke"): ("admin", {}),
    ("POST", "ops/licenses/bulk"): ("admin", {"body": {"filter": {"plan": "free"}, "action": "suspend"}}),
    ("GET", "account/export"): ("bot", {}),
    ("GET", "ops/accounts/{account_id}/export"): ("admin", {}),
    ("POST", "ops/accounts/{account_id}/erase"): (
        "admin",
        {"body": {"account_id": "acct-named", "dry_run": False}},
    ),
    ("POST", "ops/licenses/{license_id}/hooks"): ("admin", {"body": {"name": "chart"}}),
    ("GET", "ops/licenses/{license_id}/hooks"): ("ops", {}),
    ("POST", "ops/hooks/{hook_id}/rotate"): ("admin", {}),
    ("DELETE", "ops/hooks/{hook_id}"): ("admin", {}),
    ("GET", "ops/misuse"): ("ops", {}),
    ("GET", "ops/licenses/{license_id}/sessions"): ("ops", {}),
    ("DELETE", "ops/licenses/{license_id}/sessions/{session_id}"): ("admin", {}),
    ("GET", "ops/payment-events"): ("ops", {}),
    ("POST", "ops/payment-events/{payment_event_id}/run"): ("admin", {}),
}
# A key is rotated once, so the second request is a conflict.
ONCE = {("POST", "ops/keys/{public_id}/rotate"), ("POST", "license/rotate")}
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
    ("POST", "hooks/{secret}"),
    ("POST", "ws/events"),
    ("POST", "webhooks/stripe"),
    ("POST", "webhooks/whop"),
    ("OPTIONS", "ws/events"),
}
