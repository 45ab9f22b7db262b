"""Reads market states from requests in one pass, checks them against their strategy, and rounds them.

Every number is rounded to the nearest multiple of its feature's quantum (halves to even) before anything is
computed from it. The cache key contains the same multiples, so two requests with the same key have exactly
the same confidence.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec

from shared.domain.confidence.state_checks import (
    RawState,
    check_features,
    check_state,
    refuse_excess,
    refuse_state,
)
from shared.domain.confidence.strategy import Feature, Strategy, StrategyCatalog
from shared.domain.json_text import parsed, refuse_repeated_names, unreadable
from shared.domain.market.signals import Side
from shared.domain.problems import Problems, shown
from shared.errors import BatchTooLarge, InvalidInput

MAX_STATES_PER_REQUEST = 100
# Bots with the same software send the same bytes for the same state, so the last bodies are kept with their
# states. An entry takes about 500 bytes; bodies that are longer than any plain state are not kept.
_REMEMBERED_BODIES = 4_096
_REMEMBERED_BYTES = 512

_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class MarketState(msgspec.Struct, frozen=True, gc=False):
    """What a bot observes at one moment, rounded. `features` are in Strategy.modelled's order; NaN is absent.

    A boolean is 0 or 1, a category its index. `key` contains strategy, symbol, side and every rounded value:
    two states are equal if and only if their keys are equal.
    """

    strategy: str
    symbol: str
    side: Side
    features: tuple[float, ...]
    key: str

    def cache_key(self, model_version: str) -> str:
        """The key of this state's confidence under one model; the braces hold the Redis cluster hash tag."""
        return f"confidence:{{{self.key}}}:{model_version}"


class StateMaker:
    """Makes the market states of one strategy from accepted values."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self._names = tuple(feature.name for feature in strategy.modelled)
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

    def rounded(self, symbol: str, side: Side, values: Sequence[Any]) -> MarketState:
        """The state with accepted `values`: one per modelled feature, None if absent; the rest is ignored."""
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

    def of_raw(self, raw: RawState) -> MarketState:
        side: Side = "LONG" if raw.side == "LONG" else "SHORT"
        return self.rounded(raw.symbol, side, [raw.values.get(name) for name in self._names])

    def of_outcome(self, symbol: str, side: Side, features: Mapping[str, object]) -> MarketState:
        """The state at the time of a signal; raises ValidationFailed if its features do not fit."""
        problems = Problems()
        if symbol not in self.strategy.symbols:
            problems.add(
                "symbol", "unknown_value", f"symbol must be one of {', '.join(self.strategy.symbols)}"
            )
        values = check_features(self.strategy, features, problems)
        problems.refuse()
        return self.rounded(symbol, side, [values.get(name) for name in self._names])


class StateReader:
    """Reads the market states of every strategy of a catalog from JSON bodies."""

    def __init__(self, catalog: StrategyCatalog) -> None:
        self._catalog = catalog
        self._makers = {name: StateMaker(strategy) for name, strategy in catalog.items()}
        structs = {name: _request_struct(strategy) for name, strategy in catalog.items()}
        self._maker_of = {struct: self._makers[name] for name, struct in structs.items()}
        union: Any = None
        for struct in structs.values():
            union = struct if union is None else union | struct
        # One decoder reads bodies that name their strategy, the other bodies that do not.
        self._named = msgspec.json.Decoder(union)
        self._unnamed = msgspec.json.Decoder(structs[catalog.default.name])
        self._remembered = lru_cache(_REMEMBERED_BODIES)(self._decode)

    def read(self, body: bytes, published: Collection[str] = ()) -> MarketState:
        """The market state in a flat JSON body `{"symbol", "signal_type", "strategy"?, features...}`.

        Without `strategy`, the body is for the default one. Raises MalformedJson, and ValidationFailed with
        every bad field (codes missing, unknown_field, wrong_type, out_of_range, unknown_value). Raises
        NoConfidence if the catalog lacks the strategy, but it is one of `published`.
        """
        try:
            return self._remembered(body) if len(body) <= _REMEMBERED_BYTES else self._decode(body)
        except _DECODE_ERRORS:
            pass
        refuse_excess(body)
        problems = Problems()
        raw = check_state(parsed(body), self._catalog, published, problems)
        refuse_state(problems)
        assert raw is not None
        return self._makers[raw.strategy.name].of_raw(raw)

    def read_batch(self, body: bytes, published: Collection[str] = ()) -> list[MarketState]:
        """The states of `{"states": [...]}`, 1 to MAX_STATES_PER_REQUEST of them.

        Raises MalformedJson, BatchTooLarge, and ValidationFailed with the bad fields of all states, such as
        `states[3].rsi`. If nothing else is wrong, raises NoConfidence with each state whose strategy the
        catalog lacks, but `published` has.
        """
        items = self._batch_items(body, published)
        problems = Problems()
        if len(items) > MAX_STATES_PER_REQUEST:
            raise _too_many(len(items))
        if not items:
            problems.add("states", "out_of_range", "states must hold at least one state")
        states: list[MarketState] = []
        for index, item in enumerate(items):
            try:
                states.append(self._decode(bytes(item), f"states[{index}]"))
                continue
            except _DECODE_ERRORS:
                pass
            if problems.is_full:
                break
            place = f"states[{index}]"
            of_state = problems.within(f"{place}.")
            raw = check_state(parsed(bytes(item), place), self._catalog, published, of_state)
            if raw is not None:
                states.append(self._makers[raw.strategy.name].of_raw(raw))
        refuse_state(problems)
        return states

    def other_strategies(self, body: bytes) -> set[str]:
        """The strategies that a body, of one state or a batch, names and the catalog lacks.

        `read` or `read_batch` has refused this body, so it is not too large.
        """
        sent = parsed(body)
        states = sent.get("states") if isinstance(sent, dict) else None
        items = states if isinstance(states, list) else [sent]
        names = (item.get("strategy") for item in items if isinstance(item, dict))
        return {name for name in names if isinstance(name, str) and name not in self._catalog}

    def _decode(self, body: bytes, within: str = "") -> MarketState:
        """The state in `body`; raises one of _DECODE_ERRORS if `body` needs the slow path of state_checks.

        Raises MalformedJson if `body`, which has the path `within` in the request, gives a name twice.
        """
        is_named = b'"strategy"' in body
        request = (self._named if is_named else self._unnamed).decode(body)
        symbol, side, *values = msgspec.structs.astuple(request)
        # Each name has a colon. So with as many colons as present fields, no name can stand twice.
        if body.count(b":") != 2 + is_named + len(values) - values.count(None):
            refuse_repeated_names(body, within)
        return self._maker_of[type(request)].rounded(symbol, side, values)

    def _batch_items(self, body: bytes, published: Collection[str]) -> list[msgspec.Raw]:
        try:
            items = _decode_batch(body).states
        except _DECODE_ERRORS:
            refuse_excess(body, MAX_STATES_PER_REQUEST)
            raise self._batch_refusal(body, published) from None
        if body.count(b'"states"') > 1 or b"\\" in body:
            refuse_repeated_names(body)
        return items

    def _batch_refusal(self, body: bytes, published: Collection[str]) -> InvalidInput:
        """The error for a body that is no batch, or in which a state has what is not JSON, such as NaN.

        Raises NoConfidence.
        """
        batch = parsed(body)
        problems = Problems()
        accepted = f'{{"states": [...]}} with 1 to {MAX_STATES_PER_REQUEST} market states'
        if not isinstance(batch, dict):
            problems.add("", "wrong_type", f"the body must be {accepted}, got {shown(batch)}")
            return problems.refusal()
        for name in batch:
            if name != "states":
                problems.unknown_field(name, ["states"])
        if "states" not in batch:
            problems.add("states", "missing", f"the body must be {accepted}")
        elif not isinstance(batch["states"], list):
            message = f"states must be an array of market states, got {shown(batch['states'])}"
            problems.add("states", "wrong_type", message)
        elif len(batch["states"]) > MAX_STATES_PER_REQUEST:
            return _too_many(len(batch["states"]))
        else:
            for index, item in enumerate(batch["states"]):
                check_state(item, self._catalog, published, problems.within(f"states[{index}]."))
        refuse_state(problems)
        return unreadable(body)


def _too_many(states: int) -> BatchTooLarge:
    return BatchTooLarge(f"A batch holds at most {MAX_STATES_PER_REQUEST} states, got {states}.")


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    states: list[msgspec.Raw]


_decode_batch = msgspec.json.Decoder(_Batch).decode


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
