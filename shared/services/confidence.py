"""Answers confidence requests: judges the key, reads the market state, admits the caller, answers."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import msgspec

from shared.domain.access.licenses import Grant, require_strategies, require_symbols
from shared.domain.confidence.answers import CacheResult, ConfidenceAnswer, EncodedAnswer
from shared.domain.confidence.market_state import MarketState, StateReader
from shared.errors import SignalCloudError, ValidationFailed
from shared.metrics import Count, Counter
from shared.services.access import Admitted
from shared.services.evaluator import ConfidenceQuery


class Evaluator(Protocol):
    def query(self, state: MarketState) -> ConfidenceQuery | None: ...
    async def first_query(self, state: MarketState) -> ConfidenceQuery: ...
    def cached_answer(
        self, query: ConfidenceQuery, cache_result: CacheResult | None
    ) -> EncodedAnswer | None: ...
    async def answer(self, query: ConfidenceQuery, cache_result: CacheResult | None) -> EncodedAnswer: ...
    async def answer_batch(self, states: Sequence[MarketState]) -> list[ConfidenceAnswer]: ...


class Caller(Protocol):
    """The caller of the current request, and its body.

    `is_trusted` and `meet` judge the key alone. `admit` admits, and asks the cache for a confidence in the
    same call. AccessService describes all three.
    """

    def is_trusted(self) -> bool: ...
    def meet(self) -> Awaitable[Admitted | None]: ...
    def read_body(self) -> bytes: ...
    def admit(self, *, confidence_key: str | None = None) -> Awaitable[Admitted]: ...


class ConfidenceBatch(msgspec.Struct, frozen=True):
    """One answer for each state, in the order of the request."""

    confidences: list[ConfidenceAnswer]


class ConfidenceService:
    """`release` gives back the lock of an admitted request that will not compute its confidence.

    `published` returns those of some strategies, which the catalog lacks, that ever had a signal.
    """

    def __init__(
        self,
        *,
        states: StateReader,
        published: Callable[[Collection[str]], Awaitable[Collection[str]]],
        evaluator: Evaluator,
        release: Callable[[Admitted], Awaitable[None]],
        count: Counter,
    ) -> None:
        self._states = states
        self._published = published
        self._evaluator = evaluator
        self._release = release
        self._count = count

    async def answer(self, caller: Caller) -> bytes:
        """The answer to a request for one confidence, as JSON.

        The body of a caller that this process does not trust is not read before its key is looked up. For
        all others the state is read first, because one call to Redis both admits the caller and asks for the
        cached confidence. A caller that may not ask never learns what is wrong with its state. Raises what
        `admit` raises, InvalidInput, NoConfidence, SymbolNotLicensed, StrategyNotLicensed
        and Unavailable.
        """
        admitted = None if caller.is_trusted() else await caller.meet()
        state = self._state(caller.read_body)
        # None until a first model is known: then the cache is not asked, because its keys name the model.
        query = self._evaluator.query(state) if isinstance(state, MarketState) else None
        if admitted is None:
            admitted = await caller.admit(confidence_key=query.key if query is not None else None)
        self._count(Count.CONFIDENCE_ASKED)
        if isinstance(state, SignalCloudError):
            raise await self._explained(state, caller.read_body, self._states.read)
        try:
            require_symbols(admitted.grant, {state.symbol: "symbol"})
            require_strategies(admitted.grant, {state.strategy: "strategy"})
        except SignalCloudError:
            await self._release(admitted)
            raise
        found = admitted.cache_result
        if query is None or not query.confirmed:
            asked, query = query, await self._evaluator.first_query(state)
            if asked is not None and asked.key != query.key:
                # The champion has changed, so the cache was asked for another model's confidence.
                await self._release(admitted)
                found = None
        answer = self._evaluator.cached_answer(query, found) or await self._evaluator.answer(query, found)
        if answer.cached:
            self._count(Count.CONFIDENCE_CACHED)
        return answer.json

    async def answer_batch(
        self, grant: Grant, body: bytes, charge: Callable[[int], Awaitable[None]]
    ) -> ConfidenceBatch:
        """The confidences of 1 to 100 market states, in their order.

        `charge` takes the number of states from the key's rate limit. Raises InvalidInput, NoConfidence,
        RateLimited, SymbolNotLicensed and Unavailable.
        """
        try:
            states = self._states.read_batch(body)
        except ValidationFailed as error:
            raise await self._explained(error, lambda: body, self._states.read_batch) from error
        await charge(len(states))
        self._count(Count.CONFIDENCE_ASKED, len(states))
        for index, state in enumerate(states):
            require_symbols(grant, {state.symbol: f"states[{index}].symbol"})
            require_strategies(grant, {state.strategy: f"states[{index}].strategy"})
        return ConfidenceBatch(await self._evaluator.answer_batch(states))

    def _state(self, read_body: Callable[[], bytes]) -> MarketState | SignalCloudError:
        """The state in the body, or the error that a permitted caller gets."""
        try:
            return self._states.read(read_body())
        except SignalCloudError as error:
            return error

    async def _explained(
        self,
        error: SignalCloudError,
        read_body: Callable[[], bytes],
        read: Callable[[bytes, Collection[str]], object],
    ) -> SignalCloudError:
        """The error for a body that `read` has refused, now that published strategies are looked up.

        Only a strategy that the catalog lacks causes a lookup, so that no other mistake costs one.
        """
        if not any(each.code == "unknown_value" and _is_strategy(each.field) for each in error.errors):
            return error
        body = read_body()
        published = await self._published(self._states.other_strategies(body))
        try:
            read(body, published)
        except SignalCloudError as explained:
            return explained
        return error


def _is_strategy(field: str) -> bool:
    return field.rpartition(".")[2] == "strategy"
