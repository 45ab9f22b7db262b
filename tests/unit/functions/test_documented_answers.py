"""Each answer that the API's document promises can happen, and is what its schema says.

`Api.call` holds every answer against the document; here each documented problem is caused once.
"""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from functions.web.body_limits import MAX_BODY_BYTES
from functions.web.declaration import Route
from functions.web.problems import STATUS_OF_CODE
from functions.web.routes import declared_routes
from shared.adapters.account_archive import AccountArchive
from shared.adapters.postgres.turns import AccountTurns
from shared.domain.access.hooks import MAX_HOOKS
from shared.domain.access.keys import new_key
from shared.domain.access.licenses import ALL_SCOPES
from shared.domain.access.plans import Overrides
from shared.domain.notifications.destinations import MAX_DESTINATIONS
from shared.domain.trading.trades import WITHDRAWAL_PERIOD
from shared.services.key_making import CreatedKey
from tests.support.api import Answered, Api
from tests.support.license_plans import a_plan, with_plans
from tests.support.requests import (
    ADMITTING,
    BAD_PATH_VALUES,
    BAR,
    PATH_VALUES,
    SIGNAL,
    STATE,
    TRADE,
    UNKNOWN_PATH_VALUES,
)

pytestmark = pytest.mark.usefixtures("reported", "hooked")

PROBLEMS = [
    pytest.param(route, code, id=f"{route.method} {route.path} {code}")
    for route in declared_routes()
    if (route.method, route.path) in ADMITTING
    for code in route.problems
]
TOO_MANY: dict[str, Any] = {
    "ml/get_confidence/batch": {"states": [STATE] * 101},
    "trades": {"trades": [TRADE] * 501},
    "bars": {"symbol": "ES", "bars": [BAR] * 5_001},
}
# A bad parameter of a route that has no symbol, and no parameter in its path.
BAD_QUERY = {
    "ops/trades/suspicious": {"limit": "0"},
    "ops/licenses": {"limit": "0"},
    "ops/misuse": {"limit": "0"},
    "ops/payment-events": {"state": "lost"},
    "ops/notifications": {"state": "lost"},
    "notifications": {"after": "1"},
}
# What only Postgres can answer, of routes that else need it for no answer.
ASKS_POSTGRES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "ops/licenses"): {"body": {"account_id": "acct-9", "overrides": {"symbols": ["GC"]}}},
    ("PATCH", "ops/licenses/{license_id}"): {"body": {"overrides": {"symbols": ["GC"]}}},
}
# What is in conflict with something stored. The second payment event of the fixture `reported` is ignored.
CONFLICTS: dict[str, dict[str, Any]] = {
    "signals": {"headers": {"idempotency-key": "k"}, "body": SIGNAL | {"price": "1"}},
    "ops/payment-events/{payment_event_id}/run": {"path": "ops/payment-events/2/run"},
}


NO_CONFIDENCE = {
    "ml/get_confidence": STATE | {"strategy": "manual"},
    "ml/get_confidence/batch": {"states": [STATE, STATE | {"strategy": "manual"}]},
}


REFUSING_PLANS = {
    "strategy_not_licensed": a_plan(strategies=("another",)),
    "daily_quota_exceeded": a_plan(trades_per_day=0),
    "storage_quota_exceeded": a_plan(stored_trades=0),
}


def end_hooks(api: Api) -> None:
    stored = api.stores.hooks.stored
    for hook_id, hook in stored.items():
        stored[hook_id] = msgspec.structs.replace(hook, ended_at=api.clock())


def fill_hooks(api: Api) -> None:
    """Gives every license as many hooks as it may have."""
    hook = next(iter(api.stores.hooks.stored.values()))
    for license_id in api.key_store.licenses:
        for number in range(MAX_HOOKS):
            hook_id = f"{license_id}-{number}"
            full = msgspec.structs.replace(hook, hook_id=hook_id, license_id=license_id)
            api.stores.hooks.stored[hook_id] = full


class Caller:
    """One caller of one route, whose key is good until something is done to it."""

    def __init__(self, api: Api, route: Route) -> None:
        self.api = api
        self.route = route
        self.scope, self.given = ADMITTING[route.method, route.path]
        if (route.method, route.path) in (("POST", "ws/negotiate"), ("POST", "sessions")):
            self.given = {"body": {"symbols": ["ES"], "instance": "bot-1"}}

    async def call(self, key: CreatedKey | str | None, **changed: Any) -> Answered:
        path = changed.pop("path", self.route.path)
        return await self.api.call(self.route.method, path, key=key, **(self.given | changed))

    async def ending(self, *, license_end: bool) -> CreatedKey:
        """A key that has expired, or whose license has."""
        licenses = self.api.services.license_service("tester")
        end = self.api.clock() + timedelta(seconds=1)
        license_ = await licenses.create_license(
            "acct-1", overrides=Overrides(symbols=("ES",)), expires_at=end if license_end else None
        )
        key = await licenses.create_key(
            license_.license_id, (self.scope,), expires_at=None if license_end else end
        )
        self.api.clock.forward(1)
        return key

    async def of_the_key(self, code: str) -> Answered:
        licenses = self.api.services.license_service("tester")
        key = await self.api.key(self.scope, limit=1)
        match code:
            case "key_missing":
                return await self.call(None)
            case "key_malformed" | "key_unknown":
                return await self.call("sc_live_mistyped" if code == "key_malformed" else new_key("Zz99Zz"))
            case "key_revoked":
                await licenses.revoke_key(key.key.public_id)
            case "key_expired" | "license_expired":
                key = await self.ending(license_end=code == "license_expired")
            case "license_suspended":
                await licenses.suspend_license(key.key.license_id)
            case "license_revoked":
                await licenses.revoke_license(key.key.license_id)
            case "scope_missing":
                key = await self.api.key(*(scope for scope in ALL_SCOPES if scope != self.scope))
            case "rate_limited":
                assert (await self.call(key)).status < 300
            case "symbol_not_licensed":
                key = await self.api.key(self.scope, symbols=["CL"])
            case "tries_exceeded":
                self.api.redis.tries[f"license.rotate:{key.key.license_id}"] = 10
            case _ if code in REFUSING_PLANS:
                self.api.services.plans = with_plans(REFUSING_PLANS[code])
            case _:
                raise AssertionError(f"nothing here causes {code}")
        return await self.call(key)

    def bad_request(self, code: str) -> dict[str, Any] | None:
        """What to change of the good request, so that it has the problem."""
        has_body = self.route.body is not None
        is_erasure = self.route.path.endswith("/erase")  # whose body repeats its path
        changed: dict[str, dict[str, Any] | None] = {
            "malformed_json": {"content": b"{"},
            "body_too_large": {"content": b" " * (MAX_BODY_BYTES + 1)},
            "batch_too_large": {"body": TOO_MANY.get(self.route.path)},
            "unsupported_media_type": {"headers": {"content-type": "application/xml"}},
            "validation_failed": self._badly_asked(),
            "unknown_field": {"body": self.given.get("body", {}) | {"colour": "red"}}
            if has_body
            else {"colour": "red"},
            "trade_not_found": {"path": self.route.path.format(**UNKNOWN_PATH_VALUES)},
            "not_found": {"path": self.route.path.format(**UNKNOWN_PATH_VALUES)}
            | ({"body": {"account_id": UNKNOWN_PATH_VALUES["account_id"]}} if is_erasure else {}),
            "conflict": CONFLICTS.get(self.route.path),
            "symbol_not_licensed": {"body": {"name": "chart", "symbols": ["GC"]}}
            if self.route.path.startswith("ops/")
            else None,
            "session_lost": {"headers": {"session-id": "never-taken"}},
            "no_confidence": {"body": NO_CONFIDENCE.get(self.route.path)},
        }
        return changed.get(code)

    def _badly_asked(self) -> dict[str, Any]:
        """What no reading of the request accepts: its body, a part of its path, or a parameter."""
        if self.route.body is not None:
            return {"body": []}
        if "{" in self.route.path:
            return {"path": self.route.path.format(**BAD_PATH_VALUES)}
        return BAD_QUERY.get(self.route.path, {"symbol": "es"})

    def change_world(self, code: str) -> bool:
        """Makes the servers fail, or the time pass, that the code is of; False if it is of none."""
        api = self.api
        match code:
            case "conflict" if "hooks" in self.route.path:
                end_hooks(api) if "rotate" in self.route.path else fill_hooks(api)
            case "database_unavailable":
                api.stores.server.away = True
            case "too_many_queries":
                api.stores.trades.is_busy = True
                # The turns of exports, of which an account has one at a time, are all taken.
                api.services.export_turns = AccountTurns(at_once=0, waiting=0, wait_s=1, refusal="taken")
            case "cache_unavailable":
                api.redis.away = True
            case "key_store_unavailable":
                api.redis.away = api.key_store.away = True
            case "conflict":
                api.key_store.is_busy = True
                vars(api.services)["bounded_archive"] = lambda target: AccountArchive(
                    target, api.clock(), max_rows=0, max_bytes=None
                )
                if self.route.path.endswith("/resume"):
                    # What is active already needs no change, which others could be in the way of.
                    named = api.key_store.licenses[PATH_VALUES["license_id"]]
                    suspended = msgspec.structs.replace(named, status="suspended")
                    api.key_store.licenses[named.license_id] = suspended
            case "realtime_unavailable":
                api.hub.away = True
            case "withdrawal_expired":
                api.clock.forward(WITHDRAWAL_PERIOD.total_seconds() + 1)
            case _:
                return False
        return True

    def conflict(self) -> bool:
        """Brings what is stored into the state that the route conflicts with; False if it is none."""
        stores = self.api.stores
        stored = stores.destinations.stored
        (own,) = stored.values()
        match self.route.path:
            case "destinations":
                stored.update({f"webhook_{n:016}": own for n in range(MAX_DESTINATIONS)})
            case "destinations/{destination_id}/secret":
                stored[own.destination_id] = msgspec.structs.replace(own, sealed_by="a pepper that is gone")
            case "ops/notifications/{notification_id}/retry":
                for row in stores.notification_queue.rows.values():
                    row.state = "sent"
            case _:
                return False
        return True

    async def of_own_keys(self, code: str) -> Answered:
        """A key that cannot be replaced, or ended, as it is asked for."""
        key = await self.api.key(self.scope)
        if self.route.method == "DELETE":
            return await self.call(key, path=f"license/keys/{key.key.public_id}")
        self.api.services.plans = with_plans(msgspec.structs.replace(a_plan(), keys=1))
        successor = await self.call(key)
        return await self.call(key if code == "conflict" else successor.json["key"])

    async def cause(self, code: str) -> Answered:
        if self.route.path.startswith("license/") and code in ("conflict", "keys_exceeded"):
            return await self.of_own_keys(code)
        key = await self.api.key(self.scope)
        if code == "conflict" and self.conflict():
            return await self.call(key)
        if code == "conflict" and self.route.path == "signals":
            await self.call(key, headers={"idempotency-key": "k"})
        if code == "session_taken":
            key = await self.api.key(self.scope, sessions=1)
            await self.api.call("POST", "sessions", key=key, body={"instance": "bot-2"})
            return await self.call(key)
        if code == "no_confidence":
            publisher = await self.api.key("publisher")
            await self.api.call("POST", "signals", key=publisher, body=SIGNAL)
        changed = self.bad_request(code)
        if changed is None and self.change_world(code):
            asks = code == "database_unavailable"
            asked = ASKS_POSTGRES.get((self.route.method, self.route.path), {})
            changed = asked if asks else {}
        if changed is not None:
            return await self.call(key, **changed)
        return await self.of_the_key(code)


@pytest.mark.parametrize(("route", "code"), PROBLEMS)
async def test_each_documented_problem_can_happen(api: Api, route: Route, code: str) -> None:
    answered = await Caller(api, route).cause(code)
    assert (answered.status, answered.code) == (STATUS_OF_CODE[code], code)
    # A key that counts is told its quota with every problem; other requests count against no limit.
    counts = code == "scope_missing" or not code.startswith(("key_", "license_", "cache_"))
    assert ("ratelimit" in answered.headers) == ("x-ratelimit-limit" in answered.headers) == counts
