"""Describes models as data: the outcomes that they are trained on, and their immutable versions."""

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
    """One published signal for training: what was known at its time, and whether it made money.

    It names no account. Its features are the signal's and its result is the bars', so no account can choose
    either, and it counts once, however many accounts traded it. `exit_at` is when the result was known at the
    latest.
    """

    symbol: str
    side: Side
    entry_at: datetime
    exit_at: datetime
    features: dict[str, FeatureValue]
    won: bool


class StoredModel(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable model version. `artefact` is ONNX, or None if only the base rate is served.

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
    """The first entry and the last exit of the outcomes that a model was trained on."""

    first_entry_at: datetime
    last_exit_at: datetime


class ModelDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The content of StoredModel.document; stored as plain JSON.

    `base_rate` is the smoothed share of winners among the `n` outcomes (`wins` of them won), to which reports
    of signals without bars add a little. `average` is the model's mean forecast, None without a model. A
    version is `frozen` if it would have changed what bots are told by too much: it is served only after an
    operator has accepted it. `columns` names
    the model's inputs and `fills` holds the replacement of each absent value; both are empty without a
    model. `scores` are out of sample, see shared/training. If `data_hash` is the same, there is no new data.
    `decision` says what the training run of this version promoted, and `reason` why.
    """

    strategy_version: int
    basis: Basis
    base_rate: float
    average: float | None = None
    n: int
    wins: int
    window: Window
    columns: tuple[str, ...] = ()
    fills: tuple[float, ...] = ()
    kind: str | None = None
    data_hash: str
    decision: Literal["model", "base_rate", "keep"]
    reason: str
    frozen: bool = False
    scores: dict[str, Any] = {}
    rows: dict[str, int] = {}
    libraries: dict[str, str] = {}


class UnusableModel(ValueError):
    """A stored model that cannot be served: a broken artefact, or inputs of another schema.

    Never reaches a caller: the service answers with the base rate instead.
    """


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model version that is ready to answer; without an artefact, the answer is the base rate."""

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
        """The base rate of this model, as another version, because a version never has two values."""
        return type(self)(
            version=f"{self.version}-base-rate", strategy=self.strategy, base_rate=self.base_rate
        )


def is_frozen(stored: StoredModel, document: ModelDocument) -> bool:
    """Whether a run chose this version, and did not promote it because it changes too much."""
    return document.frozen and stored.status == "candidate" and document.decision == stored.basis


def untrained(strategy: Strategy) -> ServedModel:
    """The model that is served before any trade is known: the strategy's prior."""
    return ServedModel(version=strategy.untrained_version, strategy=strategy, base_rate=strategy.prior.mean)


def served(stored: StoredModel, strategy: Strategy) -> ServedModel:
    """`stored`, ready to answer; raises UnusableModel if its document cannot be used."""
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
        # The strategy has changed since. Its base rate remains valid until the next training run.
        return model.without_artefact()
    return msgspec.structs.replace(
        model, artefact=stored.artefact, columns=document.columns, fills=document.fills
    )


def version_of(strategy: str, now: datetime, content: bytes) -> str:
    """An immutable id such as `vwap_bounce-20251013T140000Z-1f9a0c3d`: the time, and a hash of `content`."""
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{strategy}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"
