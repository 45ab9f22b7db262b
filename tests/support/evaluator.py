"""Provides fakes of PostgreSQL, Redis and inference that hold state, and an evaluator over them."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import msgspec

from shared.domain.confidence.answers import (
    CacheResult,
    ConfidenceAnswer,
    EncodedAnswer,
    ModelOutput,
)
from shared.domain.confidence.encoding import column_names
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import ModelDocument, ServedModel, StoredModel, UnusableModel, Window
from shared.errors import CacheUnavailable, DatabaseUnavailable
from shared.services.evaluator import ConfidenceEvaluator, ConfidenceQuery
from tests.support.strategies import DEFAULT, STATES, STRATEGIES

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
    query = service.query(state)
    return query if query is not None and query.confirmed else await service.first_query(state)


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
