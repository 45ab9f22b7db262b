"""Confidences, for one market state and for a batch, through their routes."""

import asyncio
from typing import Any

import pytest

from shared.domain.confidence.answers import ModelOutput
from tests.support.api import Answered, Api
from tests.support.requests import SIGNAL, STATE
from tests.support.strategies import REVERSAL

PRIOR = {
    "confidence": 0.5,
    "symbol": "ES",
    "signal_type": "LONG",
    "strategy": "vwap_bounce",
    "model_version": "vwap_bounce-untrained",
    "basis": "base_rate",
    "cached": False,
    "age_ms": 0,
}


async def ask(api: Api, **changed: Any) -> Answered:
    return await api.call("POST", "ml/get_confidence", key=await api.key("bot"), body=STATE | changed)


async def ask_all(api: Api, states: object) -> Answered:
    key = await api.key("bot")
    return await api.call("POST", "ml/get_confidence/batch", key=key, body={"states": states})


async def test_the_first_answer_is_computed_and_the_next_is_cached(api: Api) -> None:
    assert (await ask(api)).json == PRIOR
    assert api.counts == {"confidence_asked": 1, "confidence_computed": 1}
    again = (await ask(api)).json
    assert again == PRIOR | {"cached": True, "age_ms": 7}
    assert api.counts == {"confidence_asked": 2, "confidence_computed": 1, "confidence_cached": 1}
    assert api.redis.locks == {}


async def test_a_cached_value_is_answered_with_its_model(api: Api) -> None:
    await ask(api)
    await asyncio.sleep(0)  # the value is cached beside the answer
    (key,) = api.redis.confidences
    api.redis.confidences[key] = ModelOutput(0.7, "model", "vwap_bounce-1")
    answered = (await ask(api)).json
    assert (answered["confidence"], answered["basis"], answered["model_version"]) == (
        0.7,
        "model",
        "vwap_bounce-1",
    )


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"rsi": 100.1}, "rsi", "out_of_range"),
        ({"rsi": "35"}, "rsi", "wrong_type"),
        ({"symbol": "XX"}, "symbol", "unknown_value"),
        ({"signal_type": "UP"}, "signal_type", "unknown_value"),
        ({"strategy": "momentum"}, "strategy", "unknown_value"),
    ],
)
async def test_a_bad_state_is_told_and_counts_as_asked(
    api: Api, changed: dict[str, Any], field: str, code: str
) -> None:
    answered = await ask(api, **changed)
    assert answered.status == 422
    assert (field, code) in [(error["field"], error["code"]) for error in answered.json["errors"]]
    assert api.counts == {"confidence_asked": 1}
    assert api.redis.locks == {}


async def publish_manually(api: Api) -> None:
    assert (await api.call("POST", "signals", key=await api.key("publisher"), body=SIGNAL)).status == 201


@pytest.mark.parametrize("state", [STATE, {}, {"symbol": "XX", "rsi": 101}])
async def test_a_published_strategy_without_features_has_no_confidence(
    api: Api, state: dict[str, Any]
) -> None:
    manual = state | {"strategy": "manual"}
    key = await api.key("bot")
    before = await api.call("POST", "ml/get_confidence", key=key, body=manual)
    assert (before.status, before.code) == (422, "validation_failed")
    await publish_manually(api)
    answered = await api.call("POST", "ml/get_confidence", key=key, body=manual)
    assert (answered.status, answered.code, answered.fields) == (404, "no_confidence", ["strategy"])
    assert answered.json["detail"] == (
        "There is no confidence for the strategy manual: it publishes signals, but has no features to learn "
        "from. Strategies with a confidence: vwap_bounce, capitulation_reversal."
    )
    assert api.redis.locks == {}
    assert api.counts["confidence_asked"] == 2


async def test_a_batch_names_each_state_without_a_confidence(api: Api) -> None:
    await publish_manually(api)
    manual = STATE | {"strategy": "manual"}
    answered = await ask_all(api, [STATE, manual, REVERSAL, manual])
    assert (answered.status, answered.code) == (404, "no_confidence")
    assert answered.fields == ["states[1].strategy", "states[3].strategy"]
    assert {error["code"] for error in answered.json["errors"]} == {"no_confidence"}
    assert answered.json["detail"].count("There is no confidence for the strategy manual") == 1
    mixed = await ask_all(api, [manual, STATE | {"rsi": 101}, STATE | {"strategy": "momentum"}])
    assert (mixed.status, mixed.code) == (422, "validation_failed")
    assert [(error["field"], error["code"]) for error in mixed.json["errors"]] == [
        ("states[0].strategy", "no_confidence"),
        ("states[1].rsi", "out_of_range"),
        ("states[2].strategy", "unknown_value"),
    ]


async def test_only_an_unknown_strategy_asks_the_database(api: Api) -> None:
    key = await api.key("bot")
    api.stores.server.away = True
    for body, status in ((STATE | {"rsi": 101}, 422), (STATE | {"strategy": "manual"}, 503)):
        answered = await api.call("POST", "ml/get_confidence", key=key, body=body)
        assert answered.status == status


async def test_the_key_is_judged_before_the_state(api: Api) -> None:
    answered = await api.call("POST", "ml/get_confidence", key=await api.key("ops"), body={})
    assert (answered.status, answered.code) == (403, "scope_missing")
    assert api.counts == {"refused.scope_missing": 1}


async def test_a_symbol_outside_of_the_license_gives_its_lock_back(api: Api) -> None:
    answered = await ask(api, symbol="CL")
    assert (answered.status, answered.code, answered.fields) == (403, "symbol_not_licensed", ["symbol"])
    assert api.counts == {"confidence_asked": 1, "refused.symbol_not_licensed": 1}
    assert api.redis.locks == {}
    assert api.redis.confidences == {}


async def test_without_the_cache_the_confidence_is_computed(api: Api) -> None:
    key = await api.key("bot")
    api.redis.away = True
    answered = await api.call("POST", "ml/get_confidence", key=key, body=STATE)
    assert answered.json == PRIOR
    assert api.counts == {"limiter_open": 1, "confidence_asked": 1, "confidence_computed": 1}


async def test_before_any_model_is_known_the_database_is_needed(api: Api) -> None:
    api.stores.server.away = True
    for answered in (await ask(api), await ask_all(api, [STATE])):
        assert (answered.status, answered.code) == (503, "database_unavailable")
    assert api.counts["requests_failed"] == 2


async def test_a_batch_is_answered_in_its_order_and_counts_each_state(api: Api) -> None:
    answered = await ask_all(api, [STATE | {"symbol": "NQ"}, REVERSAL, STATE | {"signal_type": "SHORT"}])
    assert answered.status == 200
    told = [
        (each["strategy"], each["symbol"], each["signal_type"], each["confidence"], each["cached"])
        for each in answered.json["confidences"]
    ]
    assert told == [
        ("vwap_bounce", "NQ", "LONG", 0.5, False),
        ("capitulation_reversal", "ES", "LONG", 0.5, False),
        ("vwap_bounce", "ES", "SHORT", 0.5, False),
    ]
    assert api.counts == {"confidence_asked": 3, "confidence_computed": 3}
    assert answered.headers["ratelimit"].startswith('"default";r=99;')


async def test_a_batch_holds_from_1_to_100_states(api: Api) -> None:
    assert (await ask_all(api, [])).fields == ["states"]
    answered = await ask_all(api, [STATE] * 101)
    assert (answered.status, answered.code) == (413, "batch_too_large")
    assert api.counts == {}
    assert len((await ask_all(api, [STATE] * 100)).json["confidences"]) == 100
    assert len((await ask_all(api, [STATE])).json["confidences"]) == 1


async def test_the_bad_states_of_a_batch_are_named(api: Api) -> None:
    answered = await ask_all(api, [STATE, STATE | {"rsi": 101}, 7])
    assert answered.fields == ["states[1].rsi", "states[2]"]
    answered = await ask_all(api, [STATE, STATE | {"symbol": "CL"}])
    assert (answered.status, answered.fields) == (403, ["states[1].symbol"])
    assert api.counts == {"confidence_asked": 2, "refused.symbol_not_licensed": 1}
