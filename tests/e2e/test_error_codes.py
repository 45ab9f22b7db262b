"""Every error code that a caller can cause, at least once, as problem JSON."""

import json
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from functions.web.problems import STATUS_OF_CODE
from local.vendors.delivery import sign_stripe
from shared.domain.access.claims import claim_secret, claim_token
from shared.domain.access.keys import new_key
from tests.e2e.test_http_api import AN_EXIT, STATE, a_trade
from tests.support.running import RunningStack

Cause = Callable[[RunningStack], httpx.Response]

# Answers to outages (see each test_outages.py in tests/integration) and defects, not to mistakes of callers.
NOT_BY_CALLERS = {
    "internal",
    "database_unavailable",
    "cache_unavailable",
    "key_store_unavailable",
    "realtime_unavailable",
}
# Answers to Web PubSub's question whether a client may connect; tests/e2e/test_revocation.py causes them.
AT_THE_HUB = {"access_url_used", "connections_exceeded"}


def ask(stack: RunningStack, key: str, **request: Any) -> httpx.Response:
    with httpx.Client(base_url=f"{stack.base_url}/api", headers={"Authorization": f"Bearer {key}"}) as client:
        return client.post("/ml/get_confidence", **({"json": STATE} | request))


def as_bot(stack: RunningStack, path: str, **request: Any) -> httpx.Response:
    with stack.client("bot") as client:
        return client.post(path, **request)


def with_key(*arguments: str, then: tuple[str, ...] = ()) -> Cause:
    """Asks with a fresh key made by the license command, after `then` was done to its license."""

    def cause(stack: RunningStack) -> httpx.Response:
        made = stack.new_key(*arguments)
        if then:
            stack.license(*(part.format(**made) for part in then))
        return ask(stack, made["key"])

    return cause


def rate_limited(stack: RunningStack) -> httpx.Response:
    key = stack.new_key("--requests-per-minute", "2")["key"]
    assert [ask(stack, key).status_code for _ in range(2)] == [200, 200]
    return ask(stack, key)


def alert_from_elsewhere(stack: RunningStack) -> httpx.Response:
    """An alert that comes from this machine, to a hook that takes those of another one."""
    with stack.client("publisher") as client:
        made = client.post("/hooks", json={"name": "far", "addresses": ["203.0.113.7"]}).raise_for_status()
    return httpx.post(made.json()["url"], json={})


def once_refused(stack: RunningStack, key: str) -> httpx.Response:
    """The first refusal of a key that ends within a second or two."""
    deadline = time.monotonic() + 10
    while (response := ask(stack, key)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return response


def twice_rotated_key(stack: RunningStack) -> httpx.Response:
    """The plan allows one key, and one more that is being replaced."""
    key = stack.new_key("--plan", "free")["key"]
    with httpx.Client(base_url=f"{stack.base_url}/api") as client:
        headers = {"Authorization": f"Bearer {key}"}
        key = client.post("/license/rotate", headers=headers).raise_for_status().json()["key"]
        return client.post("/license/rotate", headers={"Authorization": f"Bearer {key}"})


def expired_license(stack: RunningStack) -> httpx.Response:
    return once_refused(stack, stack.new_key("--expires", "2s")["key"])


def expired_key(stack: RunningStack) -> httpx.Response:
    made = stack.new_key()
    return once_refused(stack, stack.license("add-key", made["license_id"], "--expires", "2s")["plain_key"])


def used_up_day(stack: RunningStack) -> httpx.Response:
    """A report above the 5,000 trades a day of the standard plan."""
    key = stack.new_key("--requests-per-minute", "10000")["key"]
    for _ in range(10):
        assert report(stack, key, [a_trade() for _ in range(500)]).status_code == 200
    return report(stack, key, [a_trade()])


def full_account(stack: RunningStack) -> httpx.Response:
    """A report of an account that has stored as much as it may, as its row says."""
    made = stack.new_key()
    assert report(stack, made["key"], [a_trade()]).status_code == 200
    account = stack.license("show", made["license_id"])["license"]["account_id"]
    with psycopg.connect(stack.document["database_url"], autocommit=True) as connection:
        connection.execute(
            "update account_usage set stored_trades = 2000000 where account_id = %s", [account]
        )
    return report(stack, made["key"], [a_trade()])


def third_query(stack: RunningStack) -> httpx.Response:
    """A third performance while two wait for a lock on the account's days."""
    made = stack.new_key("--requests-per-minute", "1000")
    assert report(stack, made["key"], [a_trade()]).status_code == 200
    account = stack.license("show", made["license_id"])["license"]["account_id"]

    def performance() -> httpx.Response:
        return httpx.get(
            f"{stack.base_url}/api/performance",
            headers={"Authorization": f"Bearer {made['key']}"},
            timeout=10,
        )

    with ThreadPoolExecutor(3) as pool:
        with psycopg.connect(stack.document["database_url"]) as connection:
            connection.execute("select from trade_days where account_id = %s for update", [account])
            asked = [pool.submit(performance) for _ in range(3)]
            done, _ = wait(asked, timeout=4, return_when=FIRST_COMPLETED)
        assert sorted(each.result().status_code for each in asked) == [200, 200, 429]
    return done.pop().result()


def report(stack: RunningStack, key: str, trades: list[dict[str, Any]]) -> httpx.Response:
    return httpx.post(
        f"{stack.base_url}/api/trades",
        json={"trades": trades},
        headers={"Authorization": f"Bearer {key}"},
        timeout=10,
    )


def reused_idempotency_key(stack: RunningStack) -> httpx.Response:
    headers = {"Idempotency-Key": uuid4().hex}
    with stack.client("publisher") as client:
        for price in ("2100", "2101"):
            response = client.post("/signals", json=AN_EXIT | {"price": price}, headers=headers)
    return response


def old_trade(stack: RunningStack) -> httpx.Response:
    """A withdrawal of a trade that was received two days ago, as its row says."""
    trade = a_trade()
    with stack.client("bot") as client:
        assert client.post("/trades", json=trade).json()["recorded"] == 1
        with psycopg.connect(stack.document["database_url"], autocommit=True) as connection:
            connection.execute(
                "update trades set received_at = now() - interval '2 days' where trade_id = %s",
                [trade["trade_id"]],
            )
        return client.delete(f"/trades/{trade['trade_id']}")


def unknown_trade(stack: RunningStack) -> httpx.Response:
    with stack.client("bot") as client:
        return client.delete("/trades/never-reported")


def strategy_without_features(stack: RunningStack) -> httpx.Response:
    with stack.client("publisher") as client:
        client.post("/signals", json=AN_EXIT | {"strategy": "manual"}).raise_for_status()
    return as_bot(stack, "/ml/get_confidence", json={**STATE, "strategy": "manual"})


def old_payment_event(stack: RunningStack) -> httpx.Response:
    """An event of Stripe whose signature is good, and ten minutes old."""
    secret = stack.document["vendors"]["settings"]["STRIPE_WEBHOOK_SECRET"]
    headers = {"Stripe-Signature": sign_stripe(b"{}", secret, int(time.time()) - 600)}
    return httpx.post(f"{stack.base_url}/api/webhooks/stripe", content=b"{}", headers=headers)


def claim(stack: RunningStack, *, days_old: int) -> httpx.Response:
    """The use of a claim link of a new license, which the operator's secret makes as a mail would have it."""
    pepper = json.loads((stack.state / "secrets.json").read_text())["api_key_pepper"]
    secret = claim_secret(pepper.encode())
    issued = datetime.now(UTC) - timedelta(days=days_old)
    token = claim_token(stack.new_key()["license_id"], "first_key", issued, secret)
    address = f"{stack.base_url}/api/claim/{token}"
    first = httpx.post(address, timeout=10)
    return httpx.post(address, timeout=10) if first.status_code == 200 else first


def flooded_mailbox(stack: RunningStack) -> httpx.Response:
    asked = [
        httpx.post(f"{stack.base_url}/api/claims", json={"email": "flooded@example.com"}, timeout=10)
        for _ in range(4)
    ]
    assert [each.status_code for each in asked[:3]] == [202] * 3
    return asked[-1]


def second_bot(stack: RunningStack) -> httpx.Response:
    """A claim of the one place of a license that another instance holds."""
    key = stack.new_key("--plan", "starter")["key"]
    headers = {"Authorization": f"Bearer {key}"}
    for instance in ("bot-1", "bot-2"):
        response = httpx.post(
            f"{stack.base_url}/api/sessions", json={"instance": instance}, headers=headers, timeout=10
        )
    return response


def anonymously(method: str, path: str, **headers: str) -> Cause:
    return lambda stack: httpx.request(method, f"{stack.base_url}/api{path}", headers=headers)


CAUSES: dict[str, Cause] = {
    "session_taken": second_bot,
    "session_lost": lambda stack: as_bot(
        stack, "/ml/get_confidence", headers={"Session-Id": "none"}, json=STATE
    ),
    "malformed_json": lambda stack: as_bot(stack, "/ml/get_confidence", content=b"{"),
    "validation_failed": lambda stack: as_bot(stack, "/ml/get_confidence", json={**STATE, "rsi": 135}),
    "unknown_field": lambda stack: as_bot(stack, "/ml/get_confidence", json={**STATE, "rsy": 35}),
    "body_too_large": lambda stack: as_bot(stack, "/ml/get_confidence", content=b" " * 16_385),
    "batch_too_large": lambda stack: as_bot(stack, "/trades", json={"trades": [a_trade()] * 501}),
    "unsupported_media_type": lambda stack: as_bot(
        stack, "/trades", content=b"<a/>", headers={"Content-Type": "application/xml"}
    ),
    "key_missing": anonymously("POST", "/ml/get_confidence"),
    "key_malformed": lambda stack: ask(stack, "sc_live_mistyped"),
    "key_unknown": lambda stack: ask(stack, new_key("zz9zz9")),
    "key_revoked": with_key(then=("revoke", "{public_id}")),
    "key_expired": expired_key,
    "signature_invalid": anonymously("POST", "/webhooks/whop"),
    "signature_expired": old_payment_event,
    "scope_missing": lambda stack: as_bot(stack, "/bars", json={"symbol": "ES", "bars": []}),
    "keys_exceeded": twice_rotated_key,
    "symbol_not_licensed": with_key("--symbols", "NQ"),
    "strategy_not_licensed": with_key("--strategies", "capitulation_reversal"),
    "address_refused": alert_from_elsewhere,
    "license_suspended": with_key(then=("suspend", "{license_id}")),
    "license_expired": expired_license,
    "license_revoked": with_key(then=("revoke", "{license_id}")),
    "not_found": anonymously("GET", "/nothing/here"),
    "method_not_allowed": anonymously("DELETE", "/trades"),
    "trade_not_found": unknown_trade,
    "no_confidence": strategy_without_features,
    "conflict": reused_idempotency_key,
    "withdrawal_expired": old_trade,
    "rate_limited": rate_limited,
    "daily_quota_exceeded": used_up_day,
    "storage_quota_exceeded": full_account,
    "too_many_queries": third_query,
    "claim_used": lambda stack: claim(stack, days_old=0),
    "claim_expired": lambda stack: claim(stack, days_old=8),
    "tries_exceeded": flooded_mailbox,
}


def test_every_code_has_its_case() -> None:
    assert set(CAUSES) | NOT_BY_CALLERS | AT_THE_HUB == set(STATUS_OF_CODE)


@pytest.mark.parametrize("code", CAUSES)
def test_a_callers_mistake_is_told_clearly(stack: RunningStack, code: str) -> None:
    response = CAUSES[code](stack)
    problem = response.json()
    assert (problem["code"], response.status_code) == (code, STATUS_OF_CODE[code])
    assert response.headers["content-type"].startswith("application/problem+json")
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(problem)
    assert problem["status"] == response.status_code
    assert response.headers["x-request-id"] == problem["request_id"]
    assert "Traceback" not in response.text
    if response.status_code == 401:
        assert response.headers["www-authenticate"].startswith("Bearer")
    if response.status_code == 429:
        assert int(response.headers["retry-after"]) >= 1
    if code == "rate_limited":
        assert response.headers["ratelimit"].startswith('"default";r=0')
    if response.status_code == 405:
        assert response.headers["allow"] == "POST, GET, HEAD"


def test_every_bad_field_is_named_at_once(stack: RunningStack) -> None:
    state = {"symbol": "XX", "signal_type": "UP", "vwap_distance": "far", "rsi": 135, "colour": "red"}
    problem = as_bot(stack, "/ml/get_confidence", json=state).json()
    assert {error["field"] for error in problem["errors"]} == set(state)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/trades?limit=0", "limit"),
        ("/trades?since=yesterday", "since"),
        ("/trades?cursor=abc", "cursor"),
        ("/trades?colour=red", "colour"),
        ("/signals", "symbol"),
        ("/signals?symbol=es", "symbol"),
        ("/signals?symbol=ES&after=-1", "after"),
    ],
)
def test_a_bad_query_parameter_is_named(stack: RunningStack, path: str, field: str) -> None:
    with stack.client("bot") as client:
        response = client.get(path)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_platform_headers_of_a_caller_open_nothing(stack: RunningStack) -> None:
    headers = {
        "x-ms-client-principal": "eyJhIjoxfQ==",
        "x-ms-client-principal-id": "admin",
        "x-functions-key": "k",
    }
    # No right rests on them: neither without a key, nor with one that lacks the scope.
    response = httpx.get(f"{stack.base_url}/api/status", headers=headers)
    assert (response.status_code, json.loads(response.content)["code"]) == (401, "key_missing")
    with stack.client("bot") as client:
        response = client.get("/status", headers=headers)
    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")
