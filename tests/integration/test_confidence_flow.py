"""From published signals to a cached confidence, on real PostgreSQL and Valkey, trained in a real process."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from loadtests.bench.past_signals import AlwaysOpen
from shared.adapters.inference import OnnxInference
from shared.adapters.postgres import Database, ModelStore, TrainingStore
from shared.adapters.redis import RedisStore
from shared.adapters.training_process import TrainingProcess
from shared.domain.access.licenses import ApiKey, License
from shared.domain.access.plans import Overrides
from shared.domain.confidence.answers import ConfidenceAnswer, EncodedAnswer
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import ServedModel
from shared.services.evaluator import WAIT_S, ConfidenceEvaluator
from shared.services.settlement import SettlementService
from shared.services.training import TrainingService
from tests.support.license_plans import PLANS
from tests.support.outcomes import made_outcomes
from tests.support.published import publish
from tests.support.strategies import DEFAULT, STATES, STRATEGIES

FIRST = datetime(2025, 9, 2, 14, tzinfo=UTC)
NOW = datetime(2025, 10, 17, tzinfo=UTC)
GOOD = STATES.read(b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 3.9, "rsi": 8}')
BAD = STATES.read(b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 0.6, "rsi": 92}')
KEY_HASH = "ab" * 32
GRANT = PLANS.grant(
    License(
        license_id="l",
        account_id="a",
        overrides=Overrides(symbols=("ES",), requests_per_minute=10_000),
        created_at=FIRST,
    ),
    ApiKey(public_id="abcdef", key_hash=KEY_HASH, license_id="l", scopes=("bot",), created_at=FIRST),
)


class CountingInference(OnnxInference):
    """The real thing, which also counts its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def probabilities(self, model: ServedModel, states: Sequence[MarketState]) -> list[float]:
        self.runs += 1
        return super().probabilities(model, states)


def decoded(answer: EncodedAnswer) -> ConfidenceAnswer:
    return msgspec.json.decode(answer.json, type=ConfidenceAnswer)


def evaluator(models: ModelStore, cache: RedisStore, inference: OnnxInference) -> ConfidenceEvaluator:
    return ConfidenceEvaluator(
        strategies=STRATEGIES, models=models, cache=cache, inference=inference, clock=time.monotonic
    )


async def ask(service: ConfidenceEvaluator, redis: RedisStore, state: MarketState) -> ConfidenceAnswer:
    query = service.query(state) or await service.first_query(state)
    admission = await redis.take_request(KEY_HASH, confidence_key=query.key)
    assert admission is not None
    assert admission.allowed
    cache_result = admission.cache_result
    return decoded(service.cached_answer(query, cache_result) or await service.answer(query, cache_result))


@pytest.mark.parametrize(("signal", "basis"), [(1.5, "model"), (0.0, "base_rate")])
async def test_published_signals_become_a_served_confidence(
    database: Database, redis_url: str, signal: float, basis: str
) -> None:
    store, models = TrainingStore(database), ModelStore(database)
    outcomes = made_outcomes(600, seed=11, signal=signal, start=FIRST)
    await publish(database, outcomes)
    assert await SettlementService(store, STRATEGIES, AlwaysOpen()).run(NOW) == len(outcomes)
    training = TrainingService(
        strategies=STRATEGIES,
        outcomes=store,
        models=models,
        trainer=TrainingProcess(),
        count=lambda name, count=1: None,
    )
    run = await training.run(DEFAULT, NOW)
    assert (run.outcome, (await training.run(DEFAULT, NOW)).outcome) == (basis, "nothing_new")

    stores = [RedisStore(redis_url) for _ in range(3)]
    inference = CountingInference()
    services = [evaluator(models, store, inference) for store in stores]
    await stores[0].store_grant(KEY_HASH, GRANT)
    answers = await asyncio.gather(
        *(ask(services[index % 3], stores[index % 3], GOOD) for index in range(150))
    )
    assert len({answer.confidence for answer in answers}) == 1
    assert {(answer.basis, answer.model_version) for answer in answers} == {(basis, run.promoted)}
    assert inference.runs == (1 if basis == "model" else 0)
    later = await ask(services[0], stores[0], GOOD)
    assert (later.cached, later.confidence) == (True, answers[0].confidence)
    assert 0 <= later.age_ms <= 2_000
    other = await ask(services[0], stores[0], BAD)
    if basis == "model":
        assert answers[0].confidence > 0.8
        assert other.confidence < 0.3
    else:
        wins = sum(outcome.won for outcome in outcomes)
        assert answers[0].confidence == other.confidence == round((10 + wins) / 620, 4)
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_dead_lock_holder_in_another_process_costs_the_stated_wait(
    database: Database, redis_url: str
) -> None:
    store = RedisStore(redis_url)
    service = evaluator(ModelStore(database), store, OnnxInference())
    await store.store_grant(KEY_HASH, GRANT)
    key = (await service.first_query(GOOD)).key
    dead = await store.take_request(KEY_HASH, confidence_key=key)
    assert dead is not None
    assert dead.cache_result is not None
    assert dead.cache_result.lock_token is not None
    began = time.monotonic()
    answers = await asyncio.gather(*(ask(service, store, GOOD) for index in range(20)))
    assert WAIT_S * 0.9 < time.monotonic() - began < WAIT_S + 0.6
    assert {answer.confidence for answer in answers} == {0.5}
    await store.close()
