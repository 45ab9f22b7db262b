"""Bars that a feeder sends: stored, run through the engine at once, and each bad one named."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.market.bars import Bar
from tests.support.api import Answered, Api
from tests.support.market import simulated_es
from tests.support.requests import BAR


async def send(api: Api, bars: Sequence[Any], symbol: str = "ES", **more: Any) -> Answered:
    key = await api.key("feeder")
    return await api.call("POST", "bars", key=key, body={"symbol": symbol, "bars": bars, **more})


async def test_new_bars_are_stored_and_known_ones_are_duplicates(api: Api) -> None:
    answered = await send(api, [BAR])
    assert answered.json == {
        "symbol": "ES",
        "received": 1,
        "accepted": 1,
        "inserted": 1,
        "duplicates": 0,
        "refused": [],
        "signals": [],
    }
    later = BAR | {"open_time": "2026-03-02T14:30:00Z"}
    answered = await send(api, [BAR, later])
    told = [answered.json[name] for name in ("received", "accepted", "inserted", "duplicates", "refused")]
    assert told == [2, 2, 1, 1, []]
    assert api.counts == {"bars_received": 3}
    (first, _) = api.stores.bars.bars["ES"].values()
    assert (first.source, first.received_at) == ("live", api.clock())
    assert api.hub.sent == []


async def test_the_source_is_kept(api: Api) -> None:
    await send(api, [BAR], source="simulated")
    (stored,) = api.stores.bars.bars["ES"].values()
    assert stored.source == "simulated"


async def test_bars_that_signal_are_answered_pushed_and_counted(api: Api) -> None:
    bars = simulated_es()[:1_200]
    api.clock.time = bars[-1].close_time
    await send(api, bars[:-600])
    assert api.hub.sent == [], "signals from old bars are not published"
    api.hub.sent.clear()
    signals: list[dict[str, Any]] = []
    for one in bars[-600:]:
        api.clock.time = one.close_time
        answered = await send(api, [one])
        signals += answered.json["signals"]
    assert signals
    assert [message["sequence"] for message in signals] == list(range(1, len(signals) + 1))
    assert api.hub.sent == [("symbol.ES", message) for message in signals]
    assert api.counts == {"bars_received": 1_200, "signals_published": len(signals)}
    assert await api.stores.outbox.pending() == []


async def test_a_request_holds_up_to_5_000_bars(api: Api) -> None:
    first = api.clock() - timedelta(minutes=6_000)
    bars = [
        Bar(first + timedelta(minutes=n), Decimal(1), Decimal(1), Decimal(1), Decimal(1), 1)
        for n in range(5_001)
    ]
    answered = await send(api, bars)
    assert (answered.status, answered.code) == (413, "batch_too_large")
    assert "at most 5000 bars; this one has 5001" in answered.json["detail"]
    assert api.stores.bars.bars == {}
    answered = await send(api, bars[:-1])
    assert (answered.status, answered.json["inserted"]) == (200, 5_000)


async def test_a_request_holds_at_least_one_bar(api: Api) -> None:
    answered = await send(api, [])
    assert (answered.status, answered.code, answered.fields) == (422, "validation_failed", ["bars"])


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"open_time": "2026-03-02T14:29:00"}, "open_time", "wrong_type"),
        ({"open_time": "2026-03-02T14:29:01Z"}, "open_time", "out_of_range"),
        ({"open_time": "2026-03-02T14:29:00.000001Z"}, "open_time", "out_of_range"),
        ({"open_time": "2026-03-02T14:31:00Z"}, "open_time", "out_of_range"),
        ({"open_time": "1999-12-31T23:59:00Z"}, "open_time", "out_of_range"),
        ({"open_time": "yesterday"}, "open_time", "invalid_format"),
        ({"open": "10000000.000001"}, "open", "out_of_range"),
        ({"low": "-10000000.000001"}, "low", "out_of_range"),
        ({"close": "1.0000001"}, "close", "out_of_range"),
        ({"close": "NaN"}, "close", "invalid_format"),
        ({"close": "Infinity"}, "close", "invalid_format"),
        ({"high": "1e1000000"}, "high", "invalid_format"),
        ({"high": 1}, "high", "out_of_range"),
        ({"low": "1.5", "high": 3}, "low", "out_of_range"),
        ({"volume": -1}, "volume", "out_of_range"),
        ({"volume": 1_000_000_001}, "volume", "out_of_range"),
        ({"volume": 1.5}, "volume", "wrong_type"),
        ({"volume": None}, "volume", "wrong_type"),
        ({"colour": "red"}, "colour", "unknown_field"),
    ],
)
async def test_each_bad_field_of_a_bar_is_named(
    api: Api, changed: dict[str, Any], field: str, code: str
) -> None:
    answered = await send(api, [BAR | changed])
    assert answered.status == 422
    errors = [(error["field"], error["code"]) for error in answered.json["errors"]]
    assert errors == [(f"bars[0].{field}", code)]
    assert api.stores.bars.bars == {}
    assert api.counts == {}
    answered = await send(api, [BAR, BAR | changed])
    assert (answered.status, answered.json["inserted"]) == (200, 1)
    ((refused,),) = [answered.json["refused"]]
    errors = [(error["field"], error["code"]) for error in refused["errors"]]
    assert (refused["index"], errors) == (1, [(f"bars[1].{field}", code)])


@pytest.mark.parametrize(
    "changed",
    [
        {"open_time": "2000-01-01T00:00:00Z"},
        {"open_time": "2026-03-02T14:30:00Z"},
        {"open_time": "2026-03-02T09:29:00-05:00"},
        dict.fromkeys(("open", "high", "low", "close"), "10000000"),
        dict.fromkeys(("open", "high", "low", "close"), "-10000000"),
        dict.fromkeys(("open", "high", "low", "close"), "1.000001"),
        {"volume": 0},
        {"volume": 1_000_000_000},
        {"low": 1, "open": 1, "high": 1, "close": 1},
    ],
)
async def test_the_ends_of_every_range_are_accepted(api: Api, changed: dict[str, Any]) -> None:
    assert (await send(api, [BAR | changed])).status == 200


async def test_a_feed_may_be_five_seconds_ahead_of_us(api: Api) -> None:
    api.clock.forward(55)
    ahead = BAR | {"open_time": "2026-03-02T14:31:00Z"}
    assert (await send(api, [ahead])).status == 200
    api.clock.forward(-0.001)
    assert (await send(api, [ahead])).fields == ["bars[0].open_time"]


async def test_the_number_of_errors_is_bounded(api: Api) -> None:
    answered = await send(api, [BAR | {"high": 0, "low": 3}] * 100)
    assert len(answered.fields) == 50


@pytest.mark.parametrize("symbol", ["es", "", "1ES", "E" * 13, "E-S"])
async def test_what_is_no_symbol_is_refused(api: Api, symbol: str) -> None:
    answered = await send(api, [BAR], symbol)
    assert (answered.status, answered.fields) == (422, ["symbol"])


async def test_only_symbols_of_the_license_are_taken(api: Api) -> None:
    answered = await send(api, [BAR], "CL")
    assert (answered.status, answered.code, answered.fields) == (403, "symbol_not_licensed", ["symbol"])
    assert api.counts == {"refused.symbol_not_licensed": 1}
    assert api.stores.bars.bars == {}


async def test_without_the_database_nothing_is_taken(api: Api) -> None:
    api.stores.server.away = True
    answered = await send(api, [BAR])
    assert (answered.status, answered.code) == (503, "database_unavailable")
    assert api.counts == {"requests_failed": 1}


async def test_a_hub_that_is_away_fails_no_feeder(api: Api) -> None:
    api.hub.away = True
    signals = 0
    for one in simulated_es()[:400]:
        api.clock.time = one.close_time
        answered = await send(api, [one])
        assert answered.status == 200
        signals += len(answered.json["signals"])
    assert signals
    assert (await api.stores.outbox.depth())[0] == signals
