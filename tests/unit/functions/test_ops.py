"""Liveness, readiness, status and the description of the API, through their routes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.openapi import document
from shared.domain.confidence.models import StoredModel
from shared.domain.trading.signal_fit import SuspiciousTrade
from shared.errors import ConfigurationError, DatabaseUnavailable
from shared.version import VERSION
from tests.support.api import Answered, Api
from tests.support.memory_signals import Entry
from tests.support.requests import BARS, SIGNAL
from tests.support.strategies import STRATEGIES

FRESH = datetime(2026, 3, 2, 14, 29, tzinfo=UTC)
CHECKS = {"database", "key_store", "cache", "realtime", "outbox", "feeds", "calendar"}


async def test_liveness_asks_nobody(api: Api) -> None:
    api.redis.away = api.key_store.away = api.hub.away = api.stores.server.away = True
    answered = await api.call("GET", "health")
    assert (answered.status, answered.json) == (200, {"status": "pass"})
    assert answered.headers["content-type"] == "application/health+json"
    assert answered.headers["cache-control"] == "no-store"
    assert (await api.call("HEAD", "health")).status == 200


async def test_the_region_whose_database_accepts_writes_is_the_active_one(api: Api) -> None:
    answered = await api.call("GET", "health/active")
    assert (answered.status, answered.json) == (200, {"status": "pass"})
    assert (await api.call("HEAD", "health/active")).status == 200


async def test_a_region_whose_database_is_a_replica_tells_front_door(api: Api) -> None:
    api.stores.server.replica = True
    answered = await api.call("GET", "health/active")
    assert (answered.status, answered.json["status"]) == (503, "fail")
    assert answered.headers["content-type"] == "application/health+json"
    assert (await api.call("HEAD", "health/active")).status == 503
    assert (await api.call("GET", "health")).status == 200, "the process itself is well: nothing replaces it"


async def ready(api: Api) -> Answered:
    return await api.call("GET", "health/ready")


async def with_bars(api: Api) -> None:
    await api.call("POST", "bars", key=await api.key("feeder"), body=BARS)


async def test_a_deployment_that_has_all_it_needs_is_ready(api: Api) -> None:
    await with_bars(api)
    answered = await ready(api)
    assert (answered.status, answered.json["status"]) == (200, "pass")
    assert answered.headers["content-type"] == "application/health+json"
    assert {name: check["status"] for name, check in answered.json["checks"].items()} == dict.fromkeys(
        CHECKS, "pass"
    )
    assert (await api.call("HEAD", "health/ready")).status == 200


@pytest.mark.parametrize(
    ("break_it", "failing"),
    [
        (lambda api: setattr(api.stores.server, "away", True), {"database", "outbox", "feeds"}),
        (lambda api: setattr(api.key_store, "away", True), {"key_store"}),
    ],
)
async def test_it_is_not_ready_without_what_nothing_works_without(
    api: Api, break_it: Callable[[Api], None], failing: set[str]
) -> None:
    await with_bars(api)
    break_it(api)
    answered = await ready(api)
    assert (answered.status, answered.json["status"]) == (503, "fail")
    checks = answered.json["checks"]
    assert {name for name, check in checks.items() if check["status"] == "fail"} == failing
    assert {checks[name]["detail"] for name in failing} <= {
        "The database cannot be reached.",
        "The key store cannot be reached.",
        "away",
    }


@pytest.mark.parametrize("name", ["cache", "realtime"])
async def test_it_is_ready_with_a_warning_without_what_it_can_do_without(api: Api, name: str) -> None:
    await with_bars(api)
    dependency: Any = {"cache": api.redis, "realtime": api.hub}[name]
    dependency.away = True
    answered = await ready(api)
    assert (answered.status, answered.json["status"]) == (200, "warn")
    assert [key for key, check in answered.json["checks"].items() if check["status"] == "warn"] == [name]


async def test_it_is_not_ready_while_migrations_are_missing(api: Api) -> None:
    api.stores.server.missing += ["0007_more", "0008_most"]
    answered = await ready(api)
    assert answered.status == 503
    assert answered.json["checks"]["database"]["detail"] == "migrations missing: 0007_more, 0008_most"


async def test_wrong_settings_are_told_by_readiness(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise ConfigurationError("REDIS_URL is not set")

    monkeypatch.setattr("functions.web.endpoint.container", refused)
    answered = await ready(api)
    assert answered.status == 503
    assert answered.headers["content-type"] == "application/health+json"
    assert answered.json == {
        "status": "fail",
        "checks": {"settings": {"status": "fail", "latency_ms": 0.0, "detail": "REDIS_URL is not set"}},
    }
    answered = await api.call("GET", "health")
    assert (answered.status, answered.code) == (500, "internal")
    assert "REDIS_URL" not in answered.body.decode()


async def status(api: Api) -> Any:
    answered = await api.call("GET", "status", key=await api.key("ops"))
    assert answered.status == 200
    return answered.json


async def test_the_status_of_a_new_deployment(api: Api) -> None:
    told = await status(api)
    assert told == {
        "version": VERSION,
        "now": "2026-03-02T14:30:00Z",
        "market_now": "2026-03-02T14:30:00Z",
        "counts": {"requests": 1},
        "outbox": {"depth": 0, "oldest_s": 0.0},
        "payments": {"waiting": 0, "oldest_s": 0.0, "failed": 0},
        "publish_latency": {"count": 3, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0},
        "last_sequences": {},
        "feeds": [],
        "models": [
            {
                "strategy": strategy,
                "version": None,
                "basis": "base_rate",
                "trained_at": None,
            }
            for strategy in STRATEGIES
        ],
    }
    assert api.stores.signals.asked_latency_since == [api.clock() - timedelta(minutes=15)]


async def test_the_status_says_what_was_done_and_how_it_stands(api: Api) -> None:
    await api.call("POST", "signals", key=await api.key("publisher"), body=SIGNAL)
    await with_bars(api)
    api.stores.outbox.waiting["NQ"] += [Entry(1, b"{}", 3.14159), Entry(2, b"{}", 1.0)]
    await api.stores.models.add(
        StoredModel(
            version="vwap_bounce-1",
            strategy="vwap_bounce",
            status="champion",
            basis="model",
            artefact=b"onnx",
            document={},
            created_at=FRESH,
        )
    )
    told = await status(api)
    assert told["counts"] == {"requests": 3, "bars_received": 1, "signals_published": 1}
    assert told["outbox"] == {"depth": 2, "oldest_s": 3.142}
    assert told["last_sequences"] == {"ES": 1}
    assert told["feeds"] == [
        {
            "symbol": "ES",
            "state": "fresh",
            "age_s": 0.0,
            "last_open_time": "2026-03-02T14:29:00Z",
            "source": "live",
            "missing_minutes": 929,
            "first_missing": "2026-03-01T23:00:00Z",
            "quarantined": 0,
        }
    ]
    assert told["models"][0] == {
        "strategy": "vwap_bounce",
        "version": "vwap_bounce-1",
        "basis": "model",
        "trained_at": "2026-03-02T14:29:00Z",
    }


async def test_the_status_has_no_counts_without_the_cache(api: Api) -> None:
    api.redis.away = True
    key_store_alone = await api.key("ops")
    answered = await api.call("GET", "status", key=key_store_alone)
    assert (answered.status, answered.json["counts"]) == (200, None)


async def test_the_status_needs_the_database(api: Api) -> None:
    api.stores.server.away = True
    answered = await api.call("GET", "status", key=await api.key("ops"))
    assert (answered.status, answered.code) == (503, "database_unavailable")


async def test_the_document_is_served_to_everybody_and_may_be_kept(api: Api) -> None:
    answered = await api.call("GET", "openapi.json")
    assert answered.status == 200
    assert answered.headers["cache-control"] == "public, max-age=300"
    assert answered.json["paths"].keys() == document(STRATEGIES)["paths"].keys()


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "trades", "POST, GET, HEAD"),
        ("PUT", "Signals/", "GET, HEAD, POST"),
        ("GET", "ws/events", "POST, OPTIONS"),
        ("POST", "health", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_would_do(api: Api, method: str, path: str, allow: str) -> None:
    answered = await api.call(method, path)
    assert (answered.status, answered.code) == (405, "method_not_allowed")
    assert answered.headers["allow"] == allow
    assert answered.json["detail"] == f"Use {allow} here."


@pytest.mark.parametrize("path", ["nothing/here", "", "trade"])
async def test_an_address_that_does_not_exist_is_told(api: Api, path: str) -> None:
    answered = await api.call("GET", path)
    assert (answered.status, answered.code) == (404, "not_found")
    assert "/api/openapi.json" in answered.json["detail"]


async def test_a_database_that_fails_one_check_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreadable() -> tuple[int, float]:
        raise DatabaseUnavailable("The outbox cannot be read.")

    await with_bars(api)
    monkeypatch.setattr(api.stores.outbox, "depth", unreadable)
    answered = await ready(api)
    assert answered.status == 503
    assert answered.json["checks"]["outbox"]["detail"] == "The outbox cannot be read."
    assert answered.json["checks"]["database"]["status"] == "pass"


async def test_stale_bars_are_a_warning(api: Api) -> None:
    await with_bars(api)
    api.clock.forward(301)
    answered = await ready(api)
    assert (answered.status, answered.json["status"]) == (200, "warn")
    assert answered.json["checks"]["feeds"]["detail"] == "no signals, stale bars: ES for 301 s"


async def test_operators_see_the_newest_suspicious_trades(api: Api) -> None:
    entries = [
        SuspiciousTrade(
            account_id="acct-7",
            trade_id=f"t-{n}",
            symbol="ES",
            signal_sequence=n + 1,
            reason="unknown_signal",
            trades=3,
            exit_at=FRESH,
            found_at=FRESH + timedelta(minutes=n),
        )
        for n in range(3)
    ]
    api.stores.suspicions.entries = entries
    answered = await api.call("GET", "ops/trades/suspicious", key=await api.key("ops"), limit="2")
    assert answered.status == 200
    assert [one["trade_id"] for one in answered.json["trades"]] == ["t-2", "t-1"]
    assert answered.json["trades"][0] == {
        "account_id": "acct-7",
        "trade_id": "t-2",
        "symbol": "ES",
        "signal_sequence": 3,
        "reason": "unknown_signal",
        "trades": 3,
        "exit_at": "2026-03-02T14:29:00Z",
        "found_at": "2026-03-02T14:31:00Z",
    }


async def test_the_list_of_suspicious_trades_is_for_operators_and_bounded(api: Api) -> None:
    refused = await api.call("GET", "ops/trades/suspicious", key=await api.key("bot"))
    assert (refused.status, refused.json["code"]) == (403, "scope_missing")
    far = await api.call("GET", "ops/trades/suspicious", key=await api.key("ops"), limit="501")
    assert (far.status, far.json["code"]) == (422, "validation_failed")
