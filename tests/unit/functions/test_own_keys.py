"""Holders replace and end their own keys, and strangers get test keys that hear the test stream alone."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.domain.access.plans import Overrides
from shared.services.key_making import CreatedKey
from tests.support.api import Api
from tests.support.shown_values import values_lacking
from tests.unit.functions.test_timers import fire

ADDRESS = {"x-forwarded-for": "203.0.113.7"}


async def test_a_holder_replaces_the_key_and_both_work_for_a_while(api: Api) -> None:
    key = await api.key("bot", "publisher")
    rotated = await api.call("POST", "license/rotate", key=key, body={"overlap_s": 60})
    assert rotated.status == 201
    assert rotated.json["former"] == key.key.public_id
    assert rotated.json["former_ends_at"] == "2026-03-02T14:31:00Z"
    successor = rotated.json["key"]
    listed = (await api.call("GET", "license/keys", key=successor)).json["keys"]
    assert [(each["public_id"], each["in_use"], each["is_valid"]) for each in listed if each["in_use"]] == [
        (rotated.json["public_id"], True, True)
    ]
    assert {tuple(each["scopes"]) for each in listed} == {("bot", "publisher")}
    assert {each["prefix"] for each in listed} == {
        f"sc_live_{key.key.public_id}",
        f"sc_live_{rotated.json['public_id']}",
    }
    assert b"hash" not in (await api.call("GET", "license/keys", key=successor)).body
    assert (await api.call("GET", "license", key=key)).status == 200
    api.clock.forward(60)
    assert (await api.call("GET", "license", key=key)).code == "key_expired"
    assert (await api.call("GET", "license", key=successor)).status == 200
    told = api.stores.notifications.events.values()
    (event,) = [each for each in told if each.kind == "key_rotated"]
    assert (event.account_id, event.values["former"]) == ("acct-1", key.key.public_id)
    assert values_lacking(event) == set()
    assert successor not in str(event)
    assert (f"key {key.key.public_id}", "key rotated", key.key.public_id) in api.audit.entries


async def test_a_replacement_does_not_wait_for_postgres(api: Api) -> None:
    key = await api.key()
    api.stores.server.away = api.audit.away = True
    assert (await api.call("POST", "license/rotate", key=key)).status == 201


async def test_the_overlap_is_bounded(api: Api) -> None:
    key = await api.key()
    for overlap in (-1, 30 * 24 * 3600 + 1, 1.5, "60", None):
        answered = await api.call("POST", "license/rotate", key=key, body={"overlap_s": overlap})
        assert answered.code == "validation_failed"
    answered = await api.call("POST", "license/rotate", key=key, body={"overlap_s": 0})
    assert answered.status == 201
    assert (await api.call("GET", "license", key=key)).code == "key_expired"
    assert api.hub.closed == [f"key.{key.key.public_id}"]


async def test_a_chain_of_replacements_ends_whatever_limit_each_new_key_has(api: Api) -> None:
    """Each costs rows for good, and strangers have test keys."""
    for first in (await a_test_key(api), (await api.key()).plain):
        key = first
        for _ in range(10):
            answered = await api.call("POST", "license/rotate", key=key, body={"overlap_s": 0})
            assert answered.status == 201
            key = answered.json["key"]
        stored = len(api.key_store.keys)
        refused = await api.call("POST", "license/rotate", key=key, body={"overlap_s": 0})
        assert (refused.status, refused.code) == (429, "tries_exceeded")
        assert len(api.key_store.keys) == stored
    api.redis.away = True
    assert (await api.call("POST", "license/rotate", key=key)).status == 201, "a seen key is replaced anyway"


async def other_key(api: Api, key: CreatedKey, *scopes: Any) -> CreatedKey:
    return await api.services.license_service("tester").create_key(key.key.license_id, scopes or ("bot",))


async def test_a_holder_ends_another_key_at_once_and_the_own_one_only_if_sure(api: Api) -> None:
    key = await api.key()
    other = await other_key(api, key)
    path = f"license/keys/{other.key.public_id}"
    assert (await api.call("DELETE", path, key=key)).json == {
        "public_id": other.key.public_id,
        "connections_closed": True,
    }
    assert (await api.call("GET", "license", key=other)).code == "key_revoked"
    assert (await api.call("DELETE", path, key=key)).status == 200, "again is no mistake"
    own = f"license/keys/{key.key.public_id}"
    unsure = await api.call("DELETE", own, key=key)
    assert (unsure.status, unsure.code) == (409, "conflict")
    assert "confirm=true" in unsure.json["detail"]
    assert (await api.call("DELETE", own, key=key, confirm="yes")).code == "validation_failed"
    assert (await api.call("DELETE", own, key=key, confirm="true")).status == 200
    assert (await api.call("GET", "license", key=key)).code == "key_revoked"


async def test_keys_of_others_and_mightier_keys_are_out_of_reach(api: Api) -> None:
    key, stranger = await api.key(), await api.key(account="acct-2")
    answered = await api.call("DELETE", f"license/keys/{stranger.key.public_id}", key=key)
    assert (answered.status, answered.code) == (404, "not_found")
    operators = await other_key(api, key, "bot", "ops")
    answered = await api.call("DELETE", f"license/keys/{operators.key.public_id}", key=key)
    assert (answered.status, answered.code) == (403, "scope_missing")
    assert (await api.call("GET", "license", key=operators)).status == 200


async def a_test_key(api: Api) -> str:
    made = await api.call("POST", "test-keys", headers=ADDRESS)
    assert (made.status, made.json["plan"], made.json["symbols"]) == (201, "test", ["TEST"])
    assert datetime.fromisoformat(made.json["expires_at"]) == api.clock() + timedelta(days=30)
    key = str(made.json["key"])
    assert key.startswith("sc_test_")
    return key


async def test_a_test_key_hears_the_test_stream_and_nothing_else(api: Api) -> None:
    test, live = await a_test_key(api), await api.key()
    await fire("timer_test_stream")
    page = await api.call("GET", "signals", key=test, symbol="TEST")
    (signal,) = (each["signal"] for each in page.json["signals"])
    assert (signal["strategy"], signal["source"]) == ("test_stream", "simulated")
    assert (await api.call("GET", "signals", key=live, symbol="TEST")).code == "symbol_not_licensed"
    assert (await api.call("GET", "signals", key=test, symbol="ES")).code == "symbol_not_licensed"
    negotiated = await api.call("POST", "ws/negotiate", key=test)
    assert negotiated.json["groups"] == ["symbol.TEST"]
    assert (await api.call("POST", "ws/negotiate", key=live)).json["groups"] == ["symbol.ES", "symbol.NQ"]
    of_test, of_live = api.hub.memberships
    assert of_test[-1] == "heartbeats.test"
    assert "heartbeats" not in of_test
    assert of_live[-1] == "heartbeats"
    await fire("timer_heartbeat")
    beats = {group: message["sequences"] for group, message in api.hub.sent if message["type"] == "heartbeat"}
    assert beats["heartbeats.test"] == {"TEST": 1}
    assert "TEST" not in beats["heartbeats"]


async def test_a_test_key_does_what_bots_do(api: Api) -> None:
    key = await a_test_key(api)
    await fire("timer_test_stream")
    trade = {
        "trade_id": "t-1",
        "symbol": "TEST",
        "side": "LONG",
        "strategy": "test_stream",
        "entry_price": "5000",
        "exit_price": "5001",
        "entry_at": "2026-03-02T14:20:00Z",
        "exit_at": "2026-03-02T14:25:00Z",
        "pnl": "1",
        "signal_sequence": 1,
    }
    assert (await api.call("POST", "trades", key=key, body=trade)).json["recorded"] == 1
    of_es = trade | {"symbol": "ES", "trade_id": "t-2", "pnl": "50"}
    assert (await api.call("POST", "trades", key=key, body=of_es)).code == "symbol_not_licensed"
    shown = (await api.call("GET", "license", key=key)).json
    assert (shown["plan"], shown["symbols"]) == ("test", ["TEST"])
    assert (await api.call("GET", "license/keys", key=key)).json["keys"][0]["kind"] == "test"
    rotated = await api.call("POST", "license/rotate", key=key)
    assert rotated.json["key"].startswith("sc_test_")


async def test_the_test_stream_is_published_once_a_minute_and_counts_as_nothing(api: Api) -> None:
    for seconds in (0, 30, 29, 1):
        api.clock.forward(seconds)
        await fire("timer_test_stream")
    assert [signal.kind for signal in api.stores.signals.published["TEST"]] == ["entry", "exit"]
    assert len([group for group, _ in api.hub.sent if group == "symbol.TEST"]) == 2
    assert "signals_published" not in api.counts
    status = (await api.call("GET", "status", key=await api.key("ops"))).json
    assert "TEST" not in status["last_sequences"]
    assert status["feeds"] == []


async def test_a_stranger_with_a_test_key_makes_us_send_nothing(api: Api) -> None:
    key = await a_test_key(api)
    assert api.stores.notifications.events == {}
    wanted = {"kind": "webhook", "url": "https://example.com/hook", "events": ["key_rotated"]}
    refused = await api.call("POST", "destinations", key=key, body=wanted)
    assert (refused.status, refused.code) == (409, "conflict")
    assert "test license" in refused.json["detail"]


async def test_no_override_opens_a_live_symbol_to_a_test_license(api: Api) -> None:
    key = await a_test_key(api)
    (license_,) = api.key_store.licenses.values()
    api.key_store.licenses[license_.license_id] = msgspec.structs.replace(
        license_, overrides=Overrides(symbols=("ES",)), revision=9
    )
    assert (await api.call("GET", "license", key=key)).json["symbols"] == ["TEST"]
    assert (await api.call("GET", "signals", key=key, symbol="ES")).code == "symbol_not_licensed"


async def test_test_keys_are_bounded_by_address_and_refused_while_nothing_counts(api: Api) -> None:
    for _ in range(5):
        await a_test_key(api)
    refused = await api.call("POST", "test-keys", headers=ADDRESS)
    assert (refused.status, refused.code) == (429, "tries_exceeded")
    assert (await api.call("POST", "test-keys", headers={"x-forwarded-for": "203.0.113.8"})).status == 201
    api.redis.tries["test_keys.day:everybody"] = 2_000
    assert (await api.call("POST", "test-keys", headers={"x-forwarded-for": "203.0.113.9"})).status == 429
    api.redis.away = True
    assert (await api.call("POST", "test-keys")).code == "cache_unavailable"
    api.redis.away, api.key_store.away = False, True
    api.redis.tries.clear()
    assert (await api.call("POST", "test-keys")).code == "key_store_unavailable"


async def test_upkeep_removes_ended_test_licenses_and_no_others(api: Api) -> None:
    await a_test_key(api)
    (ended,) = api.key_store.licenses.values()
    live = await api.key()
    api.clock.forward(30 * 24 * 3600)
    await a_test_key(api)
    await fire("timer_upkeep")
    assert ended.license_id in api.key_store.licenses, "its holder is still told that it has expired"
    api.clock.forward(7 * 24 * 3600 + 1)
    await fire("timer_upkeep")
    assert ended.license_id not in api.key_store.licenses
    assert live.key.license_id in api.key_store.licenses
    assert len(api.key_store.licenses) == 2
    assert api.stores.test_accounts.removed == [ended.account_id]
