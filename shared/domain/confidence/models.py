"""Models as data: the outcomes they learn from and the immutable versions that are stored."""

import hashlib
from datetime import UTC, datetime
from typing import Any, Literal, Self

import msgspec

from shared.domain.confidence.encoding import column_names
from shared.domain.confidence.strategy import FeatureValue, Strategy
from shared.domain.market.signals import Side

ModelStatus = Literal["candidate", "champion", "challenger", "retired"]
Basis = Literal["model", "base_rate"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One finished trade as training sees it: what was known at entry, and whether it made money."""

    account_id: str
    symbol: str
    side: Side
    entry_at: datetime
    exit_at: datetime
    features: dict[str, FeatureValue]
    won: bool


class StoredModel(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable model version. `artefact` is ONNX, None where the base rate alone is served.

    `document` holds plain JSON: feature schema, training window, n, base rate, scores with their
    intervals, and the library versions that made it.
    """

    version: str
    strategy: str
    status: ModelStatus
    basis: Basis
    artefact: bytes | None
    document: dict[str, Any]
    created_at: datetime


class Window(msgspec.Struct, frozen=True):
    """When the trades that a model learned from began and ended."""

    first_entry_at: datetime
    last_exit_at: datetime


class ModelDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What StoredModel.document holds; plain JSON on the way in and out.

    `base_rate` is the smoothed share of winners among the `n` trades (`wins` of them won). `columns`
    name the model's inputs and `fills` what stands in for an absent value; both are empty without a
    model. `scores` are out of sample, see shared/training. `data_hash` tells whether anything is new;
    `decision` says what the run that made this version had promoted, and `reason` why.
    """

    strategy_version: int
    basis: Basis
    base_rate: float
    n: int
    wins: int
    window: Window
    columns: tuple[str, ...] = ()
    fills: tuple[float, ...] = ()
    kind: str | None = None
    data_hash: str
    decision: Literal["model", "base_rate", "keep"]
    reason: str
    scores: dict[str, Any] = {}
    rows: dict[str, int] = {}
    libraries: dict[str, str] = {}


class UnusableModel(ValueError):
    """A stored model that cannot be served: a broken artefact, or inputs of another schema.

    Never reaches a caller: the service answers with the base rate instead.
    """


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to answer: the artefact is None if the base rate is the answer."""

    version: str
    strategy: Strategy
    base_rate: float
    artefact: bytes | None = None
    columns: tuple[str, ...] = ()
    fills: tuple[float, ...] = ()

    @property
    def basis(self) -> Basis:
        return "base_rate" if self.artefact is None else "model"

    def without_artefact(self) -> Self:
        """The base rate of this model, under a version of its own: a version never means two values."""
        return type(self)(
            version=f"{self.version}-base-rate", strategy=self.strategy, base_rate=self.base_rate
        )


def untrained(strategy: Strategy) -> ServedModel:
    """What is served before any trade is known: the strategy's prior."""
    return ServedModel(version=strategy.untrained_version, strategy=strategy, base_rate=strategy.prior.mean)


def served(stored: StoredModel, strategy: Strategy) -> ServedModel:
    """`stored` made ready for answers; raises UnusableModel where its document cannot be read."""
    try:
        document = msgspec.convert(stored.document, ModelDocument)
    except msgspec.ValidationError as error:
        raise UnusableModel(f"{stored.version} has an unreadable document: {error}") from error
    model = ServedModel(version=stored.version, strategy=strategy, base_rate=document.base_rate)
    if not 0 <= document.base_rate <= 1:
        raise UnusableModel(f"{stored.version} has a base rate of {document.base_rate}")
    if stored.basis == "base_rate":
        return model
    fits = document.strategy_version == strategy.version and document.columns == column_names(strategy)
    if stored.artefact is None or not fits or len(document.fills) != len(document.columns):
        # The strategy has changed since: its base rate still holds until training has run again.
        return model.without_artefact()
    return msgspec.structs.replace(
        model, artefact=stored.artefact, columns=document.columns, fills=document.fills
    )


def version_of(strategy: str, now: datetime, content: bytes) -> str:
    """An immutable id such as `vwap_bounce-20251013T140000Z-1f9a0c3d`: when it was made, and from what."""
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{strategy}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"
