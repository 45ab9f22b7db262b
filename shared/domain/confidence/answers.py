"""The answer to a confidence request, and the form in which it is cached."""

from typing import NamedTuple

import msgspec

from shared.domain.confidence.models import Basis
from shared.domain.market.signals import Side

# How long one answer is shared by everybody who asks the same.
CONFIDENCE_TTL_S = 2.0


class ConfidenceAnswer(msgspec.Struct, frozen=True, gc=False):
    """`confidence` is the probability in [0, 1] that the signalled side makes money.

    `basis` says whether a model or the base rate speaks. `cached` is true where the value had been
    computed before this request asked; `age_ms` is its age then, and 0 for one made meanwhile.
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
    """A ConfidenceAnswer as JSON, made once for all who are told the same, and whether it was cached."""

    json: bytes
    cached: bool


class ModelOutput(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is cached: the model's say on one state. Symbol, side and strategy are in the key."""

    confidence: float
    basis: Basis
    model_version: str


class CacheResult(msgspec.Struct, gc=False):
    """What the cache held under `key` when it was asked: a output, `age_ms` old, or None.

    Without one, who got a `lock_token` holds the lock and is to compute the confidence for all. All who
    asked in one call share what it found, and with `answer` what the first of them makes of it.
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
    """None where the cache holds something else: such an entry is a miss, not an error."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
