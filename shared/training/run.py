"""Does one training run, which returns a base rate, and a model if one is better on later data."""

import importlib.metadata

import msgspec

from shared.domain.confidence.models import ModelDocument, Window
from shared.domain.confidence.safeguards import Reported, counted
from shared.domain.confidence.training import Decision, TrainingRequest, TrainingResult
from shared.training.champion import champion_forecasts
from shared.training.dataset import Dataset, make_dataset

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx")


def _libraries() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _base_rate(data: Dataset, reported: Reported, data_hash: str) -> ModelDocument:
    wins, prior = int(data.won.sum()), data.strategy.prior
    weight, weighed_wins = counted(reported, data.n, prior.strength)
    return ModelDocument(
        strategy_version=data.strategy.version,
        basis="base_rate",
        base_rate=prior.base_rate(wins + weighed_wins, data.n + weight),
        n=data.n,
        wins=wins,
        window=Window(data.outcomes[0].entry_at, max(outcome.exit_at for outcome in data.outcomes)),
        data_hash=data_hash,
        decision="base_rate",
        reason="",
        rows=data.rows | {"reported": reported.signals},
        libraries=_libraries(),
    )


def train(request: TrainingRequest) -> TrainingResult:
    """The base rate of `request.outcomes`, and a model if one passes every test.

    The same request gives the same result, except for the last bits of sums. Raises ValueError if no
    outcome fits the strategy.
    """
    data = make_dataset(request.strategy, request.outcomes)
    if not data.n:
        raise ValueError("no outcome fits the strategy")
    champion = champion_forecasts(data, request.champion)
    decision: Decision = "base_rate" if champion is None else "keep"
    document = _base_rate(data, request.reported, request.data_hash)
    model = None
    if not data.is_trainable:
        reason = "too few outcomes, days, winners or losers to train and test a model"
    else:
        # Imported here, because scikit-learn takes a second to load and most strategies have few outcomes.
        from shared.training.selection import select_model

        selection = select_model(data, champion, document, seed=int(request.data_hash[:8], 16))
        document = msgspec.structs.replace(document, scores=selection.scores)
        model, reason = selection.model, selection.reason
        if model is not None:
            decision = "model"
        elif selection.champion_failed:
            decision = "base_rate"
            reason = f"the champion is worse than the base rate on outcomes after its training; {reason}"
    verdict = {"decision": decision, "reason": reason}
    if model is not None:
        model = msgspec.structs.replace(model, document=msgspec.structs.replace(model.document, **verdict))
    base_rate = msgspec.structs.replace(document, **verdict)
    return TrainingResult(decision=decision, base_rate=base_rate, model=model)
