"""Holds the champion of each strategy in process, so that no request waits for Postgres."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import ServedModel, StoredModel, UnusableModel, served, untrained
from shared.domain.confidence.strategy import Strategy, StrategyCatalog
from shared.errors import DatabaseUnavailable, Unavailable

# How long after a promotion a process may still serve the former champion, also one that was idle: it reads
# the champion again before it serves one that was not confirmed for so long.
GOOD_FOR_S = 5.0
REFRESH_S = 4.0  # a busy process reads the champion again after this time, so that no request waits for it
RETRY_S = 1.0  # how often a process that has never seen a champion asks for one again
# How long a request waits for a database that does not answer, before it is served the last known champion.
WAIT_S = 1.0

log = logging.getLogger(__name__)


class ModelReader(Protocol):
    async def champion(self, strategy: str) -> StoredModel | None: ...


class Inference(Protocol):
    async def load(self, model: ServedModel) -> None: ...
    def probabilities(self, model: ServedModel, states: Sequence[MarketState]) -> list[float]: ...


class _Held:
    """What one process knows about one strategy."""

    def __init__(self) -> None:
        self.model: ServedModel | None = None
        self.stored_version: str | None = None
        self.due_at = float("-inf")
        self.good_until = float("-inf")
        self.failure: Unavailable | None = None
        self.task: asyncio.Task[None] | None = None


class Champions:
    """Fails stale: while Postgres is unavailable, serves the last known champion, and logs once per outage.

    A process that has never seen one raises Unavailable: only the database can say that there is no model,
    and the untrained prior is for that case alone. `clock` counts seconds, monotonic.
    """

    def __init__(
        self,
        strategies: StrategyCatalog,
        models: ModelReader,
        inference: Inference,
        clock: Callable[[], float],
    ) -> None:
        self._strategies = strategies
        self._models = models
        self._inference = inference
        self._clock = clock
        self._held = {name: _Held() for name in strategies}

    def held(self, strategy: str) -> ServedModel | None:
        """The champion, confirmed within GOOD_FOR_S while Postgres is available; None if `first` must ask."""
        held = self._held[strategy]
        now = self._clock()
        if now >= held.due_at and held.task is None:
            held.task = asyncio.create_task(self._refresh(self._strategies[strategy], held))
        return held.model if now < held.good_until else None

    def last(self, strategy: str) -> ServedModel | None:
        """The last known champion, confirmed or not; None before the first."""
        return self._held[strategy].model

    async def first(self, strategy: str) -> ServedModel:
        """The champion as soon as it is confirmed; raises Unavailable if none was ever known."""
        held = self._held[strategy]
        if self.held(strategy) is None and (task := held.task) is not None:
            # Does not cancel the refresh, because other requests wait for it even if this one is cancelled.
            await asyncio.wait({task}, timeout=None if held.model is None else WAIT_S)
            if task.done():
                task.result()  # raises a defect
            if held.model is not None and self._clock() >= held.good_until:
                # The database does not answer: nobody else waits for it before the refresh ends.
                held.good_until = self._clock() + GOOD_FOR_S
        if held.model is None:
            raise held.failure or DatabaseUnavailable(
                "No model is known yet; try again.", retry_after_s=RETRY_S
            )
        return held.model

    async def _refresh(self, strategy: Strategy, held: _Held) -> None:
        asked_at = self._clock()
        try:
            stored = await self._models.champion(strategy.name)
            version = stored.version if stored else None
            if held.model is None or version != held.stored_version:
                held.model = await self._ready(strategy, stored)
                held.stored_version = version
            if held.failure is not None:
                log.info("models of %s can be read again", strategy.name)
            held.failure, held.due_at, held.good_until = None, asked_at + REFRESH_S, asked_at + GOOD_FOR_S
        except Unavailable as error:
            if held.failure is None:
                served_version = held.model.version if held.model else "none"
                log.warning("models of %s cannot be read, serving %s", strategy.name, served_version)
            held.failure = error
            held.due_at = self._clock() + (RETRY_S if held.model is None else REFRESH_S)
            # The next attempt begins before that.
            held.good_until = self._clock() + GOOD_FOR_S
        finally:
            held.task = None

    async def _ready(self, strategy: Strategy, stored: StoredModel | None) -> ServedModel:
        if stored is None:
            return untrained(strategy)
        try:
            model = served(stored, strategy)
        except UnusableModel:
            log.exception("the champion of %s is unreadable, serving the prior", strategy.name)
            return untrained(strategy)
        try:
            await self._inference.load(model)
        except UnusableModel:
            log.exception("%s cannot be loaded, serving its base rate", model.version)
            return model.without_artefact()
        return model
