"""Trades that bots report, and what each account reads of its own."""

from typing import Any

import pytest

from tests.support.api import Answered, Api
from tests.support.requests import SIGNAL, TRADE
from tests.support.samples import priced


async def report(api: Api, body: object) -> Answered:
    return await api.call("POST", "trades", key=await api.key("bot"), body=body)


async def read(api: Api, path: str = "trades", **params: Any) -> Answered:
    return await api.call("GET", path, key=await api.key("bot"), **params)


def trade(number: int, **changed: Any) -> dict[str, Any]:
    """A trade whose pnl follows from its prices, unless a test gives it."""
    return priced(TRADE | {"trade_id": f"t-{number}", **changed}) | changed


async def test_a_bare_trade_is_a_report_of_one(api: Api) -> None:
    answered = await report(api, TRADE)
    assert answered.status == 200
    assert answered.json == {
        "accepted": 1,
        "recorded": 1,
        "duplicates": 0,
        "conflicts": 0,
        "results": [{"trade_id": "t-1", "status": "recorded", "index": 0}],
        "refused": [],
    }
    assert api.counts == {"trades_recorded": 1}


async def test_a_report_says_what_became_of_each_trade(api: Api) -> None:
    await report(api, TRADE)
    answered = await report(api, {"trades": [trade(2), TRADE, trade(1, fees="1")]})
    assert [result["status"] for result in answered.json["results"]] == ["recorded", "duplicate", "conflict"]
    assert api.counts == {"trades_recorded": 2}


async def test_a_report_holds_from_1_to_500_trades(api: Api) -> None:
    assert (await report(api, {"trades": []})).fields == ["trades"]
    answered = await report(api, {"trades": [trade(n) for n in range(501)]})
    assert (answered.status, answered.code) == (413, "batch_too_large")
    answered = await report(api, {"trades": [trade(n) for n in range(500)]})
    assert (answered.status, answered.json["recorded"]) == (200, 500)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {f"trades[0].{name}" for name in TRADE}),
        (TRADE | {"side": "UP"}, {"trades[0].side"}),
        ({"trades": TRADE}, {"trades"}),
        ({"trades": None}, {"trades"}),
        ({"trades": [TRADE], "symbol": "ES"}, {"symbol"}),
        ({"trades": [7]}, {"trades[0]"}),
        ({"trades": [TRADE, 7], "symbol": "ES"}, {"symbol", "trades[1]"}),
        ([TRADE], {""}),
        (7, {""}),
        (None, {""}),
    ],
)
async def test_a_body_of_another_shape_is_refused(api: Api, body: object, fields: set[str]) -> None:
    key = await api.key("bot")
    content = b"null" if body is None else None
    answered = await api.call("POST", "trades", key=key, body=body, content=content)
    assert answered.status == 422
    assert set(answered.fields) == fields
    assert api.stores.trades.recorded == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"trade_id": "t"},
        {"trade_id": "A" * 64},
        {"trade_id": "a.b_c:d-9"},
        {"symbol": "NQ"},
        {"signal_sequence": 1},
        {"signal_sequence": 10**15},
        {"confidence": 0},
        {"confidence": 1},
        {"model_version": ""},
        {"model_version": "m" * 128},
        {"strategy": "capitulation_reversal"},
        {"pnl": "112.12345678"},
        {"fees": "0"},
        {"features": {"vwap_distance": 2.1, "rsi": 35}},
    ],
)
async def test_the_ends_of_every_range_are_accepted(api: Api, changed: dict[str, Any]) -> None:
    answered = await report(api, priced(TRADE | changed) | changed)
    assert (answered.status, answered.json["recorded"]) == (200, 1)


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"trade_id": ""}, "trade_id", "invalid_format"),
        ({"trade_id": "A" * 65}, "trade_id", "invalid_format"),
        ({"trade_id": "a b"}, "trade_id", "invalid_format"),
        ({"symbol": "es"}, "symbol", "invalid_format"),
        ({"signal_sequence": 0}, "signal_sequence", "out_of_range"),
        ({"signal_sequence": 10**15 + 1}, "signal_sequence", "out_of_range"),
        ({"confidence": -0.01}, "confidence", "out_of_range"),
        ({"confidence": 1.01}, "confidence", "out_of_range"),
        ({"model_version": "m" * 129}, "model_version", "out_of_range"),
        ({"model_version": "a\0b"}, "model_version", "invalid_format"),
        ({"strategy": "Vwap"}, "strategy", "invalid_format"),
        ({"strategy": "momentum"}, "strategy", "unknown_value"),
        ({"pnl": "0.123456789"}, "pnl", "out_of_range"),
        ({"quantity": 0}, "quantity", "out_of_range"),
        ({"pnl": "108.00", "fees": "4.50"}, "pnl", "out_of_range"),
        ({"pnl": "-112.50"}, "pnl", "out_of_range"),
        ({"quantity": 2}, "pnl", "out_of_range"),
        ({"side": "SHORT"}, "pnl", "out_of_range"),
        ({"symbol": "NQ"}, "pnl", "out_of_range"),
        ({"fees": "-4.50"}, "fees", "out_of_range"),
        ({"exit_at": "2026-03-02T14:35:01Z"}, "exit_at", "out_of_range"),
        ({"features": {"vwap_distance": 2.1}}, "features.rsi", "missing"),
    ],
)
async def test_each_bad_field_is_named(api: Api, changed: dict[str, Any], field: str, code: str) -> None:
    answered = await report(api, TRADE | changed)
    assert answered.status == 422
    errors = [(error["field"], error["code"]) for error in answered.json["errors"]]
    assert errors == [(f"trades[0].{field}", code)]
    assert api.stores.trades.recorded == {}


async def test_a_trade_of_a_published_strategy_without_features_is_kept_and_counted(api: Api) -> None:
    manual = TRADE | {"strategy": "manual", "features": {"news": "CPI", "score": 3, "late": True}}
    assert (await report(api, manual)).fields == ["trades[0].strategy"]
    publisher = await api.key("publisher")
    assert (await api.call("POST", "signals", key=publisher, body=SIGNAL)).status == 201
    answered = await report(api, manual)
    assert (answered.status, answered.json["recorded"]) == (200, 1)
    assert (await report(api, manual)).json["duplicates"] == 1
    (stored,) = (await read(api)).json["trades"]
    assert (stored["strategy"], stored["features"]) == ("manual", manual["features"])
    assert (await read(api, "performance")).json["trades"] == 1
    assert api.counts["trades_recorded"] == 1


@pytest.mark.parametrize(
    "features", [{"": 1}, {"f" * 65: 1}, {"a\0": 1}, {"news": "x" * 65}, {"news": "a\0b"}]
)
async def test_features_without_a_schema_are_bounded(api: Api, features: dict[str, Any]) -> None:
    await api.call("POST", "signals", key=await api.key("publisher"), body=SIGNAL)
    answered = await report(api, TRADE | {"strategy": "manual", "features": features})
    assert (answered.status, answered.fields) == (422, ["trades[0].features"])
    longest = {"f" * 64: "x" * 64, "g": ""}
    assert (await report(api, TRADE | {"strategy": "manual", "features": longest})).status == 200


async def test_an_unknown_strategy_is_told_what_to_report(api: Api) -> None:
    (error,) = (await report(api, TRADE | {"strategy": "momentum"})).json["errors"]
    assert error["message"] == (
        "Expected one of vwap_bounce, capitulation_reversal, or another strategy that has published a "
        'signal, got "momentum". Report the strategy of the signal that you followed.'
    )


async def test_trades_are_read_latest_first_in_pages_of_the_own_account(api: Api) -> None:
    minutes = ("13:45", "13:46", "13:47")
    trades = [trade(n, exit_at=f"2026-03-02T{at}:00Z") for n, at in enumerate(minutes)]
    await report(api, {"trades": trades})
    stranger = await api.key("bot", account="acct-2")
    assert (await api.call("GET", "trades", key=stranger)).json == {"trades": [], "next_cursor": None}
    first = (await read(api, limit="2")).json
    assert [each["trade_id"] for each in first["trades"]] == ["t-2", "t-1"]
    last = (await read(api, limit="2", cursor=first["next_cursor"])).json
    assert [each["trade_id"] for each in last["trades"]] == ["t-0"]
    assert last["next_cursor"] is None
    assert last["trades"][0]["received_at"] == "2026-03-02T14:30:00Z"


async def test_trades_and_performance_are_chosen_by_symbol_and_time(api: Api) -> None:
    trades = [trade(n, exit_at=f"2026-03-02T13:4{n}:00Z") for n in range(5, 8)]
    await report(api, {"trades": [*trades, trade(9, symbol="NQ", exit_price="6540.75", pnl="-50")]})

    async def found(**params: str) -> list[str]:
        performance = (await read(api, "performance", **params)).json
        page = (await read(api, **params)).json["trades"]
        assert performance["trades"] == len(page)
        return [each["trade_id"] for each in page]

    assert await found() == ["t-7", "t-6", "t-9", "t-5"]
    assert await found(symbol="NQ") == ["t-9"]
    assert await found(symbol="ES", since="2026-03-02T13:46:00Z") == ["t-7", "t-6"]
    assert await found(symbol="ES", until="2026-03-02T13:46:00Z") == ["t-5"]
    assert await found(since="2026-03-02T13:46:00 00:00", until="2026-03-02T13:47:00Z") == ["t-6"]
    assert (await read(api, "performance", symbol="NQ")).json["pnl"] == "-50"


async def test_a_page_holds_100_trades_unless_told_otherwise(api: Api) -> None:
    await report(api, {"trades": [trade(n) for n in range(101)]})
    page = (await read(api)).json
    assert len(page["trades"]) == 100
    assert page["next_cursor"] is not None
    assert len((await read(api, limit="500")).json["trades"]) == 101
    assert len((await read(api, limit="1")).json["trades"]) == 1


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"symbol": "es"}, "symbol"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-03-02T14:30:00"}, "until"),
    ],
)
async def test_a_bad_choice_is_named(api: Api, params: dict[str, str], field: str) -> None:
    for path in ("trades", "performance"):
        assert (await read(api, path, **params)).fields == [field]


@pytest.mark.parametrize(
    ("params", "field"),
    [({"limit": "0"}, "limit"), ({"limit": "501"}, "limit"), ({"cursor": "abc"}, "cursor")],
)
async def test_a_bad_page_is_named(api: Api, params: dict[str, str], field: str) -> None:
    assert (await read(api, **params)).fields == [field]
    (name,) = params
    assert (await read(api, "performance", **params)).fields == [name]


async def test_only_symbols_of_the_license_are_recorded(api: Api) -> None:
    for body in (trade(2, symbol="YM"), {"trades": [trade(2, symbol="YM")]}):
        answered = await report(api, body)
        assert (answered.status, answered.code) == (403, "symbol_not_licensed")
        assert answered.fields == ["trades[0].symbol"]
    assert api.stores.trades.recorded == {}


async def test_without_the_database_nothing_is_recorded_or_read(api: Api) -> None:
    api.stores.server.away = True
    for answered in (await report(api, TRADE), await read(api), await read(api, "performance")):
        assert (answered.status, answered.code) == (503, "database_unavailable")


async def withdraw(api: Api, trade_id: str, account: str = "acct-1") -> Answered:
    return await api.call("DELETE", f"trades/{trade_id}", key=await api.key("bot", account=account))


async def test_a_withdrawn_trade_is_marked_and_counts_no_more(api: Api) -> None:
    await report(api, {"trades": [trade(1), trade(2)]})
    answered = await withdraw(api, "t-1")
    assert answered.status == 200
    assert answered.json == {"trade_id": "t-1", "withdrawn_at": "2026-03-02T14:30:00Z"}
    listed = {each["trade_id"]: each["withdrawn_at"] for each in (await read(api)).json["trades"]}
    assert listed == {"t-1": "2026-03-02T14:30:00Z", "t-2": None}
    assert (await read(api, "performance")).json["trades"] == 1
    assert (await withdraw(api, "t-1")).json == answered.json
    assert api.counts == {"trades_recorded": 2, "trades_withdrawn": 1}


async def test_a_report_of_a_withdrawn_trade_says_that_it_stays_withdrawn(api: Api) -> None:
    await report(api, TRADE)
    await withdraw(api, "t-1")
    answered = await report(api, {"trades": [TRADE, trade(2)]})
    assert (answered.json["recorded"], answered.json["duplicates"]) == (1, 1)
    assert answered.json["results"] == [
        {"trade_id": "t-1", "status": "duplicate", "withdrawn": True, "index": 0},
        {"trade_id": "t-2", "status": "recorded", "index": 1},
    ]


async def test_a_trade_is_withdrawn_by_its_own_account_alone(api: Api) -> None:
    await report(api, TRADE)
    answered = await withdraw(api, "t-1", account="acct-2")
    assert (answered.status, answered.code) == (404, "trade_not_found")
    assert api.stores.trades.withdrawn_at == {}


async def test_a_trade_cannot_be_withdrawn_a_day_after_it_was_received(api: Api) -> None:
    await report(api, {"trades": [trade(1), trade(2)]})
    api.clock.forward(86_400)
    assert (await withdraw(api, "t-1")).status == 200
    api.clock.forward(1)
    answered = await withdraw(api, "t-2")
    assert (answered.status, answered.code) == (409, "withdrawal_expired")
    assert "2026-03-03T14:30:00Z" in answered.json["detail"]
    assert (await withdraw(api, "t-1")).status == 200, "it is withdrawn already"


@pytest.mark.parametrize("trade_id", ["a b", "A" * 65, "A" * 201, "t-1\n", "\uff54", "t;1", "{trade_id}x"])
async def test_a_trade_id_that_no_trade_can_have_is_named(api: Api, trade_id: str) -> None:
    answered = await withdraw(api, trade_id.replace("{", "{{").replace("}", "}}"))
    assert (answered.status, answered.code, answered.fields) == (422, "validation_failed", ["trade_id"])


async def test_other_methods_of_a_trade_are_refused_with_the_one_that_it_has(api: Api) -> None:
    for method in ("GET", "PUT", "PATCH", "POST"):
        answered = await api.call(method, "trades/t-1", key=await api.key("bot"))
        assert (answered.status, answered.headers["allow"]) == (405, "DELETE")
    assert (await api.call("DELETE", "trades", key=await api.key("bot"))).headers[
        "allow"
    ] == "POST, GET, HEAD"
