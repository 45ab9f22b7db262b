"""Signals that are published and read, through their routes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.api import Answered, Api
from tests.support.market import bar
from tests.support.requests import SIGNAL

SATURDAY = datetime(2026, 3, 7, 15, tzinfo=UTC)


async def publish(api: Api, idempotency_key: str | None = None, **changed: Any) -> Answered:
    headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
    key = await api.key("publisher", symbols=("ES", "NQ", "COINS"))
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
        {"symbol": "NQ"},
        {"strategy": "other"},
        {"strategy_version": 2},
        {"kind": "exit"},
        {"side": "SHORT"},
        {"price": "6543.50"},
        {"stop_price": "6500"},
        {"target_price": "6600"},
        {"event_at": "2026-03-02T14:29:59Z"},
        {"expires_at": "2026-03-02T14:34:59Z"},
        {"features": {"rsi": 1.0}},
    ],
)
async def test_other_content_under_the_same_key_is_a_conflict(api: Api, changed: dict[str, Any]) -> None:
    await publish(api, "morning")
    answered = await publish(api, "morning", **changed)
    assert (answered.status, answered.code) == (409, "conflict")
    assert answered.fields == [*changed]
    assert (
        f"was used for sequence 1 of ES with other content ({answered.fields[0]})" in answered.json["detail"]
    )
    assert api.counts == {"signals_published": 1}
    assert len(api.hub.sent) == 1


async def test_a_retry_that_leaves_its_times_out_again_is_the_same_signal(api: Api) -> None:
    first = await publish(api, "morning")
    for _ in range(3):
        api.clock.forward(100)
        again = await publish(api, "morning")
        assert (again.status, again.json) == (200, first.json)
    api.clock.forward(-300)
    sent = await publish(api, "noon", expires_at="2026-03-02T14:40:00Z")
    for left_out in (["expires_at"], ["event_at", "expires_at"]):
        changed = {} if "event_at" in left_out else {"event_at": sent.json["event_at"]}
        assert (await publish(api, "noon", **changed)).fields == ["expires_at"]


async def test_a_retry_is_answered_as_the_signal_was_after_it_has_expired_or_the_market_has_closed(
    api: Api,
) -> None:
    times = {"event_at": "2026-03-02T14:29:00Z", "expires_at": "2026-03-02T14:30:20Z"}
    first, keyed = await publish(api, **times), await publish(api, "morning", **times)
    api.clock.forward(30)
    for again, earlier in (
        (await publish(api, **times), first),
        (await publish(api, "morning", **times), keyed),
    ):
        assert (again.status, again.json) == (200, earlier.json)
    assert (await publish(api, "evening", **times)).fields == ["expires_at"]
    # Another alert that is dead on arrival is no retry, although it has the same price.
    dead = times | {"expires_at": "2026-03-02T14:30:21Z"}
    assert (await publish(api, **dead)).fields == ["expires_at"]
    assert (await publish(api, **times, stop_price="6500")).fields == ["expires_at"]
    api.clock.time = SATURDAY
    assert (await publish(api, "morning", **times)).status == 200
    assert (await publish(api, "morning", **times, side="SHORT")).code == "conflict"
    assert (await publish(api, **times)).fields == ["expires_at", "symbol"]
    assert api.counts == {"signals_published": 2}


async def test_without_a_key_the_same_alert_within_a_minute_is_the_first_one(api: Api) -> None:
    first = await publish(api, stop_price="6500")
    api.clock.forward(59.9)
    again = await publish(api, features={"rsi": 1.0})
    assert (again.status, again.json) == (200, first.json)
    assert api.counts == {"signals_published": 1}
    assert len(api.hub.sent) == 1
    api.clock.forward(0.1)
    later = await publish(api)
    assert (later.status, later.json["sequence"]) == (201, 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"symbol": "NQ"},
        {"strategy": "other"},
        {"kind": "exit"},
        {"side": "SHORT"},
        {"price": "6543.50"},
    ],
)
async def test_another_alert_within_the_minute_is_another_signal(api: Api, changed: dict[str, Any]) -> None:
    assert [(await publish(api)).status, (await publish(api, **changed)).status] == [201, 201]


async def test_an_alert_with_a_key_of_its_own_is_another_signal(api: Api) -> None:
    statuses = [(await publish(api, key)).status for key in (None, "k-1", "k-2", None)]
    assert statuses == [201, 201, 201, 200]


async def test_the_same_alert_of_another_account_is_another_signal(api: Api) -> None:
    await publish(api)
    key = await api.key("publisher", account="acct-2")
    assert (await api.call("POST", "signals", key=key, body=SIGNAL)).status == 201


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
        ({"event_at": "2026-02-28T14:30:00Z"}, ["event_at"]),
        ({"event_at": "2000-01-01T00:00:00Z"}, ["event_at"]),
        ({"expires_at": "2026-02-28T14:30:00Z"}, ["expires_at"]),
        ({"kind": "exit", "event_at": "2026-02-23T14:29:59Z"}, ["event_at"]),
        ({"stop_price": "6553.25", "target_price": "6533.25"}, ["stop_price", "target_price"]),
        ({"side": "SHORT", "stop_price": "6533.25"}, ["stop_price"]),
        ({"price": "6543.10"}, ["price"]),
        ({"price": "0"}, ["price"]),
        ({"price": "-6543.25"}, ["price"]),
        ({"price": "999999999"}, ["price"]),
        ({"symbol": "COINS", "price": "-0.01"}, ["price"]),
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
        {"symbol": "COINS", "price": "0.12345678"},
        {"symbol": "COINS", "price": "10000000"},
        {"price": "0.25"},
        {"price": "100000"},
        {"strategy": "m"},
        {"strategy": "m" * 64},
        {"strategy_version": 1_000_000},
        {"event_at": "2026-03-02T14:30:05Z"},
        {"event_at": "2026-03-02T14:25:00.000001Z"},
        {"kind": "exit", "event_at": "2026-02-23T14:30:00Z"},
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


async def test_an_entry_in_a_closed_market_is_refused_and_an_exit_is_not(api: Api) -> None:
    api.clock.time = SATURDAY
    answered = await publish(api)
    assert (answered.status, answered.code, answered.fields) == (422, "validation_failed", ["symbol"])
    (error,) = answered.json["errors"]
    assert error["code"] == "market_closed"
    assert "It opens next at 2026-03-08T22:00:00Z." in error["message"]
    assert (await publish(api, kind="exit")).status == 201
    assert (await publish(api, symbol="COINS")).status == 201


async def test_a_price_far_from_the_newest_bar_is_refused_while_the_bar_is_recent(api: Api) -> None:
    api.stores.bars.put("ES", [bar(api.clock() - timedelta(minutes=3), 6500)])
    answered = await publish(api, price="654.25")
    assert (answered.status, answered.fields) == (422, ["price"])
    assert (await publish(api, symbol="NQ", price="654.25")).status == 201
    api.clock.forward(5 * 86_400)  # a Saturday, when exits are accepted
    assert (await publish(api, price="654.25", kind="exit")).status == 201


async def test_a_bar_out_of_session_makes_no_good_price_refused(api: Api) -> None:
    """A stray bar of Saturday silenced ES."""
    stray = api.clock().replace(minute=0, second=0, microsecond=0) - timedelta(hours=40)
    assert stray.weekday() >= 5
    for symbol, status in (("ES", 201), ("COINS", 422)):
        api.stores.bars.put(symbol, [bar(stray, 100)])
        assert (await publish(api, symbol=symbol)).status == status


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
    for price in ("6543.25", "6543.50", "6543.75"):
        await publish(api, price=price)
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
    for number in range(101):
        await api.call("POST", "signals", key=key, body=SIGNAL | {"price": 6500 + number})
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
