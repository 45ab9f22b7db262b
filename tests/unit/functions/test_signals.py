"""Signals that are published and read, through their routes."""

from typing import Any

import pytest

from tests.support.api import Answered, Api
from tests.support.requests import SIGNAL


async def publish(api: Api, idempotency_key: str | None = None, **changed: Any) -> Answered:
    headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
    key = await api.key("publisher")
    return await api.call("POST", "signals", key=key, body=SIGNAL | changed, headers=headers)


async def read(api: Api, **params: Any) -> Answered:
    return await api.call("GET", "signals", key=await api.key("bot"), **params)


async def test_a_signal_is_stored_pushed_counted_and_answered_201(api: Api) -> None:
    answered = await publish(api, features={"rsi": 28.5})
    assert answered.status == 201
    message = answered.json
    assert (message["type"], message["version"], message["sequence"]) == ("signal", 1, 1)
    assert message["event_at"] == "2026-03-02T14:30:00Z"
    assert message["expires_at"] == "2026-03-02T14:35:00Z"
    assert message["signal"] == {
        "id": message["signal"]["id"],
        "symbol": "ES",
        "sequence": 1,
        "strategy": "manual",
        "strategy_version": 1,
        "kind": "entry",
        "side": "LONG",
        "price": "6543.25",
        "stop_price": None,
        "target_price": None,
        "event_at": "2026-03-02T14:30:00Z",
        "expires_at": "2026-03-02T14:35:00Z",
        "features": {"rsi": 28.5},
        "source": "live",
    }
    assert api.hub.sent == [("symbol.ES", message)]
    assert api.counts == {"signals_published": 1}


async def test_the_same_idempotency_key_gives_the_same_signal(api: Api) -> None:
    first = await publish(api, "morning")
    again = await publish(api, "morning")
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json
    assert api.counts == {"signals_published": 1}
    other = await publish(api, "evening")
    assert other.json["sequence"] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"strategy": "other"},
        {"strategy_version": 2},
        {"kind": "exit"},
        {"side": "SHORT"},
        {"price": "6543.50"},
        {"stop_price": "6500"},
        {"target_price": "6600"},
        {"features": {"rsi": 1.0}},
    ],
)
async def test_other_content_under_the_same_key_is_a_conflict(api: Api, changed: dict[str, Any]) -> None:
    await publish(api, "morning")
    answered = await publish(api, "morning", **changed)
    assert (answered.status, answered.code) == (409, "conflict")
    assert "was used for sequence 1 with other content" in answered.json["detail"]
    assert api.counts == {"signals_published": 1}
    assert len(api.hub.sent) == 1


async def test_keys_of_different_accounts_do_not_meet(api: Api) -> None:
    await publish(api, "morning")
    key = await api.key("publisher", account="acct-2")
    headers = {"idempotency-key": "morning"}
    answered = await api.call("POST", "signals", key=key, body=SIGNAL, headers=headers)
    assert (answered.status, answered.json["sequence"]) == (201, 2)


@pytest.mark.parametrize("idempotency_key", ["k", "k" * 128, "~ "])
async def test_an_idempotency_key_has_from_1_to_128_characters(api: Api, idempotency_key: str) -> None:
    assert (await publish(api, idempotency_key)).status == 201


@pytest.mark.parametrize("idempotency_key", ["", "k" * 129, "a\tb", "a\x7f"])
async def test_another_idempotency_key_is_refused(api: Api, idempotency_key: str) -> None:
    answered = await publish(api, idempotency_key)
    assert (answered.status, answered.fields) == (422, ["idempotency-key"])
    assert answered.json["errors"][0]["message"] == "Expected 1 to 128 printable characters."
    assert api.stores.signals.drafts == []


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"side": "UP"}, ["side"]),
        ({"price": "NaN"}, ["price"]),
        ({"price": "0.123456789"}, ["price"]),
        ({"stop_price": "1e10", "target_price": "-1e10"}, ["stop_price", "target_price"]),
        ({"strategy": "Manual"}, ["strategy"]),
        ({"strategy": "m" * 65}, ["strategy"]),
        ({"strategy_version": 0}, ["strategy_version"]),
        ({"strategy_version": 1_000_001}, ["strategy_version"]),
        ({"event_at": "2026-03-02T14:30:00"}, ["event_at"]),
        ({"event_at": "2026-03-02T14:30:05.001Z"}, ["event_at"]),
        ({"expires_at": "2026-03-02T14:30:00Z"}, ["expires_at"]),
        ({"expires_at": "2026-03-03T14:30:01Z"}, ["expires_at"]),
        ({"expires_at": "2026-03-02T14:31:00"}, ["expires_at"]),
        ({"kind": "exit", "expires_at": "2026-03-02T14:31:00Z"}, ["expires_at"]),
        ({"features": {f"f{n}": 1.0 for n in range(33)}}, ["features"]),
        ({"features": {"f" * 65: 1.0}}, ["features." + "f" * 64]),
        ({"features": {"": 1.0}}, ['features.""']),
        ({"features": {"rsi": ["high"]}}, ["features.rsi"]),
        ({"features": {"session": "x" * 65}}, ["features.session"]),
        ({"features": {"session": "a\x00"}}, ["features.session"]),
    ],
)
async def test_each_bad_field_is_named(api: Api, changed: dict[str, Any], fields: list[str]) -> None:
    answered = await publish(api, **changed)
    assert (answered.status, answered.code, answered.fields) == (422, "validation_failed", fields)
    assert api.stores.signals.drafts == []
    assert api.counts == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"price": "0.12345678"},
        {"price": "-1000000000"},
        {"price": "1000000000"},
        {"strategy": "m"},
        {"strategy": "m" * 64},
        {"strategy_version": 1_000_000},
        {"event_at": "2026-03-02T14:30:05Z"},
        {"event_at": "2000-01-01T00:00:00Z"},
        {"expires_at": "2026-03-02T14:30:00.000001Z"},
        {"expires_at": "2026-03-03T14:30:00Z"},
        {"features": {f"f{n}": 1.0 for n in range(32)}},
        {"features": {"flush_direction": "DOWN", "reversal_candle": True, "x": "y" * 64}},
        {"features": {"f": 1.0, "f" * 64: 1.0}},
        {"kind": "exit"},
    ],
)
async def test_the_ends_of_every_range_are_accepted(api: Api, changed: dict[str, Any]) -> None:
    answered = await publish(api, **changed)
    assert answered.status == 201
    for name in ("event_at", "expires_at"):
        if name in changed:
            assert answered.json[name] == changed[name]


async def test_only_symbols_of_the_license_are_published_and_read(api: Api) -> None:
    for answered in (await publish(api, symbol="CL"), await read(api, symbol="CL")):
        assert (answered.status, answered.code, answered.fields) == (403, "symbol_not_licensed", ["symbol"])
    assert api.stores.signals.drafts == []


async def test_a_hub_that_is_away_fails_no_publisher(api: Api) -> None:
    api.hub.away = True
    assert (await publish(api)).status == 201
    assert await api.stores.outbox.depth() == (1, 0.0)


async def test_without_the_database_nothing_is_published_or_read(api: Api) -> None:
    api.stores.server.away = True
    for answered in (await publish(api), await read(api, symbol="ES")):
        assert (answered.status, answered.code) == (503, "database_unavailable")
    assert api.counts == {"requests_failed": 2}


async def test_signals_are_read_in_sequence_order_by_page(api: Api) -> None:
    for _ in range(3):
        await publish(api)
    page = (await read(api, symbol="ES")).json
    assert [message["sequence"] for message in page["signals"]] == [1, 2, 3]
    assert (page["symbol"], page["next_after"], page["last_sequence"]) == ("ES", 3, 3)
    page = (await read(api, symbol="ES", after="1", limit="1")).json
    assert [message["sequence"] for message in page["signals"]] == [2]
    assert (page["next_after"], page["last_sequence"]) == (2, 3)
    page = (await read(api, symbol="NQ")).json
    assert (page["signals"], page["next_after"], page["last_sequence"]) == ([], 0, 0)


async def test_a_page_holds_100_signals_unless_told_otherwise(api: Api) -> None:
    key = await api.key("publisher", limit=1_000)
    for _ in range(101):
        await api.call("POST", "signals", key=key, body=SIGNAL)
    assert len((await read(api, symbol="ES")).json["signals"]) == 100


@pytest.mark.parametrize(
    "params", [{"limit": "1"}, {"limit": "1000"}, {"after": "0"}, {"after": str(10**15)}]
)
async def test_the_ends_of_the_parameters_are_accepted(api: Api, params: dict[str, str]) -> None:
    assert (await read(api, symbol="ES", **params)).status == 200


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "symbol"),
        ({"symbol": "es"}, "symbol"),
        ({"symbol": "ES", "limit": "0"}, "limit"),
        ({"symbol": "ES", "limit": "1001"}, "limit"),
        ({"symbol": "ES", "limit": ""}, "limit"),
        ({"symbol": "ES", "after": "-1"}, "after"),
        ({"symbol": "ES", "after": str(10**15 + 1)}, "after"),
        ({"symbol": "ES", "after": "1.0"}, "after"),
    ],
)
async def test_a_bad_parameter_is_named(api: Api, params: dict[str, str], field: str) -> None:
    answered = await read(api, **params)
    assert (answered.status, answered.code, answered.fields) == (422, "validation_failed", [field])
