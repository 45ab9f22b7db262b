"""Training runs: what is stored, what is promoted, and what happens when a run is repeated or cut short."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from shared.domain.confidence.encoding import column_names
from shared.domain.confidence.models import (
    ModelDocument,
    ModelStatus,
    Outcome,
    StoredModel,
    Window,
    version_of,
)
from shared.domain.confidence.safeguards import Reported
from shared.domain.confidence.training import Decision, TrainedModel, TrainingRequest, TrainingResult
from shared.errors import DatabaseUnavailable, SignalCloudError, TrainingFailed, Unavailable
from shared.services.training import TrainingService
from tests.support.strategies import DEFAULT, STRATEGIES

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
NOTHING_REPORTED = Reported()


def outcome(index: int) -> Outcome:
    at = NOW - timedelta(hours=index + 1)
    return Outcome(
        symbol="ES",
        side="LONG",
        entry_at=at,
        exit_at=at,
        features={"vwap_distance": 2.0, "rsi": 30.0},
        won=True,
    )


@dataclass
class Outcomes:
    """Decided signals of one strategy."""

    outcomes_: list[Outcome]
    strategy: str = "vwap_bounce"
    reported_: Reported = NOTHING_REPORTED
    reports_away: bool = False

    async def outcomes(self, strategy: str, *, before: datetime, limit: int) -> list[Outcome]:
        ended = [one for one in self.outcomes_ if one.exit_at <= before] if strategy == self.strategy else []
        return ended[-limit:]

    async def reported(self, strategy: str, *, before: datetime) -> Reported:
        if self.reports_away:
            raise DatabaseUnavailable("The database took too long.", internal="QueryCanceled")
        return self.reported_


@dataclass
class Models:
    """The models table: versions are immutable, one champion a strategy."""

    stored: dict[str, StoredModel] = field(default_factory=dict)
    fails_on_promote: bool = False

    async def champion(self, strategy: str) -> StoredModel | None:
        return next((one for one in self.stored.values() if one.status == "champion"), None)

    async def add(self, model: StoredModel) -> None:
        assert model.version not in self.stored
        self.stored[model.version] = model

    async def promote(self, version: str) -> None:
        if self.fails_on_promote:
            raise DatabaseUnavailable("The database cannot be reached.")
        former = await self.champion("vwap_bounce")
        if former:
            self.stored[former.version] = msgspec.structs.replace(former, status="retired")
        self.stored[version] = msgspec.structs.replace(self.stored[version], status="champion")

    def statuses(self) -> list[tuple[str, ModelStatus]]:
        return [(one.basis, one.status) for one in self.stored.values()]

    async def list(self, strategy: str | None) -> Sequence[StoredModel]:
        return [*self.stored.values()]


@dataclass
class Trainer:
    """A run with a decision made beforehand; the documents are those of its request."""

    decision: Decision = "base_rate"
    requests: list[TrainingRequest] = field(default_factory=list)
    base_rate: float = 0.6
    n: int | None = None
    average: float | None = None
    error: SignalCloudError | None = None

    async def train(self, request: TrainingRequest) -> TrainingResult:
        if self.error:
            raise self.error
        self.requests.append(request)
        base_rate = ModelDocument(
            strategy_version=1,
            basis="base_rate",
            base_rate=self.base_rate,
            n=self.n or len(request.outcomes),
            wins=len(request.outcomes),
            window=Window(NOW, NOW),
            data_hash=request.data_hash,
            decision=self.decision,
            reason="as told",
        )
        model = None
        if self.decision == "model":
            document = msgspec.structs.replace(
                base_rate,
                basis="model",
                kind="logistic",
                average=self.average,
                columns=column_names(DEFAULT),
                fills=(0.0,) * len(column_names(DEFAULT)),
            )
            model = TrainedModel(artefact=b"onnx", document=document)
        return TrainingResult(decision=self.decision, base_rate=base_rate, model=model)


def service_of(
    outcomes: Outcomes, models: Models, trainer: Trainer, counted: list[str] | None = None
) -> TrainingService:
    counts = counted if counted is not None else []
    return TrainingService(
        strategies=STRATEGIES,
        outcomes=outcomes,
        models=models,
        trainer=trainer,
        count=lambda name, count=1: counts.extend([name] * count),
    )


async def test_no_outcomes_means_nothing_is_stored() -> None:
    models, trainer = Models(), Trainer()
    report = await service_of(Outcomes([]), models, trainer).run(DEFAULT, NOW)
    assert (report.outcome, models.stored, trainer.requests) == ("no_outcomes", {}, [])


async def test_a_signal_that_is_decided_later_is_not_learnt_from() -> None:
    trainer = Trainer()
    service = service_of(Outcomes([outcome(2), outcome(0)]), Models(), trainer)
    await service.run(DEFAULT, NOW - timedelta(hours=2))
    assert trainer.requests[0].outcomes == [outcome(2)]


async def test_a_base_rate_is_stored_and_promoted() -> None:
    models = Models()
    report = await service_of(Outcomes([outcome(0)]), models, Trainer()).run(DEFAULT, NOW)
    (stored,) = models.stored.values()
    assert (stored.basis, stored.status, stored.artefact) == ("base_rate", "champion", None)
    assert stored.version.startswith("vwap_bounce-20251013T140000Z-")
    assert (report.outcome, report.promoted, report.reason) == ("base_rate", stored.version, "as told")


async def test_a_model_that_won_is_promoted_and_its_base_rate_kept_beside_it() -> None:
    models = Models()
    report = await service_of(Outcomes([outcome(0)]), models, Trainer("model")).run(DEFAULT, NOW)
    assert models.statuses() == [("base_rate", "candidate"), ("model", "champion")]
    champion = await models.champion("vwap_bounce")
    assert champion is not None
    assert (champion.version, champion.artefact) == (report.promoted, b"onnx")


async def test_a_champion_that_nobody_beats_stays_and_is_what_the_next_run_competes_with() -> None:
    outcomes, models, trainer = Outcomes([outcome(1)]), Models(), Trainer("model")
    service = service_of(outcomes, models, trainer)
    promoted = (await service.run(DEFAULT, NOW)).promoted
    outcomes.outcomes_.append(outcome(0))
    trainer.decision = "keep"
    report = await service.run(DEFAULT, NOW)
    assert (report.outcome, report.promoted) == ("keep", None)
    champion = trainer.requests[1].champion
    assert champion is not None
    assert champion.version == promoted
    assert models.stored[champion.version].status == "champion"


@pytest.mark.parametrize("decision", ["base_rate", "model", "keep"])
async def test_the_same_outcomes_are_not_trained_on_twice(decision: Decision) -> None:
    models, trainer = Models(), Trainer(decision)
    service = service_of(Outcomes([outcome(0)]), models, trainer)
    await service.run(DEFAULT, NOW)
    before = models.statuses()
    report = await service.run(DEFAULT, NOW + timedelta(hours=1))
    assert (report.outcome, len(trainer.requests), models.statuses()) == ("nothing_new", 1, before)


@pytest.mark.parametrize("decision", ["base_rate", "model"])
async def test_a_run_cut_short_before_promoting_is_completed_by_the_next(decision: Decision) -> None:
    models, trainer = Models(fails_on_promote=True), Trainer(decision)
    service = service_of(Outcomes([outcome(0)]), models, trainer)
    with pytest.raises(Unavailable):
        await service.run(DEFAULT, NOW)
    models.fails_on_promote = False
    report = await service.run(DEFAULT, NOW)
    champion = await models.champion("vwap_bounce")
    assert champion is not None
    assert (champion.version, champion.basis, len(trainer.requests)) == (report.promoted, decision, 1)


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("away"), TrainingFailed("A run failed.", internal="exit 1")]
)
async def test_a_strategy_that_fails_is_logged_and_does_not_stop_the_others(
    error: SignalCloudError, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(error=error)
    reports = await service_of(Outcomes([outcome(0)]), Models(), trainer).run_all(NOW)
    assert [(report.strategy, report.outcome) for report in reports] == [
        (name, "failed" if name == DEFAULT.name else "no_outcomes") for name in STRATEGIES
    ]
    assert len(caplog.messages) == 1


async def test_a_run_asks_for_the_newest_50_000_decided_signals() -> None:
    asked: list[tuple[str, datetime, int]] = []

    class Asked(Outcomes):
        async def outcomes(self, strategy: str, *, before: datetime, limit: int) -> list[Outcome]:
            asked.append((strategy, before, limit))
            return []

    await service_of(Asked([]), Models(), Trainer()).run(DEFAULT, NOW)
    assert asked == [("vwap_bounce", NOW, 50_000)]


async def test_another_strategy_or_other_outcomes_are_trained_on_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes, models, trainer = Outcomes([outcome(1)]), Models(), Trainer()
    service = service_of(outcomes, models, trainer)
    await service.run(DEFAULT, NOW)
    changed = msgspec.structs.replace(DEFAULT, version=DEFAULT.version + 1)
    await service.run(changed, NOW)
    outcomes.outcomes_.append(outcome(0))
    await service.run(DEFAULT, NOW)
    monkeypatch.setattr("shared.services.training.TRAINING_REVISION", 0)
    await service.run(DEFAULT, NOW)
    hashes = [request.data_hash for request in trainer.requests]
    assert len(set(hashes)) == len(hashes) == 4
    assert [request.strategy.version for request in trainer.requests] == [1, 2, 1, 1]


async def test_what_is_stored_says_from_what_and_when_it_was_made() -> None:
    models = Models()
    await service_of(Outcomes([outcome(0)]), models, Trainer("model")).run(DEFAULT, NOW)
    base_rate, model = models.stored.values()
    for one in (base_rate, model):
        assert (one.strategy, one.created_at) == ("vwap_bounce", NOW)
        assert one.version == version_of(
            "vwap_bounce", NOW, msgspec.json.encode(one.document) + (one.artefact or b"")
        )
    assert (base_rate.document["basis"], model.document["basis"]) == ("base_rate", "model")


async def test_every_strategy_is_trained_and_reported_in_its_order() -> None:
    reports = await service_of(Outcomes([outcome(0)]), Models(), Trainer()).run_all(NOW)
    assert [(report.strategy, report.outcome) for report in reports] == [
        (name, "base_rate" if name == DEFAULT.name else "no_outcomes") for name in STRATEGIES
    ]
    away = await service_of(
        Outcomes([outcome(0)]), Models(), Trainer(error=DatabaseUnavailable("away"))
    ).run_all(NOW)
    assert (away[0].reason, away[0].promoted) == ("away", None)


@pytest.mark.parametrize(("decision", "average"), [("base_rate", None), ("model", 0.9)])
async def test_a_jump_is_stored_but_not_served_until_it_is_accepted(
    decision: Decision, average: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes, models, trainer, counted = Outcomes([outcome(3)]), Models(), Trainer(n=2_000), list[str]()
    service = service_of(outcomes, models, trainer, counted)
    first = await service.run(DEFAULT, NOW)
    assert (first.outcome, counted) == ("base_rate", [])
    outcomes.outcomes_.append(outcome(2))
    trainer.decision, trainer.average = decision, average
    trainer.base_rate = 0.75 if decision == "base_rate" else 0.6
    frozen = await service.run(DEFAULT, NOW)
    assert (frozen.outcome, frozen.promoted, counted) == ("frozen", None, ["training_frozen"])
    assert frozen.waiting is not None
    assert frozen.waiting in caplog.text
    waiting = models.stored[frozen.waiting]
    assert (waiting.status, waiting.basis, waiting.document["frozen"]) == ("candidate", decision, True)
    champion = await models.champion("vwap_bounce")
    assert champion is not None
    assert champion.version == first.promoted

    again = await service.run(DEFAULT, NOW + timedelta(minutes=15))
    assert (again.outcome, again.waiting, len(trainer.requests)) == ("frozen", frozen.waiting, 2)
    assert counted == ["training_frozen"] * 2, "each run says it, so that the alert stays"

    await models.promote(frozen.waiting)
    assert (await service.run(DEFAULT, NOW)).outcome == "nothing_new"
    outcomes.outcomes_.append(outcome(1))
    after = await service.run(DEFAULT, NOW)
    assert (after.outcome, len(counted)) == (decision, 2)


async def test_a_small_change_and_a_first_base_rate_of_few_outcomes_are_no_jump() -> None:
    outcomes, models, trainer = Outcomes([outcome(3)]), Models(), Trainer(base_rate=0.69, n=517)
    service = service_of(outcomes, models, trainer)
    assert (await service.run(DEFAULT, NOW)).outcome == "base_rate"
    outcomes.outcomes_.append(outcome(2))
    trainer.base_rate = 0.73
    assert (await service.run(DEFAULT, NOW)).outcome == "base_rate"


async def test_new_reports_of_signals_without_bars_train_again() -> None:
    outcomes, models, trainer = Outcomes([outcome(3)]), Models(), Trainer()
    service = service_of(outcomes, models, trainer)
    await service.run(DEFAULT, NOW)
    outcomes.reported_ = Reported(signals=1, accounts=2, weight=0.5, wins=0.5)
    assert (await service.run(DEFAULT, NOW)).outcome == "base_rate"
    assert trainer.requests[1].reported == outcomes.reported_


async def test_reports_that_cannot_be_read_do_not_stop_training(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of trades made that one query too slow, and no strategy was trained any more."""
    models, trainer = Models(), Trainer()
    outcomes = Outcomes([outcome(0)], reported_=Reported(signals=1, accounts=2, weight=1.0, wins=1.0))
    outcomes.reports_away = True
    report = await service_of(outcomes, models, trainer).run(DEFAULT, NOW)
    assert report.outcome == "base_rate"
    assert trainer.requests[0].reported == NOTHING_REPORTED
    (warning,) = (one for one in caplog.records if one.levelname == "WARNING")
    assert "goes on without reported trades" in warning.getMessage()
    outcomes.reports_away = False
    assert (await service_of(outcomes, models, trainer).run(DEFAULT, NOW)).outcome == "base_rate"
    assert trainer.requests[1].reported == outcomes.reported_
