"""Confidence: single flight in a process and across processes, honest ages, and life without servers."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from unittest.mock import AsyncMock, patch

import msgspec
import pytest

from shared.domain.confidence.answers import (
    CONFIDENCE_TTL_S,
    CacheResult,
    ConfidenceAnswer,
    EncodedAnswer,
    ModelOutput,
    decode_output,
)
from shared.domain.confidence.encoding import column_names
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import ModelDocument, ServedModel, StoredModel, UnusableModel, Window
from shared.errors import CacheUnavailable, DatabaseUnavailable, Unavailable
from shared.services import champions
from shared.services.evaluator import WAIT_S, ConfidenceEvaluator, ConfidenceQuery
from tests.support.strategies import DEFAULT, STATES, STRATEGIES, market_state

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
STATE = STATES.read(b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}')


def stored_model(
    version: str = "vwap_bounce-a", *, base_rate: float = 0.6, artefact: bytes | None = b"onnx"
) -> StoredModel:
    columns = column_names(DEFAULT) if artefact else ()
    document = ModelDocument(
        strategy_version=1,
        basis="model" if artefact else "base_rate",
        base_rate=base_rate,
        n=10,
        wins=6,
        window=Window(NOW, NOW),
        columns=columns,
        fills=(0.0,) * len(columns),
        data_hash="0",
        decision="model" if artefact else "base_rate",
        reason="",
    )
    return StoredModel(
        version=version,
        strategy="vwap_bounce",
        status="champion",
        basis=document.basis,
        artefact=artefact,
        document=msgspec.to_builtins(document),
        created_at=NOW,
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Models:
    """Postgres: one champion, reachable or not."""

    stored: StoredModel | None = None
    away: bool = False
    asked: int = 0

    async def champion(self, strategy: str) -> StoredModel | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseUnavailable("The database cannot be reached.")
        return self.stored


@dataclass
class Engine:
    """Inference that counts: rsi / 100 as the probability."""

    evaluated: list[int] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    broken: bool = False
    refused_rsi: float = math.nan

    async def load(self, model: ServedModel) -> None:
        if model.artefact == b"rubbish":
            raise UnusableModel("no model at all")
        self.loaded.append(model.version)

    def probabilities(self, model: ServedModel, states: Sequence[MarketState]) -> list[float]:
        if self.broken or any(state.features[1] == self.refused_rsi for state in states):
            raise UnusableModel("NaN")
        self.evaluated.append(len(states))
        return [state.features[1] / 100 for state in states]


@dataclass
class Redis:
    """The cache and its locks, shared by any number of services as processes share one Redis."""

    values: dict[str, tuple[ModelOutput, float]] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    away: bool = False
    gets: int = 0
    puts: int = 0
    tokens: "count[int]" = field(default_factory=count)

    async def find(self, key: str) -> CacheResult | None:
        await asyncio.sleep(0)
        if self.away:
            return None
        held = self.values.get(key)
        if held is not None:
            return CacheResult(key, held[0], int((time.monotonic() - held[1]) * 1000))
        token = f"token-{next(self.tokens)}"
        leading = self.locks.setdefault(key, token) == token
        return CacheResult(key, lock_token=token if leading else None)

    async def get_confidence(self, key: str) -> CacheResult | None:
        self.gets += 1
        await asyncio.sleep(0)
        if self.away:
            raise CacheUnavailable("The cache cannot be reached.")
        held = self.values.get(key)
        if held:
            return CacheResult(key, held[0], int((time.monotonic() - held[1]) * 1000))
        return CacheResult(key) if key in self.locks else None

    async def put_confidences(self, entries: Sequence[tuple[str, ModelOutput, str | None]]) -> None:
        if self.away:
            raise CacheUnavailable("The cache cannot be reached.")
        await asyncio.sleep(0.001)
        self.puts += 1
        for key, value, token in entries:
            self.values[key] = (value, time.monotonic())
            if token is not None and self.locks.get(key) == token:
                del self.locks[key]


def evaluator(
    models: Models, cache: Redis, inference: Engine, clock: Callable[[], float]
) -> ConfidenceEvaluator:
    return ConfidenceEvaluator(
        strategies=STRATEGIES, models=models, cache=cache, inference=inference, clock=clock
    )


async def asked(service: ConfidenceEvaluator, state: MarketState = STATE) -> ConfidenceQuery:
    return service.query(state) or await service.first_query(state)


def decoded(answer: EncodedAnswer) -> ConfidenceAnswer:
    return msgspec.json.decode(answer.json, type=ConfidenceAnswer)


async def answered(
    service: ConfidenceEvaluator, query: ConfidenceQuery, cache_result: CacheResult | None
) -> ConfidenceAnswer:
    return decoded(await service.answer(query, cache_result))


async def ask(service: ConfidenceEvaluator, redis: Redis, state: MarketState = STATE) -> ConfidenceAnswer:
    query = await asked(service, state)
    cache_result = await redis.find(query.key)
    return decoded(service.cached_answer(query, cache_result) or await service.answer(query, cache_result))


def leading(query: ConfidenceQuery) -> CacheResult:
    return CacheResult(query.key, lock_token="mine")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the fakes signal nothing
            await asyncio.sleep(0)


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


async def test_queries_asked_again_are_kept_made_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.services.evaluator.MAX_QUERIES", 3)
    service = evaluator(Models(stored_model()), Redis(), Engine(), time.monotonic)
    first = await asked(service)
    assert await asked(service) is first
    others = [market_state("vwap_bounce", "ES", "LONG", {"vwap_distance": 2.1, "rsi": n}) for n in range(9)]
    for state in others:
        assert (await asked(service, state)).state == state
        assert len(service._queries) <= 3


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


async def test_a_promotion_between_admission_and_answer_keeps_key_and_model_together() -> None:
    redis, clock = Redis(), Clock()
    models = Models(stored_model("vwap_bounce-a"))
    service = evaluator(models, redis, Engine(), clock)
    query = await asked(service)
    admitted = await redis.find(query.key)
    models.stored = stored_model("vwap_bounce-b")
    clock.now += champions.REFRESH_S
    await asked(service)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert (await asked(service)).model.version == "vwap_bounce-b"
    assert (await answered(service, query, admitted)).model_version == "vwap_bounce-a"
    await until(lambda: not redis.locks)
    assert list(redis.values) == [query.key]


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


async def test_without_any_model_the_prior_is_served_and_says_so() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(None), redis, engine, time.monotonic)
    answer = await ask(service, redis)
    assert (answer.confidence, answer.basis, answer.model_version) == (
        0.5,
        "base_rate",
        "vwap_bounce-untrained",
    )
    assert engine.evaluated == []


async def test_a_base_rate_champion_needs_no_inference() -> None:
    redis, engine = Redis(), Engine()
    models = Models(stored_model("vwap_bounce-b", base_rate=0.61803, artefact=None))
    answer = await ask(evaluator(models, redis, engine, time.monotonic), redis)
    assert (answer.confidence, answer.basis, answer.model_version) == (0.618, "base_rate", "vwap_bounce-b")
    assert engine.evaluated == []


async def test_a_cold_start_without_postgres_is_unavailable_and_does_not_hammer_it() -> None:
    redis, clock = Redis(), Clock()
    models = Models(stored_model(), away=True)
    service = evaluator(models, redis, Engine(), clock)
    refused = await asyncio.gather(*(asked(service) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(error, Unavailable) and error.code == "database_unavailable" for error in refused)
    with pytest.raises(Unavailable):
        await asked(service)
    assert models.asked == 1
    models.away = False
    clock.now += champions.RETRY_S
    assert (await ask(service, redis)).confidence == 0.35


async def test_a_promotion_is_seen_within_the_refresh_time_and_nobody_waits_for_it() -> None:
    redis, engine, clock = Redis(), Engine(), Clock()
    models = Models(stored_model("vwap_bounce-a"))
    service = evaluator(models, redis, engine, clock)
    assert (await ask(service, redis)).model_version == "vwap_bounce-a"
    models.stored = stored_model("vwap_bounce-b")
    clock.now += champions.REFRESH_S - 0.1
    assert (await ask(service, redis)).model_version == "vwap_bounce-a"
    assert models.asked == 1
    clock.now += 0.2
    assert (await asked(service)).key.endswith(":vwap_bounce-a"), "served stale while it refreshes"
    await asyncio.gather(*(ask(service, redis) for _ in range(20)))
    assert (await ask(service, redis)).model_version == "vwap_bounce-b"
    assert models.asked == 2
    assert engine.loaded == ["vwap_bounce-a", "vwap_bounce-b"]


async def test_the_last_champion_is_served_while_postgres_is_away_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    redis, clock = Redis(), Clock()
    models = Models(stored_model())
    service = evaluator(models, redis, Engine(), clock)
    await ask(service, redis)
    models.away = True
    for _ in range(5):
        clock.now += champions.REFRESH_S + 1
        assert (await ask(service, redis)).model_version == "vwap_bounce-a"
        await asyncio.sleep(0.005)
    assert models.asked == 6
    assert len([line for line in caplog.messages if "cannot be read" in line]) == 1


@pytest.mark.parametrize("artefact", [b"rubbish", None])
async def test_a_model_that_cannot_be_served_leaves_its_base_rate_under_a_version_of_its_own(
    artefact: bytes | None,
) -> None:
    stored = msgspec.structs.replace(stored_model(), artefact=artefact)
    redis, engine = Redis(), Engine()
    answer = await ask(evaluator(Models(stored), redis, engine, time.monotonic), redis)
    assert (answer.confidence, answer.basis, answer.model_version) == (
        0.6,
        "base_rate",
        "vwap_bounce-a-base-rate",
    )


async def test_a_model_of_another_schema_leaves_its_base_rate() -> None:
    stored = stored_model()
    stored.document["columns"] = stored.document["columns"][:-1]
    redis, engine = Redis(), Engine()
    answer = await ask(evaluator(Models(stored), redis, engine, time.monotonic), redis)
    assert (answer.confidence, answer.basis) == (0.6, "base_rate")
    assert engine.evaluated == []


async def test_an_unreadable_document_leaves_the_prior() -> None:
    stored = msgspec.structs.replace(stored_model(), document={"base_rate": "high"})
    redis = Redis()
    answer = await ask(evaluator(Models(stored), redis, Engine(), time.monotonic), redis)
    assert (answer.confidence, answer.model_version) == (0.5, "vwap_bounce-untrained")


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


async def test_a_new_model_lets_go_of_what_the_former_one_was_asked() -> None:
    clock, models = Clock(), Models(stored_model("vwap_bounce-a"))
    service = evaluator(models, Redis(), Engine(), clock)
    states = [market_state("vwap_bounce", "ES", "LONG", {"vwap_distance": 2.1, "rsi": n}) for n in range(3)]
    for state in states:
        await asked(service, state)
    models.stored = stored_model("vwap_bounce-b")
    clock.now += champions.REFRESH_S
    await asked(service)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert (await asked(service, states[0])).model.version == "vwap_bounce-b"
    assert list(service._queries) == [states[0].key]


async def test_no_model_is_asked_for_before_it_is_due() -> None:
    clock, models = Clock(), Models(stored_model())
    service = evaluator(models, Redis(), Engine(), clock)
    assert service.query(STATE) is None, "nothing is known yet"
    await service.first_query(STATE)
    clock.now += champions.REFRESH_S - 0.001
    assert service.query(STATE) is not None
    await asyncio.sleep(0)
    assert models.asked == 1
    clock.now += 0.001
    assert service.query(STATE) is not None
    await until(lambda: models.asked == 2)


async def test_the_end_of_an_outage_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock, models = Clock(), Models(stored_model(), away=True)
    service = evaluator(models, Redis(), Engine(), clock)
    with caplog.at_level("INFO"):
        with pytest.raises(Unavailable) as refused:
            await service.first_query(STATE)
        assert refused.value.detail == "The database cannot be reached."
        models.away = False
        clock.now += champions.RETRY_S - 0.001
        with pytest.raises(Unavailable):
            await service.first_query(STATE)
        assert models.asked == 1
        clock.now += 0.001
        await service.first_query(STATE)
    assert caplog.messages == [
        "models of vwap_bounce cannot be read, serving none",
        "models of vwap_bounce can be read again",
    ]


async def test_a_champion_that_stays_is_loaded_once() -> None:
    clock, engine = Clock(), Engine()
    service = evaluator(Models(stored_model()), Redis(), engine, clock)
    await service.first_query(STATE)
    for _ in range(3):
        clock.now += champions.REFRESH_S
        model = service.query(STATE)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        assert model is not None
    assert engine.loaded == ["vwap_bounce-a"]


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
