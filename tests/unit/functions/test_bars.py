"""Bars that a feeder sends: stored, run through the engine at once, and each bad one named."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import Bar
from shared.services.signal_engine import SignalEngine
from tests.support.api import Answered, Api
from tests.support.market import simulated_es
from tests.support.requests import BAR
from tests.support.strategies import VWAP_BOUNCE_RULES


async def send(api: Api, bars: Sequence[Any], symbol: str = "ES", **more: Any) -> Answered:
    key = await api.key("feeder")
    return await api.call("POST", "bars", key=key, body={"symbol": symbol, "bars": bars, **more})


def report(accepted: int, **counts: Any) -> dict[str, Any]:
    """The report on bars of ES of which none was refused or made a signal; what is not given is 0."""
    zeros = dict.fromkeys(("inserted", "duplicates", "corrected", "late", "out_of_session", "quarantined"), 0)
    number = {"received": accepted, "accepted": accepted}
    return {"symbol": "ES", **number, **zeros, "refused": [], "signals": [], "hindsight": None, **counts}


async def test_new_bars_are_stored_and_known_ones_are_duplicates(api: Api) -> None:
    answered = await send(api, [BAR])
    assert answered.json == report(1, inserted=1)
    later = BAR | {"open_time": "2026-03-02T14:30:00Z"}
    api.clock.forward(60)
    answered = await send(api, [BAR | {"open": "1.00"}, later])
    assert answered.json == report(2, inserted=1, duplicates=1)
    assert api.counts == {"bars_received": 3}
    (first, second) = api.stores.bars.bars["ES"].values()
    assert (first.source, first.received_at) == ("live", api.clock() - timedelta(minutes=1))
    assert second.received_at == api.clock()
    assert api.hub.sent == []


async def test_other_content_of_a_minute_is_a_correction(api: Api) -> None:
    await send(api, [BAR | {"volume": 900}])
    corrected = BAR | {"volume": 1012, "close": "1.25"}
    answered = await send(api, [corrected])
    assert answered.json == report(1, corrected=1, hindsight={"dropped": [], "changed": [], "missed": []})
    (stored,) = api.stores.bars.bars["ES"].values()
    assert (stored.bar.volume, stored.bar.close) == (1012, Decimal("1.25"))
    assert (await send(api, [corrected])).json == report(1, duplicates=1)
    in_one_body = [BAR | {"open_time": "2026-03-02T14:28:00Z", "volume": volume} for volume in (1, 1, 2)]
    answered = (await send(api, in_one_body)).json
    assert (answered["inserted"], answered["corrected"], answered["duplicates"], answered["late"]) == (
        1,
        1,
        1,
        1,
    )
    assert [stored.bar.volume for stored in api.stores.bars.bars["ES"].values()] == [1012, 2]


async def test_bars_that_come_after_a_later_minute_are_counted_late_and_used(api: Api) -> None:
    minutes = [BAR | {"open_time": f"2026-03-02T14:{minute}:00Z"} for minute in range(10, 30)]
    await send(api, [minutes[-1]])
    answered = await send(api, minutes[:-1])
    assert answered.json["late"] == answered.json["inserted"] == 19
    assert (await status_of_es(api))["missing_minutes"] == 910
    state = api.stores.bars.state("ES", "vwap_bounce")
    api.stores.bars = type(api.stores.bars)(api.stores.server, api.stores.signals)
    ordered = api.stores.bars
    ordered.put("ES", [msgspec.convert(one, Bar, strict=False) for one in minutes])
    await SignalEngine(ordered, market_calendars(), VWAP_BOUNCE_RULES, "wall").run("ES", api.clock())
    assert state == ordered.state("ES", "vwap_bounce")


async def status_of_es(api: Api) -> dict[str, Any]:
    answered = await api.call("GET", "status", key=await api.key("ops"))
    (feed,) = answered.json["feeds"]
    return dict(feed)


async def test_bars_out_of_session_are_counted_and_stored(api: Api) -> None:
    hours = ("2026-03-01T22:59:00Z", "2026-03-01T23:00:00Z", "2026-02-27T22:00:00Z", "2026-02-27T21:59:00Z")
    answered = await send(api, [BAR | {"open_time": hour} for hour in hours])
    assert (answered.json["out_of_session"], answered.json["inserted"]) == (2, 4)
    assert len(api.stores.bars.bars["ES"]) == 4


async def test_a_suspicious_bar_is_quarantined_counted_and_shown_until_the_next_confirm_it(api: Api) -> None:
    def minute(number: int, price: str) -> dict[str, Any]:
        prices = dict.fromkeys(("open", "high", "low", "close"), price)
        return BAR | prices | {"open_time": f"2026-03-02T14:{number:02}:00Z"}

    await send(api, [minute(number, "6500") for number in range(20)])
    answered = await send(api, [minute(20, "6560"), minute(21, "6560")])
    assert (answered.json["quarantined"], answered.json["inserted"]) == (2, 2)
    assert api.counts["bars_quarantined"] == 2
    assert (await status_of_es(api))["quarantined"] == 2
    answered = await send(api, [minute(22, "6560")])
    assert answered.json["quarantined"] == 0
    assert (await status_of_es(api))["quarantined"] == 0
    await send(api, [minute(23, "6500"), minute(24, "6560")])
    assert (await status_of_es(api))["quarantined"] == 1, "the spike stays, the next minute is usual again"


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
        ({"open_time": "2026-03-02T14:30:00Z"}, "open_time", "out_of_range"),
        ({"open_time": "9999-12-31T23:59:00Z"}, "open_time", "out_of_range"),
        ({"low": "0.01"}, "low", "out_of_range"),
        ({"low": 0}, "low", "out_of_range"),
        ({"low": "-0.25"}, "low", "out_of_range"),
        ({"close": "1.10"}, "close", "out_of_range"),
        ({"high": "100000.25"}, "high", "out_of_range"),
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
        {"open_time": "2026-03-02T09:29:00-05:00"},
        dict.fromkeys(("open", "high", "low", "close"), "100000"),
        dict.fromkeys(("open", "high", "low", "close"), "0.25"),
        dict.fromkeys(("open", "high", "low", "close"), "1.250000"),
        {"volume": 0},
        {"volume": 1_000_000_000},
        {"low": 1, "open": 1, "high": 1, "close": 1},
    ],
)
async def test_the_ends_of_every_range_are_accepted(api: Api, changed: dict[str, Any]) -> None:
    assert (await send(api, [BAR | changed])).status == 200


async def test_a_bar_is_taken_when_its_minute_is_over_by_our_clock_and_two_seconds_before(api: Api) -> None:
    present = BAR | {"open_time": "2026-03-02T14:30:00Z"}
    answered = await send(api, [present])
    assert (answered.status, answered.fields) == (422, ["bars[0].open_time"])
    (error,) = answered.json["errors"]
    assert error["message"] == (
        "This minute is over at 2026-03-02T14:31:00Z, 1 min in the future: it is 2026-03-02T14:30:00Z here. "
        "Send a bar when its minute is over. open_time is the start of the minute. If your feed stamps bars "
        "with their end, as NinjaTrader and others do, subtract one minute; otherwise compare its clock with "
        "ours."
    )
    api.clock.forward(58)
    assert (await send(api, [present])).status == 200
    api.clock.forward(-0.001)
    assert (await send(api, [present | {"volume": 4}])).fields == ["bars[0].open_time"]


@pytest.mark.parametrize(
    ("symbol", "price", "message"),
    [
        ("ES", "0", "Must be above 0: ES has no other prices."),
        ("NQ", "-0.25", "Must be above 0: NQ has no other prices."),
        ("ES", "6500.10", "Must be a multiple of 0.25, the tick of ES."),
        ("RTY", "2400.05", "Must be a multiple of 0.10, the tick of RTY."),
        ("YM", "46000.5", "Must be a multiple of 1, the tick of YM."),
        ("CL", "-37.635", "Must be a multiple of 0.01, the tick of CL."),
    ],
)
async def test_prices_at_which_an_instrument_never_trades_are_refused(
    api: Api, symbol: str, price: str, message: str
) -> None:
    key = await api.key("feeder", symbols=("ES", "NQ", "RTY", "YM", "CL"))
    bars = [BAR | dict.fromkeys(("open", "high", "low", "close"), price)]
    answered = await api.call("POST", "bars", key=key, body={"symbol": symbol, "bars": bars})
    assert answered.status == 422
    assert {error["message"] for error in answered.json["errors"]} == {message}
    assert len(answered.fields) == 4


async def test_crude_may_be_negative(api: Api) -> None:
    key = await api.key("feeder", symbols=("CL",))
    bars = [BAR | dict.fromkeys(("open", "high", "low", "close"), "-37.63")]
    answered = await api.call("POST", "bars", key=key, body={"symbol": "CL", "bars": bars})
    assert (answered.status, answered.json["inserted"]) == (200, 1)


@pytest.mark.parametrize("price", ["0", "-1"])
async def test_a_symbol_that_is_not_known_trades_above_zero(api: Api, price: str) -> None:
    """Such a bar silenced the symbol: no signal's price is near it."""
    key = await api.key("feeder", symbols=("BTC",))
    bars = [BAR | dict.fromkeys(("open", "high", "low", "close"), price)]
    answered = await api.call("POST", "bars", key=key, body={"symbol": "BTC", "bars": bars})
    assert (answered.status, len(answered.fields)) == (422, 4)


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
