"""Trains on recorded trades, and promotes the model or the base rate that is served."""

import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from shared.domain.confidence.models import ModelDocument, Outcome, StoredModel, version_of
from shared.domain.confidence.strategy import Strategy, StrategyCatalog
from shared.domain.confidence.training import TrainingRequest, TrainingResult
from shared.errors import SignalCloudError, Unavailable

# A model is trained on this many of the newest trades; 50,000 are 20 MB for the training process.
MAX_OUTCOMES = 50_000
# Raise this if a change of shared/training should train again on the same trades.
TRAINING_REVISION = 1

log = logging.getLogger(__name__)


class OutcomeReader(Protocol):
    async def outcomes(self, strategy: str, *, before: datetime, limit: int) -> list[Outcome]: ...


class ModelStore(Protocol):
    async def champion(self, strategy: str) -> StoredModel | None: ...
    async def add(self, model: StoredModel) -> None: ...
    async def promote(self, version: str) -> None: ...
    async def list(self, strategy: str | None) -> Sequence[StoredModel]: ...


class Trainer(Protocol):
    async def train(self, request: TrainingRequest) -> TrainingResult: ...


class TrainingReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one run. `promoted` is the version served from now on, None if nothing changes."""

    strategy: str
    outcome: Literal["no_trades", "nothing_new", "base_rate", "model", "keep", "failed"]
    promoted: str | None = None
    reason: str = ""


class TrainingService:
    """Every run can be repeated or cut short: versions are stored first and promoted last."""

    def __init__(
        self, strategies: StrategyCatalog, outcomes: OutcomeReader, models: ModelStore, trainer: Trainer
    ) -> None:
        self._strategies = strategies
        self._outcomes = outcomes
        self._models = models
        self._trainer = trainer

    async def run_all(self, now: datetime) -> list[TrainingReport]:
        """Trains every strategy in turn; one that fails is logged and does not stop the others."""
        reports = []
        for name, strategy in self._strategies.items():
            try:
                reports.append(await self.run(strategy, now))
            except Unavailable as error:
                log.warning("training of %s waits for the next run: %s", name, error.detail)
                reports.append(TrainingReport(strategy=name, outcome="failed", reason=error.detail))
            except SignalCloudError as error:
                log.exception("training of %s failed: %s", name, error.internal)
                reports.append(TrainingReport(strategy=name, outcome="failed", reason=error.detail))
        return reports

    async def run(self, strategy: Strategy, now: datetime) -> TrainingReport:
        """Trains on trades that ended by `now`, stores the new versions, and promotes the best if it passes.

        The base rate is always stored; it is promoted unless a model is or stays champion. Raises
        Unavailable, and SignalCloudError if the run itself fails.
        """
        name = strategy.name
        outcomes = await self._outcomes.outcomes(name, before=now, limit=MAX_OUTCOMES)
        if not outcomes:
            return TrainingReport(strategy=name, outcome="no_trades")
        data_hash = _hash(strategy, outcomes)
        former = await self._former_run(name, data_hash)
        if former is not None:
            return former
        champion = await self._models.champion(name)
        request = TrainingRequest(
            strategy=strategy, outcomes=outcomes, data_hash=data_hash, champion=champion
        )
        result = await self._trainer.train(request)
        base_rate = _stored(name, now, result.base_rate, None)
        await self._models.add(base_rate)
        promoted = base_rate.version if result.decision == "base_rate" else None
        if result.model is not None:
            model = _stored(name, now, result.model.document, result.model.artefact)
            await self._models.add(model)
            promoted = model.version if result.decision == "model" else promoted
        if promoted is not None:
            await self._models.promote(promoted)
        reason = result.base_rate.reason
        log.info("training of %s on %d trades: %s, %s", name, len(outcomes), result.decision, reason)
        return TrainingReport(strategy=name, outcome=result.decision, promoted=promoted, reason=reason)

    async def _former_run(self, strategy: str, data_hash: str) -> TrainingReport | None:
        """The report of an earlier run on the same trades; completes one that stopped before promoting."""
        for stored in await self._models.list(strategy):
            if stored.document.get("data_hash") != data_hash:
                continue
            document = msgspec.convert(stored.document, ModelDocument)
            if document.decision == "keep":
                return TrainingReport(strategy=strategy, outcome="nothing_new")
            if document.decision != stored.basis:
                continue
            if stored.status == "candidate":
                await self._models.promote(stored.version)
                return TrainingReport(
                    strategy=strategy,
                    outcome=document.decision,
                    promoted=stored.version,
                    reason=document.reason,
                )
            return TrainingReport(strategy=strategy, outcome="nothing_new")
        return None


def _hash(strategy: Strategy, outcomes: Sequence[Outcome]) -> str:
    return hashlib.sha256(msgspec.json.encode((TRAINING_REVISION, strategy, outcomes))).hexdigest()


def _stored(strategy: str, now: datetime, document: ModelDocument, artefact: bytes | None) -> StoredModel:
    return StoredModel(
        version=version_of(strategy, now, msgspec.json.encode(document) + (artefact or b"")),
        strategy=strategy,
        status="candidate",
        basis=document.basis,
        artefact=artefact,
        document=msgspec.to_builtins(document),
        created_at=now,
    )
