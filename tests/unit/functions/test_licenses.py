"""What a key's holder sees of its license."""

from datetime import timedelta

from shared.domain.access.plans import Overrides
from tests.support.api import Api
from tests.support.requests import TRADE


async def test_a_holder_sees_plan_symbols_limits_and_usage(api: Api) -> None:
    key = await api.key("bot", "ops", limit=7)
    answered = await api.call("GET", "license", key=key)
    assert answered.json == {
        "license_id": key.key.license_id,
        "account_id": "acct-1",
        "plan": "standard",
        "status": "active",
        "expires_at": None,
        "grace_until": None,
        "symbols": ["ES", "NQ"],
        "requests_per_minute": 7,
        "requests_remaining": 6,
        "key": key.key.public_id,
        "key_scopes": ["bot", "ops"],
        "key_expires_at": None,
        "terms": {
            "name": "standard",
            "title": "Standard",
            "symbols": ["ES", "NQ"],
            "strategies": [],
            "requests_per_minute": 7,
            "requests_per_second": 0,
            "license_requests_per_minute": 0,
            "keys": 10,
            "sessions": 10,
            "session_required": False,
            "connections": 10,
            "signal_delay_s": 0,
            "grace_days": 7,
            "price": "99.00",
            "currency": "USD",
            "trades_per_day": 5_000,
            "stored_trades": 2_000_000,
            "stored_bytes": 2 * 1024**3,
        },
        "overridden": ["symbols", "requests_per_minute"],
        "usage": {"trades_today": 0, "stored_trades": 0, "stored_bytes": 0},
    }
    again = await api.call("GET", "license", key=key)
    assert again.json["requests_remaining"] == 5


async def test_usage_counts_the_accounts_trades_and_is_null_without_a_database(api: Api) -> None:
    key = await api.key("bot")
    await api.call("POST", "trades", key=key, body=TRADE)
    usage = (await api.call("GET", "license", key=key)).json["usage"]
    assert (usage["trades_today"], usage["stored_trades"]) == (1, 1)
    assert usage["stored_bytes"] > 100
    api.stores.server.away = True
    answered = await api.call("GET", "license", key=key)
    assert (answered.status, answered.json["usage"]) == (200, None)
    assert answered.json["terms"]["trades_per_day"] == 5_000


async def test_ends_are_told(api: Api) -> None:
    licenses = api.services.license_service("tester")
    end = api.clock() + timedelta(days=30)
    license_ = await licenses.create_license(
        "acct-1", overrides=Overrides(symbols=("ES",)), plan="load", expires_at=end
    )
    key = await licenses.create_key(license_.license_id, expires_at=end - timedelta(days=1))
    answered = (await api.call("GET", "license", key=key)).json
    assert (answered["plan"], answered["expires_at"]) == ("load", "2026-04-01T14:30:00Z")
    assert answered["key_expires_at"] == "2026-03-31T14:30:00Z"


async def test_while_the_limiter_is_open_the_usage_is_unknown(api: Api) -> None:
    key = await api.key("bot")
    api.redis.away = True
    answered = await api.call("GET", "license", key=key)
    assert answered.json["requests_remaining"] is None
