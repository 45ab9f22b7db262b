"""Trains on the outcomes of published signals, and promotes the model or the base rate that is served.

No account can buy what is served. Every published signal trains, traded or not, once, with its own features
and with the result that bars give it; so to leave any account out changes no row. Trades matter only for
signals of symbols without bars, in the base rate alone and within bounds (domain/confidence/safeguards.py).
Beyond this, a large jump of the average is stored but not served.
"""

import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from shared.domain.confidence.models import ModelDocument, Outcome, StoredModel, version_of
from shared.domain.confidence.safeguards import Reported, average_of, is_jump, served_average
from shared.domain.confidence.strategy import Strategy, StrategyCatalog
from shared.domain.confidence.training import TrainingRequest, TrainingResult
from shared.errors import SignalCloudError, Unavailable
from shared.metrics import Count, Counter

# A model is trained on this many of the newest signals; 50,000 are 20 MB for the training process.
MAX_OUTCOMES = 50_000
# Raise this if a change of shared/training should train again on the same outcomes.
TRAINING_REVISION = 2

log = logging.getLogger(__name__)


class OutcomeReader(Protocol):
    async def outcomes(self, strategy: str, *, before: datetime, limit: int) -> list[Outcome]: ...
    async def reported(self, strategy: str, *, before: datetime) -> Reported: ...


class ModelStore(Protocol):
    async def champion(self, strategy: str) -> StoredModel | None: ...
    async def add(self, model: StoredModel) -> None: ...
    async def promote(self, version: str) -> None: ...
    async def list(self, strategy: str | None) -> Sequence[StoredModel]: ...


class Trainer(Protocol):
    async def train(self, request: TrainingRequest) -> TrainingResult: ...


class TrainingReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one run. `promoted` is the version served from now on, None if nothing changes.

    `frozen` means that the version `waiting` would change too much; an operator has to accept it.
    """

    strategy: str
    outcome: Literal["no_outcomes", "nothing_new", "base_rate", "model", "keep", "frozen", "failed"]
    promoted: str | None = None
    waiting: str | None = None
    reason: str = ""


class TrainingService:
    """Every run can be repeated or cut short: versions are stored first and promoted last."""

    def __init__(
        self,
        *,
        strategies: StrategyCatalog,
        outcomes: OutcomeReader,
        models: ModelStore,
        trainer: Trainer,
        count: Counter,
    ) -> None:
        self._strategies = strategies
        self._outcomes = outcomes
        self._models = models
        self._trainer = trainer
        self._count = count

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
        """Trains on signals decided by `now`, stores the new versions, and promotes the best if it passes.

        The base rate is always stored; it is promoted unless a model is or stays champion. Raises
        Unavailable, and SignalCloudError if the run itself fails.
        """
        name = strategy.name
        outcomes = await self._outcomes.outcomes(name, before=now, limit=MAX_OUTCOMES)
        if not outcomes:
            return TrainingReport(strategy=name, outcome="no_outcomes")
        reported = await self._reported(name, now)
        data_hash = _hash(strategy, outcomes, reported)
        former = await self._former_run(name, data_hash)
        if former is not None:
            return former
        champion = await self._models.champion(name)
        request = TrainingRequest(
            strategy=strategy, outcomes=outcomes, reported=reported, data_hash=data_hash, champion=champion
        )
        result = _judged(await self._trainer.train(request), strategy, champion)
        base_rate = _stored(name, now, result.base_rate, None)
        await self._models.add(base_rate)
        chosen = base_rate if result.decision == "base_rate" else None
        if result.model is not None:
            model = _stored(name, now, result.model.document, result.model.artefact)
            await self._models.add(model)
            chosen = model if result.decision == "model" else chosen
        log.info(
            "training of %s on %d signals: %s, %s",
            name,
            len(outcomes),
            result.decision,
            result.base_rate.reason,
        )
        if chosen is None:
            return TrainingReport(strategy=name, outcome="keep", reason=result.base_rate.reason)
        return await self._promoted(chosen, msgspec.convert(chosen.document, ModelDocument))

    async def _reported(self, strategy: str, now: datetime) -> Reported:
        """What trades tell about signals without bars; nothing if that cannot be read.

        It moves a base rate by less than 0.02, so a flood of trades must not be able to stop training.
        """
        try:
            return await self._outcomes.reported(strategy, before=now)
        except Unavailable as error:
            log.warning("training of %s goes on without reported trades: %s", strategy, error.internal)
            return Reported()

    async def _promoted(self, stored: StoredModel, document: ModelDocument) -> TrainingReport:
        """Promotes the version that a run chose, unless it is frozen; every run on its data reports that."""
        name, version = stored.strategy, stored.version
        if document.frozen:
            self._count(Count.TRAINING_FROZEN)
            log.warning("%s is frozen: its average is too far from what is served", version)
            return TrainingReport(strategy=name, outcome="frozen", waiting=version, reason=document.reason)
        await self._models.promote(version)
        return TrainingReport(strategy=name, outcome=stored.basis, promoted=version, reason=document.reason)

    async def _former_run(self, strategy: str, data_hash: str) -> TrainingReport | None:
        """The report of an earlier run on the same outcomes; completes one that stopped before promoting."""
        for stored in await self._models.list(strategy):
            if stored.document.get("data_hash") != data_hash:
                continue
            document = msgspec.convert(stored.document, ModelDocument)
            if document.decision == "keep":
                return TrainingReport(strategy=strategy, outcome="nothing_new")
            if document.decision != stored.basis:
                continue
            if stored.status == "candidate":
                return await self._promoted(stored, document)
            return TrainingReport(strategy=strategy, outcome="nothing_new")
        return None


def _judged(result: TrainingResult, strategy: Strategy, champion: StoredModel | None) -> TrainingResult:
    """`result`; its documents say `frozen` if what it would promote is too far from what is served."""
    if result.decision == "keep":
        return result
    chosen = result.model.document if result.model is not None else result.base_rate
    if not is_jump(served_average(champion, strategy), average_of(chosen)):
        return result
    model = result.model
    if model is not None:
        frozen = msgspec.structs.replace(model.document, frozen=True)
        model = msgspec.structs.replace(model, document=frozen)
    base_rate = msgspec.structs.replace(result.base_rate, frozen=True)
    return msgspec.structs.replace(result, base_rate=base_rate, model=model)


def _hash(strategy: Strategy, outcomes: Sequence[Outcome], reported: Reported) -> str:
    content = (TRAINING_REVISION, strategy, outcomes, reported)
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


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
