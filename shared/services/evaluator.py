"""Evaluates market states: each is computed once and shared by all requests within two seconds."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import msgspec

from shared.domain.confidence.answers import (
    CONFIDENCE_TTL_S,
    CacheResult,
    ConfidenceAnswer,
    EncodedAnswer,
    ModelOutput,
    encode_answer,
)
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import ServedModel, UnusableModel
from shared.domain.confidence.strategy import StrategyCatalog
from shared.errors import Unavailable
from shared.services.champions import Champions, Inference, ModelReader
from shared.services.flights import Computed, Flight

# A process polls this often for another one's evaluation: at first, and after SOON_S.
POLL_S = 0.001
SOON_S = 0.02
LATER_POLL_S = 0.005
# How long a process waits for another one's evaluation, which takes about 1 ms. Then it evaluates the state
# itself, so a dead lock holder costs a bot this wait and no more.
WAIT_S = 0.25
MAX_LOCAL = 4_096
# Bots ask for the same states again and again, so the last queries are kept ready.
MAX_QUERIES = 4_096
DECIMALS = 4

log = logging.getLogger(__name__)


class ConfidenceCache(Protocol):
    async def get_confidence(self, key: str) -> CacheResult | None: ...
    async def put_confidences(self, entries: Sequence[tuple[str, ModelOutput, str | None]]) -> None: ...


class ConfidenceQuery(msgspec.Struct, frozen=True, gc=False):
    """A state, the model that answers for it, and the answer's key in the cache.

    If the model is not `confirmed`, it was not read again lately: the key is the likely one, and
    `first_query` must confirm it before anything is answered.
    """

    state: MarketState
    model: ServedModel
    key: str
    confirmed: bool = True


class _Due(NamedTuple):
    """A state to evaluate under the lock that `token` stands for."""

    query: ConfidenceQuery
    token: str
    flight: Flight


class ConfidenceEvaluator:
    """Answers from the cache, or computes under single flight: in this process and across processes.

    Without the cache, it computes values and keeps them in process for CONFIDENCE_TTL_S. `clock` counts
    seconds, monotonic; `evaluated` is called with the number of states of each evaluation.
    """

    def __init__(
        self,
        *,
        strategies: StrategyCatalog,
        models: ModelReader,
        cache: ConfidenceCache,
        inference: Inference,
        clock: Callable[[], float],
        evaluated: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._champions = Champions(strategies, models, inference, clock)
        self._cache = cache
        self._inference = inference
        self._clock = clock
        self._evaluated = evaluated
        self._flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: list[_Due] = []
        self._local: dict[str, Computed] = {}  # oldest first
        self._queries: dict[str, ConfidenceQuery] = {}  # by the state's key
        self._broken: set[str] = set()

    def query(self, state: MarketState) -> ConfidenceQuery | None:
        """What to ask the cache about `state`; None before any model is known, see `first_query`."""
        model = self._champions.held(state.strategy)
        if model is not None:
            return self._query(state, model)
        last = self._champions.last(state.strategy)
        if last is None:
            return None
        # Nearly always the champion is still the same, so processes that were idle share one evaluation too.
        return ConfidenceQuery(state, last, state.cache_key(last.version), confirmed=False)

    async def first_query(self, state: MarketState) -> ConfidenceQuery:
        """`query` as soon as a model is known and confirmed; raises Unavailable."""
        return self._query(state, await self._champions.first(state.strategy))

    def _query(self, state: MarketState, model: ServedModel) -> ConfidenceQuery:
        query = self._queries.get(state.key)
        if query is None or query.model is not model:
            # Queries of a model that no longer serves would keep its artefact in memory.
            if query is not None or len(self._queries) >= MAX_QUERIES:
                self._queries.clear()
            query = ConfidenceQuery(state, model, state.cache_key(model.version))
            self._queries[state.key] = query
        return query

    @staticmethod
    def cached_answer(query: ConfidenceQuery, cache_result: CacheResult | None) -> EncodedAnswer | None:
        """The confidence, if admission found it under the query's key."""
        if cache_result is None or cache_result.output is None:
            return None
        if cache_result.answer is None:
            found = _answer(query.state, cache_result.output, cached=True, age_ms=cache_result.age_ms)
            cache_result.answer = encode_answer(found)
        return cache_result.answer

    async def answer(self, query: ConfidenceQuery, cache_result: CacheResult | None) -> EncodedAnswer:
        """The confidence that admission did not find; raises Unavailable."""
        asked_at = self._clock()
        if cache_result is not None and cache_result.lock_token is not None:
            found = await self._lead(query, cache_result.lock_token)
        else:
            found = self._kept(query.key) or await self._follow(query)
        if found.computed_at < asked_at:
            age_ms = int((self._clock() - found.computed_at) * 1000)
            return encode_answer(_answer(query.state, found.output, cached=True, age_ms=age_ms))
        if found.answer is None:
            found.answer = encode_answer(_answer(query.state, found.output, cached=False, age_ms=0))
        return found.answer

    async def answer_batch(self, states: Sequence[MarketState]) -> list[ConfidenceAnswer]:
        """The confidences of `states` in their order, evaluated in one run per strategy.

        One run over all states costs less than looking each one up, so the cache is not used. The values
        equal those of single requests except in the seventh decimal before rounding, because onnxruntime
        adds up the rows of a batch in another order. Raises Unavailable before any model is known.
        """
        answers: dict[int, ConfidenceAnswer] = {}
        for strategy in dict.fromkeys(state.strategy for state in states):
            model = await self._champions.first(strategy)
            indices = [index for index, state in enumerate(states) if state.strategy == strategy]
            outputs = self._evaluate(model, [states[index] for index in indices])
            for index, output in zip(indices, outputs, strict=True):
                answers[index] = _answer(states[index], output, cached=False, age_ms=0)
        return [answers[index] for index in range(len(states))]

    def _lead(self, query: ConfidenceQuery, token: str) -> asyncio.Future[Computed]:
        """Evaluates the state under the lock that `token` stands for.

        All states that are due in one iteration of the event loop are evaluated in one run and cached in one
        call. No request waits for that call: the process sends later reads after it.
        """
        flight = self._flights.get(query.key)
        if flight is None or not flight.is_under_way:
            flight = self._flights[query.key] = Flight()
        if not self._due:
            asyncio.get_running_loop().call_soon(self._evaluate_due)
        self._due.append(_Due(query, token, flight))
        return flight.join()

    def _evaluate_due(self) -> None:
        due, self._due = self._due, []
        by_model: dict[str, list[_Due]] = {}
        for each in due:
            by_model.setdefault(each.query.model.version, []).append(each)
        for group in by_model.values():
            try:
                outputs = self._evaluate(group[0].query.model, [each.query.state for each in group])
            except Exception as error:
                log.exception("an evaluation has failed")
                for each in group:
                    each.flight.fail(error)
                    self._close(each.query.key, each.flight)
                continue
            now = self._clock()
            entries = []
            for each, output in zip(group, outputs, strict=True):
                found = Computed(output, now)
                each.flight.land(found)
                entries.append((each.query.key, found, each.token))
            self._begin(self._put(entries, [each.flight for each in group]))

    def _follow(self, query: ConfidenceQuery) -> asyncio.Future[Computed]:
        """Waits for a value that another request computes; all requests of this process share one poll."""
        flight = self._flights.get(query.key)
        if flight is None:
            flight = self._flights[query.key] = Flight()
            self._begin(self._poll(query, flight))
        return flight.join()

    async def _poll(self, query: ConfidenceQuery, flight: Flight) -> None:
        try:
            # Without the cache no other process's value can arrive, so this process computes it.
            with suppress(Unavailable):
                await self._look_for(query.key, flight)
            if flight.is_under_way:
                (output,) = self._evaluate(query.model, [query.state])
                found = Computed(output, self._clock())
                flight.land(found)
                await self._put([(query.key, found, None)], [flight])
        except Exception as error:
            log.exception("an evaluation has failed")
            flight.fail(error)
        finally:
            self._close(query.key, flight)

    async def _look_for(self, key: str, flight: Flight) -> None:
        """Looks in the cache while another process computes the value, WAIT_S at most; raises Unavailable."""
        began = self._clock()
        while flight.is_under_way and (waited_s := self._clock() - began) < WAIT_S:
            cache_result = await self._cache.get_confidence(key)
            if cache_result is None:
                # The request that held the lock was refused, or gave up.
                return
            if cache_result.output is not None and flight.is_under_way:
                flight.land(Computed(cache_result.output, self._clock() - cache_result.age_ms / 1000))
            if flight.is_under_way:
                await asyncio.sleep(POLL_S if waited_s < SOON_S else LATER_POLL_S)

    def _close(self, key: str, flight: Flight) -> None:
        """Closes the flight. Requests that still wait fail; only shutdown causes that."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight.is_under_way:
            flight.fail(RuntimeError("the evaluation that this request waited for was cancelled"))

    async def _put(
        self, entries: Sequence[tuple[str, Computed, str | None]], flights: Sequence[Flight]
    ) -> None:
        """Caches each (key, found, lock token); until that is done, new requests join the flight."""
        try:
            await self._cache.put_confidences([(key, found.output, token) for key, found, token in entries])
        except Unavailable:
            for key, found, _ in entries:
                self._local.pop(key, None)
                self._local[key] = found
            while len(self._local) > MAX_LOCAL:
                del self._local[next(iter(self._local))]
        finally:
            for (key, _, _), flight in zip(entries, flights, strict=True):
                self._close(key, flight)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` beside the requests; the task is kept, because the loop holds tasks only weakly."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _kept(self, key: str) -> Computed | None:
        found = self._local.get(key)
        if found is not None and self._clock() - found.computed_at >= CONFIDENCE_TTL_S:
            del self._local[key]
            return None
        return found

    def _evaluate(self, model: ServedModel, states: Sequence[MarketState]) -> list[ModelOutput]:
        self._evaluated(len(states))
        return self._outputs(model, states)

    def _outputs(self, model: ServedModel, states: Sequence[MarketState]) -> list[ModelOutput]:
        if model.artefact is not None:
            try:
                probabilities = self._inference.probabilities(model, states)
                return [
                    ModelOutput(round(value, DECIMALS), "model", model.version) for value in probabilities
                ]
            except UnusableModel:
                if len(states) > 1:
                    # Evaluates each state alone, so that only the bad one gets the base rate.
                    return [output for state in states for output in self._outputs(model, [state])]
                if model.version not in self._broken:
                    log.exception("%s fails on a state, the answer is its base rate", model.version)
                    self._broken.add(model.version)
                model = model.without_artefact()
        return [ModelOutput(round(model.base_rate, DECIMALS), "base_rate", model.version)] * len(states)


def _answer(state: MarketState, output: ModelOutput, *, cached: bool, age_ms: int) -> ConfidenceAnswer:
    return ConfidenceAnswer(
        output.confidence,
        state.symbol,
        state.side,
        state.strategy,
        output.model_version,
        output.basis,
        cached,
        age_ms,
    )
