"""Computes the present champion's forecasts for the outcomes that it was not trained on."""

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from shared.adapters.inference import OnnxModel
from shared.domain.confidence.encoding import StateEncoder
from shared.domain.confidence.models import ModelDocument, StoredModel, UnusableModel, served
from shared.training.dataset import Dataset


@dataclass(frozen=True)
class ChampionForecasts:
    """A champion's forecasts for the outcomes that it was not trained on; `tested` holds their indices."""

    tested: npt.NDArray[np.intp]
    forecasts: npt.NDArray[np.float64]


def champion_forecasts(data: Dataset, champion: StoredModel | None) -> ChampionForecasts | None:
    """The champion's forecasts; None if it is a base rate, or a model that cannot be served any more."""
    if champion is None or champion.basis != "model":
        return None
    try:
        model = served(champion, data.strategy)
        if model.artefact is None:
            return None
        session = OnnxModel(model.artefact)
        seen_until = msgspec.convert(champion.document, ModelDocument).window.last_exit_at
        unseen = [index for index, outcome in enumerate(data.outcomes) if outcome.entry_at > seen_until]
        states = [data.states[index] for index in unseen]
        forecasts = (
            session.probabilities(StateEncoder(data.strategy).encode(states, model.fills)) if states else []
        )
        return ChampionForecasts(np.array(unseen, dtype=np.intp), np.array(forecasts))
    except UnusableModel:
        return None
