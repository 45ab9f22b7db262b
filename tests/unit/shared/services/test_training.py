"""Training runs: what is stored, what is promoted, and what happens when a run is repeated or cut short."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from shared.domain.confidence.models import (
    ModelDocument,
    ModelStatus,
    Outcome,
    StoredModel,
    Window,
    version_of,
)
from shared.domain.confidence.training import Decision, TrainedModel, TrainingRequest, TrainingResult
from shared.errors import DatabaseUnavailable, SignalCloudError, TrainingFailed, Unavailable
from shared.services.training import TrainingService
from tests.support.strategies import DEFAULT, STRATEGIES

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)


def outcome(index: int) -> Outcome:
    at = NOW - timedelta(hours=index + 1)
    return Outcome(
        account_id="a",
        symbol="ES",
        side="LONG",
        entry_at=at,
        exit_at=at,
        features={"vwap_distance": 2.0, "rsi": 30.0},
        won=True,
    )


@dataclass
class Trades:
    """What bots have reported, of one strategy."""

    outcomes_: list[Outcome]
    strategy: str = "vwap_bounce"

    async def outcomes(self, strategy: str, *, before: datetime, limit: int) -> list[Outcome]:
        ended = [one for one in self.outcomes_ if one.exit_at <= before] if strategy == self.strategy else []
        return ended[-limit:]


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
    error: SignalCloudError | None = None

    async def train(self, request: TrainingRequest) -> TrainingResult:
        if self.error:
            raise self.error
        self.requests.append(request)
        base_rate = ModelDocument(
            strategy_version=1,
            basis="base_rate",
            base_rate=0.6,
            n=len(request.outcomes),
            wins=len(request.outcomes),
            window=Window(NOW, NOW),
            data_hash=request.data_hash,
            decision=self.decision,
            reason="as told",
        )
        model = None
        if self.decision == "model":
            document = msgspec.structs.replace(base_rate, basis="model", kind="logistic")
            model = TrainedModel(artefact=b"onnx", document=document)
        return TrainingResult(decision=self.decision, base_rate=base_rate, model=model)


async def test_no_trades_means_nothing_is_stored() -> None:
    models, trainer = Models(), Trainer()
    report = await TrainingService(STRATEGIES, Trades([]), models, trainer).run(DEFAULT, NOW)
    assert (report.outcome, models.stored, trainer.requests) == ("no_trades", {}, [])


async def test_a_trade_that_ends_later_is_not_learnt_from() -> None:
    trainer = Trainer()
    service = TrainingService(STRATEGIES, Trades([outcome(2), outcome(0)]), Models(), trainer)
    await service.run(DEFAULT, NOW - timedelta(hours=2))
    assert trainer.requests[0].outcomes == [outcome(2)]


async def test_a_base_rate_is_stored_and_promoted() -> None:
    models = Models()
    report = await TrainingService(STRATEGIES, Trades([outcome(0)]), models, Trainer()).run(DEFAULT, NOW)
    (stored,) = models.stored.values()
    assert (stored.basis, stored.status, stored.artefact) == ("base_rate", "champion", None)
    assert stored.version.startswith("vwap_bounce-20251013T140000Z-")
    assert (report.outcome, report.promoted, report.reason) == ("base_rate", stored.version, "as told")


async def test_a_model_that_won_is_promoted_and_its_base_rate_kept_beside_it() -> None:
    models = Models()
    report = await TrainingService(STRATEGIES, Trades([outcome(0)]), models, Trainer("model")).run(
        DEFAULT, NOW
    )
    assert models.statuses() == [("base_rate", "candidate"), ("model", "champion")]
    champion = await models.champion("vwap_bounce")
    assert champion is not None
    assert (champion.version, champion.artefact) == (report.promoted, b"onnx")


async def test_a_champion_that_nobody_beats_stays_and_is_what_the_next_run_competes_with() -> None:
    trades, models, trainer = Trades([outcome(1)]), Models(), Trainer("model")
    service = TrainingService(STRATEGIES, trades, models, trainer)
    promoted = (await service.run(DEFAULT, NOW)).promoted
    trades.outcomes_.append(outcome(0))
    trainer.decision = "keep"
    report = await service.run(DEFAULT, NOW)
    assert (report.outcome, report.promoted) == ("keep", None)
    champion = trainer.requests[1].champion
    assert champion is not None
    assert champion.version == promoted
    assert models.stored[champion.version].status == "champion"


@pytest.mark.parametrize("decision", ["base_rate", "model", "keep"])
async def test_the_same_trades_are_not_trained_on_twice(decision: Decision) -> None:
    models, trainer = Models(), Trainer(decision)
    service = TrainingService(STRATEGIES, Trades([outcome(0)]), models, trainer)
    await service.run(DEFAULT, NOW)
    before = models.statuses()
    report = await service.run(DEFAULT, NOW + timedelta(hours=1))
    assert (report.outcome, len(trainer.requests), models.statuses()) == ("nothing_new", 1, before)


@pytest.mark.parametrize("decision", ["base_rate", "model"])
async def test_a_run_cut_short_before_promoting_is_completed_by_the_next(decision: Decision) -> None:
    models, trainer = Models(fails_on_promote=True), Trainer(decision)
    service = TrainingService(STRATEGIES, Trades([outcome(0)]), models, trainer)
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
    reports = await TrainingService(STRATEGIES, Trades([outcome(0)]), Models(), trainer).run_all(NOW)
    assert [(report.strategy, report.outcome) for report in reports] == [
        (name, "failed" if name == DEFAULT.name else "no_trades") for name in STRATEGIES
    ]
    assert len(caplog.messages) == 1


async def test_a_run_asks_for_the_newest_50_000_trades_that_have_ended() -> None:
    asked: list[tuple[str, datetime, int]] = []

    class Asked(Trades):
        async def outcomes(self, strategy: str, *, before: datetime, limit: int) -> list[Outcome]:
            asked.append((strategy, before, limit))
            return []

    await TrainingService(STRATEGIES, Asked([]), Models(), Trainer()).run(DEFAULT, NOW)
    assert asked == [("vwap_bounce", NOW, 50_000)]


async def test_another_strategy_or_other_trades_are_trained_on_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trades, models, trainer = Trades([outcome(1)]), Models(), Trainer()
    service = TrainingService(STRATEGIES, trades, models, trainer)
    await service.run(DEFAULT, NOW)
    changed = msgspec.structs.replace(DEFAULT, version=DEFAULT.version + 1)
    await service.run(changed, NOW)
    trades.outcomes_.append(outcome(0))
    await service.run(DEFAULT, NOW)
    monkeypatch.setattr("shared.services.training.TRAINING_REVISION", 0)
    await service.run(DEFAULT, NOW)
    hashes = [request.data_hash for request in trainer.requests]
    assert len(set(hashes)) == len(hashes) == 4
    assert [request.strategy.version for request in trainer.requests] == [1, 2, 1, 1]


async def test_what_is_stored_says_from_what_and_when_it_was_made() -> None:
    models = Models()
    await TrainingService(STRATEGIES, Trades([outcome(0)]), models, Trainer("model")).run(DEFAULT, NOW)
    base_rate, model = models.stored.values()
    for one in (base_rate, model):
        assert (one.strategy, one.created_at) == ("vwap_bounce", NOW)
        assert one.version == version_of(
            "vwap_bounce", NOW, msgspec.json.encode(one.document) + (one.artefact or b"")
        )
    assert (base_rate.document["basis"], model.document["basis"]) == ("base_rate", "model")


async def test_every_strategy_is_trained_and_reported_in_its_order() -> None:
    reports = await TrainingService(STRATEGIES, Trades([outcome(0)]), Models(), Trainer()).run_all(NOW)
    assert [(report.strategy, report.outcome) for report in reports] == [
        (name, "base_rate" if name == DEFAULT.name else "no_trades") for name in STRATEGIES
    ]
    away = await TrainingService(
        STRATEGIES, Trades([outcome(0)]), Models(), Trainer(error=DatabaseUnavailable("away"))
    ).run_all(NOW)
    assert (away[0].reason, away[0].promoted) == ("away", None)
