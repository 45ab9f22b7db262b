"""Names every bad field of a market state, and what would be accepted.

This path runs only after the fast decoder has refused a body, so it may be slow. But its cost is bounded: it
does not look into a body with far more fields, items or levels than a valid one, see `refuse_excess`.
"""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from shared.domain.confidence.strategy import STATE_FIELDS, Feature, Strategy, StrategyCatalog
from shared.domain.json_text import has_more_parts
from shared.domain.market.symbols import root_hint
from shared.domain.problems import Problems, shown
from shared.errors import FieldCode, MalformedJson, NoConfidence

# A strategy has at most 20 features or so; the rest is room for mistakes that the errors then name.
MAX_FIELDS = 100

# Of the name of a feature without a schema, and of its value if that is text.
MAX_FEATURE_TEXT = 64

_SIDES = ("LONG", "SHORT")


class RawState(msgspec.Struct, frozen=True):
    """A market state whose fields are all accepted, before it is rounded."""

    strategy: Strategy
    symbol: str
    side: str
    values: dict[str, Any]


def refuse_excess(body: bytes, states: int = 1) -> None:
    """Raises InvalidInput for a body that is far from being `states` market states.

    Counts commas and brackets, which takes microseconds; to read such a body would take milliseconds.
    """
    most = states * MAX_FIELDS
    if body.count(b"[") + body.count(b"{") > most:
        raise MalformedJson("The body is nested too deeply, or has too many arrays and objects.")
    if has_more_parts(body, most):
        problems = Problems()
        problems.add("", "out_of_range", f"expected at most {MAX_FIELDS} fields or items for each state")
        raise problems.refusal()


def check_state(
    fields: object, catalog: StrategyCatalog, published: Collection[str], problems: Problems
) -> RawState | None:
    """The state in `fields` (any JSON value); if it is not a valid state, adds problems and returns None.

    If its strategy is none of the catalog but one of `published`, the only problem is that there is no
    confidence, whatever the other fields are.
    """
    if not isinstance(fields, dict):
        problems.add("", "wrong_type", f"a market state must be a JSON object, got {shown(fields)}")
        return None
    before = len(problems)
    strategy: Strategy | None = catalog.default
    if "strategy" in fields:
        name = fields["strategy"]
        if isinstance(name, str) and name in published and name not in catalog:
            problems.add("strategy", "no_confidence", _no_confidence(name, catalog))
            return None
        strategy = _check_strategy(name, catalog, problems)
    # If the strategy is unknown, only the symbol and the side can be checked, not the features.
    symbol = _check_choice(fields, "symbol", strategy.symbols if strategy else catalog.symbols, problems)
    side = _check_choice(fields, "signal_type", _SIDES, problems)
    values = check_features(strategy, fields, problems, besides=STATE_FIELDS) if strategy else {}
    if strategy is None or len(problems) > before:
        return None
    return RawState(strategy, symbol, side, values)


def refuse_state(problems: Problems) -> None:
    """Raises ValidationFailed if there is a problem; NoConfidence if each is that there is no confidence."""
    if problems and all(error.code == "no_confidence" for error in problems):
        raise NoConfidence("; ".join(dict.fromkeys(error.message for error in problems)), errors=(*problems,))
    problems.refuse()


def _no_confidence(name: str, catalog: StrategyCatalog) -> str:
    return (
        f"There is no confidence for the strategy {name}: it publishes signals, but has no features to learn "
        f"from. Strategies with a confidence: {', '.join(catalog)}."
    )


def _check_strategy(name: object, catalog: StrategyCatalog, problems: Problems) -> Strategy | None:
    """The strategy of that name; if there is none, adds a problem and returns None."""
    if isinstance(name, str) and name in catalog:
        return catalog[name]
    code: FieldCode = "unknown_value" if isinstance(name, str) else "wrong_type"
    problems.add("strategy", code, f"strategy must be one of {', '.join(catalog)}, got {shown(name)}")
    return None


def check_features(
    strategy: Strategy, fields: Mapping[str, object], problems: Problems, *, besides: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The accepted values by feature name, without absent optional features; adds a problem for each other.

    `besides` names fields that are checked elsewhere. For an optional feature, null means absent.
    """
    values: dict[str, Any] = {}
    for feature in strategy.features:
        value = fields.get(feature.name)
        if value is None and feature.optional:
            continue
        if feature.name not in fields:
            problems.add(feature.name, "missing", f"{feature.name} is required: {feature.accepted()}")
            continue
        code = _fault(feature, value)
        if code:
            problems.add(feature.name, code, _explained(feature, value, code))
        else:
            values[feature.name] = value
    known = (*besides, *(feature.name for feature in strategy.features))
    known_set = set(known)
    for name in fields:
        if problems.is_full:
            break
        if name not in known_set:
            problems.unknown_field(name, known)
    return values


def check_trade_state(
    strategy: str,
    features: Mapping[str, object] | None,
    catalog: StrategyCatalog,
    published: Collection[str],
    problems: Problems,
) -> None:
    """Adds an unknown strategy of a trade, or features that do not fit it.

    The features of a strategy that the catalog lacks, but that was `published`, have no schema; only their
    size is bounded, as it is in a signal.
    """
    if strategy in catalog:
        if features is not None:
            check_features(catalog[strategy], features, problems.within("features."))
    elif strategy not in published:
        problems.add("strategy", "unknown_value", _unknown_strategy(strategy, catalog))
    elif features is not None:
        _check_free_features(features, problems)


def _unknown_strategy(name: str, catalog: StrategyCatalog) -> str:
    return (
        f"Expected one of {', '.join(catalog)}, or another strategy that has published a signal, got "
        f"{shown(name)}. Report the strategy of the signal that you followed."
    )


def _check_free_features(features: Mapping[str, object], problems: Problems) -> None:
    for name, value in features.items():
        if problems.is_full:
            return
        texts = (name, value) if isinstance(value, str) else (name,)
        if not name or any(len(text) > MAX_FEATURE_TEXT or "\x00" in text for text in texts):
            message = (
                f"At {shown(name)}: expected a name and a text of at most {MAX_FEATURE_TEXT} characters, "
                "without the character NUL."
            )
            problems.add("features", "out_of_range", message)


def _fault(feature: Feature, value: object) -> FieldCode | None:
    """The code of the problem with `value`; None if it is accepted."""
    if feature.type == "boolean":
        return None if isinstance(value, bool) else "wrong_type"
    if feature.type == "category":
        if not isinstance(value, str):
            return "wrong_type"
        return None if value in feature.categories else "unknown_value"
    assert feature.range is not None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "wrong_type"
    if not feature.range[0] <= value <= feature.range[1]:  # NaN is within no range
        return "out_of_range"
    # In JSON, 10.0 is the same number as 10; 10.5 is not an integer.
    return "wrong_type" if feature.type == "integer" and value != int(value) else None


def _explained(feature: Feature, value: object, code: FieldCode) -> str:
    if code == "out_of_range" and feature.range is not None:
        low, high = feature.range
        return f"{feature.name} must be between {low:g} and {high:g}, got {shown(value)}"
    return f"{feature.name} must be {feature.accepted()}, got {shown(value)}"


def _check_choice(
    fields: Mapping[str, object], name: str, allowed: Collection[str], problems: Problems
) -> str:
    """The value of `name` if it is one of `allowed`; else adds a problem and returns an empty text."""
    choices = f"one of {', '.join(allowed)}"
    if name not in fields:
        problems.add(name, "missing", f"{name} is required: {choices}")
        return ""
    value = fields[name]
    if isinstance(value, str) and value in allowed:
        return value
    code: FieldCode = "unknown_value" if isinstance(value, str) else "wrong_type"
    hint = root_hint(value) if name == "symbol" and isinstance(value, str) else None
    problems.add(name, code, hint or f"{name} must be {choices}, got {shown(value)}")
    return ""
