"""Describes a training run: what goes into it and what comes out."""

from typing import Literal

import msgspec

from shared.domain.confidence.models import ModelDocument, Outcome, StoredModel
from shared.domain.confidence.strategy import Strategy

Decision = Literal["model", "base_rate", "keep"]


class TrainingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One run over the outcomes of one strategy, oldest first. `data_hash` seeds its randomness."""

    strategy: Strategy
    outcomes: list[Outcome]
    data_hash: str
    champion: StoredModel | None


class TrainedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that has passed every test, ready to be stored."""

    artefact: bytes
    document: ModelDocument


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True):
    """`decision` names what is to be served from now on; `model` is there where it is a model."""

    decision: Decision
    base_rate: ModelDocument
    model: TrainedModel | None = None
