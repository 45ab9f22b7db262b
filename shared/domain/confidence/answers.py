"""Describes the answer to a confidence request, and encodes it for bots and for the cache."""

from typing import NamedTuple

import msgspec

from shared.domain.confidence.models import Basis
from shared.domain.market.signals import Side

# All requests for the same market state share one answer for this long.
CONFIDENCE_TTL_S = 2.0


class ConfidenceAnswer(msgspec.Struct, frozen=True, gc=False):
    """`confidence` is the probability in [0, 1] that the signalled side makes money.

    `basis` says whether the value comes from a model or is the base rate. `cached` is true if the value was
    computed before this request arrived; `age_ms` is its age, or 0 if it was computed after that.
    """

    confidence: float
    symbol: str
    signal_type: Side
    strategy: str
    model_version: str
    basis: Basis
    cached: bool
    age_ms: int


class EncodedAnswer(NamedTuple):
    """A ConfidenceAnswer as JSON, encoded once for all requests that share it, and whether it was cached."""

    json: bytes
    cached: bool


class ModelOutput(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The cached result of evaluating one state. Symbol, side and strategy are in the cache's key."""

    confidence: float
    basis: Basis
    model_version: str


class CacheResult(msgspec.Struct, gc=False):
    """What the cache held under `key`: an output that is `age_ms` old, or None.

    Without an output, the request that got a `lock_token` holds the lock and computes the confidence for all
    requests. Requests of one call share the result; the first to encode it sets `answer` for the others.
    """

    key: str
    output: ModelOutput | None = None
    age_ms: int = 0
    lock_token: str | None = None
    answer: EncodedAnswer | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ModelOutput)


def encode_answer(answer: ConfidenceAnswer) -> EncodedAnswer:
    return EncodedAnswer(_encoder.encode(answer), answer.cached)


def encode_output(output: ModelOutput) -> bytes:
    return _encoder.encode(output)


def decode_output(payload: bytes) -> ModelOutput | None:
    """The output in `payload`; None if that is something else, because such an entry counts as a miss."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
