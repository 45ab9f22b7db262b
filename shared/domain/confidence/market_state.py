"""Market states: read from a request in one pass, checked against their strategy, and rounded.

Rounding: every number goes to the nearest multiple of its feature's quantum (halves to even) before
anything is computed from it. The cache key is made of the same multiples, so whoever shares a key
shares the exact confidence.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Annotated, Any, Literal

import msgspec

from shared.domain.confidence.state_checks import (
    RawState,
    check_features,
    check_state,
    check_strategy,
    parse_json,
    printable,
    shown,
)
from shared.domain.confidence.strategy import (
    Feature,
    Prior,
    Strategy,
    all_strategies,
    default_strategy,
    parse_strategy,
)
from shared.domain.decoding import MAX_ERRORS, unknown_field
from shared.domain.market.signals import Side
from shared.errors import BatchTooLarge, FieldError, MalformedJson, ValidationFailed

__all__ = [
    "MAX_STATES_PER_REQUEST",
    "Feature",
    "MarketState",
    "Prior",
    "Strategy",
    "all_strategies",
    "decode_state",
    "decode_states",
    "default_strategy",
    "market_state",
    "parse_strategy",
    "validate_features",
]

MAX_STATES_PER_REQUEST = 100
# Bots of one make send the same bytes for the same state: the last such bodies are read once. About 500
# bytes each; longer ones than any plain state needs are not kept.
_REMEMBERED_BODIES = 4_096
_REMEMBERED_BYTES = 512

_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class MarketState(msgspec.Struct, frozen=True, gc=False):
    """What a bot sees at one moment, rounded. `features` follow Strategy.modelled; NaN means absent.

    Booleans are 0 or 1, a category is its index. `key` names strategy, symbol, side and every
    rounded value: two states are equal exactly where their keys are.
    """

    strategy: str
    symbol: str
    side: Side
    features: tuple[float, ...]
    key: str

    def cache_key(self, model_version: str) -> str:
        """Key of this state's confidence under one model; braces hold the Redis cluster hash tag."""
        return f"confidence:{{{self.key}}}:{model_version}"


class _Quantiser:
    """Turns the accepted values of one strategy into its states."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.names = tuple(feature.name for feature in strategy.modelled)
        self._label = f"{strategy.name}.{strategy.version}"
        # step = value * per_quantum / quantum, value = step * quantum / per_quantum, in whole numbers,
        # so that 3 steps of 0.1 are 0.3 and not 0.30000000000000004.
        self._scales = [
            (feature.exact_quantum.denominator, feature.exact_quantum.numerator)
            for feature in strategy.modelled
        ]
        self._codes = [
            {category: code for code, category in enumerate(feature.categories)} or None
            for feature in strategy.modelled
        ]

    def state(self, symbol: str, side: Side, values: Sequence[Any]) -> MarketState:
        """The state of accepted `values`, one per modelled feature, None where absent."""
        features = []
        steps = []
        for value, (numerator, denominator), codes in zip(values, self._scales, self._codes, strict=False):
            if value is None:
                features.append(math.nan)
                steps.append("")
                continue
            step = codes[value] if codes else round(value * numerator / denominator)
            features.append(step * denominator / numerator)
            steps.append(str(step))
        key = f"{self._label}:{symbol}:{side}:{','.join(steps)}"
        return MarketState(self.strategy.name, symbol, side, tuple(features), key)


@cache
def _quantiser(strategy: str) -> _Quantiser:
    return _Quantiser(all_strategies()[strategy])


def _field_type(feature: Feature) -> Any:
    if feature.type == "boolean":
        kind: Any = bool
    elif feature.type == "category":
        kind = Literal[feature.categories]
    else:
        assert feature.range is not None
        low, high = feature.range
        base, edge = (float, float) if feature.type == "number" else (int, int)
        kind = Annotated[base, msgspec.Meta(ge=edge(low), le=edge(high))]
    return kind | None if feature.optional else kind


def _request_struct(strategy: Strategy) -> type[msgspec.Struct]:
    modelled = strategy.modelled
    others = [feature for feature in strategy.features if not feature.modelled]
    fields: list[Any] = [("symbol", Literal[strategy.symbols]), ("signal_type", Literal["LONG", "SHORT"])]
    for feature in (*modelled, *others):
        declared = (feature.name, _field_type(feature))
        fields.append((*declared, None) if feature.optional else declared)
    return msgspec.defstruct(
        f"Request_{strategy.name}",
        fields,
        kw_only=True,
        forbid_unknown_fields=True,
        gc=False,
        tag_field="strategy",
        tag=strategy.name,
    )


class _Decoders:
    """One decoder for bodies that name their strategy and one for those that leave it out."""

    def __init__(self) -> None:
        structs = {name: _request_struct(strategy) for name, strategy in all_strategies().items()}
        self.quantisers = {struct: _quantiser(name) for name, struct in structs.items()}
        union: Any = None
        for struct in structs.values():
            union = struct if union is None else union | struct
        self._named = msgspec.json.Decoder(union)
        self._unnamed = msgspec.json.Decoder(structs[default_strategy().name])

    def decode(self, body: bytes | memoryview) -> MarketState:
        """Raises one of _DECODE_ERRORS where the careful path has to look."""
        raw = bytes(body)
        request = (self._named if b'"strategy"' in raw else self._unnamed).decode(raw)
        symbol, side, *values = msgspec.structs.astuple(request)
        return self.quantisers[type(request)].state(symbol, side, values)


@cache
def _decoders() -> _Decoders:
    return _Decoders()


@lru_cache(_REMEMBERED_BODIES)
def _remembered(body: bytes) -> MarketState:
    return _decoders().decode(body)


def _rounded(raw: RawState) -> MarketState:
    quantiser = _quantiser(raw.strategy.name)
    side: Side = "LONG" if raw.side == "LONG" else "SHORT"
    return quantiser.state(raw.symbol, side, [raw.values.get(name) for name in quantiser.names])


def decode_state(body: bytes) -> MarketState:
    """The market state in a flat JSON body `{"symbol", "signal_type", "strategy"?, features...}`.

    Raises MalformedJson, and ValidationFailed with every bad field (codes missing, unknown_field,
    wrong_type, out_of_range, unknown_value). Without `strategy` the default one is meant.
    """
    try:
        return _remembered(body) if len(body) <= _REMEMBERED_BYTES else _decoders().decode(body)
    except _DECODE_ERRORS:
        pass
    fields, strict = parse_json(body)
    raw, errors = check_state(fields)
    if raw is None:
        raise ValidationFailed(tuple(errors[:MAX_ERRORS]))
    if not strict:
        raise MalformedJson("NaN, Infinity and numbers beyond a double are not JSON.")
    return _rounded(raw)


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    states: list[msgspec.Raw]


def _batch_items(body: bytes) -> list[bytes | memoryview]:
    try:
        return [memoryview(item) for item in msgspec.json.decode(body, type=_Batch).states]
    except _DECODE_ERRORS:
        parsed, _ = parse_json(body)
    accepted = f'{{"states": [...]}} with 1 to {MAX_STATES_PER_REQUEST} market states'
    if not isinstance(parsed, dict):
        error = FieldError("", "wrong_type", f"the body must be {accepted}, got {shown(parsed)}")
        raise ValidationFailed((error,))
    errors = [
        unknown_field(printable(name), ["states"]) for name in list(parsed)[:MAX_ERRORS] if name != "states"
    ]
    if "states" not in parsed:
        errors.append(FieldError("states", "missing", f"the body must be {accepted}"))
    elif not isinstance(parsed["states"], list):
        message = f"states must be an array of market states, got {shown(parsed['states'])}"
        errors.append(FieldError("states", "wrong_type", message))
    else:
        # Something in a state is not JSON, such as NaN: named where it is a field's value.
        for index, item in enumerate(parsed["states"][:MAX_STATES_PER_REQUEST]):
            errors += check_state(item, prefix=f"states[{index}].")[1]
    if errors:
        raise ValidationFailed(tuple(errors[:MAX_ERRORS]))
    raise MalformedJson("NaN, Infinity and numbers beyond a double are not JSON.")


def decode_states(body: bytes) -> list[MarketState]:
    """The states of `{"states": [...]}`, 1 to MAX_STATES_PER_REQUEST; bad fields as `states[3].rsi`.

    Raises MalformedJson, BatchTooLarge, and ValidationFailed with the bad fields of all of them.
    """
    items = _batch_items(body)
    if len(items) > MAX_STATES_PER_REQUEST:
        raise BatchTooLarge(f"A batch holds at most {MAX_STATES_PER_REQUEST} states, got {len(items)}.")
    if not items:
        raise ValidationFailed((FieldError("states", "out_of_range", "states must hold at least one state"),))
    decoders = _decoders()
    states: list[MarketState] = []
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        try:
            states.append(decoders.decode(item))
            continue
        except _DECODE_ERRORS:
            pass
        raw, found = check_state(parse_json(bytes(item))[0], prefix=f"states[{index}].")
        errors += found
        if raw is not None:
            states.append(_rounded(raw))
    if errors:
        raise ValidationFailed(tuple(errors[:MAX_ERRORS]))
    return states


def market_state(strategy: str, symbol: str, side: Side, features: Mapping[str, object]) -> MarketState:
    """The state of a finished trade or of a signal; raises ValidationFailed as decode_state does."""
    raw, errors = check_state({**features, "strategy": strategy, "symbol": symbol, "signal_type": side})
    if raw is None:
        raise ValidationFailed(tuple(errors[:MAX_ERRORS]))
    return _rounded(raw)


def validate_features(strategy: str, features: Mapping[str, object]) -> tuple[float, ...]:
    """The rounded features of a trade, in the order of Strategy.modelled.

    Raises ValidationFailed with every bad field, named `features.<name>`, or `strategy`.
    """
    known, error = check_strategy(strategy)
    if known is None:
        assert error is not None
        raise ValidationFailed((error,))
    values, errors = check_features(known, features, prefix="features.")
    if errors:
        raise ValidationFailed(tuple(errors[:MAX_ERRORS]))
    quantiser = _quantiser(known.name)
    return quantiser.state("", "LONG", [values.get(name) for name in quantiser.names]).features
