"""Decides whether a publisher's signal repeats an earlier one, and names what differs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import get_args

import msgspec

from shared.domain.confidence.strategy import FeatureValue
from shared.domain.market.signals import DefaultTime, Signal, SignalDraft
from shared.domain.numbers import plain
from shared.domain.problems import shown
from shared.errors import Conflict, FieldError

# Alerts that arrive twice do so within seconds. The minute begins when the first one arrives.
REPEAT_WINDOW = timedelta(minutes=1)

_TIMES: tuple[DefaultTime, ...] = get_args(DefaultTime)
_CONTENT = (
    "symbol",
    "strategy",
    "strategy_version",
    "kind",
    "side",
    "price",
    "stop_price",
    "target_price",
    *_TIMES,
    "features",
)


class EarlierSignal(msgspec.Struct, frozen=True):
    """A publisher's signal, and the times that its request left out; None means that this is not known."""

    signal: Signal
    default_times: Sequence[str] | None


def signal_of_repeat(earlier: EarlierSignal, draft: SignalDraft) -> Signal:
    """The answer to a draft that has the idempotency key of `earlier`, or without a key is the same alert.

    Raises Conflict, which names each field that differs, if the key's signal has other content.
    """
    if draft.idempotency_key is not None and (errors := _differences(earlier, draft)):
        signal = earlier.signal
        raise Conflict(
            f"This Idempotency-Key was used for sequence {signal.sequence} of {signal.symbol} with other "
            f"content ({', '.join(error.field for error in errors)}); use a new key for another signal.",
            errors=errors,
        )
    return earlier.signal


def signal_of_retry(earlier: EarlierSignal, draft: SignalDraft) -> Signal | None:
    """The answer to such a draft if it can no longer be published: None unless all content is the same.

    An alert that is dead on arrival is refused, although another one with its price was published.
    Raises Conflict as `signal_of_repeat` does.
    """
    signal = signal_of_repeat(earlier, draft)
    return None if _differences(earlier, draft) else signal


def _differences(earlier: EarlierSignal, draft: SignalDraft) -> tuple[FieldError, ...]:
    """Each field that differs. A time that both requests left out is the same."""
    left_out = set(_TIMES if earlier.default_times is None else earlier.default_times)
    return tuple(
        FieldError(name, "differs", f"The earlier signal has {had}; this request has {has}.")
        for name in _CONTENT
        for had, has in _difference(name, earlier.signal, left_out, draft)
    )


def _difference(name: str, earlier: Signal, left_out: set[str], draft: SignalDraft) -> list[tuple[str, str]]:
    """The two values of a field as text if they differ."""
    had, has = getattr(earlier, name), getattr(draft, name)
    if name in draft.default_times:
        return [] if name in left_out else [(_shown(had), "none")]
    same = _same_features(had, has) if name == "features" else had == has
    return [] if same else [(_shown(had), _shown(has))]


def _same_features(one: Mapping[str, FeatureValue], other: Mapping[str, FeatureValue]) -> bool:
    return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())


def _same(one: FeatureValue, other: FeatureValue) -> bool:
    # In Python, True equals 1.
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _shown(value: object) -> str:
    match value:
        case None:
            return "none"
        case Decimal():
            return plain(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case _:
            return shown(value)
