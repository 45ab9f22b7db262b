"""Training in its own process: honest promotion on made worlds whose truth is known, and on real trades."""

import asyncio
import hashlib
import time
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from shared.adapters.inference import OnnxInference
from shared.adapters.training_process import TrainingProcess
from shared.domain.confidence.models import Outcome, StoredModel, served, version_of
from shared.domain.confidence.strategy import Strategy
from shared.domain.confidence.training import TrainingRequest, TrainingResult
from shared.errors import SignalCloudError
from shared.training.candidates import CANDIDATES, winner_probability
from shared.training.dataset import make_dataset
from shared.training.run import train
from tests.support.outcomes import REAL_FILE, START, made_outcomes, real_outcomes
from tests.support.strategies import DEFAULT, STRATEGIES

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)


def request(
    outcomes: list[Outcome], champion: StoredModel | None = None, strategy: Strategy = DEFAULT
) -> TrainingRequest:
    data_hash = hashlib.sha256(msgspec.json.encode(outcomes)).hexdigest()
    return TrainingRequest(strategy=strategy, outcomes=outcomes, data_hash=data_hash, champion=champion)


def champion_of(result: TrainingResult) -> StoredModel:
    assert result.model is not None
    return StoredModel(
        version=version_of("vwap_bounce", NOW, result.model.artefact),
        strategy="vwap_bounce",
        status="champion",
        basis="model",
        artefact=result.model.artefact,
        document=msgspec.to_builtins(result.model.document),
        created_at=NOW,
    )


@pytest.fixture(scope="module")
def won() -> tuple[TrainingRequest, TrainingResult]:
    """A run over a world with a real signal, in the process that production uses."""
    asked = request(made_outcomes(600, seed=1, signal=1.5))
    return asked, asyncio.run(TrainingProcess().train(asked))


async def test_a_real_signal_is_promoted_and_served_as_scikit_learn_has_it(
    won: tuple[TrainingRequest, TrainingResult],
) -> None:
    asked, result = won
    assert (result.decision, result.base_rate.decision) == ("model", "model")
    assert result.model is not None
    document = result.model.document
    data = make_dataset(DEFAULT, asked.outcomes)
    assert (document.n, document.wins) == (600, int(data.won.sum()))
    assert document.window.last_exit_at == max(one.exit_at for one in asked.outcomes)
    assert document.scores["export_difference"] <= 1e-5
    assert set(document.libraries) == {"numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx"}
    gain = document.scores["candidates"][document.kind]["gain_over_base_rate"]
    assert 0 < gain["low"] < gain["mean"] < gain["high"]

    model = served(champion_of(result), DEFAULT)
    engine = OnnxInference()
    await engine.load(model)
    rows = data.inputs(np.array(document.fills))
    assert document.kind is not None
    again = CANDIDATES[document.kind](rows, data.won, int(asked.data_hash[:8], 16))
    expected = winner_probability(again, rows)
    assert engine.probabilities(model, data.states) == pytest.approx(expected.tolist(), abs=1e-5)


async def test_the_same_request_gives_the_same_model_in_every_run(
    won: tuple[TrainingRequest, TrainingResult],
) -> None:
    asked, first = won
    second = await TrainingProcess().train(asked)
    assert first.model is not None
    assert second.model is not None
    assert (second.decision, second.model.document.kind) == (first.decision, first.model.document.kind)
    assert second.base_rate.base_rate == first.base_rate.base_rate
    # Sums may differ in their last bits between processes, and with them the artefact's bytes.
    states = make_dataset(DEFAULT, asked.outcomes).states
    engine = OnnxInference()
    probabilities = []
    for name, result in (("first", first), ("second", second)):
        stored = msgspec.structs.replace(champion_of(result), version=name)
        probabilities.append(engine.probabilities(served(stored, DEFAULT), states))
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-3)


def test_what_no_line_can_follow_is_won_by_trees() -> None:
    result = train(request(made_outcomes(1_000, seed=2, signal=1.5, curved=True)))
    assert result.decision == "model"
    assert result.model is not None
    assert result.model.document.kind == "boosted"


@pytest.mark.parametrize("seed", [3, 4])
def test_noise_keeps_the_base_rate(seed: int) -> None:
    result = train(request(made_outcomes(600, seed=seed, signal=0)))
    assert (result.decision, result.model) == ("base_rate", None)
    document = result.base_rate
    assert document.base_rate == pytest.approx((10 + document.wins) / (20 + 600))
    for candidate in document.scores["candidates"].values():
        assert candidate["gain_over_base_rate"]["low"] < 0


def test_a_champion_is_not_replaced_by_its_equal(won: tuple[TrainingRequest, TrainingResult]) -> None:
    asked, result = won
    later = made_outcomes(400, seed=8, signal=1.5, start=START + timedelta(days=30))
    again = train(request([*asked.outcomes, *later], champion_of(result)))
    assert (again.decision, again.model) == ("keep", None)
    assert again.base_rate.scores["champion"]["gain_of_base_rate"]["high"] < 0


def test_a_champion_that_has_seen_every_trade_cannot_be_beaten_on_them(
    won: tuple[TrainingRequest, TrainingResult],
) -> None:
    asked, result = won
    again = train(request(asked.outcomes, champion_of(result)))
    assert again.decision == "keep"
    assert "champion" not in again.base_rate.scores


def test_a_champion_that_the_market_has_left_behind_gives_way_to_the_base_rate(
    won: tuple[TrainingRequest, TrainingResult],
) -> None:
    asked, result = won
    later = made_outcomes(500, seed=9, signal=0, start=START + timedelta(days=30))
    again = train(request([*asked.outcomes, *later], champion_of(result)))
    assert (again.decision, again.model) == ("base_rate", None)
    scores = again.base_rate.scores["champion"]
    assert scores["brier"] > again.base_rate.scores["base_rate"]["brier"]
    assert scores["gain_of_base_rate"]["low"] > 0


def test_a_broken_champion_is_no_incumbent(won: tuple[TrainingRequest, TrainingResult]) -> None:
    asked, result = won
    broken = msgspec.structs.replace(champion_of(result), artefact=b"rubbish")
    assert train(request(asked.outcomes, broken)).decision == "model"


def test_a_handful_of_trades_gives_a_base_rate_near_the_prior() -> None:
    outcomes = made_outcomes(5, seed=1, signal=0)
    result = train(request(outcomes))
    wins = sum(one.won for one in outcomes)
    assert result.decision == "base_rate"
    assert result.base_rate.base_rate == pytest.approx((10 + wins) / 25)
    assert result.base_rate.n == 5


def test_trades_whose_features_do_not_fit_are_left_out_and_counted() -> None:
    outcomes = made_outcomes(30, seed=1, signal=0)
    outcomes[3] = msgspec.structs.replace(outcomes[3], features={"rsi": 300.0})
    outcomes[4] = msgspec.structs.replace(outcomes[4], symbol="ZN")
    result = train(request(outcomes))
    assert (result.base_rate.n, result.base_rate.rows["unfitting"]) == (28, 2)


@pytest.mark.skipif(not REAL_FILE.exists(), reason="needs the outcomes file: set SIGNAL_DATA to its folder")
def test_on_real_trades_nothing_is_promoted_without_a_gain_out_of_sample() -> None:
    result = train(request(real_outcomes(), strategy=STRATEGIES["capitulation_reversal"]))
    document = result.base_rate
    assert document.n == 517, "every real row fits the strategy"
    prior = STRATEGIES["capitulation_reversal"].prior
    assert document.base_rate == pytest.approx(prior.base_rate(359, 517))
    scores = document.scores
    assert scores["out_of_sample"]["n"] >= 200
    gains = {name: one["gain_over_base_rate"] for name, one in scores["candidates"].items()}
    if result.model is None:
        assert result.decision == "base_rate"
        assert all(gain["low"] < 0 or gain["mean"] <= 0 for gain in gains.values())
    else:
        assert gains[str(result.model.document.kind)]["low"] > 0


async def test_a_run_that_takes_too_long_is_ended_and_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[asyncio.subprocess.Process] = []
    spawn = asyncio.create_subprocess_exec

    async def noticed(*args: str, **kwargs: object) -> asyncio.subprocess.Process:
        process: asyncio.subprocess.Process = await spawn(*args, **kwargs)  # type: ignore[arg-type]  # as given
        started.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noticed)
    began = time.monotonic()
    with pytest.raises(SignalCloudError, match="too long"):
        await TrainingProcess(timeout_s=0.3).train(request(made_outcomes(600, seed=1, signal=1)))
    assert time.monotonic() - began < 5
    assert [process.returncode for process in started] == [-9]


async def test_a_run_that_fails_says_why_in_the_log_only() -> None:
    with pytest.raises(SignalCloudError) as caught:
        await TrainingProcess().train(request([]))
    assert "no outcome fits the strategy" in caught.value.internal
    assert caught.value.detail == "A training run failed."


async def test_a_run_inherits_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    spawn = asyncio.create_subprocess_exec

    async def noticed(*args: str, **kwargs: object) -> asyncio.subprocess.Process:
        seen.update(kwargs)
        process: asyncio.subprocess.Process = await spawn(*args, **kwargs)  # type: ignore[arg-type]  # as given
        return process

    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setattr(asyncio, "create_subprocess_exec", noticed)
    await TrainingProcess().train(request(made_outcomes(5, seed=1, signal=0)))
    environment = seen["env"]
    assert isinstance(environment, dict)
    assert set(environment) == {"PYTHONPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
