"""Bounds the influence of reported trades on what bots are told, and finds suspicious jumps."""

from math import sqrt

import msgspec

from shared.domain.confidence.models import ModelDocument, StoredModel, UnusableModel, served
from shared.domain.confidence.strategy import Strategy

# A signal without bars that only trades tell about counts as this part of a signal that bars decide...
REPORTED_SIGNAL_WEIGHT = 0.1
# ...and all of them together as no more than this part of the decided signals and the prior. So reports move
# a base rate by less than 0.02, however many there are and however many accounts send them.
MAX_REPORTED_SHARE = 0.02
# The votes of one account weigh at most this part of the votes of all others.
MAX_ACCOUNT_TO_OTHERS = 0.25

# A change of the average confidence that exceeds this, and the noise of both samples, is not served until an
# operator has looked at it.
MAX_JUMP = 0.05
NOISE_ERRORS = 3.0  # standard errors


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What trades tell about the signals of symbols that have no bars.

    Each of the `signals` has at most weight 1; `weight` is their sum, and `wins` the won part of it.
    """

    signals: int = 0
    accounts: int = 0
    weight: float = 0.0
    wins: float = 0.0


def counted(reported: Reported, decided: int, strength: float) -> tuple[float, float]:
    """The weight and the wins that reports add to those of `decided` signals and of a prior of `strength`."""
    if reported.weight <= 0:
        return 0.0, 0.0
    most = MAX_REPORTED_SHARE * (decided + strength)
    weight = min(REPORTED_SIGNAL_WEIGHT * reported.weight, most)
    return weight, weight * reported.wins / reported.weight


class Average(msgspec.Struct, frozen=True):
    """The average confidence that a version gives, and the number of outcomes that it was learnt from."""

    mean: float
    n: float


def average_of(document: ModelDocument) -> Average:
    """The average of a version that is served as its document says."""
    mean = document.base_rate if document.average is None else document.average
    return Average(mean, document.n)


def served_average(champion: StoredModel | None, strategy: Strategy) -> Average:
    """The average of what is served now: without a usable champion, the prior's."""
    prior = Average(strategy.prior.mean, strategy.prior.strength)
    if champion is None:
        return prior
    try:
        model = served(champion, strategy)
    except UnusableModel:
        return prior
    document = msgspec.convert(champion.document, ModelDocument)
    return Average(model.base_rate, document.n) if model.artefact is None else average_of(document)


def is_jump(former: Average, new: Average) -> bool:
    """Whether `new` differs from `former` by more than MAX_JUMP and the noise of samples of their sizes."""
    variance = sum(one.mean * (1 - one.mean) / max(one.n, 1.0) for one in (former, new))
    return abs(new.mean - former.mean) > MAX_JUMP + NOISE_ERRORS * sqrt(variance)
