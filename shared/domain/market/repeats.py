"""Decides whether a publisher's signal repeats an earlier one, and names what differs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import get_args

from shared.domain.confidence.strategy import FeatureValue
from shared.domain.market.signals import DefaultTime, Signal, SignalDraft
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


def require_same(earlier: Signal, default_times: Sequence[str] | None, draft: SignalDraft) -> None:
    """Raises Conflict, which names each field that differs, unless `draft` repeats `earlier`.

    `default_times` are the times that the earlier request left out; None means that this is not known. A
    time that the draft's request left out repeats one that the earlier request left out too.
    """
    left_out = set(_TIMES if default_times is None else default_times)
    errors = tuple(
        FieldError(name, "differs", f"The earlier signal has {had}; this request has {has}.")
        for name in _CONTENT
        for had, has in _difference(name, earlier, left_out, draft)
    )
    if errors:
        raise Conflict(
            f"This Idempotency-Key was used for sequence {earlier.sequence} of {earlier.symbol} with other "
            f"content ({', '.join(error.field for error in errors)}); use a new key for another signal.",
            errors=errors,
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
            return f"{value.normalize():f}"
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case _:
            return shown(value)
