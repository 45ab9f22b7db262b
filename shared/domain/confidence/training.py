"""Describes the request and the result of a training run."""

from typing import Literal

import msgspec

from shared.domain.confidence.models import ModelDocument, Outcome, StoredModel
from shared.domain.confidence.safeguards import Reported
from shared.domain.confidence.strategy import Strategy

Decision = Literal["model", "base_rate", "keep"]


class TrainingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A run over the outcomes of one strategy, oldest first. `data_hash` seeds its randomness.

    `reported` only adds to the base rate. Models neither learn from it nor are tested on it.
    """

    strategy: Strategy
    outcomes: list[Outcome]
    reported: Reported = Reported()
    data_hash: str
    champion: StoredModel | None


class TrainedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that passed every test and is ready to be stored."""

    artefact: bytes
    document: ModelDocument


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True):
    """`decision` says what the strategy serves from now on; `model` is set if that is a new model."""

    decision: Decision
    base_rate: ModelDocument
    model: TrainedModel | None = None
