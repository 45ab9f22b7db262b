"""Single flight: in a process and across processes, queries of one state share one evaluation."""

import asyncio
import time
from collections.abc import Sequence
from unittest.mock import AsyncMock, patch

import pytest

from shared.domain.confidence.answers import (
    CONFIDENCE_TTL_S,
    CacheResult,
    ConfidenceAnswer,
    ModelOutput,
)
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import ServedModel
from shared.services import champions
from shared.services.evaluator import WAIT_S
from tests.support.evaluator import (
    Clock,
    Engine,
    Models,
    Redis,
    answered,
    ask,
    asked,
    evaluator,
    leading,
    stored_model,
    until,
)
from tests.support.strategies import STATES, market_state


async def test_who_shares_a_cache_result_or_an_evaluation_shares_its_answer() -> None:
    redis = Redis()
    service = evaluator(Models(stored_model()), redis, Engine(), time.monotonic)
    query = await asked(service)
    leader, follower = await asyncio.gather(
        service.answer(query, await redis.find(query.key)),
        service.answer(query, CacheResult(query.key)),
    )
    assert follower is leader
    await until(lambda: query.key in redis.values)
    cache_result = await redis.find(query.key)
    first, second = (service.cached_answer(query, cache_result) for _ in range(2))
    assert first is not None
    assert second is first


async def test_500_askers_over_4_processes_cause_one_evaluation_and_one_poll_a_process() -> None:
    redis, engine = Redis(), Engine()
    services = [evaluator(Models(stored_model()), redis, engine, time.monotonic) for _ in range(4)]
    answers = await asyncio.gather(*(ask(services[index % 4], redis) for index in range(500)))
    assert engine.evaluated == [1]
    assert {answer.confidence for answer in answers} == {0.35}
    assert redis.gets <= 3 * 4  # a naive waiter each would ask 375 times a turn
    assert redis.locks == {}


async def test_a_dead_lock_holder_costs_the_others_the_stated_wait_and_no_more() -> None:
    redis, engine = Redis(), Engine()
    services = [evaluator(Models(stored_model()), redis, engine, time.monotonic) for _ in range(2)]
    key = (await asked(services[0])).key
    redis.locks[key] = "of a process that died"
    started = time.monotonic()
    answers = await asyncio.gather(*(ask(services[index % 2], redis) for index in range(40)))
    assert WAIT_S <= time.monotonic() - started < WAIT_S + 0.5
    assert {answer.confidence for answer in answers} == {0.35}
    assert 1 <= len(engine.evaluated) <= 2  # one a process at most
    assert redis.locks == {key: "of a process that died"}, "a lock is released by its holder alone"


async def test_what_is_due_in_one_turn_of_the_loop_is_one_run_and_one_write() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    bodies = (
        b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2, "rsi": %d}' % rsi for rsi in range(20)
    )
    await asked(service)
    answers = await asyncio.gather(*(ask(service, redis, STATES.read(body)) for body in bodies))
    assert [answer.confidence for answer in answers] == [rsi / 100 for rsi in range(20)]
    assert engine.evaluated == [20]
    await until(lambda: not redis.locks)
    assert (redis.puts, len(redis.values)) == (1, 20)


async def test_one_bad_state_takes_the_model_from_none_but_itself() -> None:
    redis, engine = Redis(), Engine(refused_rsi=7)
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    bodies = (
        b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2, "rsi": %d}' % rsi for rsi in range(5, 9)
    )
    await asked(service)
    answers = await asyncio.gather(*(ask(service, redis, STATES.read(body)) for body in bodies))
    assert [(answer.confidence, answer.basis) for answer in answers] == [
        (0.05, "model"),
        (0.06, "model"),
        (0.6, "base_rate"),
        (0.08, "model"),
    ]


async def test_a_leader_serves_those_of_its_process_who_were_already_waiting() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    query = await asked(service)
    redis.locks[query.key] = "mine"
    waiting = [asyncio.create_task(answered(service, query, CacheResult(query.key))) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    await answered(service, query, leading(query))
    assert [(await task).cached for task in waiting] == [False, False, False]
    assert engine.evaluated == [1]


async def test_a_cache_that_answers_nonsense_leaves_nobody_waiting() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    query = await asked(service)
    broken = AsyncMock(side_effect=TypeError("nonsense"))
    for _ in range(2):
        with (
            patch.object(redis, "get_confidence", broken),
            pytest.raises(TypeError, match="nonsense"),
        ):
            await asyncio.wait_for(answered(service, query, CacheResult(query.key)), 1)
    await asyncio.gather(*service._tasks, return_exceptions=True)
    assert (await answered(service, query, leading(query))).basis == "model"


async def test_a_failing_evaluation_reaches_every_leader_though_one_has_gone_away() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    queries = [
        await asked(
            service,
            STATES.read(b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": %d}' % rsi),
        )
        for rsi in (30, 31)
    ]
    with patch.object(engine, "probabilities", side_effect=TypeError("a defect")):
        gone, stays = (asyncio.ensure_future(answered(service, query, leading(query))) for query in queries)
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(TypeError):
            await asyncio.wait_for(stays, 1)


async def test_who_waits_for_somebody_that_gave_up_computes_at_once() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    query = await asked(service)
    redis.locks[query.key] = "of a request that is refused"
    began = time.monotonic()
    waiting = [asyncio.create_task(answered(service, query, CacheResult(query.key))) for _ in range(3)]
    await asyncio.sleep(0.01)
    del redis.locks[query.key]
    assert [(await task).confidence for task in waiting] == [0.35] * 3
    assert time.monotonic() - began < WAIT_S / 2
    assert engine.evaluated == [1]


async def test_a_flight_ends_with_its_value_in_the_cache() -> None:
    redis, engine, clock = Redis(), Engine(), Clock()
    service = evaluator(Models(stored_model()), redis, engine, clock)
    await ask(service, redis)
    await until(lambda: not redis.locks)
    await until(lambda: not service._flights)
    clock.now += 2 * CONFIDENCE_TTL_S
    redis.values.clear()
    late = await answered(service, await asked(service), CacheResult((await asked(service)).key))
    assert (late.cached, late.age_ms) == (False, 0)
    assert engine.evaluated == [1, 1]


async def test_a_failed_evaluation_ends_the_poll_of_who_waited_for_another() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    query = await asked(service)
    redis.locks[query.key] = "mine"
    follower = asyncio.ensure_future(answered(service, query, CacheResult(query.key)))
    await asyncio.sleep(0.005)
    with patch.object(engine, "probabilities", side_effect=TypeError("a defect")):
        for each in (asyncio.ensure_future(answered(service, query, leading(query))), follower):
            with pytest.raises(TypeError):
                await asyncio.wait_for(each, 1)
    assert await asyncio.gather(*service._tasks) == [None]
    assert engine.evaluated == []


async def test_a_waiter_that_goes_away_takes_nobody_with_it() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(stored_model()), redis, engine, time.monotonic)
    query = await asked(service)
    redis.locks[query.key] = "another process's"
    first, second = (asyncio.create_task(answered(service, query, CacheResult(query.key))) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await redis.put_confidences([(query.key, ModelOutput(0.5, "model", "vwap_bounce-a"), None)])
    assert (await second).confidence == 0.5
    with pytest.raises(asyncio.CancelledError):
        await first
    assert engine.evaluated == []


async def test_a_follower_is_told_the_age_of_what_it_waited_for() -> None:
    redis, engine, clock = Redis(), Engine(), Clock()
    service = evaluator(Models(stored_model()), redis, engine, clock)
    query = await asked(service)
    redis.locks[query.key] = "another process's"
    waiting = asyncio.create_task(answered(service, query, CacheResult(query.key)))
    await until(lambda: redis.gets > 0)
    held = (ModelOutput(0.7, "model", "vwap_bounce-a"), time.monotonic() - 1.5)
    redis.values[query.key] = held
    answer = await waiting
    assert (answer.confidence, answer.cached) == (0.7, True)
    assert 1_400 <= answer.age_ms <= 1_700
    assert engine.evaluated == []


async def test_without_the_cache_a_follower_computes_and_keeps_the_value() -> None:
    redis, engine, clock = Redis(away=True), Engine(), Clock()
    service = evaluator(Models(stored_model()), redis, engine, clock)
    query = await asked(service)
    first = await answered(service, query, None)
    await until(lambda: not service._flights)
    clock.now += CONFIDENCE_TTL_S - 0.001
    kept = await answered(service, query, None)
    clock.now += 0.001
    again = await answered(service, query, None)
    assert [first.cached, kept.cached, again.cached] == [False, True, False]
    assert (kept.age_ms, engine.evaluated) == (1_999, [1, 1])


async def test_one_models_failing_evaluation_leaves_the_others_of_the_same_turn() -> None:
    redis, engine, clock = Redis(), Engine(), Clock()
    models = Models(stored_model("vwap_bounce-a"))
    service = evaluator(models, redis, engine, clock)
    other = market_state("vwap_bounce", "ES", "LONG", {"vwap_distance": 2.1, "rsi": 40})
    former = await asked(service)
    models.stored = stored_model("vwap_bounce-b")
    clock.now += champions.REFRESH_S
    await asked(service)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    later = await asked(service, other)
    probabilities = engine.probabilities

    def fails_on_the_former(model: ServedModel, states: Sequence[MarketState]) -> list[float]:
        if model.version == "vwap_bounce-a":
            raise TypeError("a defect")
        return probabilities(model, states)

    for order in ((former, later), (later, former)):
        with patch.object(engine, "probabilities", fails_on_the_former):
            answers = await asyncio.gather(
                *(answered(service, query, leading(query)) for query in order), return_exceptions=True
            )
        by_query = dict(zip([query.key for query in order], answers, strict=True))
        assert isinstance(by_query[former.key], TypeError)
        found = by_query[later.key]
        assert isinstance(found, ConfidenceAnswer)
        assert (found.confidence, found.model_version) == (0.4, "vwap_bounce-b")
        await until(lambda: not service._flights)
        assert list(redis.values) == [later.key]
