"""Confidences are answered singly and in batches, with honest ages, and without servers."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from shared.domain.confidence.answers import (
    CONFIDENCE_TTL_S,
    ConfidenceAnswer,
    decode_output,
)
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import ServedModel
from shared.services.evaluator import ConfidenceEvaluator
from tests.support.evaluator import (
    STATE,
    Clock,
    Engine,
    Models,
    Redis,
    ask,
    asked,
    evaluator,
    stored_model,
    until,
)
from tests.support.strategies import STATES, STRATEGIES, market_state


async def test_the_first_answer_is_computed_and_the_second_comes_from_the_cache_with_its_age() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    first = await ask(service, redis)
    await until(lambda: bool(redis.values))
    await asyncio.sleep(0.02)
    second = await ask(service, redis)
    assert first == ConfidenceAnswer(0.35, "ES", "LONG", "vwap_bounce", "vwap_bounce-a", "model", False, 0)
    assert (second.confidence, second.cached, second.model_version) == (0.35, True, "vwap_bounce-a")
    assert 15 <= second.age_ms < 1000
    assert engine.evaluated == [1]
    assert redis.locks == {}


async def test_queries_asked_again_are_kept_made_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.services.evaluator.MAX_QUERIES", 3)
    service = evaluator(Models(stored_model()), Redis(), Engine(), time.monotonic)
    first = await asked(service)
    assert await asked(service) is first
    others = [market_state("vwap_bounce", "ES", "LONG", {"vwap_distance": 2.1, "rsi": n}) for n in range(9)]
    for state in others:
        assert (await asked(service, state)).state == state
        assert len(service._queries) <= 3


async def test_without_redis_values_are_computed_and_kept_for_two_seconds_in_process() -> None:
    redis, engine, clock = Redis(away=True), Engine(), Clock()
    service = evaluator(Models(stored_model()), redis, engine, clock)
    first = await ask(service, redis)
    clock.now += CONFIDENCE_TTL_S - 0.5
    second = await ask(service, redis)
    clock.now += 0.5
    third = await ask(service, redis)
    assert [(answer.cached, answer.age_ms) for answer in (first, second, third)] == [
        (False, 0),
        (True, 1500),
        (False, 0),
    ]
    assert engine.evaluated == [1, 1]


async def test_the_cache_kept_in_process_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.services.evaluator.MAX_LOCAL", 3)
    redis, engine = Redis(away=True), Engine()
    service = evaluator(Models(stored_model()), redis, engine, Clock())
    for rsi in (10, 11, 12, 13, 10):
        body = b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": %d}' % rsi
        await ask(service, redis, STATES.read(body))
    assert len(engine.evaluated) == 5, "the oldest made room, so it was computed again"


@pytest.mark.parametrize("rubbish", [b"", b"\xff", b"[2]", b'["x", "y", "z"]', b"[0.5]"])
def test_rubbish_in_the_cache_is_no_output(rubbish: bytes) -> None:
    assert decode_output(rubbish) is None


async def test_an_evaluation_that_fails_leaves_the_base_rate_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    redis, engine = Redis(), Engine(broken=True)
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    for rsi in (20, 30):
        body = b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": %d}' % rsi
        answer = await ask(service, redis, STATES.read(body))
        assert (answer.confidence, answer.basis) == (0.6, "base_rate")
    assert len([line for line in caplog.messages if "the answer is its base rate" in line]) == 1


async def test_a_batch_is_one_run_a_strategy_in_the_order_asked_and_equal_to_single_answers() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    states = STATES.read_batch(
        b'{"states": [%s]}'
        % b",".join(
            b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2, "rsi": %d}' % rsi
            for rsi in range(100)
        )
    )
    answers = await service.answer_batch(states)
    assert engine.evaluated == [100]
    assert [answer.confidence for answer in answers] == [rsi / 100 for rsi in range(100)]
    single = await ask(service, redis, states[42])
    assert single == answers[42]


async def test_every_evaluation_is_told_by_its_number_of_states() -> None:
    told: list[int] = []
    redis = Redis()
    service = ConfidenceEvaluator(
        strategies=STRATEGIES,
        models=Models(stored_model()),
        cache=redis,
        inference=Engine(),
        clock=time.monotonic,
        evaluated=told.append,
    )
    await ask(service, redis)
    await ask(service, redis)
    await service.answer_batch([STATE] * 3)
    assert told == [1, 3]


async def test_a_batch_of_several_strategies_keeps_its_order() -> None:
    service = evaluator(Models(stored_model()), Redis(), Engine(), time.monotonic)
    bodies = (
        b'{"symbol": "ES", "signal_type": "SHORT", "vwap_distance": 2, "rsi": 20}',
        b'{"strategy": "capitulation_reversal", "symbol": "NQ", "signal_type": "LONG", "price": 1,'
        b'"flush_size_ticks": 38, "flush_velocity": 5, "flush_direction": "DOWN",'
        b'"distance_from_flush_low": 9, "rsi": 17, "volume_climax_ratio": 1.2,'
        b'"vwap_distance_ticks": -122, "reversal_candle": true, "no_new_extreme": true,'
        b'"regime": "NORMAL_CHOPPY", "session": "ETH", "hour": 3}',
        b'{"symbol": "CL", "signal_type": "LONG", "vwap_distance": 2, "rsi": 40}',
    )
    answers = await service.answer_batch([STATES.read(body) for body in bodies])
    assert [(each.strategy, each.symbol, each.signal_type) for each in answers] == [
        ("vwap_bounce", "ES", "SHORT"),
        ("capitulation_reversal", "NQ", "LONG"),
        ("vwap_bounce", "CL", "LONG"),
    ]
    assert [answers[0].confidence, answers[2].confidence] == [0.2, 0.4]
    assert {(each.cached, each.age_ms) for each in answers} == {(False, 0)}


async def test_confidences_have_four_decimals() -> None:
    class Precise(Engine):
        def probabilities(self, model: ServedModel, states: Sequence[MarketState]) -> list[float]:
            return [0.123456] * len(states)

    redis = Redis()
    answer = await ask(evaluator(Models(stored_model()), redis, Precise(), time.monotonic), redis)
    assert answer.confidence == 0.1235
