"""The careful path of reading a market state: names every bad field and what would be accepted.

It runs only where the fast decoder has refused, so it may be slow, but it is bounded: a request of
a million unknown fields costs no more than one of MAX_ERRORS.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from shared.domain.confidence.strategy import (
    Feature,
    Strategy,
    all_strategies,
    default_strategy,
)
from shared.domain.decoding import MAX_ERRORS, unknown_field
from shared.errors import FieldError, MalformedJson

_MAX_SHOWN = 40
_SIDES = ("LONG", "SHORT")
_ENVELOPE = ("symbol", "signal_type", "strategy")


class RawState(msgspec.Struct, frozen=True):
    """A market state whose fields have all been accepted, before it is rounded."""

    strategy: Strategy
    symbol: str
    side: str
    values: dict[str, Any]


def parse_json(body: bytes) -> tuple[Any, bool]:
    """The value in `body`, and whether it is strict JSON.

    NaN, Infinity and numbers beyond a double are read too, so that the error can name their field; a
    caller that finds nothing else to refuse in such a body raises MalformedJson. Raises MalformedJson.
    """
    try:
        return msgspec.json.decode(body), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error)
    if not body.strip():
        raise MalformedJson("The body is empty; a JSON object is expected.")
    try:
        return json.loads(body.decode("utf-8")), False
    except UnicodeDecodeError as error:
        raise MalformedJson("The body is not UTF-8.") from error
    except RecursionError as error:
        raise MalformedJson("The body is nested too deeply.") from error
    except ValueError as error:
        raise MalformedJson(f"The body is not valid JSON: {problem[:200]}") from error


def shown(value: object) -> str:
    """`value` as short, printable ASCII, fit for a public message."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def printable(name: str) -> str:
    """A field name from outside as short ASCII: lone surrogates could not be sent back."""
    return name[:64].encode("ascii", "backslashreplace").decode("ascii")


def _fault(feature: Feature, value: object) -> str | None:
    """The code of what is wrong with `value`, None where it is accepted."""
    if feature.type == "boolean":
        return None if isinstance(value, bool) else "wrong_type"
    if feature.type == "category":
        if not isinstance(value, str):
            return "wrong_type"
        return None if value in feature.categories else "unknown_value"
    assert feature.range is not None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "wrong_type"
    if not feature.range[0] <= value <= feature.range[1]:  # nor is NaN within any range
        return "out_of_range"
    # 10.0 is the same number as 10 in JSON; 10.5 is not a whole one.
    return "wrong_type" if feature.type == "integer" and value != int(value) else None


def _explained(feature: Feature, value: object, code: str) -> str:
    if code == "out_of_range" and feature.range is not None:
        low, high = feature.range
        return f"{feature.name} must be between {low:g} and {high:g}, got {shown(value)}"
    return f"{feature.name} must be {feature.accepted()}, got {shown(value)}"


def check_features(
    strategy: Strategy, fields: Mapping[str, object], *, prefix: str = "", besides: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[FieldError]]:
    """Accepted values by feature name, absent optional ones left out, and every bad field.

    `besides` names fields that are checked elsewhere. null means absent for an optional feature.
    """
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for feature in strategy.features:
        value = fields.get(feature.name)
        if value is None and feature.optional:
            continue
        if feature.name not in fields:
            message = f"{feature.name} is required: {feature.accepted()}"
            errors.append(FieldError(prefix + feature.name, "missing", message))
            continue
        code = _fault(feature, value)
        if code:
            errors.append(FieldError(prefix + feature.name, code, _explained(feature, value, code)))
        else:
            values[feature.name] = value
    known = (*besides, *(feature.name for feature in strategy.features))
    known_set = set(known)
    strangers = [name for name in fields if name not in known_set]
    errors += [unknown_field(printable(name), list(known), prefix) for name in strangers[:MAX_ERRORS]]
    return values, errors


def _check_choice(
    fields: Mapping[str, object], name: str, allowed: Collection[str], prefix: str
) -> tuple[str, FieldError | None]:
    choices = f"one of {', '.join(allowed)}"
    if name not in fields:
        return "", FieldError(prefix + name, "missing", f"{name} is required: {choices}")
    value = fields[name]
    if isinstance(value, str) and value in allowed:
        return value, None
    code = "unknown_value" if isinstance(value, str) else "wrong_type"
    return "", FieldError(prefix + name, code, f"{name} must be {choices}, got {shown(value)}")


def check_strategy(name: object, field: str = "strategy") -> tuple[Strategy | None, FieldError | None]:
    """The strategy of that name, or what is wrong with the name."""
    if isinstance(name, str) and name in all_strategies():
        return all_strategies()[name], None
    code = "unknown_value" if isinstance(name, str) else "wrong_type"
    message = f"strategy must be one of {', '.join(all_strategies())}, got {shown(name)}"
    return None, FieldError(field, code, message)


def check_state(fields: object, *, prefix: str = "") -> tuple[RawState | None, list[FieldError]]:
    """The state that `fields` (any JSON value) describes, or every reason why it describes none."""
    if not isinstance(fields, dict):
        message = f"a market state must be a JSON object, got {shown(fields)}"
        return None, [FieldError(prefix.rstrip("."), "wrong_type", message)]
    strategy, strategy_error = (
        check_strategy(fields["strategy"], prefix + "strategy")
        if "strategy" in fields
        else (default_strategy(), None)
    )
    # With an unknown strategy its features cannot be judged, but the symbol and the side still can.
    symbols: dict[str, None] = dict.fromkeys(
        symbol
        for known in ((strategy,) if strategy else all_strategies().values())
        for symbol in known.symbols
    )
    symbol, symbol_error = _check_choice(fields, "symbol", symbols, prefix)
    side, side_error = _check_choice(fields, "signal_type", _SIDES, prefix)
    errors = [error for error in (strategy_error, symbol_error, side_error) if error]
    values: dict[str, Any] = {}
    if strategy:
        values, feature_errors = check_features(strategy, fields, prefix=prefix, besides=_ENVELOPE)
        errors += feature_errors
    if errors or strategy is None:
        return None, errors
    return RawState(strategy, symbol, side, values), []
